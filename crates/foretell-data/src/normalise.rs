//! Mean and deviation of each channel, measured on the training part, and images as the tensors' input.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::images::dataset::Dataset;
use crate::images::transform::fit;
use crate::modality::{OnBadSample, Part};
use crate::ordered::Ordered;
use crate::visit::fail;
use crate::{DataError, Image, decimal};

/// Images that are measured at most.
const MEASURED: usize = 4096;

/// Images that a thread measures at a time.
const CHUNK: usize = 64;

/// A channel that never changes is not divided by 0: one step of a byte is the least deviation.
const LEAST: f64 = 1.0 / 255.0;

/// `(x / 255 - mean) / std` for each channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]

pub struct Normalise {
    /// Of each channel, in 0..=1.
    #[serde(serialize_with = "decimal::list")]
    pub mean: Vec<f32>,
    /// Of each channel, in 0..=1.
    #[serde(serialize_with = "decimal::list")]
    pub std: Vec<f32>,
}

impl Normalise {
    /// Measured on at most 4096 training images at the training size, spread evenly over the part. Images that cannot
    /// be read are left out or are an error.
    pub fn measure(dataset: &Dataset, size: usize, threads: usize, on_bad: OnBadSample) -> Result<Self, DataError> {
        let all = dataset.len(Part::Train);
        let count = all.min(MEASURED);
        let source = dataset.clone();
        Self::of_images(dataset.channels(), count, CHUNK, threads, move |places| {
            let mut images = Vec::with_capacity(places.len());
            for place in places {
                let index = place * all / count;
                match source.load(Part::Train, index) {
                    Ok(sample) => images.push(fit(&sample.image, size)),
                    Err(_) if on_bad == OnBadSample::Skip => {}
                    Err(error) => return Err(fail(error, source.name(Part::Train, index)?)),
                }
            }
            Ok(images)
        })
    }

    /// Measured on the images of so many places, of which a thread is given `chunk` at a time.
    pub(crate) fn of_images(
        channels: usize,
        count: usize,
        chunk: usize,
        threads: usize,
        images: impl Fn(Range<usize>) -> Result<Vec<Image>, DataError> + Send + Sync + 'static,
    ) -> Result<Self, DataError> {
        let work = move |number: u64| {
            let mut sums = vec![Sums::default(); channels];
            let first = number as usize * chunk;
            let images = images(first..count.min(first + chunk))?;
            for pixel in images.iter().flat_map(|image| image.pixels.chunks_exact(channels)) {
                sums.iter_mut().zip(pixel).for_each(|(sums, &value)| sums.add(value));
            }
            Ok::<_, DataError>(sums)
        };
        let mut chunks = Ordered::start(threads, 2 * threads, 0, count.div_ceil(chunk) as u64, work);
        let mut total = vec![Sums::default(); channels];
        while let Some(sums) = chunks.next() {
            total.iter_mut().zip(&sums?).for_each(|(total, sums)| total.join(sums));
        }
        let (mean, std) = total.iter().map(Sums::mean_and_deviation).unzip();
        Ok(Self { mean, std })
    }

    /// An error unless there is a mean and a deviation for each of 1 or 3 channels.
    pub(crate) fn check(&self) -> Result<(), DataError> {
        let Self { mean, std } = self;
        let sound = |values: &[f32]| values.iter().all(|value| value.is_finite());
        let one_each = (mean.len() == 1 || mean.len() == 3) && std.len() == mean.len();
        if one_each && sound(mean) && sound(std) && !std.contains(&0.0) {
            return Ok(());
        }
        Err(DataError::BadSetting {
            name: "data.normalise".into(),
            expected: "a mean and a positive standard deviation for 1 or 3 channels",
            found: format!("{mean:?} and {std:?}"),
        })
    }

    /// What leaves values as they are.
    pub fn nothing(channels: usize) -> Self {
        Self { mean: vec![0.0; channels], std: vec![1.0; channels] }
    }

    /// One image as `[channels, height, width]`; `out` has as many values as the image.
    pub fn apply(&self, image: &Image, out: &mut [f32]) {
        let area = (image.width * image.height).max(1);
        for (channel, plane) in out.chunks_exact_mut(area).take(image.channels).enumerate() {
            // A colour image given to grey statistics still comes out in range.
            let of = |values: &[f32], none| values.get(channel).or(values.last()).copied().unwrap_or(none);
            let (mean, std) = (of(&self.mean, 0.0), of(&self.std, 1.0));
            let (scale, offset) = (1.0 / (255.0 * std), -mean / std);
            for (value, &byte) in plane.iter_mut().zip(image.pixels.iter().skip(channel).step_by(image.channels)) {
                *value = byte as f32 * scale + offset;
            }
        }
    }

    /// Observations that are numbers already: each of `[C, H, W]`, any number of them, channel by channel, in place.
    pub fn scale(&self, observations: &mut [f32], area: usize) {
        let channels = self.mean.iter().zip(&self.std).cycle();
        for (plane, (mean, std)) in observations.chunks_exact_mut(area.max(1)).zip(channels) {
            for x in plane {
                *x = (*x - mean) / std;
            }
        }
    }

    /// Back from what [`scale`](Self::scale) made.
    pub fn unscale(&self, observations: &mut [f32], area: usize) {
        let channels = self.mean.iter().zip(&self.std).cycle();
        for (plane, (mean, std)) in observations.chunks_exact_mut(area.max(1)).zip(channels) {
            for x in plane {
                *x = *x * std + mean;
            }
        }
    }

