//! The masked composition: hidden tokens predicted from visible ones, against a target encoder that sees all.

use std::any::Any;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, Collate, DataError, Image, Normalise, Sample, View};
use foretell_nn::aggregation::Aggregation;
use foretell_nn::encode::ImageNetwork;
use foretell_nn::positions::gather_tokens;
use foretell_nn::predictor::Predictor;
use foretell_nn::vit::Vit;
use foretell_nn::whole_image::WholeImage;
use foretell_nn::{Encode, Frames};
use foretell_ops as ops;
use serde::{Deserialize, Serialize};

use crate::action;
use crate::clips::LatentLoss;
use crate::masks::{BatchMasks, Grid, MaskConfig};
use crate::neighbours::{AggregatedTargets, Nearby};
use crate::operators::cut;
use crate::sigreg::{directions, sigreg};
use crate::target::{EmaConfig, TargetKind, TargetTransform};
use crate::{AntiCollapse, Clock, Kept, KeptPredictor, KeptTargets, Latents, Objective, Outcome, Role};

/// Which of the two encoders is kept after training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The target encoder, as the papers evaluate.
    #[default]
    Target,
    /// The trained context encoder.
    Context,
}

/// What is predicted of hidden tokens; the last two are ablations of I-JEPA's tables 5 and 7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Predicts {
    /// The target encoder's features of them, which sees the whole sample: its output is masked.
    #[default]
    Latents,
    /// The same where the target encoder sees each target region alone: its input is masked.
    LatentsAlone,
    /// Their pixels, each patch brought to mean 0 and variance 1, by squared error (masked autoencoders, arXiv 2111.06377).
    Pixels,
}

/// Patches of a batch and who sees which, on the host.
pub struct MaskedBatch {
    /// `[B, N, C·p·p]` row-major, raster order, each patch `[C, p, p]`.
    pub patches: Vec<f32>,
    /// `[B, N_c, C·p·p]`: the context's, of a view with colours of its own where there are actions.
    pub context: Vec<f32>,
    /// `[B, A]`, what leads from the view that is seen to the one that is predicted; empty where they are the same.
    pub actions: Vec<f32>,
    /// Positions.
    pub masks: BatchMasks,
    /// Directions along which tokens are looked at, `[D, M]`; empty where no term takes any.
    pub directions: Vec<f32>,
}

/// Makes [`MaskedBatch`]es: crop, normalise, patchify, draw masks.
pub struct MaskedCollator {
    /// Of the run.
    pub seed: u64,
    /// Side of the images in pixels.
    pub size: usize,
    /// Side of a patch.
    pub patch: usize,
    /// How views are made.
    pub augment: Augment,
    /// Mean and standard deviation of the training images.
    pub normalise: Normalise,
    /// Whether what is seen has colours of its own (IWM): its crop and flip are those of what is predicted, its jitter is drawn for
    /// itself, and grey, blur and inversion happen to it alone.
    pub coloured: bool,
    /// Who sees which tokens.
    pub masks: MaskConfig,
    /// Whether all target blocks of a sample are predicted together, each token in sight of the others; otherwise block by block.
    pub together: bool,
    /// Token width, D.
    pub width: usize,
    /// Directions along which tokens are looked at, M; 0 where no term takes any.
    pub slices: usize,
}

/// What makes batches of a kind of samples whose tokens lie on a grid, and encoders of such samples.
pub trait OnGrid: Collate<Batch = MaskedBatch> {
    /// Rows and columns of tokens.
    fn grid(&self) -> Grid;

    /// A network in evaluation mode, which lies on `device`, as an encoder of samples that are prepared as for a batch.
    fn encoder<N: ImageNetwork + Module + 'static>(&self, network: N, device: &Device)
    -> Box<dyn Encode<Self::Sample>>;
}

impl OnGrid for MaskedCollator {
    fn grid(&self) -> Grid {
        Self::grid(self)
    }

    fn encoder<N: ImageNetwork + Module + 'static>(&self, network: N, device: &Device) -> Box<dyn Encode<Sample>> {
        Box::new(Frames::new(network, self.normalise.clone(), device))
    }
}

/// The same masks with all target blocks of a sample as one, if `together`.
pub(crate) fn joined(mut masks: BatchMasks, together: bool) -> BatchMasks {
    if together {
        // A sample's blocks lie one after the other: they are one.
        (masks.targets, masks.target_len) = (1, masks.targets * masks.target_len);
    }
    masks
}

