//! Planning on the world itself: what a planner reaches with a perfect model.

use rayon::prelude::*;

use crate::cost::Cost;
use crate::planner::Problem;
use crate::world::{Episode, World};

/// Candidates tried out in the world itself, their distance measured straight, through walls: the planner is told no more
/// of the way than a model's latents would tell.
pub struct Truth<'a> {
    /// The world.
    pub world: &'a dyn World,
    /// Where each episode stands.
    pub episodes: &'a [Episode],
    /// What the distances on the way cost.
    pub cost: Cost,
}

impl Problem for Truth<'_> {
    fn episodes(&self) -> usize {
        self.episodes.len()
    }

    fn action(&self) -> usize {
        self.world.spec().action
    }

    fn reach(&self) -> f32 {
        self.world.spec().reach
    }

    fn costs(&mut self, candidates: &[f32], per_episode: usize, horizon: usize) -> Vec<f32> {
        let long = horizon * self.action();
        candidates
            .par_chunks_exact(long)
            .enumerate()
            .map(|(i, actions)| {
                let episode = &self.episodes[i / per_episode];
                let mut state = episode.state.clone();
                self.cost.of(actions.chunks_exact(self.action()).map(|action| {
                    self.world.step(&episode.layout, &mut state, action);
                    self.world.distance(&state, &episode.goal)
                }))
            })
            .collect()
    }
}
