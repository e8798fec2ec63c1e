//! Probes that are trained as networks are: the attentive probe over an encoder's tokens, and the whole encoder with a head on top.

mod attentive;
mod finetune;
mod settings;
mod targets;
mod tokens;

pub use attentive::{Choice, Fitted, Probing};
pub use finetune::{Finetune, Tuned};
pub use settings::{AttentiveSettings, FinetuneSettings, Head};
pub use targets::{Targets, Votes};
pub use tokens::{Encoding, Packed, TokenBlocks, TokenSets};