impl MaskedCollator {
    /// Rows and columns of tokens.
    pub fn grid(&self) -> Grid {
        Grid { rows: self.size / self.patch, cols: self.size / self.patch }
    }

    /// The view that is predicted; and where it has colours of its own, that which is seen, and what leads from it to the other.
    pub fn views(&self, image: &Image, step: u64, place: u64) -> (Image, Option<(Image, [f32; action::NUMBERS])>) {
        let mut rng = rng(self.seed, Stream::Augment, step, place);
        if !self.coloured {
            return (self.augment.apply(image, self.size, &mut rng), None);
        }
        let (crop, flip) = self.augment.place(image, &mut rng);
        let target = self.augment.colours(&mut rng).jitter_alone();
        let source = self.augment.colours(&mut rng);
        let action = action::between(&source, &target, &self.augment);
        let view = |colours| View { crop, flip, colours }.of(image, self.size);
        (view(target), Some((view(source), action)))
    }
}

/// Rows `at` of each sample's `tokens` rows of `width`, `len` of them a sample.
pub(crate) fn chosen(rows: &[f32], width: usize, tokens: usize, at: &[u32], len: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(at.len() * width);
    for (i, token) in at.iter().enumerate() {
        let row = i / len * tokens + *token as usize;
        out.extend_from_slice(&rows[row * width..][..width]);
    }
    out
}

impl Collate for MaskedCollator {
    type Sample = Sample;
    type Batch = MaskedBatch;

    fn collate(&self, step: u64, samples: &[Sample]) -> Result<MaskedBatch, DataError> {
        let channels = samples.first().map_or(1, |s| s.image.channels);
        let grid = self.grid();
        let tokens = grid.rows * grid.cols;
        let width = channels * self.patch * self.patch;
        let drawn = self.masks.draw(grid, samples.len(), self.seed, step);
        let masks = joined(drawn.map_err(|e| DataError::Collate(e.to_string()))?, self.together);
        let mut patches = vec![0.0; samples.len() * tokens * width];
        let mut seen = if self.coloured { patches.clone() } else { Vec::new() };
        let mut actions = Vec::new();
        let mut pixels = vec![0.0; channels * self.size * self.size];
        let mut cut_view = |view: &Image, patches: &mut [f32]| {
            self.normalise.apply(view, &mut pixels);
            cut(&pixels, (self.size, self.size), self.patch, patches);
        };
        for (i, sample) in samples.iter().enumerate() {
            let rows = i * tokens * width..(i + 1) * tokens * width;
            let (view, source) = self.views(&sample.image, step, i as u64);
            cut_view(&view, &mut patches[rows.clone()]);
            if let Some((view, action)) = source {
                cut_view(&view, &mut seen[rows]);
                actions.extend(action);
            }
        }
        let seen = if self.coloured { &seen } else { &patches };
        let context = chosen(seen, width, tokens, &masks.context, masks.context_len);
        let directions = directions(self.seed, step, self.width, self.slices);
        Ok(MaskedBatch { patches, context, actions, masks, directions })
    }
}

/// All networks.
#[derive(Module, Debug)]
pub struct MaskedNetworks {
    /// The context encoder.
    pub encoder: Vit,
    /// The predictor.
    pub predictor: Predictor,
    /// The moving average, on the plain device; used with [`TargetKind::Ema`].
    pub target_encoder: Vit,
    /// Gathers the whole into the context's tokens, where there are [`Nearby`]; it stands between encoder and predictor.
    pub head: Option<Aggregation>,
    /// Gathers neighbours into targets, the average of the other.
    pub target_head: Option<Aggregation>,
}

