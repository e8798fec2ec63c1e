//! Published models as the commands take them: opened from a path, given images or clips, and said what they are.

mod array;
mod clips;
mod inputs;
mod made_by;
mod mark;
mod pass;
mod pixels;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use foretell_nn::released::official::{self, Release, Setting, Told};
use foretell_nn::released::preprocessing::{Filter, Resize};
use foretell_nn::released::{Leaner, Model, Outline, ReleasedError};
use foretell_nn::weights::{self, TensorStore};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use array::ArrayFile;
pub(crate) use clips::Found;
pub use clips::Moments;
pub(crate) use inputs::film;
pub use inputs::{InputArgs, Inputs};
pub use made_by::{MadeBy, Pooling};
pub use pass::{Pass, Rows, Taken};
pub use pixels::Pixels;

use self::mark::Marks;
use crate::output::say;
use crate::{Error, PrecisionChoice};

/// Longer configs are refused.
const LONGEST_CONFIG: u64 = 1 << 26;

/// `--encoder`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Encoder {
    /// The one that was trained by gradients, which the hub and transformers read
    Encoder,
    /// Its moving average (`target_encoder`, `ema_encoder`), which the papers evaluate
    TargetEncoder,
}

/// `--release`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Which {
    /// arXiv 2404.08471
    #[value(name = "v-jepa")]
    #[serde(rename = "v-jepa")]
    VJepa,
    /// arXiv 2506.09985
    #[value(name = "v-jepa-2")]
    #[serde(rename = "v-jepa-2")]
    VJepa2,
}

/// What an official file cannot show of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default)]
pub struct OfficialArgs {
    /// Which encoder of an official file; by default `encoder` where there is one.
    #[arg(long, value_enum, requires = "model", help_heading = "Published models")]
    #[serde(skip_serializing_if = "Option::is_none")]
    encoder: Option<Encoder>,
    /// Which release an official file is of, where its tensors do not show it.
    #[arg(long, value_enum, requires = "model", help_heading = "Published models")]
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<Which>,
    /// The encoder's heads, where an official file has none of the released widths.
    #[arg(long, value_name = "N", requires = "model", help_heading = "Published models")]
    #[serde(skip_serializing_if = "Option::is_none")]
    heads: Option<usize>,
    /// Height and width of the input of an official file with rotary codes, where they are not the released ones.
    #[arg(long, value_name = "PIXELS", requires = "model", help_heading = "Published models")]
    #[serde(skip_serializing_if = "Option::is_none")]
    crop: Option<usize>,
}

/// Which published model, and what an official file cannot show.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ModelArgs {
    /// A published model: a Hugging Face folder (config.json, safetensors) or an official .pth, .pth.tar or .pt file.
    #[arg(long, value_name = "DIR|FILE", help_heading = "Published models")]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    official: OfficialArgs,
    /// An official attentive probe, to classify with.
    #[arg(long, value_name = "FILE", requires = "model", help_heading = "Published models")]
    probe: Option<PathBuf>,
    /// The probe's heads, where they are not the released 16.
    #[arg(long, value_name = "N", requires = "probe", help_heading = "Published models")]
    probe_heads: Option<usize>,
}

/// A published model with what is to be said of it.
#[derive(Debug)]
pub struct Published {
    /// The networks.
    pub model: Model,
    /// Where they come from.
    path: PathBuf,
    /// Which of a checkpoint's encoders, by its name there.
    encoder: Option<String>,
    /// Whose preprocessing it is.
    preprocessing_from: String,
    /// CRC-32 of the folder's texts that were read: 0 where there are none.
    texts: u32,
    /// In how many bits the encoder's maps are held.
    precision: PrecisionChoice,
    /// The encoder's, where it has let go of what they are made of.
    marks: Option<Marks>,
}

