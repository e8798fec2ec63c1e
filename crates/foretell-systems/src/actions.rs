//! What systems over windows of a world have in common.

use foretell_data::Normalise;
use foretell_world::Form;
use serde::{Deserialize, Serialize};

/// What a network is given of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionScale {
    /// The world's own numbers.
    Raw,
    /// Mean 0 and deviation 1 over the training actions.
    Standard,
}

impl ActionScale {
    /// What the collator does to actions.
    pub(crate) fn of(self, form: &Form) -> Normalise {
        match self {
            ActionScale::Raw => Normalise::nothing(form.action),
            ActionScale::Standard => form.actions.clone(),
        }
    }
}
