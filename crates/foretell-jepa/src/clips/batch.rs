//! Batches of clips for the masked composition: views, tubelets and mask sets, made in the loader's threads.

use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, ClipSample, Collate, DataError, Image, Normalise};
use foretell_nn::clip_vit::Modality;
use foretell_nn::positions::Grid;
use foretell_ops::Sets;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::masks::MaskError;
use crate::masks::tubes::{TubeConfig, TubeMasks};
use crate::sigreg::directions;

/// Clips of one shape and who sees which of their tokens, on the host.
pub struct TubePart {
    /// What they are.
    pub modality: Modality,
    /// Tokens of a clip.
    pub grid: Grid,
    /// How many, B.
    pub clips: usize,
    /// `[B·N, C·t·p·p]` row-major, each clip's frame by frame in raster order, each tubelet `[C, t, p, p]`.
    pub tubelets: Vec<f32>,
    /// The step's mask sets.
    pub masks: Vec<TubeMasks>,
}

/// A batch: clips, and perhaps single images.
pub struct TubeBatch {
    /// One for each shape.
    pub parts: Vec<TubePart>,
    /// SIGReg's directions, `[D, M]`; empty where it has no weight.
    pub directions: Vec<f32>,
}

/// The mask sets of a part behind each other, as the networks take them: one pass for all.
pub struct Joined {
    /// Rows of `tubelets` that the context sees, and their places in their clips.
    pub context_rows: Vec<u32>,
    /// See `context_rows`.
    pub context_at: Vec<u32>,
    /// Those of each clip of each mask set.
    pub context: Sets,
    /// Rows that are predicted, and their places.
    pub target_rows: Vec<u32>,
    /// See `target_rows`.
    pub target_at: Vec<u32>,
    /// Those of each clip of each mask set.
    pub targets: Sets,
    /// The mask set of each clip of each mask set.
    pub of_set: Vec<usize>,
}

impl TubePart {
    /// Numbers of a tubelet.
    pub fn values(&self) -> usize {
        self.tubelets.len() / (self.clips * self.grid.len()).max(1)
    }

    /// Share of what changes over time in the variance of the clips.
    pub fn motion(&self) -> f64 {
        motion(&self.tubelets, self.clips, self.grid)
    }

    /// The mask sets behind each other.
    pub fn joined(&self) -> Joined {
        let tokens = self.grid.len();
        let (mut context_rows, mut context_at, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        let (mut target_rows, mut target_at, mut hidden) = (Vec::new(), Vec::new(), Vec::new());
        let mut of_set = Vec::new();
        for (set, masks) in self.masks.iter().enumerate() {
            for clip in 0..masks.clips() {
                let first = (clip * tokens) as u32;
                let (context, target) = (masks.context_of(clip), masks.target_of(clip));
                context_rows.extend(context.iter().map(|place| first + place));
                context_at.extend_from_slice(context);
                seen.push(context.len());
                target_rows.extend(target.iter().map(|place| first + place));
                target_at.extend_from_slice(target);
                hidden.push(target.len());
                of_set.push(set);
            }
        }
        let (context, targets) = (Sets::of_lengths(&seen), Sets::of_lengths(&hidden));
        Joined { context_rows, context_at, context, target_rows, target_at, targets, of_set }
    }
}

/// The variance of the values of `clips` clips' tubelets `[B·N, ..]` over time at each place, as a share of all their variance. Of a
/// static camera it is 0.
pub(super) fn motion(tubelets: &[f32], clips: usize, grid: Grid) -> f64 {
    let area = tubelets.len() / (clips * grid.frames).max(1);
    let squares = |values: &mut dyn Iterator<Item = f64>| {
        let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
        values.for_each(|x| (n, sum, squares) = (n + 1.0, sum + x, squares + x * x));
        squares - sum * sum / f64::max(n, 1.0)
    };
    let over_time = |clip: &[f32]| {
        let at = |i: usize| squares(&mut clip.iter().skip(i).step_by(area).map(|x| f64::from(*x)));
        (0..area).map(at).sum::<f64>()
    };
    let changes: f64 = tubelets.chunks_exact((area * grid.frames).max(1)).map(over_time).sum();
    let all = squares(&mut tubelets.iter().map(|x| f64::from(*x)));
    // Of nothing but one colour nothing is left but rounding.
    if all <= 1e-9 * tubelets.len() as f64 { 0.0 } else { (changes / all).max(0.0) }
}

/// Shorter and smaller clips before the end of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Early {
    /// The first step of full clips.
    pub until: u64,
    /// Frames of the earlier ones.
    pub frames: usize,
    /// Their side in pixels.
    pub size: usize,
}

