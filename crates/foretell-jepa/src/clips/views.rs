//! Views of clips pulled together (LeVJEPA, arXiv 2608.27395): one whole view and several small ones of the same moments, most of whose
//! tokens are dropped; SIGReg keeps codes apart. No moving average, no predictor, no stop-gradient.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, ClipSample, Collate, DataError, Normalise};
use foretell_nn::ClipEncoder;
use foretell_nn::clip_summary::{SummaryVit, Thinned};
use foretell_nn::layers::{BatchStatistics, Pass};
use foretell_nn::mlp::Projector;
use foretell_nn::positions::Grid;
use rand::Rng;
use rand::seq::index;

use super::batch::{cut, motion};
use crate::sigreg::{directions, sigreg};
use crate::{Clock, Kept, Latents, MOTION, Objective, Outcome};

/// Views of one size, thinned, on the host.
pub struct ThinnedViews {
    /// Tokens of a whole view.
    pub grid: Grid,
    /// How many: those of the first view of each sample, then of the second, …
    pub views: usize,
    /// `[V·F·k]`: the places that are kept.
    pub at: Vec<u32>,
    /// Their tubelets, `[V·F·k, C·t·p·p]`.
    pub tubelets: Vec<f32>,
}

/// A batch: the whole views, the small ones and SIGReg's directions, `[K, M]`.
pub struct ClipViewsBatch {
    /// One of each sample.
    pub whole: ThinnedViews,
    /// Several of each.
    pub small: Option<ThinnedViews>,
    /// SIGReg's.
    pub directions: Vec<f32>,
    /// How much changes over time; see [`MOTION`].
    pub motion: f64,
}

/// Makes [`ClipViewsBatch`]es.
pub struct ClipViewsCollator {
    /// Of the run.
    pub seed: u64,
    /// Frames of a clip.
    pub frames: usize,
    /// Side of the whole view in pixels.
    pub size: usize,
    /// Side of the small ones.
    pub small_size: usize,
    /// Small views of each sample.
    pub small_views: usize,
    /// Frames and side of a tubelet.
    pub tubelet: (usize, usize),
    /// Share of a frame's tokens that is dropped, in all views.
    pub drop: f64,
    /// How whole views are made.
    pub whole: Augment,
    /// How small views are made.
    pub small: Augment,
    /// Mean and standard deviation of the training clips.
    pub normalise: Normalise,
    /// Width of the codes, K.
    pub code_width: usize,
    /// Directions of SIGReg, M.
    pub slices: usize,
}

impl ClipViewsCollator {
    fn grid(&self, size: usize) -> Grid {
        let (frames, patch) = self.tubelet;
        Grid { frames: self.frames / frames, rows: size / patch, cols: size / patch }
    }

    /// Tokens that are kept of a frame of `area`: at least one.
    fn kept(&self, area: usize) -> usize {
        (((1.0 - self.drop) * area as f64).round() as usize).clamp(1, area)
    }

    /// The views from `first` on, `views` of each sample; `look` is shown every view's pixels in tubelets before they are thinned.
    fn views(
        &self,
        (step, samples): (u64, &[ClipSample]),
        (augment, size): (&Augment, usize),
        (first, views): (usize, usize),
        mut look: impl FnMut(&[f32]),
    ) -> ThinnedViews {
        let (grid, (tubelet, patch)) = (self.grid(size), self.tubelet);
        let channels = self.normalise.mean.len();
        let (frame, values) = (channels * size * size, channels * tubelet * patch * patch);
        let (area, mut pixels) = (grid.rows * grid.cols, vec![0.0; self.frames * frame]);
        let mut all = vec![0.0; grid.len() * values];
        let (mut at, mut tubelets) = (Vec::new(), Vec::new());
        for view in first..first + views {
            for (i, sample) in samples.iter().enumerate() {
                let place = (view * samples.len() + i) as u64;
                let mut rng = rng(self.seed, Stream::Augment, step, place);
                let view = sample.view(augment, size, &mut rng);
                let last = view.frames.len().saturating_sub(1);
                for (at, pixels) in pixels.chunks_exact_mut(frame.max(1)).enumerate() {
                    self.normalise.apply(&view.frames[at.min(last)], pixels);
                }
                cut(&pixels, (self.frames, channels, size), (tubelet, patch), &mut all);
                look(&all);
                let first = at.len();
                at.extend(places(grid, self.kept(area), &mut rng));
                for place in &at[first..] {
                    tubelets.extend_from_slice(&all[*place as usize * values..][..values]);
                }
            }
        }
        ThinnedViews { grid, views: views * samples.len(), at, tubelets }
    }
}

