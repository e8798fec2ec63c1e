//! What stands beside the agent in its tasks: who does what it asks for knowing everything, and who goes straight on.

use foretell_jepa::dynamics::model::STEPS_UNIT;

use super::configurator::{Configuration, Task};
use super::mode_2::BARRED;
use super::sense::LIMIT;
use crate::cost::Cost;
use crate::evaluate::{Agent, Control, Now, Planning, Solve, Trail, Turn};
use crate::planner::{Budget, Plan, Planner, PlannerConfig, PlannerError};
use crate::truth::Truth;
use crate::world::{Episode, World};

impl Task {
    /// Whether an episode ended well, and whether it was well at any step. Who flees has done well where the goal is farther off than at the
    /// start, along the shortest way.
    pub fn success(self, world: &dyn World, episode: &Episode, trail: &Trail) -> (bool, bool) {
        let well: Vec<bool> = if self == Self::Flee {
            let way = world.way(&episode.layout, &episode.goal);
            let start = trail.states.first().map_or(0.0, |state| way(state));
            trail.states.iter().map(|state| way(state) > start).collect()
        } else {
            trail.states.iter().map(|state| world.success(state, &episode.goal)).collect()
        };
        (well.last().copied().unwrap_or(false), well.contains(&true))
    }
}

/// Straight towards the goal, or straight away from it where that is the task.
pub struct StraightOn(pub Task);

impl Agent for StraightOn {
    fn act(&mut self, now: &Now<'_>) -> Result<Turn, PlannerError> {
        let mut turn = Control::Greedy.act(now)?;
        if self.0 == Task::Flee {
            // A place as far behind one as the goal is before one.
            let away = |episode: &Episode| -> Vec<f32> {
                let behind =
                    episode.state.iter().zip(&episode.goal).map(|(here, goal)| 2.0 * here - goal).collect::<Vec<_>>();
                now.world.greedy(&episode.state, &behind).unwrap_or_else(|| vec![0.0; now.world.spec().action])
            };
            turn.actions = now.tasks.iter().map(away).collect();
        }
        Ok(turn)
    }
}

/// The cross-entropy method on the true dynamics and the true cost: the same drives and guardrail, distances along the shortest way.
pub fn on_the_truth(configuration: &Configuration, replan: u64, world: &dyn World) -> impl Agent + use<> {
    let Configuration { cost, guardrail, horizon, .. } = *configuration;
    let drives = cost.drives();
    let pose = move |now: &Now<'_>, solve: Solve<'_>| -> Result<Vec<Plan>, PlannerError> {
        let world = now.world;
        let unit = world.spec().reach.most() * STEPS_UNIT as f32;
        solve(&mut Truth::of(world, now.tasks, Cost::Sum, |Episode { layout, goal, .. }| {
            let way = world.way(layout, goal);
            Box::new(move |state: &[f32]| {
                let hazard = world.hazard(layout, state);
                let barred = if guardrail && hazard > LIMIT { BARRED * (1.0 + hazard - LIMIT) } else { 0.0 };
                drives.distance * way(state) / unit + drives.hazard * hazard + barred
            })
        }))
    };
    let planner = Planner::Cem { samples: 128, iterations: 8, elites: 16 };
    let config = PlannerConfig { horizon, ..PlannerConfig::default() };
    let budget = Budget { calls: world.affordable().max(horizon as u64) };
    Planning::new(planner, config, budget, replan, pose)
}
