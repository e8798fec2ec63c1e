//! How a published model made features: kept with them, so that more can be made the same way.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use foretell_data::FramesBy;
use foretell_eval::Features;
use serde::{Deserialize, Serialize};

use super::{InputArgs, Inputs, ModelArgs, OfficialArgs, Pass, Published, Taken};
use crate::{Error, PrecisionChoice};

/// How tokens become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// Their mean.
    #[default]
    Mean,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]

pub struct MadeBy {
    /// The model's folder or file, from the root of the file system.
    model: PathBuf,
    /// What was said of an official file.
    official: OfficialArgs,
    /// `--frames`.
    frames: Option<u32>,
    /// `--frames-by`.
    #[serde(default, skip_serializing_if = "FramesBy::is_default")]
    frames_by: FramesBy,
    /// `--images`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    images: bool,
    /// `--range`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    range: Option<[u16; 2]>,
    /// `--layers`: they lie side by side where features are compared.
    layers: Vec<usize>,
    /// How tokens became one vector.
    pool: Pooling,
    /// [`Published::mark`].
    mark: String,
    /// In how many bits the encoder's maps were held.
    #[serde(default, skip_serializing_if = "PrecisionChoice::is_f32")]
    precision: PrecisionChoice,
}

impl MadeBy {
    /// What `embed` was asked; nothing where pixels came normalised, for nobody knows how.
    pub fn of(model: &ModelArgs, inputs: &InputArgs, layers: &[usize], published: &Published) -> Option<Self> {
        if inputs.array().is_some() {
            return None;
        }
        Some(Self {
            model: located(model.model.as_deref()?),
            official: model.official.clone(),
            frames: inputs.frames(),
            frames_by: inputs.frames_by(),
            images: inputs.images(),
            range: inputs.range(),
            layers: layers.to_vec(),
            pool: Pooling::Mean,
            mark: published.mark(),
            precision: published.precision,
        })
    }

    /// What the JSON text beside features says of it, if anything that is understood.
    pub fn read(about: &str) -> Option<Self> {
        let mut about: serde_json::Value = serde_json::from_str(about).ok()?;
        serde_json::from_value(about.get_mut("made_by")?.take()).ok()
    }

    /// The same model, found elsewhere.
    #[must_use]
    pub fn moved(self, model: &Path) -> Self {
        Self { model: located(model), ..self }
    }

    /// Where the model lies.
    pub fn model(&self) -> &Path {
        &self.model
    }

    /// Opens the model; one that has gone or changed is an error.
    pub fn open(&self, device: &Device) -> Result<Published, Error> {
        let model = self.model.display();
        if !self.model.exists() {
            return Err(Error::Misuse(format!(
                "the model that made the features is not at {model} any more: say where it is with `--model DIR|FILE`, or embed again"
            )));
        }
        let args =
            ModelArgs { model: Some(self.model.clone()), official: self.official.clone(), ..ModelArgs::default() };
        let published = args.open(device, self.precision).map_err(|error| {
            Error::Misuse(format!(
                "the model that made the features cannot be used (say where it is with `--model DIR|FILE`, or embed again): {error}"
            ))
        })?;
        if published.mark() == self.mark {
            return Ok(published);
        }
        Err(Error::Misuse(format!(
            "the model at {model} is not the one that made the features, for its weights or its config differ: say where that one is with \
             `--model DIR|FILE`, or embed again"
        )))
    }

    /// The inputs at these paths, as the model takes them.
    pub fn inputs(&self, paths: &[PathBuf], published: &Published) -> Result<Inputs, Error> {
        let asked = InputArgs::as_made(self.frames, self.frames_by, self.images, self.range);
        Inputs::open(&asked, None, paths, &published.model)
    }

    /// Features `[inputs, width]`; of several layers one after the other.
    pub fn features(&self, inputs: &Inputs, published: &Published, device: &Device) -> Result<Features, Error> {
        let Pooling::Mean = self.pool;
        let taken = if self.layers.is_empty() { Taken::Mean } else { Taken::Layers(self.layers.clone(), false) };
        let model = &published.model;
        let mut pass = Pass::new(model, device, taken);
        let (mut values, mut first) = (Vec::new(), 0);
        while first < inputs.len() {
            let end = inputs.len().min(first + inputs.stride(first));
            for pixels in inputs.load(model, first, end) {
                values.extend(pass.push(pixels?)?.into_iter().flat_map(|rows| rows.values));
            }
            first = end;
        }
        values.extend(pass.flush()?.into_iter().flat_map(|rows| rows.values));
        Ok(Features::new(inputs.len(), values.len() / inputs.len().max(1), values)?)
    }
}

/// From the root of the file system, where that can be found out.
fn located(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
