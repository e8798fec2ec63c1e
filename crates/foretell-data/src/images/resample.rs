//! A crop brought to a square of planes in f32, for views: bilinear with antialiasing, written by hand because for
//! small images a general resizer's fixed cost is larger than the work.

use crate::Image;
use crate::images::transform::{Crop, crop_resize};

/// Larger crops go through the general resizer, whose vector code then pays.
const BY_HAND: usize = 64 * 64;

/// A square image as one plane for each channel, values 0 to 255.
#[derive(Clone, Debug)]
pub(crate) struct Planes {
    pub(crate) size: usize,
    pub(crate) channels: usize,
    /// `[channels, size, size]`
    pub(crate) values: Vec<f32>,
}

impl Planes {
    fn new(size: usize, channels: usize) -> Self {
        Self { size, channels, values: vec![0.0; channels * size * size] }
    }

    fn of(image: &Image, flip: bool) -> Self {
        let (size, channels) = (image.width, image.channels);
        let mut planes = Self::new(size, channels);
        for (channel, plane) in planes.values.chunks_exact_mut((size * size).max(1)).enumerate() {
            let values = image.pixels.iter().skip(channel).step_by(channels);
            for (out, &value) in plane.iter_mut().zip(values) {
                *out = value as f32;
            }
            if flip {
                plane.chunks_exact_mut(size).for_each(<[f32]>::reverse);
            }
        }
        planes
    }

    /// The three planes of a colour image.
    pub(crate) fn rgb(&mut self) -> Option<(&mut [f32], &mut [f32], &mut [f32])> {
        if self.channels != 3 {
            return None;
        }
        let area = self.size * self.size;
        let (red, rest) = self.values.split_at_mut(area);
        let (green, blue) = rest.split_at_mut(area);
        Some((red, green, blue))
    }

    /// Rounded to bytes.
    pub(crate) fn into_image(self) -> Image {
        let byte = |value: f32| (value + 0.5).clamp(0.0, 255.0) as u8;
        let area = self.size * self.size;
        let pixels = if self.channels == 3 {
            let (red, rest) = self.values.split_at(area);
            let (green, blue) = rest.split_at(area);
            let mut pixels = vec![0; 3 * area];
            for (((out, &r), &g), &b) in pixels.chunks_exact_mut(3).zip(red).zip(green).zip(blue) {
                out.copy_from_slice(&[byte(r), byte(g), byte(b)]);
            }
            pixels
        } else {
            self.values.iter().map(|&value| byte(value)).collect()
        };
        Image { width: self.size, height: self.size, channels: self.channels, pixels }
    }

    /// Gaussian blur of standard deviation `sigma` pixels out to three of them; the border is repeated.
    pub(crate) fn blur(&mut self, sigma: f32) {
        let size = self.size;
        let reach = ((3.0 * sigma).ceil() as usize).max(1);
        let weights: Vec<f32> =
            (0..=2 * reach).map(|i| (-0.5 * ((i as f32 - reach as f32) / sigma).powi(2)).exp()).collect();
        let total: f32 = weights.iter().sum();
        let weights: Vec<f32> = weights.iter().map(|weight| weight / total).collect();
        let mut padded = vec![0.0; size + 2 * reach];
        let mut blurred = vec![0.0; size * size];
        for plane in self.values.chunks_exact_mut((size * size).max(1)) {
            for row in plane.chunks_exact_mut(size) {
                padded[..reach].fill(row[0]);
                padded[reach..reach + size].copy_from_slice(row);
                padded[reach + size..].fill(row[size - 1]);
                row.fill(0.0);
                for (shift, &weight) in weights.iter().enumerate() {
                    add_scaled(row, &padded[shift..shift + size], weight);
                }
            }
            blurred.fill(0.0);
            for (y, row) in blurred.chunks_exact_mut(size).enumerate() {
                for (shift, &weight) in weights.iter().enumerate() {
                    let from = (y + shift).saturating_sub(reach).min(size - 1);
                    add_scaled(row, &plane[from * size..(from + 1) * size], weight);
                }
            }
            plane.copy_from_slice(&blurred);
        }
    }
}

fn add_scaled(into: &mut [f32], from: &[f32], weight: f32) {
    for (into, from) in into.iter_mut().zip(from) {
        *into += weight * from;
    }
}

/// [`resample`] rounded to bytes.
pub(crate) fn recut(image: &Image, crop: Crop, size: usize, flip: bool) -> Image {
    let within = crop.within(image);
    if within.width * within.height <= BY_HAND {
        return resample(image, crop, size, flip).into_image();
    }
    let mut square = crop_resize(image, crop, size);
    if flip {
        let channels = square.channels;
        for row in square.pixels.chunks_exact_mut((size * channels).max(1)) {
            row.reverse();
            row.chunks_exact_mut(channels).for_each(<[u8]>::reverse);
        }
    }
    square
}

