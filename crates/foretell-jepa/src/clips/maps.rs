//! Maps of frames rolled forward (EB-JEPA's video example, arXiv 2602.03604): from the maps of two frames the next one's is predicted, from
//! that and the last one the one after it, and so on; each is held against the encoder's map of its frame. Both sides learn: no moving
//! average, no stop-gradient. Variance and covariance of codes keep places and frames apart.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{ClipSample, Collate, DataError, Normalise};
use foretell_nn::ClipEncoder;
use foretell_nn::frame_maps::FrameMaps;
use foretell_nn::layers::{BatchStatistics, Pass};
use foretell_nn::mlp::Projector;
use foretell_nn::positions::Grid;
use foretell_nn::unet::UNet;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::batch::motion;
use crate::{Clock, Kept, Latents, MOTION, Objective, Outcome, vicreg};

/// Frames on the host.
pub struct MapBatch {
    /// `[B, T, C, S, S]`, normalised.
    pub frames: Vec<f32>,
    /// B.
    pub clips: usize,
    /// How much changes over time; see [`MOTION`].
    pub motion: f64,
}

/// Makes [`MapBatch`]es.
pub struct MapWindows {
    /// Of the run.
    pub seed: u64,
    /// Neighbouring frames of a clip that a step learns from, T: they begin anywhere in it.
    pub window: usize,
    /// Side of frames in pixels.
    pub size: usize,
    /// Mean and standard deviation of the training clips.
    pub normalise: Normalise,
}

impl Collate for MapWindows {
    type Sample = ClipSample;
    type Batch = MapBatch;

    fn collate(&self, step: u64, samples: &[ClipSample]) -> Result<MapBatch, DataError> {
        let one = self.normalise.mean.len() * self.size * self.size;
        let mut frames = vec![0.0; samples.len() * self.window * one];
        for (at, (sample, out)) in samples.iter().zip(frames.chunks_exact_mut((self.window * one).max(1))).enumerate() {
            let Some(spare) = sample.frames.len().checked_sub(self.window) else {
                return Err(DataError::Collate(format!(
                    "a clip has {} frames where {} are learnt from",
                    sample.frames.len(),
                    self.window
                )));
            };
            let first = rng(self.seed, Stream::Augment, step, at as u64).random_range(0..=spare);
            let window = ClipSample::new(sample.frames[first..first + self.window].to_vec()).fit(self.size);
            for (frame, out) in window.frames.iter().zip(out.chunks_exact_mut(one.max(1))) {
                self.normalise.apply(frame, out);
            }
        }
        let motion = motion(&frames, samples.len(), Grid { frames: self.window, rows: 1, cols: 1 });
        Ok(MapBatch { frames, clips: samples.len(), motion })
    }
}

/// How maps are rolled forward in training, of K steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unroll {
    /// As in use: k steps on from two true maps, for every frame that k steps lead to; frames that fewer steps lead to do not count. All
    /// maps go through the projector in one pass.
    #[default]
    Chain,
    /// As released: in each pass all frames are predicted at once from the two before, both from the pass before it, and the first two are
    /// true again; so after k passes both inputs have k − 1 behind them, where in use the older one has k − 2. All frames count, the
    /// two true ones too. Each pass goes through the projector by itself, with batch statistics of its own.
    Parallel,
}

/// What the optimiser touches.
#[derive(Module, Debug)]
pub struct MapNetworks {
    /// Kept after training.
    pub encoder: FrameMaps,
    /// Kept beside it.
    pub predictor: UNet,
    /// Dropped after training: what is compared and what is kept apart are its codes of each place.
    pub projector: Projector,
}

/// The kept [model](Kept::model): what rolls the kept encoder's maps forward.
pub struct KeptMaps {
    predictor: UNet,
    change: bool,
}

impl KeptMaps {
    /// `change`: see [`MapRollout::change`].
    pub fn new(predictor: UNet, change: bool) -> Self {
        Self { predictor, change }
    }

    /// The maps of the next `steps` frames, from those of the last two, `[B, H, W, D]`.
    pub fn roll(&self, before: Tensor<4>, last: Tensor<4>, steps: usize) -> Vec<Tensor<4>> {
        let (mut before, mut last, mut all) = (before, last, Vec::with_capacity(steps));
        for _ in 0..steps {
            let pass = &mut Pass::Evaluation;
            let next = next(&self.predictor, self.change, (before, last.clone()), pass);
            (before, last) = (last, next.clone());
            all.push(next);
        }
        all
    }
}

