//! From decoded frames to what a published model reads.

use foretell_data::{Image, centre_crop, resize, resize_short};
use foretell_nn::released::preprocessing::{Filter, Preprocessing, Resize};

use super::Moments;
use crate::Error;

/// Frames resized to more pixels than this are refused.
const MOST_PIXELS: usize = 1 << 27;

/// Normalised frames of one input.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels {
    /// T, C, H, W.
    pub shape: [usize; 4],
    /// Row-major.
    pub values: Vec<f32>,
    /// What of a clip they are.
    pub moments: Option<Moments>,
}

/// The filter in the resizing to the bit as PIL does it.
pub(super) fn filter(preprocessing: &Preprocessing) -> Result<foretell_data::Filter, Error> {
    match preprocessing.filter {
        Filter::Bilinear => Ok(foretell_data::Filter::Bilinear),
        Filter::Bicubic => Ok(foretell_data::Filter::Bicubic),
        Filter::Nearest | Filter::Lanczos => Err(Error::Misuse(
            "the preprocessor's config asks for a resample that is neither 2 (bilinear) nor 3 (bicubic): change it there, or give pixels \
             normalised elsewhere with `--input X.npy`"
                .to_owned(),
        )),
    }
}

/// Resized, cut at the middle, normalised. `name` is for errors.
pub(super) fn prepare(
    frames: Vec<Image>,
    preprocessing: &Preprocessing,
    filter: foretell_data::Filter,
    name: &str,
) -> Result<Pixels, Error> {
    let channels = 3;
    let (mut size, mut values) = (None, Vec::new());
    let count = frames.len();
    for frame in frames {
        let frame = resized(frame.with_channels(channels), preprocessing, filter, name)?;
        let frame = match preprocessing.crop {
            Some((height, width)) => centre_crop(&frame, width, height),
            None => frame,
        };
        let area = frame.width * frame.height;
        if size.is_none() {
            values.reserve_exact(count * channels * area);
        }
        size = Some((frame.height, frame.width));
        for channel in 0..channels {
            let of = |values: &[f32]| f64::from(values[channel.min(values.len() - 1)]);
            let (mean, std) = (of(&preprocessing.mean), of(&preprocessing.std));
            // Of each byte once.
            let normalised: Vec<f32> =
                (0..256).map(|byte| ((f64::from(byte) * preprocessing.scale - mean) / std) as f32).collect();
            values.extend(frame.pixels.iter().skip(channel).step_by(channels).map(|&byte| normalised[byte as usize]));
        }
    }
    let (height, width) = size.unwrap_or_default();
    Ok(Pixels { shape: [count, channels, height, width], values, moments: None })
}

fn resized(
    image: Image,
    preprocessing: &Preprocessing,
    filter: foretell_data::Filter,
    name: &str,
) -> Result<Image, Error> {
    let short = image.short_side().max(1);
    let size = match preprocessing.resize {
        None => return Ok(image),
        Some(Resize::Exact(height, width)) => (height, width),
        Some(Resize::Shorter(side)) => {
            (image.height.saturating_mul(side) / short, image.width.saturating_mul(side) / short)
        }
    };
    if size.0.saturating_mul(size.1) > MOST_PIXELS {
        return Err(Error::Misuse(format!(
            "`{name}` is {} × {} pixels and would be resized to {} × {}, beyond 128 megapixels: crop it first",
            image.height, image.width, size.0, size.1
        )));
    }
    Ok(match preprocessing.resize {
        Some(Resize::Shorter(side)) => resize_short(&image, side, filter),
        _ => resize(&image, size.1, size.0, filter),
    })
}
