//! How a released model wants its pixels: `preprocessor_config.json` and `video_preprocessor_config.json`.

use foretell_data::{Image, centre_crop};
use serde::Deserialize;
use serde_json::Value;

use super::ReleasedError;
use super::processors::Processor;

/// Mean and standard deviation of ImageNet's channels, in [0, 1].
pub const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// How a picture is resized first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// The shorter side to this length, keeping the proportions.
    Shorter(usize),
    /// To this height and width.
    Exact(usize, usize),
    /// The shorter side to the first length, keeping the proportions, but the longer one to the second where it would be beyond.
    Between(usize, usize),
    /// As large as fits this height and width, keeping the proportions.
    Inside(usize, usize),
}

impl Resize {
    /// Height and width of a picture of this height and width when it is resized, to the pixel as transformers counts them.
    pub fn target(self, height: usize, width: usize) -> (usize, usize) {
        let (height, width) = (height.max(1), width.max(1));
        let short = height.min(width);
        let shorter = |side: usize| (height.saturating_mul(side) / short, width.saturating_mul(side) / short);
        match self {
            Self::Exact(height, width) => (height, width),
            Self::Shorter(side) => shorter(side),
            Self::Between(side, most) => {
                let long = height.max(width) as f64;
                if long / short as f64 * side as f64 <= most as f64 {
                    return shorter(side);
                }
                // `get_size_with_aspect_ratio` rounds the shorter side, and cuts the longer one off.
                let exact = most as f64 * short as f64 / long;
                let side = exact.round_ties_even() as usize;
                if short == side {
                    return (height, width);
                }
                let longer = (exact * long / short as f64) as usize;
                if width < height { (longer, side) } else { (side, longer) }
            }
            Self::Inside(most_height, most_width) => {
                let scale = (most_height as f64 / height as f64).min(most_width as f64 / width as f64);
                ((height as f64 * scale) as usize, (width as f64 * scale) as usize)
            }
        }
    }
}

/// How pixels between pixels are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// 0 in PIL.
    Nearest,
    /// 1 in PIL.
    Lanczos,
    /// 2 in PIL.
    Bilinear,
    /// 3 in PIL.
    Bicubic,
}

/// What becomes of a frame before the network: resized, cut at the middle, brought to [0, 1] and normalised.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessing {
    /// First step, if any.
    pub resize: Option<Resize>,
    /// How the first step fills in.
    pub filter: Filter,
    /// Height and width of the piece at the middle, if one is cut.
    pub crop: Option<(usize, usize)>,
    /// What bytes are multiplied with: 1/255.
    pub scale: f64,
    /// Of each channel, subtracted.
    pub mean: Vec<f32>,
    /// Of each channel, divided by.
    pub std: Vec<f32>,
}

impl Preprocessing {
    /// V-JEPA 2's and, with its training's statistics, I-JEPA's: the shorter side to 256/224 of the crop, the middle, ImageNet's mean
    /// and deviation.
    pub fn evaluation(crop: (usize, usize)) -> Self {
        Self {
            resize: Some(Resize::Shorter(crop.0.min(crop.1) * 256 / 224)),
            filter: Filter::Bilinear,
            crop: Some(crop),
            scale: 1.0 / 255.0,
            mean: IMAGENET.0.to_vec(),
            std: IMAGENET.1.to_vec(),
        }
    }

    /// transformers' image processor of I-JEPA as published: squeezed to the size, mean and deviation ½ (training had ImageNet's).
    pub fn squeezed(image: (usize, usize)) -> Self {
        Self {
            resize: Some(Resize::Exact(image.0, image.1)),
            filter: Filter::Bilinear,
            crop: None,
            scale: 1.0 / 255.0,
            mean: vec![0.5; 3],
            std: vec![0.5; 3],
        }
    }