/// Single images among the clips of a batch (V-JEPA 2.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImagesAmong {
    /// Share of a batch's samples of which one frame is taken for an image; 0 for none.
    pub share: f64,
    /// Their masks.
    pub masks: TubeConfig,
}

/// Makes [`TubeBatch`]es.
pub struct TubeCollator {
    /// Of the run.
    pub seed: u64,
    /// Frames of a clip.
    pub frames: usize,
    /// Side of a frame in pixels.
    pub size: usize,
    /// Frames of a tubelet.
    pub tubelet: usize,
    /// Side of a tubelet.
    pub patch: usize,
    /// How views are made: alike for all frames of a clip.
    pub augment: Augment,
    /// Mean and standard deviation of the training clips.
    pub normalise: Normalise,
    /// Who sees which tokens.
    pub masks: TubeConfig,
    /// What comes before full clips, if anything does.
    pub early: Option<Early>,
    /// Single images beside the clips, if there are some; a tubelet of theirs has one frame.
    pub images: Option<ImagesAmong>,
    /// Token width, D.
    pub width: usize,
    /// Directions of SIGReg, M; 0 where it has no weight.
    pub slices: usize,
}

impl TubeCollator {
    /// Frames and side of the clips of a step.
    pub fn shape(&self, step: u64) -> (usize, usize) {
        match self.early {
            Some(early) if step < early.until => (early.frames, early.size),
            _ => (self.frames, self.size),
        }
    }

    /// Tokens of clips of so many frames of this side.
    pub fn grid(&self, frames: usize, size: usize) -> Grid {
        Grid { frames: frames / self.tubelet, rows: size / self.patch, cols: size / self.patch }
    }

    /// Refuses masks that cannot be drawn of any clip of the run.
    pub fn check(&self) -> Result<(), MaskError> {
        self.masks.check(self.grid(self.frames, self.size))?;
        let sizes = self.early.iter().map(|early| (early.frames, early.size)).chain([(self.frames, self.size)]);
        for (frames, size) in sizes {
            self.masks.check(self.grid(frames, size))?;
            if let Some(images) = &self.images {
                images.masks.check(Grid { frames: 1, ..self.grid(frames, size) })?;
            }
        }
        Ok(())
    }

    /// Images in a batch of so many samples: at least one clip is left.
    fn images(&self, samples: usize) -> usize {
        let share = self.images.as_ref().map_or(0.0, |images| images.share);
        ((share * samples as f64).round() as usize).min(samples.saturating_sub(1))
    }

    fn part(&self, step: u64, samples: &[ClipSample], first: usize, modality: Modality) -> Result<TubePart, DataError> {
        let (frames, size) = self.shape(step);
        let (frames, tubelet, masks) = match (&self.images, modality) {
            (Some(images), Modality::Image) => (1, 1, &images.masks),
            _ => (frames, self.tubelet, &self.masks),
        };
        let grid = Grid { frames: frames / tubelet, ..self.grid(frames, size) };
        // Images have draws of their own: those of a step that no run comes to.
        let of_masks = if modality == Modality::Image { step ^ (1 << 57) } else { step };
        let masks = masks
            .draw(grid, samples.len(), self.seed, of_masks)
            .map_err(|error| DataError::Collate(error.to_string()))?;
        let channels = self.normalise.mean.len();
        let frame = channels * size * size;
        let mut tubelets = vec![0.0; samples.len() * grid.len() * channels * tubelet * self.patch * self.patch];
        let one = tubelets.len() / samples.len().max(1);
        let mut pixels = vec![0.0; frames * frame];
        for (i, (sample, tubelets)) in samples.iter().zip(tubelets.chunks_exact_mut(one.max(1))).enumerate() {
            let mut rng = rng(self.seed, Stream::Augment, step, (first + i) as u64);
            let view = window(sample, frames, &mut rng).view(&self.augment, size, &mut rng);
            for (image, pixels) in view.frames.iter().zip(pixels.chunks_exact_mut(frame.max(1))) {
                self.normalise.apply(image, pixels);
            }
            cut(&pixels, (frames, channels, size), (tubelet, self.patch), tubelets);
        }
        Ok(TubePart { modality, grid, clips: samples.len(), tubelets, masks })
    }

