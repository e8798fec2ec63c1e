//! Worlds to act in, and planners that act in them through a model.
//!
//! A [`World`] is a set of pure functions over plain vectors: what it looks like, what an action does, what counts as
//! success. Its randomness comes from outside, so an episode is a function of a seed. [`Play`] turns a world into samples
//! to learn from. A [`Planner`] sees no world and no network: it asks a [`Problem`] what candidate actions cost.

mod above;
pub mod agent;
mod atlas;
mod cart_pole;
mod clear;
mod cost;
mod demonstrations;
mod discs;
mod energies;
mod evaluate;
mod experience;
mod forecast;
mod galton;
mod imagination;
mod imagined;
mod imitation;
mod noise;
mod paths;
mod planner;
mod play;
mod policy;
mod program;
mod protocol;
mod push_t;
mod rooms;
mod silent;
mod truth;
mod walls;
mod watched;
mod world;
mod worlds;

pub use above::Above;
pub use atlas::Explore;
pub use cart_pole::CartPole;
pub use clear::{Clear, ClearRule};
pub use cost::Cost;
pub use demonstrations::{DemonstrationSettings, Demonstrations};
pub use discs::{Discs, DiscsConfig};
pub use energies::Energies;
pub use evaluate::{Agent, Control, Now, Outcome, Planning, Solve, Trail, Trial, Turn, wilson};
pub use experience::{EpisodesSettings, Experience, ExperienceConfig, ExploreSettings, Form, PlaySettings, Playground};
pub use forecast::Forecast;
pub use galton::Galton;
pub use imagination::{Imagination, Model};
pub use imagined::Imagined;
pub use imitation::{Execution, Imitating, Imitation};
pub use planner::{Budget, Plan, Planner, PlannerConfig, PlannerError, Problem};
pub use play::{Moment, Play, PlayConfig};
pub use policy::{GoalPolicy, PolicyConfig};
pub use program::Program;
pub use protocol::{Protocol, ProtocolSet};
pub use push_t::PushT;
pub use rooms::{FloorPlan, Rooms, RoomsConfig, RoomsLook, Steps};
pub use silent::{Between, Kalman, Linear, Silent};
pub use truth::{Measure, Truth};
pub use watched::Watched;
pub use world::{Body, Episode, Reach, Scene, Spec, Split, Way, World, WorldError};
pub use worlds::{DiscView, WorldConfig};
