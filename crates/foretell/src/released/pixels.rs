//! From decoded frames to what a published model reads.

use foretell_data::{Image, resize};
use foretell_nn::released::preprocessing::{Filter, Preprocessing};

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
        let (found, pixels) = preprocessing.normalised(&frame);
        if size.is_none() {
            values.reserve_exact(count * pixels.len());
        }
        size = Some(found);
        values.extend(pixels);
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
    let Some(resizing) = preprocessing.resize else { return Ok(image) };
    let (height, width) = resizing.target(image.height, image.width);
    if height.saturating_mul(width) > MOST_PIXELS {
        return Err(Error::Misuse(format!(
            "`{name}` is {} × {} pixels and would be resized to {height} × {width}, beyond 128 megapixels: crop it first",
            image.height, image.width
        )));
    }
    Ok(resize(&image, width.max(1), height.max(1), filter))
}

#[cfg(test)]
mod tests {
    use foretell_nn::released::preprocessing::Preprocessing;

    use super::*;

    /// Shape, three values and the mean of what the `…ImageProcessorPil` of transformers 5.24 (Pillow) make of
    /// `(37 y + 11 x + 53 c + 7 (x y mod 17)) mod 256`, 20 high and 28 wide.
    #[test]
    fn pixels_are_those_of_the_named_processor() {
        let pixel = |at: usize| {
            let (y, x, c) = (at / 84, at / 3 % 28, at % 3);
            ((y * 37 + x * 11 + c * 53 + (x * y) % 17 * 7) % 256) as u8
        };
        let image = Image { width: 28, height: 20, channels: 3, pixels: (0..28 * 20 * 3).map(pixel).collect() };
        for (text, shape, first, middle, last, mean) in [
            (r#""ViTImageProcessor", "size": 16"#, [16, 16], -0.87451, -0.29412, -0.22353, 0.002257),
            (r#""CLIPImageProcessor", "size": 16, "crop_size": 12"#, [12, 12], 1.63837, 1.17442, 1.88994, 0.203873),
            (
                r#""BitImageProcessorFast", "size": 16, "crop_size": 12, "image_mean": 0.5, "image_std": 0.25"#,
                [12, 12],
                1.68627,
                1.05882,
                1.71765,
                0.017901,
            ),
            (r#""ConvNextImageProcessor", "size": 16"#, [16, 16], 0.05882, 0.13725, -0.74118, -0.000725),
            (r#""ConvNextFeatureExtractor", "size": 384"#, [384, 384], -1.0, -0.61569, -0.17647, 0.001652),
            (
                r#""DeiTImageProcessor", "size": [18, 24], "crop_size": 16"#,
                [16, 16],
                0.10588,
                0.05882,
                -0.48235,
                0.000255,
            ),
            (
                r#""CLIPImageProcessor", "size": {"shortest_edge": 16, "longest_edge": 20}, "do_center_crop": false, "resample": "bilinear""#,
                [14, 20],
                -1.54409,
                -0.29634,
                -0.05821,
                0.195663,
            ),
            (
                r#""CLIPImageProcessor", "size": {"max_height": 16, "max_width": 16}, "do_center_crop": false"#,
                [11, 16],
                -1.4711,
                0.97932,
                -0.00133,
                0.192555,
            ),
        ] {
            let text = format!("{{\"image_processor_type\": {text}}}");
            let read = Preprocessing::read(&text, Preprocessing::squeezed((448, 448))).unwrap();
            let filter = filter(&read).unwrap();
            let Pixels { shape: [_, _, height, width], values, .. } =
                prepare(vec![image.clone()], &read, filter, "x").unwrap();
            assert_eq!([height, width], shape, "{text}");
            let at = |c: usize, y: usize, x: usize| values[(c * height + y) * width + x];
            let found = [at(0, 0, 0), at(1, 3, 5), at(2, height - 1, width - 1)];
            let off =
                found.iter().zip([first, middle, last]).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(off < 2e-5, "{text}: {found:?}");
            let all = values.iter().map(|x| f64::from(*x)).sum::<f64>() / values.len() as f64;
            assert!((all - mean).abs() < 2e-5, "{text}: {all}");
        }
    }
}
