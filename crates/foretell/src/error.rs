//! What the binary prints before it exits: 2 for misuse, 1 for failure.

use foretell_data::DataError;
use foretell_eval::EvalError;
use foretell_jepa::systems::SystemError;
use foretell_nn::WeightsError;
use foretell_train::TrainError;
use foretell_world::{PlannerError, WorldError};

/// Any error of any command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command, the config or the input cannot be used as they are: exit code 2.
    #[error("{0}")]
    Misuse(String),
    /// Something failed on the way: exit code 1.
    #[error("{0}")]
    Failure(String),
    /// Input data: exit code 2.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A setting of a system: exit code 2.
    #[error(transparent)]
    System(#[from] SystemError),
    /// A run: 2 where the user can mend it, else 1.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Weights: exit code 2.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A world or play in it: exit code 2.
    #[error(transparent)]
    World(#[from] WorldError),
    /// A planner: exit code 2.
    #[error(transparent)]
    Planner(#[from] PlannerError),
    /// Judgement: exit code 1.
    #[error(transparent)]
    Eval(#[from] EvalError),
}

impl Error {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Failure(_) | Error::Eval(_) | Error::Train(TrainError::Diverged { .. } | TrainError::Eval(_)) => 1,
            _ => 2,
        }
    }
}
