//! How a released model wants its pixels: `preprocessor_config.json` and `video_preprocessor_config.json`.

use serde::Deserialize;
use serde_json::Value;

use super::ReleasedError;

/// Mean and standard deviation of ImageNet's channels, in [0, 1].
pub const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// How a picture is resized first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// The shorter side to this length, keeping the proportions.
    Shorter(usize),
    /// To this height and width.
    Exact(usize, usize),
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

    /// Reads the text of a processor's file; what it does not say is as in `otherwise`.
    pub fn read(text: &str, otherwise: Self) -> Result<Self, ReleasedError> {
        let broken = |what: String| ReleasedError::Preprocessing(what);
        let keys: Keys =
            serde_json::from_str(text).map_err(|e| broken(format!("it is not what transformers writes: {e}")))?;
        let sizes = |key: &str, value: &Option<Value>| value.as_ref().map(|value| size(key, value)).transpose();
        let crop = sizes("crop_size", &keys.crop_size)?.map(|crop| match crop {
            Resize::Shorter(side) => (side, side),
            Resize::Exact(height, width) => (height, width),
        });
        let crop = crop.or(otherwise.crop);
        let of_v_jepa = [&keys.video_processor_type, &keys.image_processor_type];
        let of_v_jepa = of_v_jepa.into_iter().flatten().any(|name| name.starts_with("VJEPA2"));
        let resize = match crop {
            // V-JEPA 2's processor goes by the crop and takes no heed of the size.
            Some(crop) if of_v_jepa => Some(Resize::Shorter(crop.0 * 256 / 224)),
            _ => sizes("size", &keys.size)?.or(otherwise.resize),
        };
        let filter = match keys.resample {
            None => otherwise.filter,
            Some(0) => Filter::Nearest,
            Some(1) => Filter::Lanczos,
            Some(2) => Filter::Bilinear,
            Some(3) => Filter::Bicubic,
            Some(other) => {
                return Err(broken(format!(
                    "resample is {other}; known are 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic"
                )));
            }
        };
        let on = |switch: Option<bool>, otherwise: bool| switch.unwrap_or(otherwise);
        let normalised = on(keys.do_normalize, true);
        let statistics = |key: &str, values: Option<Vec<f32>>, otherwise: Vec<f32>, neutral: f32| {
            let values = if normalised { values.unwrap_or(otherwise) } else { vec![neutral; 3] };
            let sound = !values.is_empty()
                && values.iter().all(|x| x.is_finite())
                && (neutral == 0.0 || !values.contains(&0.0));
            if sound { Ok(values) } else { Err(broken(format!("{key} is {values:?}, which normalises nothing"))) }
        };
        Ok(Self {
            resize: resize.filter(|_| on(keys.do_resize, true)),
            filter,
            crop: crop.filter(|_| on(keys.do_center_crop, otherwise.crop.is_some())),
            scale: if on(keys.do_rescale, true) { keys.rescale_factor.unwrap_or(otherwise.scale) } else { 1.0 },
            mean: statistics("image_mean", keys.image_mean, otherwise.mean, 0.0)?,
            std: statistics("image_std", keys.image_std, otherwise.std, 1.0)?,
        })
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
    resample: Option<i64>,
    do_center_crop: Option<bool>,
    crop_size: Option<Value>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    do_normalize: Option<bool>,
    image_mean: Option<Vec<f32>>,
    image_std: Option<Vec<f32>>,
    video_processor_type: Option<String>,
    image_processor_type: Option<String>,
}

/// A number, `{"shortest_edge": n}` or `{"height": h, "width": w}`.
fn size(key: &str, value: &Value) -> Result<Resize, ReleasedError> {
    let number = |value: &Value| value.as_u64().filter(|n| (1..=1 << 20).contains(n)).map(|n| n as usize);
    let of = |name: &str| value.get(name).and_then(number);
    let found = number(value).map(Resize::Shorter).or_else(|| of("shortest_edge").map(Resize::Shorter));
    found.or_else(|| Some(Resize::Exact(of("height")?, of("width")?))).ok_or_else(|| {
        ReleasedError::Preprocessing(format!(
            "{key} is {value} where a side, a shortest_edge or height and width were expected"
        ))
    })
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
