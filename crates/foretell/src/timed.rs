//! An agent under a stopwatch.

use std::time::{Duration, Instant};

use foretell_world::{Agent, Now, PlannerError, Turn};

use crate::output::counted;
use crate::progress::Progress;

/// An agent under a stopwatch, that says how far it has come.
pub(crate) struct Timed<A> {
    agent: A,
    progress: Progress,
    /// How long it has thought.
    pub(crate) spent: Duration,
}

impl<A> Timed<A> {
    /// An agent that has not thought yet, before so many steps.
    pub(crate) fn new(agent: A, steps: u64) -> Self {
        Self { agent, progress: Progress::new(steps, "step", ""), spent: Duration::ZERO }
    }
}

impl<A: Agent> Agent for Timed<A> {
    fn act(&mut self, now: &Now<'_>) -> Result<Turn, PlannerError> {
        let started = Instant::now();
        let turn = self.agent.act(now);
        self.spent += started.elapsed();
        if let Ok(turn) = &turn {
            let done = self.progress.total().min(now.step + turn.taken);
            self.progress.at(done, || counted(now.tasks.len(), "episode"));
        }
        turn
    }
}
