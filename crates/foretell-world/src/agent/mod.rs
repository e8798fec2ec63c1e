//! The objective-driven agent (LeCun, 2022, OpenReview BZ5a1r-kVsf): modules around any trained model of a world.
//!
//! | module | here |
//! |---|---|
//! | configurator | [`Configurator`]: from a [`Task`] the weights of the drives, the mode, what bars the way |
//! | perception | the model's encoder, and a [`Sense`] that reads from latents how near they are to what harms |
//! | world model | the run's own |
//! | cost | [`IntrinsicCost`], which nothing learns, and a [`Critic`] that foretells it |
//! | actor | Mode-1, a policy without search, and Mode-2, a planner over the cost, which Mode-1 is distilled from |
//! | short-term memory | [`Memory`]: states and costs by their latents |
//!
//! [`Driven`] is the agent; [`learn`] trains what learns, in stages.

mod act;
mod configurator;
mod controls;
mod critic;
mod intrinsic;
mod learn;
mod lessons;
mod life;
mod memory;
mod mode_2;
mod sense;

pub use act::{Driven, Modules, Note};
pub use configurator::{Configuration, Configurator, Mode, Task};
pub use controls::{StraightOn, on_the_truth};
pub use critic::{Critic, DISCOUNT};
pub use intrinsic::{Drives, IntrinsicCost, Percept};
pub use learn::{Learning, Learnt, learn};
pub use memory::{Entry, Memory, futures};
pub use sense::{LIMIT, Sense, Sensed};