    /// Mean and deviation of each column of `[R, width]`; a column that never changes is not divided.
    pub fn of_columns(rows: &[f32], width: usize) -> Self {
        let count = (rows.len() / width.max(1)).max(1) as f64;
        let (mut mean, mut std) = (Vec::new(), Vec::new());
        for column in 0..width {
            let values = || rows.iter().skip(column).step_by(width).map(|x| f64::from(*x));
            let middle = values().sum::<f64>() / count;
            let deviation = (values().map(|x| (x - middle).powi(2)).sum::<f64>() / count).sqrt();
            mean.push(middle as f32);
            // Of a constant the sum's rounding alone is left.
            std.push(if deviation > 1e-6 * middle.abs().max(1e-12) { deviation as f32 } else { 1.0 });
        }
        Self { mean, std }
    }

    /// Mean and deviation of observations `[C, H, W]` that are numbers already.
    pub fn of_values(observations: &[f32], channels: usize, area: usize) -> Self {
        let (mut mean, mut std) = (Vec::new(), Vec::new());
        for channel in 0..channels {
            let values = || {
                observations.chunks_exact(area.max(1)).skip(channel).step_by(channels).flatten().map(|x| f64::from(*x))
            };
            let count = values().count().max(1) as f64;
            let middle = values().sum::<f64>() / count;
            let variance = values().map(|x| (x - middle).powi(2)).sum::<f64>() / count;
            mean.push(middle as f32);
            std.push(variance.sqrt().max(LEAST) as f32);
        }
        Self { mean, std }
    }

    /// The same with each channel's deviation from the mean observation in place of its mean value: what all observations
    /// share, such as a frame around them, does not make what tells them apart any smaller.
    pub fn of_differences(observations: &[f32], channels: usize, area: usize) -> Self {
        let whole = channels * area.max(1);
        let count = (observations.len() / whole.max(1)).max(1) as f64;
        let deviation = |channel: usize| {
            let variances = (channel * area..(channel + 1) * area).map(|pixel| {
                let values = || observations.iter().skip(pixel).step_by(whole).map(|x| f64::from(*x));
                let middle = values().sum::<f64>() / count;
                values().map(|x| (x - middle).powi(2)).sum::<f64>() / count
            });
            (variances.sum::<f64>() / area.max(1) as f64).sqrt().max(LEAST) as f32
        };
        Self { std: (0..channels).map(deviation).collect(), ..Self::of_values(observations, channels, area) }
    }
}

/// Exact sums of one channel's bytes.
#[derive(Clone, Debug, Default)]
struct Sums {
    count: u64,
    values: u64,
    squares: u64,
}

impl Sums {
    fn add(&mut self, value: u8) {
        self.count += 1;
        self.values += value as u64;
        self.squares += value as u64 * value as u64;
    }

    fn join(&mut self, other: &Self) {
        self.count += other.count;
        self.values += other.values;
        self.squares += other.squares;
    }

    /// In 0..=1; (0.5, 1) when nothing could be measured.
    fn mean_and_deviation(&self) -> (f32, f32) {
        if self.count == 0 {
            return (0.5, 1.0);
        }
        let mean = self.values as f64 / self.count as f64;
        let variance = self.squares as f64 / self.count as f64 - mean * mean;
        let deviation = (variance.max(0.0).sqrt() / 255.0).max(LEAST);
        ((mean / 255.0) as f32, deviation as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScenesConfig;

    #[test]
    fn the_measured_part_has_mean_zero_and_deviation_one() {
        let dataset = Dataset::scenes(&ScenesConfig { size: 16, train: 300, ..ScenesConfig::default() });
        let one = Normalise::measure(&dataset, 16, 1, OnBadSample::Fail).unwrap();
        assert_eq!(one, Normalise::measure(&dataset, 16, 3, OnBadSample::Fail).unwrap());
        let mut out = vec![0.0; 3 * 256];
        let (mut sum, mut squares) = ([0.0; 3], [0.0; 3]);
        for index in 0..300 {
            one.apply(&dataset.load(Part::Train, index).unwrap().image, &mut out);
            for (channel, plane) in out.chunks_exact(256).enumerate() {
                sum[channel] += plane.iter().sum::<f32>();
                squares[channel] += plane.iter().map(|value| value * value).sum::<f32>();
            }
        }
        for channel in 0..3 {
            let (mean, square) = (sum[channel] / 76800.0, squares[channel] / 76800.0);
            assert!(mean.abs() < 1e-3 && (square - 1.0).abs() < 1e-3, "{mean} {square}");
        }
    }

    #[test]
    fn what_all_observations_share_sets_no_scale() {
        // One pixel of three differs, by 2; the others are far from the mean and the same in both.
        let seen = [8.0, -4.0, 1.0, 8.0, -4.0, 3.0];
        let of = Normalise::of_differences(&seen, 1, 3);
        assert_eq!((of.mean[0], of.std[0]), (2.0, (1.0_f32 / 3.0).sqrt()));
        assert!(Normalise::of_values(&seen, 1, 3).std[0] > 4.0);
    }

    #[test]
    fn planes_come_out_one_after_the_other() {
        let normalise = Normalise { mean: vec![0.0, 0.5, 1.0], std: vec![1.0, 0.5, 0.25] };
        let image = Image { width: 2, height: 1, channels: 3, pixels: vec![255, 0, 255, 0, 255, 0] };
        let mut out = [9.0; 6];
        normalise.apply(&image, &mut out);
        assert_eq!(out, [1.0, 0.0, -1.0, 1.0, 0.0, -4.0]);
    }
}
