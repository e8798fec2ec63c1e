//! A frozen encoder by the folder that a recipe names: a finished run of images, of clips or of a world, or a published model's folder.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::{Auto, ClipSample, Image, Normalise, Sample, Window, fit, resize};
use foretell_jepa::Kept;
use foretell_jepa::dynamics::TrainedModel;
use foretell_nn::frozen::{Frozen, Look, Sight};
use foretell_nn::parameters::look;
use foretell_nn::released::preprocessing::{Filter, Preprocessing};
use foretell_nn::released::{Model, ReleasedError};
use foretell_nn::{Encode, NamedTensors, of_pictures, weights};
use foretell_ops::{self as ops, Precision};
use foretell_train::Which;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::family;
use crate::recipe::{get, parse};
use crate::system::SystemError;

/// The key of a recipe that names it.
const KEY: &str = "model.encoder";

/// An opened encoder.
pub(crate) struct Opened {
    /// The encoder.
    pub(crate) frozen: Frozen,
    /// Changes with its weights and with how pictures are prepared for it.
    pub(crate) fingerprint: String,
    /// Whose it is.
    pub(crate) name: String,
}

/// What is found in a folder.
struct Found {
    look: Box<dyn Look>,
    fingerprint: u64,
    name: String,
    /// Tokens of a picture: rows and columns, and their width.
    grid: (usize, usize),
    width: usize,
}

fn wrong(path: &str, what: impl std::fmt::Display) -> SystemError {
    SystemError::Setting(format!("`{KEY}` is `{path}`: {what}"))
}

/// The encoder in a folder for observations `[C, H, W]`; tokens of so many MiB are kept.
pub(crate) fn open(path: &str, picture: [usize; 3], kept: usize, device: &Device) -> Result<Opened, SystemError> {
    if path.is_empty() {
        return Err(SystemError::Setting(format!(
            "`{KEY}` names no encoder: give the folder of a finished run that learnt from images, or of a published model (config.json, model.safetensors)"
        )));
    }
    let [channels, height, width] = picture;
    if height < 2 || width < 2 || channels > 3 {
        return Err(wrong(
            path,
            format!("an encoder sees pictures of 1 to 3 channels, and observations here are {picture:?} [C, H, W]"),
        ));
    }
    let folder = Path::new(path);
    let Found { look, fingerprint, name, grid, width } = if folder.join("config.toml").is_file() {
        run(path, picture, device)?
    } else if folder.join("config.json").is_file() {
        published(path, picture, device)?
    } else if folder.exists() {
        return Err(wrong(
            path,
            "expected a run's folder (config.toml) or a published model's (config.json), and there is neither",
        ));
    } else {
        return Err(wrong(path, "there is nothing there: put the encoder back, or name the folder where it is now"));
    };
    let frozen = Frozen::new(look, Sight { picture, grid, width }, kept, device);
    Ok(Opened { frozen, fingerprint: format!("{fingerprint:016x}"), name })
}

/// A finished run's encoder.
fn run(path: &str, picture: [usize; 3], device: &Device) -> Result<Found, SystemError> {
    let folder = Path::new(path);
    let of = |error: &dyn std::fmt::Display| wrong(path, error);
    let config = folder.join("config.toml");
    let text = fs::read_to_string(&config).map_err(|error| of(&format_args!("{}: {error}", config.display())))?;
    let table = parse(&text, "its config.toml").map_err(|error| of(&error))?;
    let system = get(&table, "system").and_then(toml::Value::as_str);
    let system = system.ok_or_else(|| wrong(path, "its config.toml names no `system`"))?;
    let member = family::find(system).map_err(|error| of(&error))?;
    let recipe = member.recipe(&table, "its config.toml").map_err(|error| of(&error))?;
    let file = folder.join("encoder.safetensors");
    if !file.is_file() {
        return Err(wrong(path, "this run is not finished, so it has no encoder.safetensors yet: finish it first"));
    }
    let bytes = fs::read(&file).map_err(|error| of(&format_args!("{}: {error}", file.display())))?;
    let tensors = weights::read_bytes(&bytes, &file)?;
    // How pictures are prepared counts as much as the weights do.
    let prepared = ["data.normalise", "data.image_size", "model"].map(|key| get(&recipe, key).map(ToString::to_string));
    let fingerprint = xxh3_64(format!("{:016x} {prepared:?}", xxh3_64(&bytes)).as_bytes());
    let side = get(&recipe, "data.image_size").and_then(toml::Value::as_integer);
    let colours = get(&recipe, "data.normalise.mean").and_then(toml::Value::as_array).map_or(3, Vec::len);
    let normalise: Option<Normalise> = get(&recipe, "data.normalise").and_then(|of| of.clone().try_into().ok());
    let mut session = member.open(recipe, device, false)?;
    let steps = if let Auto::Value(steps) = session.train().steps { steps } else { 1 };
    let kept = session.learner(steps)?.kept(Which::Trained);
    let side = || {
        let side = side.and_then(|side| usize::try_from(side).ok()).filter(|side| *side > 0);
        side.ok_or_else(|| wrong(path, "its config.toml does not say the side of its images"))
    };
    let kept = match kept.downcast::<Kept<Sample>>() {
        Ok(kept) => {
            let Kept { mut encoder, .. } = *kept;
            ready(&mut encoder, tensors)?;
            let look = Box::new(OfImages { encoder, picture, side: side()?, colours });
            return shaped(path, look, fingerprint, session.row().title.to_owned(), picture);
        }
        Err(other) => other,
    };
    let look: Box<dyn Look> = match kept.downcast::<Kept<ClipSample>>() {
        Ok(kept) => {
            let Kept { mut encoder, .. } = *kept;
            // Its weights first, and ready for passes only as the encoder of pictures that is made of it.
            encoder.load(tensors)?;
            let normalise =
                normalise.ok_or_else(|| wrong(path, "its config.toml does not say how its frames are normalised"))?;
            let encoder = of_pictures(encoder.as_ref(), side()?, &normalise, device);
            let mut encoder = encoder.ok_or_else(|| wrong(path, "its encoder takes no single pictures"))?;
            encoder.prepare(Precision::F32);
            Box::new(OfClips { encoder, picture, side: side()?, colours })
        }
        Err(other) => {
            let Ok(kept) = other.downcast::<Kept<Window>>() else {
                let many = session.unit().many;
                let what = format!("{system} learns from {many}, and what is wanted is an encoder of pictures");
                return Err(wrong(path, what));
            };
            of_windows(path, *kept, picture, tensors)?
        }
    };
    shaped(path, look, fingerprint, session.row().title.to_owned(), picture)
}

