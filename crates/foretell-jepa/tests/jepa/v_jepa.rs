//! V-JEPA, V-JEPA 2 and 2.1 against PyTorch: the loss of a step and the gradient of every parameter, with given masks and weights, in
//! f32 of what `bench/peers/v_jepa_parity.py` computed in f64 after the published methods.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, Normalise};
use foretell_jepa::clips::{
    ClipNetworks, ClipTarget, ClipTransform, ContextLoss, LatentLoss, MaskToken, MaskedClips, TubeBatch, TubeCollator,
    TubePart,
};
use foretell_jepa::masked::Keep;
use foretell_jepa::masks::tubes::{TubeConfig, TubeMasks};
use foretell_jepa::target::EmaConfig;
use foretell_jepa::{Clock, Objective};
use foretell_nn::clip_vit::{ClipVitConfig, Code, Dense, Modality, Positions, cut};
use foretell_nn::masked_predictor::MaskedPredictorConfig;
use foretell_nn::parameters::{change, gradients};
use foretell_nn::positions::{Grid, Rope, RopeStyle};
use foretell_ops as ops;
use safetensors::SafeTensors;

const CHANNELS: usize = 2;
const FRAMES: usize = 4;
const SIDE: usize = 12;
const PATCH: usize = 4;

/// As the script's `numbers`: in (−0.5, 0.5), begun from the name.
fn numbers(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let seed = name.bytes().enumerate().map(|(i, byte)| (i as u64 + 1) * u64::from(byte)).sum::<u64>() % 9973;
    (0..count as u64).map(move |k| ((k * 7919 + seed * 31 + k * k % 1511 * 17) % 2003) as f64 / 2003.0 - 0.5)
}

/// As the script's `value`.
fn value(name: &str, shape: &[usize]) -> Vec<f32> {
    let inputs: usize = shape[1..].iter().product();
    numbers(name, shape.iter().product())
        .map(|x| {
            if name.contains("norm") && name.ends_with("weight") {
                (1.0 + x) as f32
            } else if shape.len() > 1 && !name.contains("token") && !name.contains("mod_embed") {
                (2.0 * x / (inputs as f64).sqrt()) as f32
            } else {
                x as f32
            }
        })
        .collect()
}

/// As the script's `pixels`, of clips `[B, C, T, S, S]`, as tubelets `[B·N, C·t·p·p]`.
fn tubelets(name: &str, clips: usize, frames: usize, tubelet: usize) -> Vec<f32> {
    let shape = [clips, CHANNELS, frames, SIDE, SIDE];
    let pixels: Vec<f32> = numbers(name, shape.iter().product()).map(|x| (3.0 * x) as f32).collect();
    let clips = Tensor::<5>::from_data(TensorData::new(pixels, shape), &Device::flex());
    ops::values(cut(clips.permute([0, 2, 1, 3, 4]), tubelet, PATCH))
}

/// As the script's `masks`.
fn masks(grid: Grid, clips: usize, sets: usize) -> Vec<TubeMasks> {
    let area = grid.rows * grid.cols;
    let of = |set: usize, clip: usize| {
        let hidden: Vec<usize> = (0..area / 2 + set).map(|j| (2 * clip + 3 * set + 2 * j) % area).collect();
        let (target, context) = (0..grid.len() as u32).partition(|token| hidden.contains(&(*token as usize % area)));
        (context, target)
    };
    (0..sets).map(|set| TubeMasks::of((0..clips).map(|clip| of(set, clip)))).collect()
}

struct Case {
    file: &'static str,
    rope: Option<Rope>,
    dense: Option<Dense>,
    mask_token: MaskToken,
    context_loss: Option<ContextLoss>,
    images: bool,
}

impl Case {
    fn networks(&self) -> ClipNetworks {
        let grid = Grid { frames: 2, rows: 3, cols: 3 };
        let positions = self.rope.map_or(Positions::Added(grid, Code::Clip { uniform: true }), Positions::Turned);
        let levels = self.dense.as_ref().map_or(1, |dense| dense.levels.len());
        let encoder = ClipVitConfig {
            patch: PATCH,
            tubelet: 2,
            channels: CHANNELS,
            width: 16,
            depth: 2,
            heads: 2,
            hidden: 64,
            eps: 1e-6,
            positions: positions.clone(),
            dense: self.dense.clone(),
        };
        let predictor = MaskedPredictorConfig {
            encoder_width: 16,
            levels,
            width: 8,
            depth: 1,
            heads: 1,
            hidden: 32,
            out: 16 * levels,
            mask_tokens: 2,
            eps: 1e-6,
            positions,
            context_head: self.dense.is_some(),
            modalities: self.dense.is_some(),
        };
        let (mut rng, device) = (rng(0, Stream::Init, 0, 0), Device::flex().autodiff());
        let encoder = encoder.init(&mut rng, &device);
        let predictor = predictor.init(&mut rng, &device);
        let networks = ClipNetworks { target_encoder: Some(encoder.valid()), encoder, predictor };
        change(networks, &mut |parameter, old| {
            if parameter.name.ends_with("pos_embed") {
                return old;
            }
            let values = value(parameter.name, parameter.shape);
            let count = values.len();
            Tensor::from_data(TensorData::new(values, [count]), &old.device())
        })
    }

