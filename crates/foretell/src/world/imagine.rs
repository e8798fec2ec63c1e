//! A trained model of a world, ready to plan with: of a finished run, or the one that comes with the program.

use std::path::Path;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use foretell_jepa::dynamics::Gauge;
use foretell_nn::{NamedTensors, WeightsError, weights};
use foretell_train::RunFolder;
use foretell_world::{
    Agent, Budget, Cost, Imagination, Now, Planner, PlannerConfig, PlannerError, Planning, Turn, WorldConfig,
};

use super::OverWorld;
use super::experience::{ExperienceConfig, PlaySettings, Playground};
use crate::Error;
use crate::output::counted;
use crate::progress::Progress;
use crate::recipe::{AnyRecipe, Over, Recipe};

/// The model that comes with the program: its config and its weights, as `foretell train` left them.
const BUILT_IN: (&str, &[u8]) =
    (include_str!("../../models/two-rooms.toml"), include_bytes!("../../models/two-rooms.safetensors"));

/// See the module.
pub struct Imaginer {
    /// A run's folder; `None` for the model that comes with the program.
    pub run: Option<String>,
    /// The resolved config of its run.
    pub recipe: Recipe<OverWorld>,
    /// Its world, and play as it learnt from it.
    pub playground: Playground,
    /// The model.
    pub imagination: Imagination,
}

/// The world that a model learnt in, and its play there; an error if it learnt from recordings.
fn played<'a>(recipe: &'a Recipe<OverWorld>, run: &str) -> Result<(&'a WorldConfig, &'a PlaySettings), Error> {
    match &recipe.over.experience {
        ExperienceConfig::Play { world, play } => Ok((world, play)),
        ExperienceConfig::Recorded(_) => Err(Error::Misuse(format!(
            "{run} learnt from recorded episodes, and plans need a world to act in: train a model in one with `foretell train {} --world two-rooms`",
            recipe.over.system()
        ))),
    }
}

impl Imaginer {
    /// The model of a finished run over a world.
    pub fn open(path: &Path, device: Device) -> Result<Self, Error> {
        let folder = RunFolder::open(path)?;
        let (run, file) = (path.display(), folder.model());
        let AnyRecipe::World(recipe) = AnyRecipe::of_run(&folder)? else {
            let systems = OverWorld::SYSTEMS.join(" or ");
            return Err(Error::Misuse(format!(
                "{run} learnt from images, and planning needs a model of a world: train one with `foretell train {systems}`"
            )));
        };
        played(&recipe, &run.to_string())?;
        if !file.is_file() {
            return Err(Error::Misuse(format!(
                "{run} is not finished, so it has no model yet: finish it with `foretell train --resume {run}`"
            )));
        }
        Self::of(recipe, weights::read_file(&file)?, &device, Some(run.to_string())).map_err(|error| match error {
            Error::Weights(WeightsError::Mismatch(what)) => {
                Error::Misuse(format!("{} does not fit the network of its config.toml: {what}", file.display()))
            }
            other => other,
        })
    }

    /// The model that comes with the program.
    pub fn built_in(device: &Device) -> Result<Self, Error> {
        let (config, bytes) = BUILT_IN;
        match AnyRecipe::parse(config, "the built-in model's config")? {
            AnyRecipe::World(recipe) => {
                Self::of(recipe, weights::read_bytes(bytes, Path::new("the built-in model"))?, device, None)
            }
            AnyRecipe::Images(_) => Err(Error::Failure("the built-in model is of no world".to_owned())),
        }
    }

    fn of(
        recipe: Recipe<OverWorld>,
        tensors: NamedTensors,
        device: &Device,
        run: Option<String>,
    ) -> Result<Self, Error> {
        let (world, play) = played(&recipe, run.as_deref().unwrap_or("the built-in model"))?;
        let playground = Playground::open(world, play, recipe.seed)?;
        let objective = recipe.objective(&playground.setting(recipe.seed, device))?;
        let imagination = objective.imagination(tensors, play.frameskip)?;
        Ok(Self { run, recipe, playground, imagination })
    }

    /// Whose model it is, for people and scripts.
    pub fn name(&self) -> &str {
        self.run.as_deref().unwrap_or("built-in")
    }

    /// An error unless the model learnt in the world of this name.
    pub fn check_world(&self, name: &str) -> Result<(), Error> {
        WorldConfig::named(name)?;
        let own = self.recipe.over.source();
        if name == own {
            return Ok(());
        }
        Err(Error::Misuse(format!(
            "{} learnt in the world {own}, and planning was asked for in {name}: leave out `--world`, or train a model there with `foretell train {} --world {name}`",
            self.run.as_deref().unwrap_or("the built-in model"),
            self.recipe.over.system()
        )))
    }

    /// The planner that is taken if nothing is said: the model's own actor where it has one.
    pub fn planner(&self) -> &'static str {
        if self.imagination.model.actor().is_some() { "actor" } else { "icem" }
    }

    /// An agent that plans in the model's latents.
    pub fn agent(&self, manner: &Manner) -> impl Agent + '_ {
        let gauge = manner.gauge.unwrap_or_else(|| self.imagination.gauge());
        manner.planning(self.imagination.pose(manner.cost, gauge))
    }

    /// An error where a gauge is asked for that the model has not learnt.
    pub fn check_gauge(&self, gauge: Option<Gauge>) -> Result<(), Error> {
        if gauge != Some(Gauge::Steps) || self.imagination.model.reach().is_some() {
            return Ok(());
        }
        Err(Error::Misuse(format!(
            "{} has not learnt to tell steps, and `--gauge steps` asks for them: leave it out, or train an eb-jepa with `model.terms.reach` above 0",
            self.run.as_deref().unwrap_or("the built-in model")
        )))
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

/// An agent under a stopwatch, that says how far it has come.
pub struct Timed<A> {
    agent: A,
    progress: Progress,
    /// How long it has thought.
    pub spent: Duration,
}

impl<A> Timed<A> {
    /// An agent that has not thought yet, before so many steps.
    pub fn new(agent: A, steps: u64) -> Self {
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