/// The crop as a square of `size`, mirrored if asked for.
pub(crate) fn resample(image: &Image, crop: Crop, size: usize, flip: bool) -> Planes {
    let crop = crop.within(image);
    if size == 0 || image.pixels.is_empty() {
        return Planes::new(size, image.channels);
    }
    if crop.width * crop.height > BY_HAND || (crop.width, crop.height) == (size, size) {
        return Planes::of(&crop_resize(image, crop, size), flip);
    }
    let mut columns = Taps::new(crop.width, size);
    if flip {
        columns.reverse();
    }
    let rows = Taps::new(crop.height, size);
    let mut planes = Planes::new(size, image.channels);
    let mut narrow = vec![0.0; crop.height * size];
    let mut line = vec![0.0; crop.width];
    for (channel, plane) in planes.values.chunks_exact_mut(size * size).enumerate() {
        for (y, out) in narrow.chunks_exact_mut(size).enumerate() {
            let start = ((crop.top + y) * image.width + crop.left) * image.channels + channel;
            let source = image.pixels[start..].iter().step_by(image.channels);
            for (value, &byte) in line.iter_mut().zip(source) {
                *value = byte as f32;
            }
            for (out, (start, weights)) in out.iter_mut().zip(columns.iter()) {
                *out = weights.iter().zip(&line[start..]).map(|(weight, value)| weight * value).sum();
            }
        }
        for (row, (start, weights)) in plane.chunks_exact_mut(size).zip(rows.iter()) {
            for (&weight, from) in weights.iter().zip(narrow.chunks_exact(size).skip(start)) {
                add_scaled(row, from, weight);
            }
        }
    }
    planes
}

/// For each output the first input that it sees and the weights from there on: a triangle as wide as the scale, at
/// least one pixel to either side, cut at the borders and normalised (PIL's `precompute_coeffs`).
struct Taps {
    starts: Vec<usize>,
    /// `[outputs, most]`
    weights: Vec<f32>,
    most: usize,
}

impl Taps {
    fn new(from: usize, to: usize) -> Self {
        let scale = from as f32 / to as f32;
        let reach = scale.max(1.0);
        let most = ((2.0 * reach).ceil() as usize + 1).min(from);
        let mut starts = vec![0; to];
        let mut weights = vec![0.0; to * most];
        for (out, (begin, weights)) in starts.iter_mut().zip(weights.chunks_exact_mut(most)).enumerate() {
            let centre = (out as f32 + 0.5) * scale;
            // The window is moved, not shortened, at the end, so that every output has as many weights.
            let start = ((centre - reach + 0.5).max(0.0) as usize).min(from - most);
            let mut total = 0.0;
            for (tap, weight) in weights.iter_mut().enumerate() {
                *weight = (1.0 - ((start + tap) as f32 + 0.5 - centre).abs() / reach).max(0.0);
                total += *weight;
            }
            for weight in weights {
                *weight /= total;
            }
            *begin = start;
        }
        Self { starts, weights, most }
    }

    fn reverse(&mut self) {
        self.starts.reverse();
        self.weights.reverse();
        self.weights.chunks_exact_mut(self.most).for_each(<[f32]>::reverse);
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.starts.iter().copied().zip(self.weights.chunks_exact(self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn by_hand_agrees_with_the_general_resizer(
            width in 1_usize..48, height in 1_usize..48, size in 1_usize..48, flip: bool, grey: bool, seed: u8,
        ) {
            let channels = if grey { 1 } else { 3 };
            let pixels = (0..width * height * channels).map(|i| (i * 37 + i * i % 91) as u8 ^ seed).collect();
            let image = Image { width, height, channels, pixels };
            let crop = Crop { left: width / 3, top: height / 4, width: width - width / 2, height: height - height / 3 };
            let by_hand = resample(&image, crop, size, flip);
            let general = Planes::of(&crop_resize(&image, crop, size), flip);
            for (a, b) in by_hand.values.iter().zip(&general.values) {
                // The general resizer rounds to bytes between its two passes and at the end.
                prop_assert!((a - b).abs() <= 1.6, "{a} {b}");
            }
        }
    }

    #[test]
    fn a_view_without_change_of_colour_needs_no_planes() {
        for (channels, size, flip) in [(1, 40, false), (3, 40, true), (3, 90, false), (1, 90, true)] {
            let pixels = (0..100 * 110 * channels).map(|i| (i * 37 + i * i % 91) as u8).collect();
            let image = Image { width: 100, height: 110, channels, pixels };
            for crop in
                [Crop { left: 3, top: 5, width: 90, height: 90 }, Crop { left: 9, top: 2, width: 20, height: 31 }]
            {
                let through_planes = resample(&image, crop, size, flip).into_image();
                assert!(
                    recut(&image, crop, size, flip).pixels == through_planes.pixels,
                    "{channels} {size} {flip} {crop:?}"
                );
            }
        }
    }

    #[test]
    fn blur_keeps_the_mean_of_an_even_image_and_spreads_a_point() {
        let mut planes = Planes::new(15, 1);
        planes.values[7 * 15 + 7] = 200.0;
        planes.blur(1.5);
        let total: f32 = planes.values.iter().sum();
        assert!((total - 200.0).abs() < 0.5, "{total}");
        // The middle of a two-dimensional Gaussian: 200 / (2 π σ²).
        let middle = planes.values[7 * 15 + 7];
        assert!((middle - 200.0 / (std::f32::consts::TAU * 2.25)).abs() < 0.2, "{middle}");
        let mut even = Planes { size: 9, channels: 3, values: vec![77.0; 243] };
        even.blur(40.0);
        assert!(even.values.iter().all(|value| (value - 77.0).abs() < 1e-3));
    }
}