    /// Reads the text of a processor's file; what it does not say is as its processor does it, or as in `otherwise` where the file does
    /// not name one that is known.
    pub fn read(text: &str, otherwise: Self) -> Result<Self, ReleasedError> {
        let keys: Keys =
            serde_json::from_str(text).map_err(|e| broken(format!("it is not what transformers writes: {e}")))?;
        keys.objection()?;
        let named = [&keys.video_processor_type, &keys.image_processor_type, &keys.feature_extractor_type];
        let named = named.into_iter().flatten().next().map(String::as_str);
        let processor = named.and_then(Processor::named);
        // What is not known squares one number, as transformers' base class does; V-JEPA 2's own does not.
        let square = match (processor, named) {
            (Some(processor), _) => processor.square,
            (None, Some(name)) => !name.starts_with("VJEPA2"),
            (None, None) => matches!(otherwise.resize, Some(Resize::Exact(..))),
        };
        let (otherwise, cuts) = match processor {
            Some(processor) => processor.defaults(&otherwise),
            None => (otherwise.clone(), otherwise.crop.is_some()),
        };
        let crop = match &keys.crop_size {
            Some(value) => match size("crop_size", value, true)? {
                Resize::Shorter(side) => Some((side, side)),
                Resize::Exact(height, width) => Some((height, width)),
                _ => return Err(unfit("crop_size", value)),
            },
            None => otherwise.crop,
        };
        let mut resize = match crop {
            // V-JEPA 2's processor goes by the crop and takes no heed of the size.
            Some(crop) if named.is_some_and(|name| name.starts_with("VJEPA2")) => {
                Some(Resize::Shorter(crop.0 * 256 / 224))
            }
            _ => keys.size.as_ref().map(|value| size("size", value, square)).transpose()?.or(otherwise.resize),
        };
        let on = |switch: Option<bool>, otherwise: bool| switch.unwrap_or(otherwise);
        let mut crop = crop.filter(|_| on(keys.do_center_crop, cuts));
        if on(keys.do_resize, true) {
            let cut = processor.zip(resize).and_then(|(processor, resize)| processor.cut(resize, keys.crop_pct));
            if let Some((to, cut)) = cut {
                (resize, crop) = (Some(to), crop.or(cut));
            }
        } else {
            resize = None;
        }
        let filter = keys.resample.as_ref().map(resample).transpose()?.unwrap_or(otherwise.filter);
        let normalised = on(keys.do_normalize, true);
        let statistics = |key: &str, given: Option<Value>, otherwise: Vec<f32>, neutral: f32| {
            let number = |value: &Value| value.as_f64().map(|value| value as f32);
            let values = match &given {
                _ if !normalised => vec![neutral; 3],
                None => otherwise,
                Some(Value::Array(each)) => each.iter().map(number).collect::<Option<_>>().unwrap_or_default(),
                Some(all) => number(all).map(|value| vec![value; 3]).unwrap_or_default(),
            };
            let sound = matches!(values.len(), 1 | 3)
                && values.iter().all(|x| x.is_finite())
                && (neutral == 0.0 || !values.contains(&0.0));
            if sound {
                return Ok(values);
            }
            let found = given.map_or_else(|| format!("{values:?}"), |given| given.to_string());
            Err(broken(format!("{key} is {found} where a number, or one for each of three channels, was expected")))
        };
        Ok(Self {
            resize,
            filter,
            crop,
            scale: if on(keys.do_rescale, true) { keys.rescale_factor.unwrap_or(otherwise.scale) } else { 1.0 },
            mean: statistics("image_mean", keys.image_mean, otherwise.mean, 0.0)?,
            std: statistics("image_std", keys.image_std, otherwise.std, 1.0)?,
        })
    }

    /// What comes of a picture that has been resized: the piece at its middle, normalised. `[3, H, W]`, row-major, with its height
    /// and width.
    pub fn normalised(&self, resized: &Image) -> ((usize, usize), Vec<f32>) {
        let channels = 3;
        let cut = self.crop.map(|(height, width)| centre_crop(resized, width, height));
        let frame = cut.as_ref().unwrap_or(resized);
        let mut values = Vec::with_capacity(channels * frame.width * frame.height);
        for channel in 0..channels {
            let of = |values: &[f32]| f64::from(values[channel.min(values.len() - 1)]);
            let (mean, std) = (of(&self.mean), of(&self.std));
            // Of each byte once.
            let normalised: Vec<f32> =
                (0..256).map(|byte| ((f64::from(byte) * self.scale - mean) / std) as f32).collect();
            values.extend(frame.pixels.iter().skip(channel).step_by(channels).map(|&byte| normalised[byte as usize]));
        }
        ((frame.height, frame.width), values)
    }

    /// Height and width of what comes out, where that does not depend on what goes in.
    pub fn output(&self) -> Option<(usize, usize)> {
        self.crop.or(match self.resize {
            Some(Resize::Exact(height, width)) => Some((height, width)),
            _ => None,
        })
    }
}

#[derive(Deserialize)]
struct Keys {
    do_resize: Option<bool>,
    size: Option<Value>,
    resample: Option<Value>,
    do_center_crop: Option<bool>,
    crop_size: Option<Value>,
    /// ConvNeXt's.
    crop_pct: Option<f64>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    do_normalize: Option<bool>,
    image_mean: Option<Value>,
    image_std: Option<Value>,
    video_processor_type: Option<String>,
    image_processor_type: Option<String>,
    feature_extractor_type: Option<String>,
    do_flip_channel_order: Option<bool>,
    do_grayscale: Option<bool>,
    do_color_quantize: Option<bool>,
    rescale_offset: Option<bool>,
    offset: Option<bool>,
}

impl Keys {
    /// An error that names a step which would change pixels and is none of ours.
    fn objection(&self) -> Result<(), ReleasedError> {
        let steps = [
            ("do_flip_channel_order", self.do_flip_channel_order),
            ("do_grayscale", self.do_grayscale),
            ("do_color_quantize", self.do_color_quantize),
            ("rescale_offset", self.rescale_offset),
            ("offset", self.offset),
        ];
        match steps.into_iter().find(|(_, step)| *step == Some(true)) {
            None => Ok(()),
            Some((step, _)) => Err(broken(format!(
                "{step} is true, a step that is not known here: set it to false where the model does without, or give pixels normalised elsewhere"
            ))),
        }
    }
}

