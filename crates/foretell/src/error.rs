//! What the binary prints before it exits: 2 for misuse, 1 for failure.

use foretell_data::DataError;
use foretell_eval::EvalError;
use foretell_nn::WeightsError;
use foretell_systems::{JudgeError, RecipeError, SystemError};
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
    /// A recipe: exit code 2.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
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

impl From<SystemError> for Error {
    fn from(error: SystemError) -> Self {
        match error {
            SystemError::Data(error) => error.into(),
            SystemError::Train(error) => error.into(),
            SystemError::Weights(error) => error.into(),
            SystemError::Setting(_) | SystemError::Masks(_) => Self::Misuse(error.to_string()),
        }
    }
}

impl From<JudgeError> for Error {
    fn from(error: JudgeError) -> Self {
        match error {
            JudgeError::Data(error) => error.into(),
            JudgeError::Eval(error) => error.into(),
            JudgeError::World(error) => error.into(),
            JudgeError::Weights(error) => error.into(),
            JudgeError::Train(error) => error.into(),
            JudgeError::Planner(error) => error.into(),
            JudgeError::Other(what) => Self::Misuse(what),
        }
    }
}