impl OfficialArgs {
    /// The first option that was given.
    pub fn given(&self) -> Option<&'static str> {
        let given = [
            ("--encoder", self.encoder.is_some()),
            ("--release", self.release.is_some()),
            ("--heads", self.heads.is_some()),
            ("--crop", self.crop.is_some()),
        ];
        given.into_iter().find_map(|(option, given)| given.then_some(option))
    }

    /// The same for the reader of such a file, without a predictor.
    fn told(&self, store: &dyn TensorStore) -> Result<Told, Error> {
        Ok(Told {
            encoder: choose(store, self.encoder)?,
            release: self.release.map(|which| match which {
                Which::VJepa => Release::VJepa,
                Which::VJepa2 => Release::VJepa2,
            }),
            heads: self.heads,
            predictor_heads: None,
            crop: self.crop,
            predictor: false,
        })
    }
}

impl ModelArgs {
    /// Opens the model with the encoder's maps at this precision; everything that does not fit is an error.
    pub fn open(&self, device: &Device, precision: PrecisionChoice) -> Result<Published, Error> {
        let Some(path) = &self.model else {
            return Err(Error::Misuse(
                "a published model is needed: give its folder or file with `--model DIR|FILE`".to_owned(),
            ));
        };
        if !precision.is_f32() && !foretell_ops::on_cpu(device) {
            return Err(precision.unfit("the model on another device"));
        }
        let mut published =
            if path.is_dir() { self.folder(path, device, precision)? } else { self.official(path, device, precision)? };
        if let Some(probe) = &self.probe {
            let store = weights::open(probe)?;
            let model = published.model.with_probe(store.as_ref(), self.probe_heads, device);
            published.model = model.map_err(|e| at(probe, e))?;
        }
        Ok(published)
    }

    fn folder(&self, path: &Path, device: &Device, precision: PrecisionChoice) -> Result<Published, Error> {
        let shown = path.display();
        if let Some(option) = self.official.given() {
            return Err(Error::Misuse(format!(
                "`{option}` is for official files; {shown} is a folder, whose config.json says it: leave `{option}` out"
            )));
        }
        open_folder(path, device, precision)
    }

    fn official(&self, path: &Path, device: &Device, precision: PrecisionChoice) -> Result<Published, Error> {
        if !path.exists() {
            return Err(Error::Misuse(format!(
                "there is no `{}`: give a Hugging Face folder or an official .pth, .pth.tar or .pt file with `--model`",
                path.display()
            )));
        }
        let store = weights::open(path)?;
        let told = self.official.told(store.as_ref())?;
        open_official(path, store.as_ref(), told, device, precision)
    }
}

/// A Hugging Face folder's model.
fn open_folder(path: &Path, device: &Device, precision: PrecisionChoice) -> Result<Published, Error> {
    let (config, store) = folder_parts(path)?;
    let (store, mut marks) = (store.as_ref(), Marks::default());
    let model = if precision.is_f32() {
        Model::open_config(&config, store, device)
    } else {
        let leaner = Leaner { precision: precision.get(), seen: &mut |parameter, values| marks.see(parameter, values) };
        Model::open_config_leaner(&config, store, device, leaner)
    };
    let mut model = model.map_err(|e| at(path, e))?;
    let mut from = "the architecture's default".to_owned();
    let mut texts = crc32fast::Hasher::new();
    texts.update(config.as_bytes());
    if let Some((name, text)) = preprocessor(path, model.takes_clips())? {
        model = model.with_preprocessing(&text).map_err(|e| at(&path.join(name), e))?;
        name.clone_into(&mut from);
        texts.update(text.as_bytes());
    }
    model.notes().iter().for_each(|note| say(format_args!("{}: {note}", path.display())));
    let texts = texts.finalize();
    let marks = (!precision.is_f32()).then_some(marks);
    let path = path.to_owned();
    Ok(Published { model, path, encoder: None, preprocessing_from: from, texts, precision, marks })
}

/// What a Hugging Face folder holds, in words; no tensor is read.
pub fn outline_folder(path: &Path, device: &Device) -> Result<Vec<String>, Error> {
    let (config, store) = folder_parts(path)?;
    let mut outline = Outline::of_config(&config, store.as_ref(), device).map_err(|e| at(path, e))?;
    if let Some((name, text)) = preprocessor(path, outline.takes_clips())? {
        outline = outline.with_preprocessing(&text).map_err(|e| at(&path.join(name), e))?;
    }
    Ok(outline.describe())
}

