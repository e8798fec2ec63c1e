//! A trained model of a world and the world it learnt in, ready to plan with.

use foretell_jepa::dynamics::Gauge;
use foretell_world::{Agent, Budget, Cost, Imagination, Planner, PlannerConfig, Planning, Playground};

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
    /// The planner that is taken if nothing is said: the model's own actor where it has one.
    pub fn planner(&self) -> &'static str {
        if self.imagination.model.actor().is_some() { "actor" } else { "icem" }
    }

    /// How it plans with a planner if nothing is said: a block of actions is not cut.
    pub fn manner(&self, planner: Planner) -> Manner {
        let manner = Manner::of(planner);
        Manner { replan: manner.replan.max(self.imagination.block as u64), ..manner }
    }

    /// An agent that plans in the model's latents.
    pub fn agent(&self, manner: &Manner) -> impl Agent + '_ {
        let gauge = manner.gauge.unwrap_or_else(|| self.imagination.gauge());
        manner.planning(self.imagination.pose(manner.cost, gauge))
    }
}

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
        }
    }

    /// An agent that plans so.
    pub fn planning<F>(&self, pose: F) -> Planning<F> {
        Planning::new(self.planner, self.config, self.budget, self.replan, pose)
    }
}
