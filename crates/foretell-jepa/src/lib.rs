//! What makes a JEPA: masks, targets, latent losses, anti-collapse terms, and one file for each member of the family.
//!
//! A batch goes one way: samples → [`Collate`](foretell_data::Collate) (views and masks, in the loader's threads) →
//! tokeniser, context encoder, predictor → latent loss ← target. Almost every member is one of a few compositions of
//! such parts: [`masked`] predicts hidden tokens from visible ones, [`views`] one view's code from another's,
//! [`dynamics`] the next state from this one and an action. The training loop knows none of them; it knows an [`Objective`].

pub mod auto;
pub mod dynamics;
pub mod masked;
pub mod masks;
pub mod objective;
pub mod operators;
pub mod sar_jepa;
pub mod sigreg;
pub mod systems;
pub mod target;
pub mod vicreg;
pub mod views;

pub use auto::{Auto, Decision};
pub use objective::{Clock, Latents, Objective, Outcome};
