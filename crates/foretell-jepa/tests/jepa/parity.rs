//! I-JEPA against PyTorch: the networks with random weights, their predictions, targets, loss and gradients, within
//! 1e-5 in f32 of what `bench/peers/export_parity.py` computed in f64; and transformers' `IJepaModel` for the encoder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, Collate, Image, Normalise, Sample};
use foretell_jepa::anti_collapse::VicregConfig;
use foretell_jepa::clips::LatentLoss;
use foretell_jepa::masked::{Keep, Masked, MaskedBatch, MaskedCollator, MaskedNetworks, Predicts};
use foretell_jepa::masks::{BatchMasks, MaskConfig};
use foretell_jepa::sigreg::sigreg;
use foretell_jepa::target::{EmaConfig, TargetKind, TargetTransform};
use foretell_jepa::{AntiCollapse, Clock, Objective};
use foretell_nn::positions::gather_tokens;
use foretell_nn::predictor::{Predictor, PredictorConfig};
use foretell_nn::vit::{Vit, VitConfig, patchify};
use foretell_nn::{ImageNetwork, NamedTensor, NamedTensors, weights};
use foretell_ops as ops;

use safetensors::{Dtype, SafeTensors};

const TOLERANCE: f32 = 1e-5;

/// Tensors of one or more files, and the integers among them.
pub(crate) struct Golden {
    tensors: NamedTensors,
    indices: std::collections::BTreeMap<String, Vec<u32>>,
}

impl Golden {
    pub(crate) fn open(names: &[&str]) -> Self {
        let mut golden = Self { tensors: NamedTensors::new(), indices: BTreeMap::default() };
        for name in names {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(name);
            let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            for (name, view) in SafeTensors::deserialize(&bytes).unwrap().iter() {
                let data = view.data();
                if view.dtype() == Dtype::I64 {
                    let values =
                        data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as u32).collect();
                    golden.indices.insert(name.to_owned(), values);
                } else {
                    assert_eq!(view.dtype(), Dtype::F32, "{name}");
                    let values = data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
                    golden.tensors.insert(name.to_owned(), NamedTensor { shape: view.shape().to_vec(), values });
                }
            }
        }
        golden
    }

    pub(crate) fn find(&self, name: &str) -> Option<&NamedTensor> {
        self.tensors.get(name)
    }

    pub(crate) fn indices(&self, name: &str) -> Vec<u32> {
        self.indices[name].clone()
    }

    pub(crate) fn get(&self, name: &str) -> &NamedTensor {
        self.find(name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// The tensors of one network, without its prefix.
    pub(crate) fn network(&self, prefix: &str) -> NamedTensors {
        let own = self.tensors.iter().filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_owned(), t.clone())));
        own.collect()
    }

    pub(crate) fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        let t = self.get(name);
        let shape: [usize; D] = t.shape.clone().try_into().unwrap_or_else(|shape| panic!("{name} is {shape:?}"));
        Tensor::from_data(TensorData::new(t.values.clone(), shape), device)
    }

    #[track_caller]
    pub(crate) fn check<const D: usize>(&self, name: &str, got: Tensor<D>) {
        let expected = self.get(name);
        near(name, &ops::values(got.inner()), &expected.values);
    }
}

#[track_caller]
fn near(name: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{name}");
    assert!(expected.iter().any(|x| *x != 0.0), "{name} is all zero: it would show nothing");
    let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Written so that NaN fails.
    assert!(worst <= TOLERANCE && got.iter().all(|x| x.is_finite()), "{name}: off by {worst:e}");
}

/// The network with the stored weights, every one of them used.
pub(crate) fn loaded<M: Module>(module: M, mut tensors: NamedTensors) -> M {
    let module = weights::load(module, "", &mut tensors).unwrap();
    weights::none_left(&tensors).unwrap();
    module
}

struct Model {
    golden: Golden,
    encoder: Vit,
    target_encoder: Vit,
    predictor: Predictor,
    targets: usize,
    batch: usize,
}