/// As many places of each frame, frame by frame, each ascending.
fn places(grid: Grid, kept: usize, rng: &mut impl Rng) -> Vec<u32> {
    let area = grid.rows * grid.cols;
    let mut all = Vec::with_capacity(grid.frames * kept);
    for frame in 0..grid.frames {
        let mut drawn = index::sample(rng, area, kept).into_vec();
        drawn.sort_unstable();
        all.extend(drawn.into_iter().map(|place| (frame * area + place) as u32));
    }
    all
}

impl Collate for ClipViewsCollator {
    type Sample = ClipSample;
    type Batch = ClipViewsBatch;

    fn collate(&self, step: u64, samples: &[ClipSample]) -> Result<ClipViewsBatch, DataError> {
        if samples.iter().any(|sample| sample.frames.is_empty()) {
            return Err(DataError::Collate("a clip has no frames".to_owned()));
        }
        let mut shown = Vec::new();
        let whole = self.views((step, samples), (&self.whole, self.size), (0, 1), |view| {
            // A few clips say whether anything moves.
            if shown.len() < 4 {
                shown.push(view.to_vec());
            }
        });
        let small = (self.small_views > 0)
            .then(|| self.views((step, samples), (&self.small, self.small_size), (1, self.small_views), |_| ()));
        let motion = motion(&shown.concat(), shown.len(), self.grid(self.size));
        let directions = directions(self.seed, step, self.code_width, self.slices);
        Ok(ClipViewsBatch { whole, small, directions, motion })
    }
}

/// What the optimiser touches: all there is.
#[derive(Module, Debug)]
pub struct ClipViewsNetworks {
    /// Kept after training.
    pub encoder: SummaryVit,
    /// Dropped after training.
    pub projector: Projector,
}

/// Invariance across views of a clip with SIGReg.
pub struct ClipViews {
    /// λ in `invariance + λ SIGReg`.
    pub lambda: f64,
    /// Whether tokens attend to their own and earlier frames alone.
    pub causal: bool,
    /// Makes batches.
    pub collator: Arc<ClipViewsCollator>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

impl ClipViews {
    /// What sums the views up, `[V, D]`.
    fn sums(&self, networks: &ClipViewsNetworks, views: &ThinnedViews) -> Tensor<2> {
        let shape = [views.at.len(), views.tubelets.len() / views.at.len().max(1)];
        let tubelets = Tensor::from_data(TensorData::new(views.tubelets.clone(), shape), &self.device);
        let thinned = Thinned { grid: views.grid, clips: views.views, at: &views.at, causal: self.causal };
        networks.encoder.rows(tubelets, thinned).1
    }

    /// Codes of all views, `[V + 1, B, K]`, the whole one first.
    pub fn codes(
        &self,
        networks: &ClipViewsNetworks,
        batch: &ClipViewsBatch,
        seen: &mut Vec<BatchStatistics>,
    ) -> Tensor<3> {
        let mut sums = vec![self.sums(networks, &batch.whole)];
        sums.extend(batch.small.as_ref().map(|small| self.sums(networks, small)));
        let codes = networks.projector.forward(Tensor::cat(sums, 0), &mut Pass::Training(seen));
        let [rows, width] = codes.dims();
        codes.reshape([rows / batch.whole.views.max(1), batch.whole.views, width])
    }
}

impl Objective for ClipViews {
    type Sample = ClipSample;
    type Batch = ClipViewsBatch;
    type Networks = ClipViewsNetworks;