    fn objective(&self) -> MaskedClips {
        let collator = TubeCollator {
            seed: 0,
            frames: FRAMES,
            size: SIDE,
            tubelet: 2,
            patch: PATCH,
            augment: Augment::default(),
            normalise: Normalise::nothing(CHANNELS),
            masks: TubeConfig::default(),
            early: None,
            images: None,
            width: 0,
            slices: 0,
        };
        MaskedClips {
            target: ClipTarget::Ema,
            transform: ClipTransform::LayerNorm,
            loss: LatentLoss::L1,
            mask_token: self.mask_token,
            context_loss: self.context_loss,
            sigreg: 0.0,
            ema: EmaConfig::default(),
            keep: Keep::Target,
            given: false,
            collator: Arc::new(collator),
            device: Device::flex(),
        }
    }

    fn batch(&self) -> TubeBatch {
        let part = |name, clips, frames, tubelet, sets, modality| {
            let grid = Grid { frames: frames / tubelet, rows: SIDE / PATCH, cols: SIDE / PATCH };
            let tubelets = tubelets(name, clips, frames, tubelet);
            TubePart { modality, grid, clips, tubelets, masks: masks(grid, clips, sets) }
        };
        let mut parts = vec![part("clips", 3, FRAMES, 2, 2, Modality::Video)];
        if self.images {
            parts.push(part("images", 2, 1, 1, 1, Modality::Image));
        }
        TubeBatch { parts, directions: Vec::new() }
    }

    fn check(&self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(self.file);
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut golden: BTreeMap<String, Vec<f32>> = SafeTensors::deserialize(&bytes)
            .unwrap()
            .iter()
            .map(|(name, view)| {
                let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
                (name.to_owned(), values.collect())
            })
            .collect();
        let networks = self.networks();
        let clock = Clock { step: 1, total: 1, batch: 3, health_due: true };
        let outcome = self.objective().loss(&networks, &self.batch(), &clock);
        let latents = outcome.latents.unwrap();
        assert_eq!(latents.predictions.dims(), latents.targets.dims());
        let loss = f64::from(outcome.loss.clone().into_scalar::<f32>());
        let expected = f64::from(golden.remove("loss").unwrap()[0]);
        assert!((loss / expected - 1.0).abs() < 1e-5, "{}: a loss of {loss}, expected {expected}", self.file);
        gradients(&networks, &mut outcome.loss.backward(), &mut |parameter, gradient| {
            let found = ops::values(gradient);
            let Some(expected) = golden.remove(&format!("grad.{}", parameter.name)) else {
                panic!("{}: {} has a gradient and should have none", self.file, parameter.name);
            };
            assert_eq!(found.len(), expected.len(), "{}", parameter.name);
            let scale = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            assert!(scale > 0.0, "{} is all zero: it would show nothing", parameter.name);
            let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // Written so that NaN fails.
            let near = worst <= 1e-4 * scale && found.iter().all(|x| x.is_finite());
            assert!(near, "{}: {} is off by {worst:e} of {scale:e}", self.file, parameter.name);
        });
        let left: Vec<&String> = golden.keys().collect();
        assert!(left.is_empty(), "{}: no gradient of {left:?}", self.file);
    }
}

fn rope(style: RopeStyle, spread: Option<usize>) -> Rope {
    Rope { style, counted: None, spread }
}

#[test]
fn v_jepa_is_pytorchs() {
    let case = Case {
        file: "v-jepa.safetensors",
        rope: None,
        dense: None,
        mask_token: MaskToken::OfSet,
        context_loss: None,
        images: false,
    };
    case.check();
}

#[test]
fn v_jepa_2_as_released_is_pytorchs() {
    let case = Case {
        file: "v-jepa-2.safetensors",
        rope: Some(rope(RopeStyle::Tiled, None)),
        dense: None,
        mask_token: MaskToken::First,
        context_loss: None,
        images: false,
    };
    case.check();
}

#[test]
fn v_jepa_2_1_is_pytorchs() {
    let case = Case {
        file: "v-jepa-2-1.safetensors",
        rope: Some(rope(RopeStyle::Interleaved, Some(16))),
        dense: Some(Dense { levels: vec![0, 1] }),
        mask_token: MaskToken::OfSet,
        context_loss: Some(ContextLoss { weight: 0.5, from: 0.0, to: 0.0, by_distance: true }),
        images: true,
    };
    case.check();
}
