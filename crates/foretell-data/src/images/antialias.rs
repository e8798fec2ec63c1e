//! PIL's resizing of 8-bit images, to the bit: filters that are widened by the scale when an image shrinks, across first and
//! then down, weights of 22 bits, rounding to bytes between the two.

use crate::Image;

/// How a resized pixel is made of those around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// A triangle.
    Bilinear,
    /// Keys' cubic with a = -0.5.
    Bicubic,
}

/// Bits behind the point of a weight: with a byte and two bits of headroom they fill 32.
const BITS: u32 = 22;

impl Filter {
    /// How far it reaches to either side.
    fn reach(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn at(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Self::Bicubic => 0.0,
        }
    }
}

/// For each output, the first input that it sees and the weights from there on.
fn taps(from: usize, to: usize, filter: Filter) -> Vec<(usize, Vec<i32>)> {
    let scale = from as f64 / to as f64;
    let widened = scale.max(1.0);
    let reach = filter.reach() * widened;
    let tap = |out: usize| {
        let centre = (out as f64 + 0.5) * scale;
        let start = (centre - reach + 0.5).max(0.0) as usize;
        let end = ((centre + reach + 0.5) as usize).min(from);
        let weights: Vec<f64> = (start..end).map(|i| filter.at((i as f64 - centre + 0.5) / widened)).collect();
        let total: f64 = weights.iter().sum();
        let whole = |weight: &f64| (weight / total * f64::from(1 << BITS)).round() as i32;
        (start, weights.iter().map(whole).collect())
    };
    (0..to).map(tap).collect()
}

fn byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

const HALF: i32 = 1 << (BITS - 1);

/// The whole image brought to `width` by `height`, as `PIL.Image.resize` does it.
pub fn resize(image: &Image, width: usize, height: usize, filter: Filter) -> Image {
    if width * height * image.width * image.height == 0 {
        return Image::black(width, height, image.channels);
    }
    let narrow = if width == image.width { None } else { Some(across(image, width, filter)) };
    let narrow = narrow.as_ref().unwrap_or(image);
    if height == image.height { narrow.clone() } else { down(narrow, height, filter) }
}

fn across(image: &Image, width: usize, filter: Filter) -> Image {
    fn rows<const C: usize>(image: &Image, taps: &[(usize, Vec<i32>)], into: &mut Image) {
        let (old, new) = (image.width * C, into.width * C);
        for (row, out) in image.pixels.chunks_exact(old).zip(into.pixels.chunks_exact_mut(new)) {
            for (pixel, (start, weights)) in out.as_chunks_mut::<C>().0.iter_mut().zip(taps) {
                let mut sums = [HALF; C];
                for (from, &weight) in row.as_chunks::<C>().0[*start..].iter().zip(weights) {
                    for (sum, &value) in sums.iter_mut().zip(from) {
                        *sum += i32::from(value) * weight;
                    }
                }
                *pixel = sums.map(byte);
            }
        }
    }
    let taps = taps(image.width, width, filter);
    let mut into = Image::black(width, image.height, image.channels);
    if image.channels == 1 {
        rows::<1>(image, &taps, &mut into);
    } else {
        rows::<3>(image, &taps, &mut into);
    }
    into
}

fn down(image: &Image, height: usize, filter: Filter) -> Image {
    let length = image.width * image.channels;
    let mut into = Image::black(image.width, height, image.channels);
    let mut sums = vec![0; length];
    let taps = taps(image.height, height, filter);
    for (out, (start, weights)) in into.pixels.chunks_exact_mut(length).zip(taps) {
        sums.fill(HALF);
        for (row, weight) in image.pixels.chunks_exact(length).skip(start).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += i32::from(value) * weight;
            }
        }
        out.iter_mut().zip(&sums).for_each(|(out, &sum)| *out = byte(sum));
    }
    into
}
