//! A kind of data: what lies in its files, what a sample is, and what people are shown of it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rand::RngExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::images::OnBadSample;
use crate::labels::Factor;
use crate::random::{Stream, rng};
use crate::source::Source;
use crate::{DataError, Decision, Image, Part};

/// What one sample is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// `graph`.
    pub one: &'static str,
    /// `graphs`.
    pub many: &'static str,
}

impl Unit {
    /// `1 graph`, `5 graphs`.
    pub fn counted(self, count: usize) -> String {
        format!("{count} {}", if count == 1 { self.one } else { self.many })
    }
}

/// What is known of a sample without loading it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// Its name in its set.
    pub name: String,
    /// One label for each factor.
    pub labels: Vec<u32>,
    /// Numbers to predict by regression.
    pub numbers: Vec<f32>,
    /// What it belongs to, such as a subject or a fold.
    pub group: Option<u32>,
}

/// What a run tells the data that it opens.
pub struct Opening<'a> {
    /// Of the run.
    pub seed: u64,
    /// Samples in a step.
    pub batch: usize,
    /// Threads that may work.
    pub threads: usize,
    /// Where automatic choices are recorded.
    pub decisions: &'a mut Vec<Decision>,
}

/// What a data set is, for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// What was recognised.
    pub format: String,
    /// Samples to learn from.
    pub train: usize,
    /// Samples to evaluate on.
    pub held_out: usize,
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
    /// What else to know.
    pub notes: Vec<String>,
    /// What samples are called.
    #[serde(skip)]
    pub unit: Unit,
}

impl Description {
    /// Of samples without labels, notes or anything to say of what they are like.
    pub fn of<M: Modality>(format: &str, train: usize, held_out: usize) -> Self {
        Self {
            format: format.to_owned(),
            train,
            held_out,
            split: "as given".to_owned(),
            factors: Vec::new(),
            facts: Vec::new(),
            numbers: BTreeMap::new(),
            notes: Vec::new(),
            unit: M::UNIT,
        }
    }
}

/// A kind of data.
pub trait Modality: Send + Sync + Sized + 'static {
    /// `[data]` of a recipe.
    type Config: Serialize + DeserializeOwned + Default + Clone + PartialEq + Debug + Send + Sync + 'static;
    /// What a collator and an encoder take.
    type Sample: Send + Sync + 'static;
    /// What one sample is called.
    const UNIT: Unit;
    /// Name of the baseline's row.
    const BASELINE: &'static str;

    /// Opens what the config names and fixes there what depends on the data.
    fn open(config: &mut Self::Config, opening: &mut Opening<'_>) -> Result<Self, DataError>;
    /// All samples of the paths in the training part, in the paths' order, prepared as the config says.
    fn of_paths(config: &Self::Config, paths: &[PathBuf]) -> Result<Self, DataError>;
    /// The same preparation for other data.
    fn elsewhere(config: &Self::Config, path: &str) -> Self::Config;
    /// Where the data come from, as people call it.
    fn source(config: &Self::Config) -> String;
    /// Whether a path is this kind of data.
    fn recognises(path: &Path) -> bool;
    /// What was found.
    fn describe(&self) -> Description;
    /// What the labels tell.
    fn factors(&self) -> &[Factor];
    /// How many samples a part has; `None` where they are generated without end.
    fn len(&self, part: Part) -> Option<usize>;
    /// A sample's name and labels.
    fn meta(&self, part: Part, index: usize) -> Result<Meta, DataError>;
    /// One sample.
    fn load(&self, part: Part, index: usize) -> Result<Self::Sample, DataError>;
    /// Brings a sample into the form that encoders take.
    fn prepare(&self, sample: Self::Sample) -> Self::Sample {
        sample
    }
    /// Plain features of fixed width to compare with.
    fn baseline(&self, sample: &Self::Sample) -> Vec<f32>;
    /// What reports show.
    fn picture(&self, _sample: &Self::Sample) -> Option<Image> {
        None
    }
    /// What to do with a sample that cannot be read.
    fn on_bad(&self) -> OnBadSample {
        OnBadSample::Fail
    }
    /// Samples for training: a permutation for each epoch.
    fn training(
        self: &Arc<Self>,
        batch: usize,
        seed: u64,
    ) -> Result<Arc<dyn Source<Sample = Self::Sample>>, DataError> {
        let count = self.len(Part::Train).unwrap_or(usize::MAX).min(u32::MAX as usize);
        if count == 0 || batch == 0 {
            return Err(DataError::TooFew { found: count, batch, remedy: "add samples".to_owned() });
        }
        Ok(Arc::new(Epochs { data: Arc::clone(self), batch, seed, count, order: Mutex::default() }))
    }
}

struct Epochs<M> {
    data: Arc<M>,
    batch: usize,
    seed: u64,
    count: usize,
    order: Mutex<Option<(u64, Arc<[u32]>)>>,
}

impl<M> Epochs<M> {
    fn order(&self, epoch: u64) -> Arc<[u32]> {
        let mut kept = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, order)) = kept.as_ref().filter(|(of, _)| *of == epoch) {
            return Arc::clone(order);
        }
        let mut order: Vec<u32> = (0..self.count as u32).collect();
        let mut rng = rng(self.seed, Stream::Order, epoch, 0);
        for last in (1..order.len()).rev() {
            order.swap(last, rng.random_range(0..=last as u32) as usize);
        }
        let order: Arc<[u32]> = order.into();
        *kept = Some((epoch, Arc::clone(&order)));
        order
    }
}

impl<M: Modality> Source for Epochs<M> {
    type Sample = M::Sample;

    fn batch(&self, step: u64) -> Result<Vec<M::Sample>, DataError> {
        let (batch, count) = (self.batch as u64, self.count as u64);
        let first = (step - 1) * batch;
        (first..first + batch)
            .map(|position| {
                let index = self.order(position / count)[(position % count) as usize];
                Ok(self.data.prepare(self.data.load(Part::Train, index as usize)?))
            })
            .collect()
    }
}
