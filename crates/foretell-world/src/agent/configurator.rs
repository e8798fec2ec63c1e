//! The configurator: sets the other modules for a task. Another task is other weights, never other networks.

use serde::{Deserialize, Serialize};

use super::intrinsic::{Drives, IntrinsicCost};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// To the goal, whatever lies in the way.
    Reach,
    /// To the goal, and not through what harms.
    Avoid,
    /// Away from the goal, and not through what harms: the sign is flipped.
    Flee,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Reach, Self::Avoid, Self::Flee];

    /// The command line's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reach => "reach",
            Self::Avoid => "avoid",
            Self::Flee => "flee",
        }
    }

    /// The task of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.name() == name)
    }
}

/// How the actor acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Mode-1: at once, by a policy.
    Policy,
    /// Mode-2: by a plan, sought through the world model.
    Planning,
}

impl Mode {
    /// 1 or 2.
    pub fn number(self) -> u8 {
        match self {
            Self::Policy => 1,
            Self::Planning => 2,
        }
    }
}

/// Weights of the drives: one step in what harms costs as much as three at a distance of 1, so that a way around it is worth its
/// length; effort only tells equal ways apart.
const HAZARD: f32 = 3.0;
const EFFORT: f32 = 0.01;

/// What is left open for a task to decide, and what is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configurator {
    /// How to act.
    pub mode: Mode,
    /// Steps looked ahead.
    pub horizon: usize,
    /// Whether the critic is asked at all.
    pub critic: bool,
    /// Whether hazards bar the way besides their cost; `None`: where the task is to avoid them.
    pub guardrail: Option<bool>,
}

/// The modules' settings for one task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Configuration {
    /// The task.
    pub task: Task,
    /// What costs.
    pub cost: IntrinsicCost,
    /// How to act.
    pub mode: Mode,
    /// Steps looked ahead.
    pub horizon: usize,
    /// Whether the critic says what comes after the last of them.
    pub critic: bool,
    /// Whether ways through what harms are rejected.
    pub guardrail: bool,
}

impl Configurator {
    /// For a task. The critic foretells ways to a goal: it has nothing to say of ways away from one.
    pub fn configure(&self, task: Task) -> Configuration {
        let Self { mode, horizon, critic, guardrail } = *self;
        let (distance, hazard) = match task {
            Task::Reach => (1.0, 0.0),
            Task::Avoid => (1.0, HAZARD),
            Task::Flee => (-1.0, HAZARD),
        };
        Configuration {
            task,
            cost: IntrinsicCost::new(Drives { distance, hazard, effort: EFFORT }),
            mode,
            horizon,
            critic: critic && task != Task::Flee,
            guardrail: guardrail.unwrap_or(task != Task::Reach),
        }
    }
}