/// An encoder takes its weights and is made ready for many passes.
fn ready<S>(encoder: &mut Box<dyn Encode<S>>, tensors: NamedTensors) -> Result<(), SystemError> {
    encoder.load(tensors)?;
    encoder.prepare(Precision::F32);
    Ok(())
}

fn of_windows(
    path: &str,
    kept: Kept<Window>,
    picture: [usize; 3],
    tensors: NamedTensors,
) -> Result<Box<dyn Look>, SystemError> {
    let Kept { mut encoder, model } = kept;
    let seen = model.as_ref().and_then(|model| model.downcast_ref::<TrainedModel>()).map(|model| model.observation);
    if seen != Some(picture) {
        return Err(wrong(
            path,
            format!(
                "its encoder sees observations {:?} [C, H, W], and here they are {picture:?}",
                seen.unwrap_or_default()
            ),
        ));
    }
    ready(&mut encoder, tensors)?;
    Ok(Box::new(OfWindows(encoder)))
}

/// With the shape of what it makes, found by looking at a grey picture.
fn shaped(
    path: &str,
    look: Box<dyn Look>,
    fingerprint: u64,
    name: String,
    picture: [usize; 3],
) -> Result<Found, SystemError> {
    let grey = vec![0.5; picture.iter().product()];
    let (count, width, grid) = look.shape(&grey);
    if count == 0 || width == 0 || grid.0 * grid.1 != count {
        return Err(wrong(path, format!("its {count} tokens a picture do not lie on a grid")));
    }
    Ok(Found { look, fingerprint, name, grid, width })
}

/// A published model's encoder.
fn published(path: &str, picture: [usize; 3], device: &Device) -> Result<Found, SystemError> {
    let folder = Path::new(path);
    let of = |error: ReleasedError| match error {
        ReleasedError::Weights(error) => error.into(),
        other => wrong(path, other),
    };
    let text = |name: &str| {
        let file = folder.join(name);
        file.is_file()
            .then(|| fs::read_to_string(&file))
            .transpose()
            .map_err(|error| wrong(path, format!("{name}: {error}")))
    };
    let config = text("config.json")?.unwrap_or_default();
    let store = weights::open(folder)?;
    let mut model = Model::open_config(&config, store.as_ref(), device).map_err(of)?;
    let names: &[_] = &["video_preprocessor_config.json", "preprocessor_config.json"];
    for name in if model.takes_clips() { names } else { &names[1..] } {
        if let Some(text) = text(name)? {
            model = model.with_preprocessing(&text).map_err(of)?;
            break;
        }
    }
    let filter = match model.preprocessing().filter {
        Filter::Bilinear => foretell_data::Filter::Bilinear,
        Filter::Bicubic => foretell_data::Filter::Bicubic,
        Filter::Nearest | Filter::Lanczos => {
            return Err(wrong(
                path,
                "its preprocessor asks for a resample that is neither 2 (bilinear) nor 3 (bicubic)",
            ));
        }
    };
    let mut hash = Xxh3::new();
    hash.update(format!("{:?}", model.preprocessing()).as_bytes());
    look(model.encoder(), &mut |parameter, values| {
        hash.update(parameter.name.as_bytes());
        for x in ops::values(values) {
            hash.update(&x.to_le_bytes());
        }
    });
    model.prepare(Precision::F32);
    let name = model.name().to_owned();
    let look =
        Published { preprocessing: model.preprocessing().clone(), model, filter, picture, device: device.clone() };
    look.check(path)?;
    shaped(path, Box::new(look), hash.digest(), name, picture)
}

