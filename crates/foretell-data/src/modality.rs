//! A kind of data: what lies in files, what a sample is, and what people are shown of it. One folder for each kind.
//!
//! Everything above knows samples by this trait alone: the loader, health, probes, `embed`, `search` and reports. A kind of
//! data therefore brings its reader, its settings and its pictures, and no command changes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::epochs::Epochs;
use crate::images::labels::Factor;
use crate::source::Source;
use crate::{DataError, Decision, Image};

/// What one sample is called, and several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// `image`.
    pub one: &'static str,
    /// `images`.
    pub many: &'static str,
}

impl Unit {
    /// `1 image`, `5 images`.
    pub fn counted(self, count: usize) -> String {
        format!("{count} {}", if count == 1 { self.one } else { self.many })
    }
}

/// The two parts of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// What a run learns from.
    Train,
    /// What it is judged on.
    HeldOut,
}

impl Part {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "the training part",
            Self::HeldOut => "the held-out part",
        }
    }

    /// An error unless a part of so many samples has this one.
    pub(crate) fn holds(self, index: usize, len: usize) -> Result<(), DataError> {
        if index < len { Ok(()) } else { Err(DataError::OutOfRange { part: self.name(), index, len }) }
    }
}

/// What to do with a sample that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBadSample {
    /// Stop with an error that names it.
    #[default]
    Fail,
    /// Take the next good one instead, count it and remember its name.
    Skip,
}

/// What is known of a sample besides its content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// Its path in the folder or archive, or its place in its file.
    pub name: String,
    /// One label for each of [`Modality::factors`]; empty without labels.
    pub labels: Vec<u32>,
    /// Numbers that a probe may predict.
    pub numbers: Vec<f32>,
    /// Samples of one group (a subject, a recording) never stand on both sides of a split.
    pub group: Option<u32>,
    /// The length of what is stored of it, where that is apart from all others: such a sample can be lost alone.
    pub bytes: Option<u64>,
}

/// Pictures of one size that follow each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Film {
    /// In their order.
    pub frames: Vec<Image>,
    /// So many in a second.
    pub fps: f64,
}

impl Film {
    /// One that does not move.
    pub fn still(image: Image) -> Self {
        Self { frames: vec![image], fps: 1.0 }
    }
}

impl Meta {
    /// The clip (a recording, or another whole) of which a sample is one of several windows; `None` where it stands by itself. Windows of
    /// one whole have the same group, and the same name up to a last `@` and the second at which they begin: `waves/a.mp4@0s`,
    /// `waves/a.mp4@1.5s`. What a probe says of a whole is the mean of what it says of its windows.
    pub fn whole(&self) -> Option<(u32, &str)> {
        let (whole, start) = self.name.rsplit_once('@')?;
        let is_second = start.strip_suffix('s').is_some_and(|second| second.parse::<f64>().is_ok());
        self.group.filter(|_| is_second).map(|group| (group, whole))
    }
}

/// What a run brings to its data when it opens them.
pub struct Opening<'a> {
    /// Of the run.
    pub seed: u64,
    /// Samples in a batch.
    pub batch: usize,
    /// Threads that may work.
    pub threads: usize,
    /// Takes what was chosen, and why.
    pub decisions: &'a mut Vec<Decision>,
}

/// What a data set is, for people and for `--json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// What was recognised.
    pub format: String,
    /// Samples to learn from.
    pub train: usize,
    /// Samples to judge on.
    pub held_out: usize,
    /// Whether samples to learn from are generated without end; [`train`](Self::train) is 0 then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub endless: bool,
    /// How the two were told apart.
    pub split: String,
    /// What the labels tell.
    pub factors: Vec<Factor>,
    /// What samples are like, label → text.
    #[serde(skip)]
    pub facts: Vec<(String, String)>,
    /// The same as numbers, for scripts.
    #[serde(flatten)]
    pub numbers: BTreeMap<String, serde_json::Value>,
    /// What else to know, such as what was left untouched.
    pub notes: Vec<String>,
    /// What samples are called.
    #[serde(skip)]
    pub unit: Unit,
}

impl fmt::Display for Description {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let labels = self.facts.iter().map(|(label, _)| label.as_str()).chain(["format", self.unit.many]);
        let width = labels.map(|label| label.chars().count()).max().unwrap_or(0).max(8) + 2;
        let mut line = |label: &str, text: &str| writeln!(out, "{label:<width$}{text}");
        line("format", &self.format)?;
        line(self.unit.many, &self.parts())?;
        line("split", &self.split)?;
        self.facts.iter().try_for_each(|(label, text)| line(label, text))?;
        if self.factors.is_empty() {
            line("labels", "none")?;
        }
        for factor in &self.factors {
            let mut names = factor.classes.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
            if factor.classes.len() > SHOWN {
                names.push_str(", …");
            }
            line("labels", &format!("{}: {} classes ({names})", factor.name, factor.classes.len()))?;
        }
        self.notes.iter().try_for_each(|note| line("note", note))
    }
}