/// The masked objective over images, or over other samples whose tokens lie on a grid.
pub struct Masked<C = MaskedCollator> {
    /// Where targets come from.
    pub target: TargetKind,
    /// What is predicted.
    pub predicts: Predicts,
    /// What becomes of the target's tokens before they are predicted.
    pub transform: TargetTransform,
    /// How predictions are held against targets: smooth L1 in the released code, squared L2 in the papers.
    pub loss: LatentLoss,
    /// Whose tokens are gathered into a target, where the networks have heads (DMT-JEPA).
    pub neighbours: Option<Nearby>,
    /// Weight of SIGReg on the context's tokens; 0 as released.
    pub sigreg: f64,
    /// A term on the means of a sample's predictions and of its targets, and its weight: with VICReg this is C-JEPA (arXiv 2410.19560).
    pub means: Option<(AntiCollapse, f64)>,
    /// The clock of the average.
    pub ema: EmaConfig,
    /// Which encoder is kept.
    pub keep: Keep,
    /// Whether the predictor is kept too.
    pub keep_predictor: bool,
    /// Makes batches.
    pub collator: Arc<C>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

impl<C: OnGrid> Masked<C> {
    /// Predictions and (transformed) targets of a batch, both `[B·K, N_t, D]`, or as wide as a patch where pixels are predicted, and
    /// the context's tokens `[B, N_c, D]`. A predictor without blocks predicts the mean of the context's tokens everywhere.
    pub fn predict(&self, networks: &MaskedNetworks, batch: &MaskedBatch) -> (Tensor<3>, Tensor<3>, Tensor<3>) {
        let masks = &batch.masks;
        let tensor = |values: &[f32], tokens: usize| {
            let shape = [masks.batch, tokens, values.len() / (masks.batch * tokens)];
            Tensor::<3>::from_data(TensorData::new(values.to_vec(), shape), &self.device)
        };
        let grid = self.collator.grid();
        let patches = tensor(&batch.patches, grid.rows * grid.cols);
        let (regions, tokens) = (masks.batch * masks.targets, masks.target_len);
        let hidden = |seen: Tensor<3>| {
            let [_, _, width] = seen.dims();
            gather_tokens(seen, &masks.target).reshape([regions, tokens, width])
        };
        let targets = match self.predicts {
            Predicts::Latents => {
                hidden(self.targets(networks, self.seen(networks, |encoder| encoder.encode_all(patches))))
            }
            Predicts::LatentsAlone => {
                let alone = hidden(patches);
                self.transform.apply(self.seen(networks, |encoder| encoder.encode_some(alone, &masks.target)))
            }
            Predicts::Pixels => hidden(TargetTransform::LayerNorm.apply(patches)),
        };
        let context = networks.encoder.encode_some(tensor(&batch.context, masks.context_len), &masks.context);
        if networks.predictor.predictor_blocks.is_empty() {
            let [samples, _, width] = context.dims();
            let mean = context.clone().mean_dim(1).reshape([samples, 1, 1, width]);
            let predictions = mean.repeat_dim(1, masks.targets).repeat_dim(2, tokens).reshape([regions, tokens, width]);
            return (predictions, targets, context);
        }
        let given = match &networks.head {
            Some(head) => head.global(context.clone()),
            None => context.clone(),
        };
        let numbers = batch.actions.len() / masks.batch.max(1);
        let actions = (numbers > 0).then(|| {
            Tensor::<2>::from_data(TensorData::new(batch.actions.clone(), [masks.batch, numbers]), &self.device)
        });
        let predictor = &networks.predictor;
        let predictions = predictor.forward_under(given, &masks.context, &masks.target, masks.targets, actions);
        (predictions, targets, context)
    }

    /// What the teacher's tokens are predicted as, `[B, N, D]`: with what is alike around each gathered in it, where that is done.
    fn targets(&self, networks: &MaskedNetworks, seen: Tensor<3>) -> Tensor<3> {
        let (Some(nearby), Some(head), Some(average)) = (&self.neighbours, &networks.head, &networks.target_head)
        else {
            return self.transform.apply(seen);
        };
        let grid = self.collator.grid();
        let gathered = match self.target {
            TargetKind::Ema => nearby.gathered(average, seen, grid),
            TargetKind::StopGradient => nearby.gathered(&head.valid(), seen, grid),
            TargetKind::Live => nearby.gathered(head, seen, grid),
        };
        match self.transform {
            // The head begins with one, and ends with one of its own.
            TargetTransform::LayerNorm => gathered,
            TargetTransform::Standardise => self.transform.apply(gathered),
        }
    }