/// A Hugging Face folder's config and tensors.
fn folder_parts(path: &Path) -> Result<(String, Box<dyn TensorStore>), Error> {
    let shown = path.display();
    if path.join("config.toml").is_file() {
        return Err(Error::Misuse(format!(
            "{shown} is a run's folder, not a published model: give it without `--model`, as in `foretell embed {shown} INPUT`"
        )));
    }
    let Some(config) = read_text(&path.join("config.json"))? else {
        return Err(Error::Misuse(format!(
            "{shown} has no config.json: expected a Hugging Face folder with config.json and model.safetensors"
        )));
    };
    Ok((config, weights::open(path)?))
}

/// An official checkpoint's model.
fn open_official(
    path: &Path,
    store: &dyn TensorStore,
    told: Told,
    device: &Device,
    precision: PrecisionChoice,
) -> Result<Published, Error> {
    let mut marks = Marks::default();
    let model = if precision.is_f32() {
        Model::open_official(store, &told, device)
    } else {
        let leaner = Leaner { precision: precision.get(), seen: &mut |parameter, values| marks.see(parameter, values) };
        Model::open_official_leaner(store, &told, device, leaner)
    };
    let model = model.map_err(|e| not_official(path, e))?;
    let from = "the papers' evaluations".to_owned();
    let marks = (!precision.is_f32()).then_some(marks);
    let (path, encoder) = (path.to_owned(), told.encoder);
    Ok(Published { model, path, encoder, preprocessing_from: from, texts: 0, precision, marks })
}

/// What an official checkpoint holds beside other encoders, in words; no tensor is read. `predictor_heads` where they are not the
/// released ones.
pub fn outline_official(
    path: &Path,
    store: &dyn TensorStore,
    args: &OfficialArgs,
    predictor_heads: Option<usize>,
    device: &Device,
) -> Result<Vec<String>, Error> {
    let mut told = args.told(store)?;
    told.predictor = told.encoder.is_some() && official::has(store, "predictor")?;
    told.predictor_heads = predictor_heads;
    let outline = Outline::of_official(store, &told, device).map_err(|e| not_official(path, e))?;
    let mut lines = outline.describe();
    let others = official::encoders(store)?.into_iter().filter(|name| Some(*name) != told.encoder.as_deref());
    lines.extend(others.map(|name| {
        let word = if name == "encoder" { name } else { "target-encoder" };
        format!("{name}: another encoder, taken with `--encoder {word}`")
    }));
    Ok(lines)
}

/// Why a file is no official checkpoint; of a shard of a folder, that it is one.
fn not_official(path: &Path, error: ReleasedError) -> Error {
    let shard = path.extension().is_some_and(|e| e == "safetensors") && path.with_file_name("config.json").is_file();
    if !shard {
        return at(path, error);
    }
    Error::Misuse(format!(
        "{} is no official file, and a config.json lies beside it: give the folder instead of the file",
        path.display()
    ))
}

/// The name of the encoder that is asked for; nothing where the file is one network's tensors alone.
fn choose(store: &dyn TensorStore, asked: Option<Encoder>) -> Result<Option<String>, Error> {
    let there = official::encoders(store)?;
    let online = there.iter().find(|name| **name == "encoder");
    let average = there.iter().find(|name| **name != "encoder");
    let chosen = match asked {
        None => online.or(average),
        Some(Encoder::Encoder) => online,
        Some(Encoder::TargetEncoder) => average,
    };
    let word = match asked {
        Some(Encoder::Encoder) => "encoder",
        _ => "target-encoder",
    };
    match (chosen, asked) {
        (None, Some(_)) if there.is_empty() => Err(Error::Misuse(format!(
            "`--encoder {word}` chooses between the networks of a checkpoint, and {} holds one network alone: leave it out",
            store.place()
        ))),
        (None, Some(_)) => Err(Error::Misuse(format!(
            "`--encoder {word}` is not in {}, which holds: {}",
            store.place(),
            there.join(", ")
        ))),
        (chosen, _) => Ok(chosen.map(|name| (*name).to_owned())),
    }
}