/// The map behind two others, `[B, H, W, D]`.
fn next(predictor: &UNet, change: bool, (before, last): (Tensor<4>, Tensor<4>), pass: &mut Pass<'_>) -> Tensor<4> {
    let said = predictor.forward(Tensor::cat(vec![before, last.clone()], 3), pass);
    if change { last + said } else { said }
}

/// Maps that are rolled forward.
pub struct MapRollout {
    /// Steps, K.
    pub steps: usize,
    /// How.
    pub unroll: Unroll,
    /// Whether the predictor says what changes of the last map, and not the next map itself.
    pub change: bool,
    /// Whether predictions are drawn to the maps and those not to them.
    pub stop_gradient: bool,
    /// Weight of the codes' variance.
    pub variance: f64,
    /// Weight of their covariance.
    pub covariance: f64,
    /// Frames of a clip, of which the kept encoder is given all.
    pub frames: usize,
    /// Makes batches.
    pub collator: Arc<MapWindows>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

/// Rows of codes that health is shown, at most.
const SHOWN: usize = 2048;

/// Codes of the encoder's maps, and of what was rolled forward with what it is held against.
struct Rolled {
    /// `[B · T · H · W, K]`.
    own: Tensor<2>,
    /// Of each step: predicted and true, `[R, K]`.
    steps: Vec<[Tensor<2>; 2]>,
}

impl MapRollout {
    /// Maps of so many steps in the manner of [`Unroll::Chain`]: of those after k steps, `[B, T − 1 − k, H, W, D]`, the first is of frame k + 1.
    ///
    /// `maps`: `[B, T, H, W, D]`, T ≥ K + 2.
    pub fn chain(&self, predictor: &UNet, maps: &Tensor<5>, pass: &mut Pass<'_>) -> Vec<Tensor<5>> {
        let frames = maps.dims()[1];
        let mut all = vec![maps.clone()];
        for step in 1..=self.steps {
            let count = frames - 1 - step;
            // The first frame of which there is a map that so many steps led to.
            let first = |steps: usize| if steps == 0 { 0 } else { steps + 1 };
            let of = |steps: usize, frame: usize| all[steps].clone().narrow(1, frame - first(steps), count);
            let pair = (of(step.saturating_sub(2), step - 1), of(step - 1, step));
            let predicted = self.next(predictor, pair, pass);
            all.push(predicted);
        }
        all.split_off(1)
    }

    /// Maps of so many passes in the manner of [`Unroll::Parallel`], each of all frames, `[B, T, H, W, D]`.
    pub fn parallel(&self, predictor: &UNet, maps: &Tensor<5>, pass: &mut Pass<'_>) -> Vec<Tensor<5>> {
        let count = maps.dims()[1] - 2;
        let mut all = vec![maps.clone()];
        for step in 0..self.steps {
            let of = |frame: usize| all[step].clone().narrow(1, frame, count);
            let predicted = self.next(predictor, (of(0), of(1)), pass);
            all.push(Tensor::cat(vec![maps.clone().narrow(1, 0, 2), predicted], 1));
        }
        all.split_off(1)
    }

    fn next(&self, predictor: &UNet, (before, last): (Tensor<5>, Tensor<5>), pass: &mut Pass<'_>) -> Tensor<5> {
        let [b, t, h, w, d] = last.dims();
        let flat = |maps: Tensor<5>| maps.reshape([b * t, h, w, d]);
        next(predictor, self.change, (flat(before), flat(last)), pass).reshape([b, t, h, w, d])
    }

