//! What a member of the family is to everyone else: settings, a learner, and how it is judged.

use std::fmt;
use std::sync::Arc;

use burn::tensor::Device;
use foretell_data::random::{Stream, rng};
use foretell_data::{DataError, Decision, Modality, Part};
use foretell_eval::{EvalError, Finding};
use foretell_jepa::Objective;
use foretell_jepa::masks::MaskError;
use foretell_train::{Ground, Learner, Learning, TrainConfig, TrainError};
use foretell_world::{PlannerError, WorldError};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ablation::Ablation;
use crate::judges;
use crate::judging::Judging;
use crate::row::Row;

/// What a system is built for: the data's and the run's numbers.
pub struct On<'a, D: Modality> {
    /// The data; `None` for networks that are only used.
    pub data: Option<&'a Arc<D>>,
    /// Resolved settings of the data: what networks are built for stands there.
    pub config: &'a D::Config,
    /// Of the run.
    pub seed: u64,
    /// Optimiser steps that will really be taken.
    pub steps: u64,
    /// Samples in a batch.
    pub batch: usize,
    /// Threads that may read samples.
    pub threads: usize,
    /// Where the networks lie, without autodiff.
    pub device: &'a Device,
}

impl<D: Modality> On<'_, D> {
    /// The device on which networks learn.
    pub fn learning(&self) -> Device {
        self.device.clone().autodiff()
    }

    /// Whether the networks lie on a CPU: some defaults are smaller there.
    pub fn on_cpu(&self) -> bool {
        foretell_ops::on_cpu(self.device)
    }

    /// Samples of the training part; `None` where they are not open or generated without end.
    pub fn train_len(&self) -> Option<usize> {
        self.data.and_then(|data| data.len(Part::Train))
    }

    /// The generator of the weights of the network of this number.
    pub fn weights(&self, network: u64) -> ChaCha8Rng {
        rng(self.seed, Stream::Init, 0, network)
    }

    /// An objective and its fresh networks as the loop takes them.
    pub fn learner<O: Objective<Sample = D::Sample>>(&self, objective: O, networks: O::Networks) -> Box<dyn Learner> {
        let Self { data, seed, batch, threads, device, .. } = *self;
        let ground = Ground { data: data.cloned(), batch, seed, threads, device: device.clone() };
        Box::new(Learning::new(objective, networks, ground))
    }
}

/// A member of the family. One file implements it; the registry, every command and the report know no more.
///
/// ```
/// use foretell_data::{Decision, Images};
/// use foretell_systems::i_jepa::IJepaConfig;
/// use foretell_systems::{On, Row, State, System, SystemError};
/// use foretell_train::Learner;
/// use serde::{Deserialize, Serialize};
///
/// /// I-JEPA whose loss is that of the released code, as a system of one's own.
/// #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
/// struct Mine(IJepaConfig);
///
/// static ROW: Row = Row {
///     number: 0,
///     name: "mine",
///     title: "Mine",
///     one_line: "I-JEPA without SIGReg",
///     papers: &[],
///     state: State::Trains,
/// };
///
/// impl System for Mine {
///     type Data = Images;
///     const ROW: &'static Row = &ROW;
///
///     fn init(&mut self, on: &On<'_, Images>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
///         self.0.sigreg = 0.0;
///         self.0.init(on, decisions)
///     }
/// }
/// assert_eq!(Mine::ROW.title, "Mine");
/// ```
pub trait System:
    Serialize + DeserializeOwned + Default + Clone + PartialEq + fmt::Debug + Send + Sync + 'static
{
    /// The kind of data that it learns from.
    type Data: Modality;
    /// Its row in the table of systems.
    const ROW: &'static Row;
    /// Its settings that are measured of the data: for other data they are measured anew.
    const MEASURED: &'static [&'static str] = &[];

    /// Settings of the loop where nothing is said.
    fn train() -> TrainConfig {
        TrainConfig::default()
    }

    /// Settings of the data where nothing is said.
    fn data() -> <Self::Data as Modality>::Config {
        Default::default()
    }

    /// Its settings where nothing is said, for these data.
    fn fitting(_data: &<Self::Data as Modality>::Config) -> Self {
        Self::default()
    }

    /// Optimiser steps where nothing is said, for data of which that is known (`train_len` samples to train on, where they have
    /// an end); otherwise minutes decide.
    fn usual_steps(_data: &<Self::Data as Modality>::Config, _train_len: Option<usize>) -> Option<u64> {
        None
    }

    /// Chooses settings of the data that it has a say in, before they are opened.
    fn ask(
        &self,
        _data: &mut <Self::Data as Modality>::Config,
        _decisions: &mut Vec<Decision>,
    ) -> Result<(), SystemError> {
        Ok(())
    }

    /// Chooses what is open and says why, refuses what cannot be, and builds fresh networks. Two calls with the same
    /// settings build the same.
    fn init(&mut self, on: &On<'_, Self::Data>, decisions: &mut Vec<Decision>)
    -> Result<Box<dyn Learner>, SystemError>;

    /// The rows of its ablation table with these settings: the first is the system as it is set, each other one differs in what its
    /// name says. None where it declares none.
    fn ablations(&self) -> Vec<Ablation> {
        Vec::new()
    }

    /// What is found out about a trained network, beside its controls.
    fn judge(&self, run: &Judging<'_, Self::Data>) -> Result<Vec<Finding>, JudgeError> {
        judges::usual(run)
    }
}

/// A system that cannot be built as asked.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// A setting that does not fit.
    #[error("{0}")]
    Setting(String),
    /// Masks that cannot be drawn on this grid.
    #[error(transparent)]
    Masks(#[from] MaskError),
    /// Data that cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The loop or a run's folder.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Weights.
    #[error(transparent)]
    Weights(#[from] foretell_nn::WeightsError),
}

/// A judgement that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// Data that cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A probe or a statistic that cannot be computed.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// A world that cannot be played in.
    #[error(transparent)]
    World(#[from] WorldError),
    /// Weights that do not fit.
    #[error(transparent)]
    Weights(#[from] foretell_nn::WeightsError),
    /// Networks that cannot be asked.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A plan that cannot be sought.
    #[error(transparent)]
    Planner(#[from] PlannerError),
    /// A kept network of another kind than its judge expects.
    #[error("{0}")]
    Other(String),
}
