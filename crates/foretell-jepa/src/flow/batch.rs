//! Batches of pairs of neighbouring frames, and of two views of a frame.

use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, ClipSample, Collate, DataError, Normalise};
use rand::RngExt;

/// Pairs and views on the host, normalised.
pub struct PairsBatch {
    /// Samples, B.
    pub samples: usize,
    /// `[2·B, C, S, S]`: the first frame of each sample's pair, then the second ones.
    pub frames: Vec<f32>,
    /// `[2·B, C, S, S]`: one view of a frame of each sample, then the other; empty where there is no content to learn.
    pub views: Vec<f32>,
    /// How much changes from one frame to the next, as a share of all variance; see [`MOTION`](crate::MOTION).
    pub motion: f64,
}

/// Makes [`PairsBatch`]es.
pub struct PairsCollator {
    /// Of the run.
    pub seed: u64,
    /// Side of frames and views in pixels.
    pub size: usize,
    /// How views are made; `None`: there are none.
    pub views: Option<Augment>,
    /// Mean and standard deviation of the training clips.
    pub normalise: Normalise,
}

impl Collate for PairsCollator {
    type Sample = ClipSample;
    type Batch = PairsBatch;

    /// The pair begins anywhere in the clip, and the views are of its first frame.
    fn collate(&self, step: u64, samples: &[ClipSample]) -> Result<PairsBatch, DataError> {
        if samples.iter().any(|sample| sample.frames.len() < 2) {
            return Err(DataError::Collate("a clip has fewer than two frames".to_owned()));
        }
        let one = self.normalise.mean.len() * self.size * self.size;
        let both = 2 * samples.len() * one;
        let (mut frames, mut views) = (vec![0.0; both], vec![0.0; if self.views.is_some() { both } else { 0 }]);
        for (at, sample) in samples.iter().enumerate() {
            let mut rng = rng(self.seed, Stream::Augment, step, at as u64);
            let first = rng.random_range(0..sample.frames.len() - 1);
            let pair = ClipSample::new(sample.frames[first..first + 2].to_vec()).fit(self.size);
            for (which, frame) in pair.frames.iter().enumerate() {
                self.normalise.apply(frame, &mut frames[(which * samples.len() + at) * one..][..one]);
            }
            for which in 0..2 {
                if let Some(augment) = &self.views {
                    let view = augment.apply(&sample.frames[first], self.size, &mut rng);
                    self.normalise.apply(&view, &mut views[(which * samples.len() + at) * one..][..one]);
                }
            }
        }
        let motion = motion(&frames);
        Ok(PairsBatch { samples: samples.len(), frames, views, motion })
    }
}

/// The variance of the pixels of both halves from one to the other, as a share of all their variance.
fn motion(frames: &[f32]) -> f64 {
    let (first, second) = frames.split_at(frames.len() / 2);
    let changes: f64 = first.iter().zip(second).map(|(a, b)| f64::from(a - b).powi(2) / 2.0).sum();
    let count = frames.len().max(1) as f64;
    let mean = frames.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let all: f64 = frames.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
    if all <= 1e-9 * count { 0.0 } else { changes / all }
}

#[cfg(test)]
mod tests {
    use foretell_data::Image;

    use super::*;

    #[test]
    fn pairs_are_neighbours_and_views_are_of_the_first() {
        let frame = |at: usize| Image { width: 8, height: 8, channels: 1, pixels: vec![10 * at as u8; 64] };
        let sample = ClipSample::new((0..5).map(frame).collect());
        let collator =
            PairsCollator { seed: 3, size: 8, views: Some(Augment::default()), normalise: Normalise::nothing(1) };
        let mut begun = [0; 4];
        for step in 0..20 {
            let batch = collator.collate(step, &vec![sample.clone(); 3]).unwrap();
            for at in 0..3 {
                let of = |values: &[f32], which: usize| (values[(3 * which + at) * 64] * 25.5).round();
                let first = of(&batch.frames, 0);
                begun[first as usize] += 1;
                assert_eq!(
                    (of(&batch.frames, 1), of(&batch.views, 0), of(&batch.views, 1)),
                    (first + 1.0, first, first)
                );
            }
        }
        assert!(begun.iter().all(|count| *count > 3), "{begun:?}");
        let still = ClipSample::new(vec![frame(1); 2]);
        assert_eq!(collator.collate(1, &[still, sample.clone()][..1]).unwrap().motion, 0.0);
        assert!(collator.collate(1, &[ClipSample::new(vec![frame(1)])]).is_err());
        let none = PairsCollator { views: None, ..collator };
        assert!(none.collate(1, &[sample]).unwrap().views.is_empty());
    }
}