fn model(files: &[&str], vit: VitConfig, predictor_width: usize, predictor_depth: usize, targets: usize) -> Model {
    let golden = Golden::open(files);
    let device = Device::flex().autodiff();
    let mut rng = rng(9, Stream::Init, 0, 0);
    let encoder = vit.init(&mut rng, &device);
    let predictor = PredictorConfig {
        grid: vit.grid(),
        encoder_width: vit.width,
        width: predictor_width,
        depth: predictor_depth,
        heads: vit.heads,
        outputs: vit.width,
    };
    let predictor = predictor.init(&mut rng, &device);
    // Our own position codes, before the stored ones replace them.
    golden.check("encoder.pos_embed", encoder.pos_embed.val());
    golden.check("target_encoder.pos_embed", encoder.pos_embed.val());
    golden.check("predictor.predictor_pos_embed", predictor.predictor_pos_embed.val());
    Model {
        target_encoder: loaded(encoder.valid(), golden.network("target_encoder.")),
        encoder: loaded(encoder, golden.network("encoder.")),
        predictor: loaded(predictor, golden.network("predictor.")),
        batch: golden.get("input.images").shape[0],
        targets,
        golden,
    }
}

fn square() -> Model {
    let vit = VitConfig { image: (32, 32), patch: 8, channels: 3, width: 48, depth: 2, heads: 3, hidden: 192 };
    model(&["i-jepa.safetensors", "i-jepa-target-predictor.safetensors"], vit, 24, 2, 2)
}

fn odd() -> Model {
    let vit = VitConfig { image: (12, 20), patch: 4, channels: 1, width: 40, depth: 1, heads: 5, hidden: 160 };
    model(&["i-jepa-odd.safetensors"], vit, 20, 2, 3)
}

impl Model {
    fn networks(&self) -> MaskedNetworks {
        let Self { encoder, target_encoder, predictor, .. } = self;
        MaskedNetworks {
            encoder: encoder.clone(),
            predictor: predictor.clone(),
            target_encoder: target_encoder.clone(),
            head: None,
            target_head: None,
        }
    }

    fn patches(&self) -> Tensor<3> {
        patchify(self.golden.tensor("input.images", &Device::flex()), self.encoder.config().patch)
    }

    fn masks(&self) -> BatchMasks {
        let (context, target) =
            (self.golden.indices["input.context"].clone(), self.golden.indices["input.targets"].clone());
        BatchMasks {
            batch: self.batch,
            context_len: context.len() / self.batch,
            context,
            targets: self.targets,
            target_len: target.len() / self.batch / self.targets,
            target,
        }
    }

    /// Whole images, through both of the encoder's doors.
    fn check_encoder(&self) {
        self.golden.check("output.encoder_full", self.encoder.encode_all(self.patches()));
        let images = self.golden.tensor::<4>("input.images", &Device::flex());
        self.golden.check("output.encoder_full", self.encoder.encode_view(images.clone()));
        self.golden.check("output.encoder_full", self.encoder.valid().tokens(images).tokens);
    }

    fn check_context(&self) -> Tensor<3> {
        let masks = self.masks();
        let seen = self.encoder.encode_some(gather_tokens(self.patches(), &masks.context), &masks.context);
        self.golden.check("output.encoder_context", seen.clone());
        seen
    }

    fn check_gradients(&self, networks: &MaskedNetworks, loss: Tensor<1>) {
        let gradients = loss.backward();
        let (encoder, predictor) = (&networks.encoder, &networks.predictor);
        let golden = &self.golden;
        let mut checked = 0;
        macro_rules! check {
            ($name:literal, $param:expr) => {
                golden.check(concat!("grad.", $name), $param.grad(&gradients).expect($name));
                checked += 1;
            };
        }
        check!("encoder.blocks.0.attn.qkv.weight", encoder.blocks[0].attn.qkv.weight);
        check!("encoder.patch_embed.proj.weight", encoder.patch_embed.proj.weight);
        check!("encoder.norm.weight", encoder.norm.weight);
        check!("predictor.mask_token", predictor.mask_token);
        check!("predictor.predictor_blocks.1.mlp.fc2.bias", predictor.predictor_blocks[1].mlp.fc2.bias);
        assert_eq!(checked, golden.tensors.keys().filter(|name| name.starts_with("grad.")).count());
        // Position codes and the target encoder learn nothing.
        assert!(encoder.pos_embed.grad(&gradients).is_none());
        assert!(predictor.predictor_pos_embed.grad(&gradients).is_none());
    }
}

#[test]
fn the_square_models_encoder() {
    let model = square();
    model.check_encoder();
    model.check_context();
}

