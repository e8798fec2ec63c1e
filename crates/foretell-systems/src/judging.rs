//! What a judgement is made of.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

use foretell_data::{Modality, Part};
use foretell_eval::Finding;
use foretell_jepa::{Auto, Kept};
use foretell_nn::NamedTensors;
use foretell_train::{Learner, Which};

use crate::judges::Labelled;
use crate::recipe::JudgeConfig;
use crate::system::{JudgeError, On};

/// A trained run and its control, and the data to judge them on. Samples that cannot be read are passed over, whatever the
/// data say of them, and named: a training that has ended keeps its evaluation.
pub struct Judging<'a, D: Modality> {
    /// What the run is built for.
    pub on: On<'a, D>,
    /// What is judged on: the run's own data, or others that are prepared alike.
    pub data: &'a Arc<D>,
    /// How.
    pub settings: &'a JudgeConfig,
    /// The networks.
    pub learner: &'a dyn Learner,
    /// The trained encoder's tensors where the learner does not hold them.
    encoder: Option<NamedTensors>,
    /// Features of the labelled samples, once a judge has asked for them.
    pub(crate) labelled: OnceCell<Option<Labelled>>,
    skipped: RefCell<BTreeSet<String>>,
}

/// What was found, and what could not be read on the way.
pub struct Judged {
    /// In the order in which they are shown.
    pub findings: Vec<Finding>,
    /// Names of samples that were passed over.
    pub skipped: Vec<String>,
}

impl<'a, D: Modality> Judging<'a, D> {
    /// Of these networks.
    pub fn new(on: On<'a, D>, data: &'a Arc<D>, settings: &'a JudgeConfig, learner: &'a dyn Learner) -> Self {
        Self { on, data, settings, learner, encoder: None, labelled: OnceCell::new(), skipped: RefCell::default() }
    }

    /// The same with these tensors in the trained encoder.
    #[must_use]
    pub fn with_encoder(self, encoder: Option<NamedTensors>) -> Self {
        Self { encoder, ..self }
    }

    /// The kept networks, trained or not.
    pub fn kept(&self, which: Which) -> Result<Kept<D::Sample>, JudgeError> {
        let wrong = |_| JudgeError::Other("the kept network takes samples of another kind than its data".to_owned());
        let mut kept: Kept<D::Sample> = self.learner.kept(which).downcast().map(|kept| *kept).map_err(wrong)?;
        if let (Which::Trained, Some(tensors)) = (which, &self.encoder) {
            kept.encoder.load(tensors.clone())?;
        }
        Ok(kept)
    }

    /// Training samples that probes learn from, at most.
    pub fn train_samples(&self) -> usize {
        match self.settings.train_samples {
            Auto::Value(samples) => samples,
            // Of samples without end not all can be taken.
            Auto::Auto if self.data.len(Part::Train).is_none() => self.data.enough_to_probe(),
            Auto::Auto => usize::MAX,
        }
    }

    /// Notes samples that could not be read.
    pub fn skip(&self, names: Vec<String>) {
        self.skipped.borrow_mut().extend(names);
    }

    /// The judgement's outcome.
    pub fn outcome(self, findings: Vec<Finding>) -> Judged {
        Judged { findings, skipped: self.skipped.into_inner().into_iter().collect() }
    }
}