/// A kind of data. Implemented once, in the folder of that kind; all methods may be called from many threads.
///
/// ```
/// use std::path::{Path, PathBuf};
/// use foretell_data::{DataError, Description, Factor, Meta, Modality, Opening, Part, Unit};
///
/// /// Numbers on a line: the smallest kind of data there is.
/// struct Numbers(usize);
///
/// #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
/// struct NumbersConfig {
///     count: usize,
/// }
///
/// impl Modality for Numbers {
///     type Config = NumbersConfig;
///     type Sample = f32;
///     const UNIT: Unit = Unit { one: "number", many: "numbers" };
///     const BASELINE: &'static str = "the number itself";
///
///     fn open(config: &mut NumbersConfig, _: &mut Opening<'_>) -> Result<Self, DataError> {
///         Ok(Self(config.count))
///     }
///     fn of_paths(config: &NumbersConfig, _: &[PathBuf]) -> Result<Self, DataError> {
///         Ok(Self(config.count))
///     }
///     fn elsewhere(config: &NumbersConfig, _: &str) -> NumbersConfig {
///         config.clone()
///     }
///     fn source(_: &NumbersConfig) -> String {
///         "numbers".to_owned()
///     }
///     fn recognises(_: &Path) -> bool {
///         false
///     }
///     fn describe(&self) -> Description {
///         Description::of::<Self>("numbers", self.0, self.0)
///     }
///     fn len(&self, _: Part) -> Option<usize> {
///         Some(self.0)
///     }
///     fn meta(&self, _: Part, index: usize) -> Result<Meta, DataError> {
///         Ok(Meta { name: index.to_string(), ..Meta::default() })
///     }
///     fn load(&self, _: Part, index: usize) -> Result<f32, DataError> {
///         Ok(index as f32)
///     }
///     fn baseline(&self, sample: &f32) -> Vec<f32> {
///         vec![*sample]
///     }
/// }
///
/// assert_eq!(Numbers(3).load(Part::Train, 2).unwrap(), 2.0);
/// assert_eq!(Numbers::UNIT.counted(3), "3 numbers");
/// ```
pub trait Modality: Send + Sync + Sized + 'static {
    /// `[data]` of a recipe.
    type Config: Serialize + DeserializeOwned + Default + Clone + PartialEq + fmt::Debug + Send + Sync + 'static;
    /// One sample.
    type Sample: Send + Sync + 'static;
    /// What samples are called.
    const UNIT: Unit;
    /// What the baseline beside every figure is called.
    const BASELINE: &'static str;

    /// What samples are called from which that is taken what their kind is about, where that can be done: see
    /// [`control`](Self::control).
    const CONTROL: Option<&'static str> = None;

    /// Settings that are measured of the data when they are opened, such as means and a fingerprint: for other data they are measured anew.
    const MEASURED: &'static [&'static str] = &[];

    /// Settings, besides `path`, that are paths of files.
    const PATHS: &'static [&'static str] = &[];

    /// The same where it differs from one set to another.
    fn baseline_name(&self) -> &'static str {
        Self::BASELINE
    }

    /// Opens what a config names and fixes the settings that depend on it: sizes, means, a fingerprint. Data that are not
    /// what a resolved config was fixed for are an error.
    fn open(config: &mut Self::Config, opening: &mut Opening<'_>) -> Result<Self, DataError>;

    /// Samples at other paths, prepared as a resolved config says, for `embed` or a query: all in [`Part::Train`], in the
    /// order of the paths.
    fn of_paths(config: &Self::Config, paths: &[PathBuf]) -> Result<Self, DataError>;

    /// The config of other data, prepared alike.
    fn elsewhere(config: &Self::Config, path: &str) -> Self::Config;

    /// What a config names, as people call it.
    fn source(config: &Self::Config) -> String;

    /// Whether a path looks like this kind of data; a cheap guess.
    fn recognises(path: &Path) -> bool;

    /// What a path holds, for people: opened with the usual settings, unless less will do.
    fn look(path: &Path) -> Result<Description, DataError> {
        Self::look_as(Self::elsewhere(&Self::Config::default(), &path.to_string_lossy()))
    }

    /// The same of what a config names.
    fn look_as(mut config: Self::Config) -> Result<Description, DataError> {
        let mut opening = Opening { seed: 0, batch: 1, threads: 1, decisions: &mut Vec::new() };
        Self::open(&mut config, &mut opening).map(|data| data.describe())
    }

    /// What was found.
    fn describe(&self) -> Description;

    /// What to know of samples [at other paths](Self::of_paths), such as how they differ from those that were learnt from.
    fn cautions(&self) -> Vec<String> {
        Vec::new()
    }

    /// What the labels tell; empty without labels.
    fn factors(&self) -> &[Factor] {
        &[]
    }

    /// How many samples a part has; `None` where they are generated without end.
    fn len(&self, part: Part) -> Option<usize>;

    /// A sample's name and labels without its content.
    fn meta(&self, part: Part, index: usize) -> Result<Meta, DataError>;

    /// Reads one sample.
    fn load(&self, part: Part, index: usize) -> Result<Self::Sample, DataError>;

    /// A sample of the training part to learn from, which may be kept in memory or made smaller than what
    /// [`load`](Self::load) gives, as long as a view of it is none the worse.
    fn load_to_train(&self, index: usize) -> Result<Self::Sample, DataError> {
        self.load(Part::Train, index)
    }

    /// Reads several samples of a part, for data that are read faster together.
    fn load_many(&self, part: Part, indices: &[usize]) -> Vec<Result<Self::Sample, DataError>> {
        indices.iter().map(|index| self.load(part, *index)).collect()
    }

    /// The same of [`load_to_train`](Self::load_to_train).
    fn load_many_to_train(&self, indices: &[usize]) -> Vec<Result<Self::Sample, DataError>> {
        indices.iter().map(|index| self.load_to_train(*index)).collect()
    }

    /// A sample in the form that encoders take, such as an image brought to its side: work for the loader's threads.
    fn prepare(&self, sample: Self::Sample) -> Self::Sample {
        sample
    }

    /// The plain features that stand beside an encoder's (pixels, a histogram of labels) of a prepared sample; as many
    /// numbers for each.
    fn baseline(&self, sample: &Self::Sample) -> Vec<f32>;

    /// A prepared sample without what its kind is about, such as a clip that stands still: what probes of the trained network's features
    /// of it know does not come from there. Only of kinds that name a [`CONTROL`](Self::CONTROL).
    fn control(&self, _sample: &Self::Sample) -> Option<Self::Sample> {
        None
    }

    /// What may lie at a place of a sample, where that is known of each place, as of generated pictures: nothing first, then the kinds
    /// of objects. Empty where it is not known.
    fn objects(&self) -> Vec<String> {
        Vec::new()
    }

    /// Of each token, of a grid of so many moments, rows and columns in this order, which of the [objects](Self::objects) covers most of
    /// it, and the share that it covers; `None` where that is not known.
    fn covered(&self, _part: Part, _index: usize, _grid: (usize, usize, usize)) -> Option<Vec<(u32, f32)>> {
        None
    }

    /// What a report shows of a sample.
    fn picture(&self, _sample: &Self::Sample) -> Option<Image> {
        None
    }

    /// A sample as a report shows it where it moves.
    fn film(&self, _sample: &Self::Sample) -> Option<Film> {
        None
    }

    /// Training samples that are enough for probes to learn from.
    fn enough_to_probe(&self) -> usize {
        60_000
    }

    /// What to do with a sample that cannot be read.
    fn on_bad(&self) -> OnBadSample {
        OnBadSample::Fail
    }

    /// The samples of each step of training: epochs, each a permutation of the training part. An error if there are too
    /// few for the batch.
    fn training(
        self: &Arc<Self>,
        batch: usize,
        seed: u64,
    ) -> Result<Arc<dyn Source<Sample = Self::Sample>>, DataError> {
        Ok(Arc::new(Epochs::new(Arc::clone(self), batch, seed)?))
    }
}

