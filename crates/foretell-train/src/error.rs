//! What can go wrong in a run.

use std::path::{Path, PathBuf};

/// Errors of training, checkpoints and run folders.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Reading or writing failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// "read", "write", …
        action: &'static str,
        /// What.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The folder already holds a run.
    #[error("{} already holds a run: resume it, or choose another folder", .0.display())]
    Taken(PathBuf),
    /// The folder holds no run.
    #[error("{} holds no run: expected the folder of a run, with a config.toml in it", .0.display())]
    NoRun(PathBuf),
    /// A checkpoint is damaged.
    #[error("the checkpoint {} cannot be read: {reason}. Remove this folder to go on from the one before it", path.display())]
    Checkpoint {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A setting that does not fit.
    #[error("{0}")]
    Setting(String),
    /// The loss is not a number any more.
    #[error(
        "the loss became {value} at step {step}: training has diverged. Start again with a smaller `train.lr`; the run's last checkpoint is from before"
    )]
    Diverged {
        /// When.
        step: u64,
        /// What.
        value: f64,
    },
    /// From the data.
    #[error(transparent)]
    Data(#[from] foretell_data::DataError),
    /// From the weights.
    #[error(transparent)]
    Weights(#[from] foretell_nn::WeightsError),
    /// From judgement.
    #[error(transparent)]
    Eval(#[from] foretell_eval::EvalError),
}

impl TrainError {
    /// Wraps an input or output error.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