    /// The views of a clip that a step of training makes, at place `i` of its batch: for those who want to look at them.
    pub fn view(&self, step: u64, i: usize, sample: &ClipSample) -> ClipSample {
        let (frames, size) = self.shape(step);
        let mut rng = rng(self.seed, Stream::Augment, step, i as u64);
        window(sample, frames, &mut rng).view(&self.augment, size, &mut rng)
    }
}

/// `frames` neighbouring frames of a clip, from any of them on; a shorter clip goes on with its last one.
fn window(sample: &ClipSample, frames: usize, rng: &mut impl Rng) -> ClipSample {
    let have = sample.frames.len();
    if have == frames {
        return sample.clone();
    }
    let first = if have > frames { rng.random_range(0..=(have - frames) as u32) as usize } else { 0 };
    let frame = |at: usize| -> Option<Image> { sample.frames.get((first + at).min(have.saturating_sub(1))).cloned() };
    ClipSample::new((0..frames).filter_map(frame).collect())
}

/// Frames `[T, C, S, S]` → tubelets `[N, C·t·p·p]`, frame by frame in raster order, each `[C, t, p, p]`; what goes beyond the last whole
/// one is left.
pub(super) fn cut(
    pixels: &[f32],
    (frames, channels, size): (usize, usize, usize),
    (tubelet, patch): (usize, usize),
    out: &mut [f32],
) {
    let side = size / patch;
    let mut rows = out.chunks_exact_mut(patch.max(1));
    for time in 0..frames / tubelet {
        for row in 0..side {
            for col in 0..side {
                for channel in 0..channels {
                    for frame in time * tubelet..(time + 1) * tubelet {
                        for y in 0..patch {
                            let from = ((frame * channels + channel) * size + row * patch + y) * size + col * patch;
                            if let Some(out) = rows.next() {
                                out.copy_from_slice(&pixels[from..from + patch]);
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Collate for TubeCollator {
    type Sample = ClipSample;
    type Batch = TubeBatch;

    fn collate(&self, step: u64, samples: &[ClipSample]) -> Result<TubeBatch, DataError> {
        let (clips, images) = samples.split_at(samples.len() - self.images(samples.len()));
        let mut parts = vec![self.part(step, clips, 0, Modality::Video)?];
        if !images.is_empty() {
            parts.push(self.part(step, images, clips.len(), Modality::Image)?);
        }
        Ok(TubeBatch { parts, directions: directions(self.seed, step, self.width, self.slices) })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};
    use foretell_ops as ops;

    use super::*;
    use crate::masks::tubes::OfficialTubes;

    fn sample(frames: usize, size: usize, seed: usize) -> ClipSample {
        let pixel = |frame: usize, i: usize| ((i * 37 + frame * 101 + seed * 53) % 251) as u8;
        let image = |frame: usize| Image {
            width: size,
            height: size,
            channels: 3,
            pixels: (0..size * size * 3).map(|i| pixel(frame, i)).collect(),
        };
        ClipSample::new((0..frames).map(image).collect())
    }

    fn collator() -> TubeCollator {
        TubeCollator {
            seed: 3,
            frames: 4,
            size: 12,
            tubelet: 2,
            patch: 4,
            augment: Augment::default(),
            normalise: Normalise { mean: vec![0.2, 0.4, 0.6], std: vec![0.5, 0.3, 0.2] },
            masks: TubeConfig::default(),
            early: None,
            images: None,
            width: 8,
            slices: 0,
        }
    }

    /// The device's cut is held against the released networks; a swapped axis here would pass every test that starts from tubelets.
    #[test]
    fn the_collator_cuts_what_the_network_cuts() {
        let samples: Vec<ClipSample> = (0..3).map(|seed| sample(4, 12, seed)).collect();
        let collator = collator();
        let batch = collator.collate(7, &samples).unwrap();
        let mut pixels = vec![0.0; 3 * 4 * 3 * 144];
        for (sample, clip) in samples.iter().zip(pixels.chunks_exact_mut(4 * 3 * 144)) {
            for (image, frame) in sample.frames.iter().zip(clip.chunks_exact_mut(3 * 144)) {
                collator.normalise.apply(image, frame);
            }
        }
        let clips = Tensor::<5>::from_data(TensorData::new(pixels, [3, 4, 3, 12, 12]), &Device::flex());
        assert_eq!(batch.parts[0].tubelets, ops::values(foretell_nn::clip_vit::cut(clips, 2, 4)));
        assert_eq!((batch.parts[0].grid.len(), batch.parts[0].values(), batch.parts.len()), (18, 96, 1));
    }

    #[test]
    fn mask_sets_follow_each_other_and_name_their_rows() {
        let samples: Vec<ClipSample> = (0..3).map(|seed| sample(4, 12, seed)).collect();
        let part = &collator().collate(1, &samples).unwrap().parts[0];
        let joined = part.joined();
        assert_eq!((joined.context.count(), joined.of_set.as_slice()), (6, &[0, 0, 0, 1, 1, 1][..]));
        for set in 0..6 {
            let range = joined.targets.range(set);
            assert_eq!(&joined.target_at[range.clone()], part.masks[set / 3].target_of(set % 3));
            let first = (set % 3 * 18) as u32;
            assert!(
                joined.target_rows[range.clone()]
                    .iter()
                    .zip(&joined.target_at[range])
                    .all(|(row, at)| *row == first + at)
            );
            let range = joined.context.range(set);
            assert!(
                joined.context_rows[range.clone()]
                    .iter()
                    .zip(&joined.context_at[range])
                    .all(|(row, at)| *row == first + at)
            );
        }
    }

    #[test]
    fn motion_is_what_changes_over_time() {
        let part = |samples: &[ClipSample]| collator().collate(1, samples).unwrap().parts.remove(0).motion();
        let moving = sample(4, 12, 0);
        let still = ClipSample::new(vec![moving.frames[0].clone(); 4]);
        assert!(part(&[moving.clone(), sample(4, 12, 1)]) > 0.1);
        assert!(part(&[still.clone(), still]) < 1e-6);
        let plain = Image { pixels: vec![80; 12 * 12 * 3], ..moving.frames[0].clone() };
        let plain = ClipSample::new(vec![plain; 4]);
        assert!(part(&[plain.clone(), plain]) < 1e-6);
    }

    #[test]
    fn clips_grow_where_that_is_asked_for() {
        let early = Early { until: 10, frames: 2, size: 8 };
        let collator = TubeCollator { early: Some(early), ..collator() };
        let samples: Vec<ClipSample> = (0..2).map(|seed| sample(4, 12, seed)).collect();
        let grid = |step| collator.collate(step, &samples).unwrap().parts[0].grid;
        assert_eq!(grid(9), Grid { frames: 1, rows: 2, cols: 2 });
        assert_eq!(grid(10), Grid { frames: 2, rows: 3, cols: 3 });
    }

    #[test]
    fn some_samples_are_images() {
        let images = ImagesAmong { share: 0.4, masks: TubeConfig::Official(OfficialTubes::image()) };
        let collator =
            TubeCollator { images: Some(images), size: 32, patch: 4, masks: TubeConfig::official(), ..collator() };
        collator.check().unwrap();
        let samples: Vec<ClipSample> = (0..5).map(|seed| sample(4, 32, seed)).collect();
        let batch = collator.collate(2, &samples).unwrap();
        let [clips, images] = &batch.parts[..] else { panic!("two parts") };
        assert_eq!((clips.clips, images.clips), (3, 2));
        assert_eq!(
            (images.grid, images.values(), images.modality),
            (Grid { frames: 1, rows: 8, cols: 8 }, 48, Modality::Image)
        );
        assert_eq!((clips.masks.len(), images.masks.len()), (2, 1));
    }

    #[test]
    fn masks_that_do_not_fit_are_a_sentence() {
        let collator = TubeCollator { masks: TubeConfig::official(), patch: 12, ..collator() };
        let error = collator.collate(1, &[sample(4, 12, 0)]).err().unwrap().to_string();
        assert!(error.contains("official tubes"), "{error}");
        assert!(collator.check().is_err());
    }
}