#[test]
fn the_square_models_objective() {
    let model = square();
    let masks = model.masks();
    let context = ops::values(gather_tokens(model.patches(), &masks.context));
    let batch = MaskedBatch {
        patches: ops::values(model.patches()),
        context,
        actions: Vec::new(),
        masks,
        directions: Vec::new(),
    };
    let collator = MaskedCollator {
        seed: 0,
        size: 32,
        patch: 8,
        augment: Augment::default(),
        normalise: Normalise { mean: vec![0.0; 3], std: vec![1.0; 3] },
        coloured: false,
        masks: MaskConfig::default(),
        together: false,
        width: 48,
        slices: 0,
    };
    let networks = model.networks();
    let mut objective = Masked {
        means: None,
        target: TargetKind::Ema,
        predicts: Predicts::Latents,
        transform: TargetTransform::LayerNorm,
        loss: LatentLoss::SmoothL1,
        neighbours: None,
        sigreg: 0.0,
        ema: EmaConfig::default(),
        keep: Keep::Target,
        keep_predictor: false,
        collator: Arc::new(collator),
        device: Device::flex(),
    };
    let (predictions, targets, _) = objective.predict(&networks, &batch);
    model.golden.check("output.predictions", predictions);
    model.golden.check("output.target", targets);

    let clock = Clock { step: 1, total: 1, batch: 2, health_due: true };
    let outcome = objective.loss(&networks, &batch, &clock);
    model.golden.check("output.loss", outcome.loss.clone());
    let latents = outcome.latents.unwrap();
    model.golden.check("output.predictions", latents.predictions);
    model.golden.check("output.target", latents.targets);
    model.check_gradients(&networks, outcome.loss);
    let outcome = objective.loss(&networks, &batch, &Clock { health_due: false, ..clock });
    assert!(outcome.latents.is_none(), "latents that nobody asked for");

    // C-JEPA: VICReg of the mean prediction and the mean target of each sample, beside the loss.
    let term = AntiCollapse::Vicreg(VicregConfig::default());
    objective.means = Some((term, 0.5));
    let with = objective.loss(&networks, &batch, &clock);
    let (predictions, targets, _) = objective.predict(&networks, &batch);
    let [_, tokens, width] = predictions.dims();
    let mean = |t: Tensor<3>| t.inner().reshape([2, 2 * tokens, width]).mean_dim(1).swap_dims(0, 1);
    let codes = Tensor::cat(vec![mean(predictions), mean(targets.autodiff())], 0);
    let expected = ops::values(outcome.loss.inner())[0] + 0.5 * ops::values(term.views(codes, 1, &[], 0.0).value)[0];
    near("C-JEPA", &ops::values(with.loss.clone().inner()), &[expected]);
    assert_eq!(
        with.terms.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["prediction", "invariance", "variance", "covariance"]
    );
    objective.means = None;

    // What is kept is the target encoder; the state holds all three networks by their official names.
    assert_eq!(objective.kept(&networks).encoder.state(), model.golden.network("target_encoder."));
    let stored: NamedTensors = model
        .golden
        .tensors
        .iter()
        .filter(|(name, _)| !["input.", "output.", "grad."].iter().any(|p| name.starts_with(p)))
        .map(|(n, t)| (n.clone(), t.clone()))
        .collect();
    assert_eq!(weights::read(&networks, ""), stored);
    objective.keep = Keep::Context;
    assert_eq!(objective.kept(&networks).encoder.state(), model.golden.network("encoder."));
}

#[test]
fn an_odd_grid_and_unordered_targets() {
    let model = odd();
    model.check_encoder();
    let context = model.check_context();
    let masks = model.masks();
    let predictions = model.predictor.forward(context, &masks.context, &masks.target, masks.targets);
    model.golden.check("output.predictions", predictions.clone());
    let seen = model.target_encoder.encode_all(model.patches());
    let width = model.encoder.config().width;
    let seen =
        ops::layer_norm(seen, Tensor::ones([width], &Device::flex()), Tensor::zeros([width], &Device::flex()), 1e-5);
    let targets = gather_tokens(seen, &masks.target).reshape([masks.batch * masks.targets, masks.target_len, width]);
    model.golden.check("output.target", targets.clone());
    let loss = ops::smooth_l1(predictions, targets.autodiff(), 1.0);
    model.golden.check("output.loss", loss.clone());
    model.check_gradients(&model.networks(), loss);
}