/// Of a run of images: observations are brought to its side and its colours.
struct OfImages {
    encoder: Box<dyn Encode<Sample>>,
    picture: [usize; 3],
    side: usize,
    colours: usize,
}

impl OfImages {
    fn sample(&self, picture: &[f32]) -> Sample {
        let image = fit(&Image::of_values(picture, self.picture), self.side).with_channels(self.colours);
        Sample { index: 0, name: String::new(), image: Arc::new(image), labels: Vec::new() }
    }
}

impl Look for OfImages {
    fn tokens(&self, picture: &[f32]) -> Vec<f32> {
        ops::values(self.encoder.tokens(&[&self.sample(picture)]).rows)
    }

    fn shape(&self, picture: &[f32]) -> (usize, usize, (usize, usize)) {
        let tokens = self.encoder.tokens(&[&self.sample(picture)]);
        let [count, width] = tokens.rows.dims();
        (count, width, tokens.grid.unwrap_or((1, count)))
    }
}

/// Of a run of clips: a picture is a clip of one frame, which is repeated to a whole token.
struct OfClips {
    encoder: Box<dyn Encode<ClipSample>>,
    picture: [usize; 3],
    side: usize,
    colours: usize,
}

impl OfClips {
    fn sample(&self, picture: &[f32]) -> ClipSample {
        let image = fit(&Image::of_values(picture, self.picture), self.side).with_channels(self.colours);
        ClipSample::new(vec![image])
    }
}

impl Look for OfClips {
    fn tokens(&self, picture: &[f32]) -> Vec<f32> {
        ops::values(self.encoder.tokens(&[&self.sample(picture)]).rows)
    }

    fn shape(&self, picture: &[f32]) -> (usize, usize, (usize, usize)) {
        let tokens = self.encoder.tokens(&[&self.sample(picture)]);
        let [count, width] = tokens.rows.dims();
        (count, width, tokens.grid.unwrap_or((1, count)))
    }
}

/// Of a run of a world or of recordings, whose observations are those here.
struct OfWindows(Box<dyn Encode<Window>>);

impl Look for OfWindows {
    fn tokens(&self, picture: &[f32]) -> Vec<f32> {
        let window = Window { frames: 1, observations: picture.to_vec(), ..Window::default() };
        ops::values(self.0.tokens(&[&window]).rows)
    }

    fn shape(&self, picture: &[f32]) -> (usize, usize, (usize, usize)) {
        let window = Window { frames: 1, observations: picture.to_vec(), ..Window::default() };
        let tokens = self.0.tokens(&[&window]);
        let [count, width] = tokens.rows.dims();
        (count, width, tokens.grid.unwrap_or((1, count)))
    }
}

/// Of a published model: a clip of one frame, which the network repeats to a whole tubelet.
struct Published {
    model: Model,
    preprocessing: Preprocessing,
    filter: foretell_data::Filter,
    picture: [usize; 3],
    device: Device,
}

impl Published {
    fn clip(&self, picture: &[f32]) -> Tensor<5> {
        let image = Image::of_values(picture, self.picture).with_channels(3);
        let image = match self.preprocessing.resize {
            Some(resizing) => {
                let (height, width) = resizing.target(image.height, image.width);
                resize(&image, width.max(1), height.max(1), self.filter)
            }
            None => image,
        };
        let ((height, width), values) = self.preprocessing.normalised(&image);
        Tensor::from_data(TensorData::new(values, [1, 1, 3, height, width]), &self.device)
    }

    /// An error if it takes no such clip.
    fn check(&self, path: &str) -> Result<(), SystemError> {
        let clip = self.clip(&vec![0.5; self.picture.iter().product()]);
        self.model.grid(clip.dims()).map(|_| ()).map_err(|error| wrong(path, error))
    }

    fn encoded(&self, picture: &[f32]) -> Tensor<3> {
        let clip = self.clip(picture);
        ops::together(&self.device, || self.model.encoder().encode(clip, None))
    }
}

impl Look for Published {
    fn tokens(&self, picture: &[f32]) -> Vec<f32> {
        ops::values(self.encoded(picture))
    }

    fn shape(&self, picture: &[f32]) -> (usize, usize, (usize, usize)) {
        let [_, _, _, height, width] = self.clip(picture).dims();
        let patch = self.model.encoder().config().patch;
        let [_, count, tokens] = self.encoded(picture).dims();
        (count, tokens, (height / patch, width / patch))
    }
}