    /// Codes of the maps `[B, T, H, W, D]`, and of those that are rolled forward.
    fn rolled(&self, networks: &MapNetworks, maps: &Tensor<5>, seen: &mut Vec<BatchStatistics>) -> Rolled {
        let rows = |maps: Tensor<5>| {
            let [b, t, h, w, d] = maps.dims();
            maps.reshape([b * t * h * w, d])
        };
        let pass = &mut Pass::Training(seen);
        let [b, t, h, w, _] = maps.dims();
        match self.unroll {
            Unroll::Chain => {
                let all = self.chain(&networks.predictor, maps, pass);
                let parts = [maps.clone()].into_iter().chain(all).map(rows);
                let parts: Vec<Tensor<2>> = parts.collect();
                let counts: Vec<usize> = parts.iter().map(|part| part.dims()[0]).collect();
                let codes = networks.projector.forward(Tensor::cat(parts, 0), pass);
                let width = codes.dims()[1];
                let own = codes.clone().narrow(0, 0, counts[0]);
                let target = |step: usize| {
                    let places = own.clone().reshape([b, t, h * w, width]);
                    places.narrow(1, step + 1, t - 1 - step).reshape([b * (t - 1 - step) * h * w, width])
                };
                let mut from = counts[0];
                let step = |(step, count): (usize, &usize)| {
                    let predicted = codes.clone().narrow(0, from, *count);
                    from += count;
                    [predicted, target(step)]
                };
                let steps = counts.iter().enumerate().skip(1).map(step).collect();
                Rolled { own, steps }
            }
            Unroll::Parallel => {
                let own = networks.projector.forward(rows(maps.clone()), pass);
                let all = self.parallel(&networks.predictor, maps, pass);
                let step = |maps| [networks.projector.forward(rows(maps), pass), own.clone()];
                let steps = all.into_iter().map(step).collect();
                Rolled { own, steps }
            }
        }
    }
}

/// At most so many rows, evenly spread.
fn thinned(rows: &Tensor<2>) -> Tensor<2> {
    let rows = rows.clone().inner();
    let count = rows.dims()[0];
    let chosen: Vec<i64> = foretell_data::evenly(count, SHOWN).map(|row| row as i64).collect();
    let shape = [chosen.len()];
    let chosen = Tensor::<1, Int>::from_data(TensorData::new(chosen, shape), &rows.device());
    rows.select(0, chosen)
}

impl Objective for MapRollout {
    type Sample = ClipSample;
    type Batch = MapBatch;
    type Networks = MapNetworks;

    fn collator(&self) -> Arc<dyn Collate<Sample = ClipSample, Batch = MapBatch>> {
        self.collator.clone()
    }

    fn loss(&self, networks: &MapNetworks, batch: &MapBatch, clock: &Clock) -> Outcome {
        let c = &self.collator;
        let mut seen = Vec::new();
        let shape = [batch.clips * c.window, c.normalise.mean.len(), c.size, c.size];
        let frames = Tensor::from_data(TensorData::new(batch.frames.clone(), shape), &self.device);
        let maps = networks.encoder.maps(frames, &mut Pass::Training(&mut seen));
        let [_, h, w, d] = maps.dims();
        let maps = maps.reshape([batch.clips, c.window, h, w, d]);
        let Rolled { own, steps } = self.rolled(networks, &maps, &mut seen);
        let apart = |[predicted, target]: &[Tensor<2>; 2]| {
            let target = if self.stop_gradient { target.clone().detach() } else { target.clone() };
            (predicted.clone() - target).square().mean()
        };
        let sum = steps.iter().map(apart).reduce(|a, b| a + b).expect("one step at least");
        let prediction = sum / steps.len() as f64;
        let (variance, covariance) = (vicreg::variance(own.clone()), vicreg::covariance(own));
        let loss = prediction.clone() + variance.clone() * self.variance + covariance.clone() * self.covariance;
        let mut terms = vec![
            ("prediction", prediction.inner()),
            ("variance", variance.inner()),
            ("covariance", covariance.inner()),
        ];
        let mut latents = None;
        if clock.health_due {
            terms.push((MOTION, Tensor::from_floats([batch.motion as f32], &self.device)));
            latents = steps
                .last()
                .map(|[predicted, target]| Latents { predictions: thinned(predicted), targets: thinned(target) });
        }
        Outcome { loss, terms, latents, seen }
    }

    fn kept(&self, networks: &MapNetworks) -> Kept<ClipSample> {
        let c = &self.collator;
        let encoder =
            ClipEncoder::new(networks.encoder.valid(), (self.frames, c.size), c.normalise.clone(), &self.device);
        let model = KeptMaps::new(networks.predictor.valid(), self.change);
        Kept { encoder: Box::new(encoder), model: Some(Box::new(model)) }
    }
}