/// A patch of the wrong image, a swapped axis or a lost position would pass every test above that starts from patches.
#[test]
fn the_collator_cuts_the_patches_that_patchify_cuts() {
    let (size, patch, channels) = (12, 4, 3);
    let image = |seed: usize| {
        let pixels = (0..size * size * channels).map(|i| ((i * 37 + seed * 101) % 251) as u8).collect();
        Image { width: size, height: size, channels, pixels }
    };
    let samples: Vec<Sample> = (0..3)
        .map(|i| Sample { index: i, name: String::new(), image: Arc::new(image(i)), labels: Vec::new() })
        .collect();
    let normalise = Normalise { mean: vec![0.2, 0.4, 0.6], std: vec![0.5, 0.3, 0.2] };
    let collator = MaskedCollator {
        seed: 5,
        size,
        patch,
        augment: Augment::default(),
        normalise: normalise.clone(),
        coloured: false,
        masks: MaskConfig::default(),
        together: false,
        width: 4,
        slices: 0,
    };
    let batch = collator.collate(7, &samples).unwrap();
    let mut whole = vec![0.0; 3 * channels * size * size];
    for (sample, out) in samples.iter().zip(whole.chunks_exact_mut(channels * size * size)) {
        normalise.apply(&sample.image, out);
    }
    let whole = Tensor::<1>::from_data(TensorData::new(whole.clone(), [whole.len()]), &Device::flex())
        .reshape([3, channels, size, size]);
    let patches = patchify(whole, patch);
    assert_eq!(batch.patches, ops::values(patches.clone()));
    assert_eq!(batch.context, ops::values(gather_tokens(patches, &batch.masks.context)));
}

#[test]
fn transformers_ijepa_model() {
    let golden = Golden::open(&["ijepa-hf.safetensors"]);
    let ours = Golden::open(&["i-jepa.safetensors"]);
    let config = VitConfig { image: (32, 32), patch: 8, channels: 3, width: 48, depth: 2, heads: 3, hidden: 192 };
    let encoder = config.init(&mut rng(3, Stream::Init, 0, 0), &Device::flex());
    golden.check("hf.embeddings.position_embeddings", encoder.pos_embed.val());
    let encoder = loaded(encoder, ours.network("encoder."));
    let images = golden.tensor::<4>("input.images", &Device::flex());
    golden.check("output.hf_last_hidden_state", encoder.tokens(images.clone()).tokens);

    // The same from the names of the published checkpoints.
    let renamed = loaded(config.init(&mut rng(4, Stream::Init, 0, 0), &Device::flex()), from_transformers(&golden));
    golden.check("output.hf_last_hidden_state", renamed.tokens(images).tokens);
}

/// transformers' names and its three separate projections → the official layout.
fn from_transformers(golden: &Golden) -> NamedTensors {
    let mut theirs = golden.network("hf.");
    let mut ours = NamedTensors::new();
    let mut take = |from: &str, to: &str| {
        ours.insert(to.to_owned(), theirs.remove(from).unwrap_or_else(|| panic!("no {from}")));
    };
    take("embeddings.position_embeddings", "pos_embed");
    let mut packed = Vec::new();
    for kind in ["weight", "bias"] {
        take(&format!("embeddings.patch_embeddings.projection.{kind}"), &format!("patch_embed.proj.{kind}"));
        take(&format!("layernorm.{kind}"), &format!("norm.{kind}"));
        for i in 0..2 {
            let layer = |rest: &str| format!("encoder.layer.{i}.{rest}.{kind}");
            for (from, to) in [
                ("layernorm_before", "norm1"),
                ("layernorm_after", "norm2"),
                ("attention.output.dense", "attn.proj"),
                ("intermediate.dense", "mlp.fc1"),
                ("output.dense", "mlp.fc2"),
            ] {
                take(&layer(from), &format!("blocks.{i}.{to}.{kind}"));
            }
            packed.push((
                format!("blocks.{i}.attn.qkv.{kind}"),
                ["query", "key", "value"].map(|role| layer(&format!("attention.attention.{role}"))),
            ));
        }
    }
    for (to, from) in packed {
        let parts = from.map(|name| theirs.remove(&name).unwrap_or_else(|| panic!("no {name}")));
        let mut shape = parts[0].shape.clone();
        shape[0] *= 3;
        ours.insert(to, NamedTensor { shape, values: parts.into_iter().flat_map(|t| t.values).collect() });
    }
    assert!(theirs.is_empty(), "{:?}", theirs.keys());
    ours
}

#[test]
fn sigreg_through_its_directions() {
    let golden = Golden::open(&["sigreg.safetensors"]);
    let z = golden.tensor::<2>("sigreg.z", &Device::flex()).autodiff().require_grad();
    let [n, width] = z.dims();
    let value = sigreg(z.clone().reshape([1, n, width]), &golden.get("sigreg.directions").values);
    golden.check("sigreg.value", value.clone());
    golden.check("sigreg.grad_z", z.grad(&value.backward()).unwrap());
}