    /// What the target encoder makes of what it sees.
    fn seen(&self, networks: &MaskedNetworks, see: impl FnOnce(&Vit) -> Tensor<3>) -> Tensor<3> {
        match self.target {
            TargetKind::Ema => see(&networks.target_encoder),
            TargetKind::StopGradient => see(&networks.encoder.valid()),
            TargetKind::Live => see(&networks.encoder),
        }
    }
}

/// The mean of each sample's tokens, all its targets together: `[B·K, N_t, D]` → `[B, D]`.
fn sample_means(tokens: &Tensor<3>, batch: &MaskedBatch) -> Tensor<2> {
    let [_, _, width] = tokens.dims();
    let masks = &batch.masks;
    tokens.clone().reshape([masks.batch, masks.targets * masks.target_len, width]).mean_dim(1).squeeze_dim(1)
}

/// `[R, N, D]` → `[R·N, D]`, untracked.
pub(crate) fn flatten(latents: Tensor<3>) -> Tensor<2> {
    let [r, n, d] = latents.dims();
    latents.inner().reshape([r * n, d])
}

impl<C: OnGrid<Sample: Sync> + 'static> Objective for Masked<C> {
    type Sample = C::Sample;
    type Batch = MaskedBatch;
    type Networks = MaskedNetworks;

    fn collator(&self) -> Arc<dyn Collate<Sample = C::Sample, Batch = MaskedBatch>> {
        self.collator.clone()
    }

    fn loss(&self, networks: &MaskedNetworks, batch: &MaskedBatch, clock: &Clock) -> Outcome {
        let (predictions, targets, context) = self.predict(networks, batch);
        let latents = clock
            .health_due
            .then(|| Latents { predictions: flatten(predictions.clone()), targets: flatten(targets.clone()) });
        let means = self.means.map(|(term, weight)| {
            let tracked = if targets.device().is_autodiff() { targets.clone() } else { targets.clone().autodiff() };
            let codes = Tensor::stack(vec![sample_means(&predictions, batch), sample_means(&tracked, batch)], 0);
            (term.views(codes, 1, &batch.directions, term.usual_lambda().unwrap_or(0.0)), weight)
        });
        // The mean over everything.
        let prediction = match self.predicts {
            Predicts::Pixels => ops::l2(predictions, targets),
            Predicts::Latents | Predicts::LatentsAlone => self.loss.of(predictions, targets),
        };
        if self.sigreg == 0.0 && means.is_none() {
            return Outcome { loss: prediction, terms: Vec::new(), latents, seen: Vec::new() };
        }
        let mut terms = vec![("prediction", prediction.clone().inner())];
        let mut loss = prediction;
        if self.sigreg > 0.0 {
            // Each place in the context is a group of its own: its tokens differ by sample, and that is what must spread.
            let regulariser = sigreg(context.swap_dims(0, 1), &batch.directions);
            terms.push(("sigreg", regulariser.clone().inner()));
            loss = loss + regulariser * self.sigreg;
        }
        if let Some((term, weight)) = means {
            terms.extend(term.parts.into_iter().map(|(name, part)| (name, part.inner())));
            loss = loss + term.value * weight;
        }
        Outcome { loss, terms, latents, seen: Vec::new() }
    }

    fn role<'a>(&self, name: &'a str, clock: &Clock) -> Role<'a> {
        let teachers = [("target_encoder.", "encoder."), ("target_head.", "head.")];
        match teachers.into_iter().find(|(teacher, _)| name.starts_with(teacher)) {
            Some(teacher) if self.target == TargetKind::Ema => self.ema.role(name, teacher, clock),
            Some(_) => Role::Stays,
            None => Role::LEARNS,
        }
    }

    fn kept(&self, networks: &MaskedNetworks) -> Kept<C::Sample> {
        let encoder = match (self.keep, self.target) {
            (Keep::Target, TargetKind::Ema) => networks.target_encoder.clone(),
            _ => networks.encoder.valid(),
        };
        let (collator, device) = (&self.collator, &self.device);
        let model = match (&self.neighbours, &networks.head, &networks.target_head) {
            (Some(neighbours), Some(head), Some(average)) => {
                let head = if self.target == TargetKind::Ema { average.clone() } else { head.valid() };
                let targets = AggregatedTargets::new(encoder.clone(), head, *neighbours);
                Some(Box::new(KeptTargets(collator.encoder(targets, device))) as Box<dyn Any + Send>)
            }
            _ if self.keep_predictor => {
                let whole = WholeImage { encoder: encoder.clone(), predictor: networks.predictor.valid() };
                Some(Box::new(KeptPredictor(collator.encoder(whole, device))) as Box<dyn Any + Send>)
            }
            _ => None,
        };
        Kept { encoder: collator.encoder(encoder, device), model }
    }
}