fn broken(what: String) -> ReleasedError {
    ReleasedError::Preprocessing(what)
}

/// The filter of a number of PIL's, or of a name such as `bicubic`, `BICUBIC` or `PIL.Image.Resampling.BICUBIC`.
fn resample(value: &Value) -> Result<Filter, ReleasedError> {
    let word = value.as_str().map(|word| word.rsplit('.').next().unwrap_or_default().trim().to_lowercase());
    let number = value.as_f64().filter(|number| number.fract() == 0.0).map(|number| number as i64);
    let number = number.or_else(|| word.as_ref()?.parse().ok());
    match (number, word.as_deref()) {
        (Some(0), _) | (_, Some("nearest" | "none")) => Ok(Filter::Nearest),
        (Some(1), _) | (_, Some("lanczos" | "antialias")) => Ok(Filter::Lanczos),
        (Some(2), _) | (_, Some("bilinear" | "linear")) => Ok(Filter::Bilinear),
        (Some(3), _) | (_, Some("bicubic" | "cubic")) => Ok(Filter::Bicubic),
        _ => Err(broken(format!("resample is {value}; known are 0 nearest, 1 lanczos, 2 bilinear, 3 bicubic"))),
    }
}

fn unfit(key: &str, value: &Value) -> ReleasedError {
    broken(format!(
        "{key} is {value} where a side, height and width, a shortest_edge (with a longest_edge or without) or max_height and max_width were \
         expected"
    ))
}

/// A number (a square, or the shorter side), `[height, width]`, or one of transformers' dictionaries: `height` and `width`,
/// `shortest_edge`, `shortest_edge` and `longest_edge`, `max_height` and `max_width`.
fn size(key: &str, value: &Value, square: bool) -> Result<Resize, ReleasedError> {
    let number = |value: &Value| {
        let number = value.as_f64().filter(|n| n.fract() == 0.0 && (1.0..=f64::from(1 << 20)).contains(n));
        number.map(|n| n as usize)
    };
    let of = |name: &str| value.get(name).and_then(number);
    let found = match value {
        Value::Array(sides) => match sides.as_slice() {
            [height, width] => number(height).zip(number(width)).map(|(height, width)| Resize::Exact(height, width)),
            _ => None,
        },
        Value::Object(_) => match (of("shortest_edge"), of("longest_edge")) {
            (Some(shorter), Some(longer)) => Some(Resize::Between(shorter, longer)),
            (Some(shorter), None) => Some(Resize::Shorter(shorter)),
            (None, None) => {
                let exact = of("height").zip(of("width")).map(|(height, width)| Resize::Exact(height, width));
                let inside = of("max_height").zip(of("max_width"));
                exact.or(inside.map(|(height, width)| Resize::Inside(height, width)))
            }
            (None, Some(_)) => None,
        },
        one => number(one).map(|side| if square { Resize::Exact(side, side) } else { Resize::Shorter(side) }),
    };
    found.ok_or_else(|| unfit(key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_files_are_understood() {
        let i_jepa = r#"{"do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "ViTImageProcessor", "image_std": [0.5, 0.5, 0.5], "resample": 2,
            "rescale_factor": 0.00392156862745098, "size": {"height": 448, "width": 448}}"#;
        let read = Preprocessing::read(i_jepa, Preprocessing::squeezed((224, 224))).unwrap();
        assert_eq!(read, Preprocessing::squeezed((448, 448)));
        let v_jepa = r#"{"crop_size": {"height": 384, "width": 384}, "do_center_crop": true, "size": {"shortest_edge": 1},
            "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 2,
            "video_processor_type": "VJEPA2VideoProcessor"}"#;
        let read = Preprocessing::read(v_jepa, Preprocessing::evaluation((256, 256))).unwrap();
        assert_eq!(read, Preprocessing::evaluation((384, 384)));
        assert_eq!((read.resize, read.output()), (Some(Resize::Shorter(438)), Some((384, 384))));
    }

    #[test]
    fn switches_turn_steps_off_and_nonsense_is_refused() {
        let off = r#"{"do_resize": false, "do_center_crop": false, "do_rescale": false, "do_normalize": false}"#;
        let read = Preprocessing::read(off, Preprocessing::evaluation((256, 256))).unwrap();
        assert_eq!((read.resize, read.crop, read.scale), (None, None, 1.0));
        assert_eq!((read.mean, read.std), (vec![0.0; 3], vec![1.0; 3]));
        for nonsense in
            [r#"{"size": -3}"#, r#"{"resample": 77}"#, r#"{"image_std": [0, 1, 1]}"#, "[", r#"{"size": "big"}"#]
        {
            assert!(Preprocessing::read(nonsense, Preprocessing::evaluation((256, 256))).is_err(), "{nonsense}");
        }
    }
}
