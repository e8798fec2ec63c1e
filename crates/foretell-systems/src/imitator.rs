//! What a run has learnt to act with, and the world it did so in: a model that plans, or a policy.

use std::sync::Arc;

use foretell_world::{Execution, Imitating, Imitation, Playground, World, WorldError};

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

    /// Lets it act in another world than the one that it learnt in, whose observations and actions must be alike.
    pub fn act_in(&mut self, world: Arc<dyn World>) -> Result<(), WorldError> {
        let playground = match self {
            Self::Model(imaginer) => {
                imaginer.imagination.check(world.as_ref())?;
                &mut imaginer.playground
            }
            Self::Policy(imitator) => {
                imitator.imitation.check(world.as_ref())?;
                &mut imitator.playground
            }
        };
        playground.world = world;
        Ok(())
    }
}
