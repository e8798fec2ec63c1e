//! What makes a JEPA: compositions, masks, targets, latent losses, anti-collapse terms.
//!
//! A batch goes one way: samples → [`Collate`](foretell_data::Collate) (views and masks, in the loader's threads) →
//! tokeniser, context encoder, predictor → latent loss ← target. Almost every member is one of a few compositions of
//! such parts: [`masked`] predicts hidden tokens from visible ones ([`clips`] those of video, [`spectrograms`] those of sound), [`views`] one view's code from another's,
//! [`dynamics`] the next state from this one and an action. The training loop knows none of them; it knows an [`Objective`].

pub mod action;
pub mod anti_collapse;
pub mod barlow;
pub mod clips;
pub mod dynamics;
pub mod flow;
pub mod geometry;
pub mod lat_pfn;
pub mod masked;
pub mod masks;
pub mod matching;
pub mod neighbours;
pub mod next_embedding;
pub mod objective;
pub mod operators;
pub mod patches;
pub mod predicted_operator;
pub mod series;
pub mod signals;
pub mod sigreg;
pub mod spatio_temporal;
pub mod spectrograms;
pub mod stacked;
pub mod supervised;
pub mod target;
pub mod vicreg;
pub mod views;
pub mod visreg;

pub use anti_collapse::AntiCollapse;
pub use foretell_data::{Auto, Decision};
pub use objective::{Clock, Kept, KeptPredictor, KeptTargets, Latents, MOTION, Objective, Outcome, Role, Second};
