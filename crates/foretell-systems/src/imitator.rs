//! What a run has learnt to act with, and the world it did so in: a model that plans, or a policy.

use foretell_world::{Execution, Imitating, Imitation, Playground};

use crate::imaginer::Imaginer;

/// A policy and the world of its demonstrations.
pub struct Imitator {
    /// Its world, and what was shown there.
    pub playground: Playground,
    /// The policy.
    pub imitation: Imitation,
    /// Of its run.
    pub seed: u64,
}

impl Imitator {
    /// How it acts if nothing is said: each chunk to its end.
    pub fn execution(&self) -> Execution {
        Execution::Chunk(self.imitation.chunk() as u64)
    }

    /// An agent that acts so.
    pub fn agent(&self, execution: Execution) -> Imitating<'_> {
        self.imitation.agent(execution)
    }
}

/// Of a run that learnt in a world, what acts there.
pub enum Learnt {
    /// A model, in whose latents plans are made.
    Model(Imaginer),
    /// A policy, which says what to do.
    Policy(Imitator),
}

impl Learnt {
    /// Its world.
    pub fn playground(&self) -> &Playground {
        match self {
            Self::Model(imaginer) => &imaginer.playground,
            Self::Policy(imitator) => &imitator.playground,
        }
    }
}