impl Description {
    /// How many samples the two parts have.
    pub fn parts(&self) -> String {
        let train = if self.endless { "without end".to_owned() } else { self.train.to_string() };
        format!("{train} to train, {} held out", self.held_out)
    }

    /// Of samples without labels, notes or anything to say of what they are like.
    pub fn of<M: Modality>(format: &str, train: usize, held_out: usize) -> Self {
        Self {
            format: format.to_owned(),
            train,
            held_out,
            endless: false,
            split: "as given".to_owned(),
            factors: Vec::new(),
            facts: Vec::new(),
            numbers: BTreeMap::new(),
            notes: Vec::new(),
            unit: M::UNIT,
        }
    }
}

/// The part that a representation is judged on: what is held out, or the training part where fewer than two samples are.
pub fn judged_part<M: Modality>(data: &M) -> Part {
    if data.len(Part::HeldOut).is_none_or(|held_out| held_out >= 2) { Part::HeldOut } else { Part::Train }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_told_by_their_group_and_the_second_at_which_they_begin() {
        let whole = |name: &str, group| {
            Meta { name: name.to_owned(), group, ..Meta::default() }.whole().map(|(g, n)| (g, n.to_owned()))
        };
        assert_eq!(whole("a@b.mp4@12.5s", Some(3)), Some((3, "a@b.mp4".to_owned())));
        for (name, group) in [("a.mp4@1s", None), ("a@1s.png", Some(3)), ("a.mp4", Some(3)), ("a@s", Some(3))] {
            assert_eq!(whole(name, group), None, "{name}");
        }
    }
}
