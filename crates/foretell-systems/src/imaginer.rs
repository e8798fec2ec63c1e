//! A trained model of a world and the world it learnt in, ready to plan with.

use foretell_jepa::dynamics::Gauge;
use foretell_world::{
    Above, Agent, Budget, Cost, Imagination, Now, Plan, Planner, PlannerConfig, PlannerError, Planning, Playground,
    Solve,
};

/// See the module.
pub struct Imaginer {
    /// Its world, and play as it learnt from it.
    pub playground: Playground,
    /// The model.
    pub imagination: Imagination,
    /// Of its run.
    pub seed: u64,
}

impl Imaginer {
    /// The planner that is taken if nothing is said: one that searches where several levels plan, else the model's own actor where it has
    /// one.
    pub fn planner(&self) -> &'static str {
        let model = &self.imagination.model;
        if model.levels().is_empty() && model.actor().is_some() { "actor" } else { "icem" }
    }

    /// How it plans with a planner if nothing is said: a block of actions is not cut.
    pub fn manner(&self, planner: Planner) -> Manner {
        let manner = Manner::of(planner);
        Manner { replan: manner.replan.max(self.imagination.block as u64), ..manner }
    }

    /// Levels that plan: of those that the model has as many as were asked for. An actor sees the goal itself.
    pub fn levels(&self, manner: &Manner) -> usize {
        let all = 1 + self.imagination.model.levels().len();
        if matches!(manner.planner, Planner::Actor { .. }) { 1 } else { manner.levels.unwrap_or(all).clamp(1, all) }
    }

    /// Steps of a plan of the level that acts: up to the next level's goal, where there are more.
    pub fn horizon(&self, manner: &Manner) -> usize {
        let above = (self.levels(manner) > 1).then(|| Above::ground_horizon(&self.imagination)).flatten();
        above.unwrap_or(manner.config.horizon)
    }

    /// An agent that plans in the model's latents.
    pub fn agent<'a>(&'a self, manner: &Manner) -> impl Agent + use<'a> {
        let levels = self.levels(manner);
        let config = PlannerConfig { horizon: self.horizon(manner), ..manner.config };
        let pose: Pose<'a> = if levels > 1 {
            let Manner { planner, cost, .. } = *manner;
            let horizon = manner.config.horizon;
            Box::new(self.imagination.pose_from_above(Above { levels, planner, horizon, cost }))
        } else {
            Box::new(self.imagination.pose(manner.cost, manner.gauge.unwrap_or_else(|| self.imagination.gauge())))
        };
        Manner { config, ..*manner }.planning(pose)
    }
}

/// Poses the episodes to a planner.
type Pose<'a> = Box<dyn FnMut(&Now<'_>, Solve<'_>) -> Result<Vec<Plan>, PlannerError> + 'a>;

/// How a plan is sought.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// The planner.
    pub planner: Planner,
    /// Its horizon and spread.
    pub config: PlannerConfig,
    /// Model calls of one plan.
    pub budget: Budget,
    /// Steps taken of each plan.
    pub replan: u64,
    /// What the distances along a way cost.
    pub cost: Cost,
    /// By what a latent is far from its goal; `None` for the best that the model has learnt.
    pub gauge: Option<Gauge>,
    /// Levels that plan; `None` for all that the model has, 1 for the one that acts alone.
    pub levels: Option<usize>,
}

impl Manner {
    /// Steps that are taken of each plan that was searched for, if nothing is said.
    pub const REPLAN: u64 = 2;

    /// With a planner's own settings and nothing said. An actor looks at every step: it has nothing to search for.
    pub fn of(planner: Planner) -> Self {
        let replan = if matches!(planner, Planner::Actor { .. }) { 1 } else { Self::REPLAN };
        Self {
            planner,
            config: PlannerConfig::default(),
            budget: Budget { calls: u64::MAX },
            replan,
            cost: Cost::default(),
            gauge: None,
            levels: None,
        }
    }

    /// An agent that plans so.
    pub fn planning<F>(&self, pose: F) -> Planning<F> {
        Planning::new(self.planner, self.config, self.budget, self.replan, pose)
    }
}