    fn collator(&self) -> Arc<dyn Collate<Sample = ClipSample, Batch = ClipViewsBatch>> {
        self.collator.clone()
    }

    /// The mean over all views of `(z_whole − z_v)²`, the whole one's own zero counted and with gradient on both sides, and SIGReg of
    /// each view (the released code).
    fn loss(&self, networks: &ClipViewsNetworks, batch: &ClipViewsBatch, clock: &Clock) -> Outcome {
        let mut seen = Vec::new();
        let codes = self.codes(networks, batch, &mut seen);
        let [views, samples, width] = codes.dims();
        let whole = codes.clone().narrow(0, 0, 1);
        let invariance = (codes.clone() - whole.clone()).square().mean();
        let regulariser = sigreg(codes.clone(), &batch.directions);
        let mut terms = vec![("invariance", invariance.clone().inner()), ("sigreg", regulariser.clone().inner())];
        if clock.health_due {
            terms.push((MOTION, Tensor::from_floats([batch.motion as f32], &self.device)));
        }
        let latents = clock.health_due.then(|| Latents {
            predictions: whole.inner().reshape([samples, width]),
            targets: codes.inner().narrow(0, views - 1, 1).reshape([samples, width]),
        });
        Outcome { loss: invariance + regulariser * self.lambda, terms, latents, seen }
    }

    fn kept(&self, networks: &ClipViewsNetworks) -> Kept<ClipSample> {
        let c = &self.collator;
        let encoder = ClipEncoder::new(networks.encoder.valid(), (c.frames, c.size), c.normalise.clone(), &self.device);
        Kept { encoder: Box::new(encoder), model: None }
    }
}

#[cfg(test)]
mod tests {
    use foretell_data::Image;

    use super::*;

    #[test]
    fn views_are_thinned_alike_in_each_frame() {
        let image = |frame: usize| Image {
            width: 16,
            height: 16,
            channels: 1,
            pixels: (0..256).map(|i| ((i * 31 + frame * 77) % 251) as u8).collect(),
        };
        let samples = vec![ClipSample::new((0..4).map(image).collect()); 3];
        let collator = ClipViewsCollator {
            seed: 0,
            frames: 4,
            size: 16,
            small_size: 8,
            small_views: 2,
            tubelet: (1, 4),
            drop: 0.75,
            whole: Augment::default(),
            small: Augment { crop_scale: (0.2, 0.5), ..Augment::default() },
            normalise: Normalise::nothing(1),
            code_width: 8,
            slices: 5,
        };
        let batch = collator.collate(3, &samples).unwrap();
        let small = batch.small.unwrap();
        assert_eq!((batch.whole.views, batch.whole.at.len(), batch.whole.tubelets.len()), (3, 3 * 16, 3 * 16 * 16));
        assert_eq!((small.views, small.at.len(), small.grid.len()), (6, 6 * 4, 16));
        for (i, place) in batch.whole.at.iter().enumerate() {
            assert_eq!(*place as usize / 16, i % 16 / 4, "four of each frame, in their order");
        }
        // Each row is the tubelet that lies there.
        let first = &batch.whole.tubelets[..16];
        let (frame, place) = (batch.whole.at[0] as usize / 16, batch.whole.at[0] as usize % 16);
        let pixel = |y: usize, x: usize| samples[0].frames[frame].pixels[(place / 4 * 4 + y) * 16 + place % 4 * 4 + x];
        assert!((0..16).all(|i| (first[i] - f32::from(pixel(i / 4, i % 4)) / 255.0).abs() < 1e-6));
        assert_eq!(batch.directions.len(), 8 * 5);
        assert!(batch.motion > 0.1);
    }
}