impl Published {
    /// What a reader of the features needs to know of them.
    pub fn about(&self) -> Value {
        let p = self.model.preprocessing();
        let (height, width) = self.model.image();
        let resize = p.resize.map(|resize| match resize {
            Resize::Shorter(side) => json!({ "shortest_edge": side }),
            Resize::Exact(height, width) => json!({ "height": height, "width": width }),
            Resize::Between(side, most) => json!({ "shortest_edge": side, "longest_edge": most }),
            Resize::Inside(height, width) => json!({ "max_height": height, "max_width": width }),
        });
        let filter = match p.filter {
            Filter::Nearest => "nearest",
            Filter::Lanczos => "lanczos",
            Filter::Bilinear => "bilinear",
            Filter::Bicubic => "bicubic",
        };
        let mut about = json!({
            "model": self.model.name(),
            "path": self.path.display().to_string(),
            "encoder": self.encoder.as_deref().unwrap_or("the only one"),
            "input": { "height": height, "width": width, "frames": self.model.frames() },
            "preprocessing": {
                "from": self.preprocessing_from,
                "resize": resize,
                "filter": filter,
                "crop": p.crop.map(|(height, width)| json!({ "height": height, "width": width })),
                "rescale": p.scale,
                "mean": numbers(&p.mean),
                "std": numbers(&p.std),
            },
        });
        if let Some(precision) = self.precision.noted() {
            about["precision"] = precision.into();
        }
        about
    }

    /// The encoder's numbers and the folder's settings in a few characters: who has the same makes the same features. Call
    /// before [`Model::prepare`].
    pub fn mark(&self) -> String {
        let own = || Marks::of(self.model.encoder());
        self.marks.as_ref().map_or_else(|| own().text(self.texts), |marks| marks.text(self.texts))
    }

    /// Where it comes from.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// As they are written in a config: 0.485 and not the nearest f32's 0.48500001430511475.
fn numbers(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| value.to_string().parse().unwrap_or(f64::from(*value))).collect()
}

/// The processor's file of a folder, if it has one, and its text.
fn preprocessor(folder: &Path, clips: bool) -> Result<Option<(&'static str, String)>, Error> {
    let of_clips: &[_] = &["video_preprocessor_config.json", "preprocessor_config.json"];
    for name in if clips { of_clips } else { &of_clips[1..] } {
        if let Some(text) = read_text(&folder.join(name))? {
            return Ok(Some((name, text)));
        }
    }
    // Where transformers writes all processors into one file.
    let name = "processor_config.json";
    let Some(text) = read_text(&folder.join(name))? else { return Ok(None) };
    let all: Value = serde_json::from_str(&text)
        .map_err(|e| Error::Misuse(format!("{} is not JSON: {e}", folder.join(name).display())))?;
    let own = all.get(if clips { "video_processor" } else { "image_processor" });
    Ok(own.map(|own| (name, own.to_string())))
}

/// A small text file, if there is one.
fn read_text(path: &Path) -> Result<Option<String>, Error> {
    if !path.is_file() {
        return Ok(None);
    }
    let wrong = |e: std::io::Error| Error::Misuse(format!("cannot read {}: {e}", path.display()));
    let length = fs::metadata(path).map_err(wrong)?.len();
    if length > LONGEST_CONFIG {
        return Err(Error::Misuse(format!(
            "{} is {length} bytes long, and the limit is {LONGEST_CONFIG}: this is no config",
            path.display()
        )));
    }
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(LONGEST_CONFIG).read_to_string(&mut text)).map_err(wrong)?;
    Ok(Some(text))
}

/// The option that says it, after "with".
fn option(setting: Setting) -> &'static str {
    match setting {
        Setting::Release => "--release v-jepa|v-jepa-2",
        Setting::Heads => "--heads N",
        Setting::PredictorHeads => "--predictor-heads N",
        Setting::Crop => "--crop PIXELS",
        Setting::ProbeHeads => "--probe-heads N",
    }
}

/// With the place, where the sentence does not name it already, and with the option that it speaks of.
fn at(path: &Path, error: ReleasedError) -> Error {
    match error {
        ReleasedError::Weights(error) => error.into(),
        ReleasedError::Told { what, setting } => {
            Error::Misuse(format!("{}: {what} with `{}`", path.display(), option(setting)))
        }
        other => Error::Misuse(format!("{}: {other}", path.display())),
    }
}
