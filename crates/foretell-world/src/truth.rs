//! Planning on the world itself: what a planner reaches with a perfect model.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cost::Cost;
use crate::planner::Problem;
use crate::world::{Episode, Reach, Way, World};

/// How far a state is from the goal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Through walls: the planner is told no more of the way than a model's latents might tell.
    Straight,
    /// Along the shortest way: what a planner reaches that is misled by nothing.
    #[default]
    Geodesic,
}

/// Candidates tried out in the world itself.
pub struct Truth<'a> {
    world: &'a dyn World,
    episodes: &'a [Episode],
    cost: Cost,
    distances: Vec<Way<'a>>,
}

impl<'a> Truth<'a> {
    /// Where each episode stands, what the distances on the way cost, and how they are measured.
    pub fn new(world: &'a dyn World, episodes: &'a [Episode], cost: Cost, measure: Measure) -> Self {
        Self::of(world, episodes, cost, |Episode { layout, goal, .. }| match measure {
            Measure::Straight => Box::new(move |state: &[f32]| world.distance(state, goal)) as Way<'a>,
            Measure::Geodesic => world.way(layout, goal),
        })
    }

    /// The same with what a state counts for in the place of its distance, for each episode.
    pub fn of(
        world: &'a dyn World,
        episodes: &'a [Episode],
        cost: Cost,
        counts: impl Fn(&'a Episode) -> Way<'a> + Send + Sync,
    ) -> Self {
        Self { world, episodes, cost, distances: episodes.par_iter().map(counts).collect() }
    }
}

impl Problem for Truth<'_> {
    fn episodes(&self) -> usize {
        self.episodes.len()
    }

    fn action(&self) -> usize {
        self.world.spec().action
    }

    fn reach(&self) -> Reach {
        self.world.spec().reach
    }

    fn costs(&mut self, candidates: &[f32], per_episode: usize, horizon: usize) -> Vec<f32> {
        let long = horizon * self.action();
        candidates
            .par_chunks_exact(long)
            .enumerate()
            .map(|(i, actions)| {
                let (episode, distance) = (&self.episodes[i / per_episode], &self.distances[i / per_episode]);
                let mut state = episode.state.clone();
                self.cost.of(actions.chunks_exact(self.action()).map(|action| {
                    self.world.step(&episode.layout, &mut state, action);
                    distance(&state)
                }))
            })
            .collect()
    }
}
