//! What `plan` and `play` are asked: whose plans, and how they are sought; of a policy, how it acts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use foretell_jepa::dynamics::Gauge;
use foretell_systems::recipe::{self, unknown};
use foretell_systems::{Imaginer, Imitator, Learnt, Manner};
use foretell_world::{Budget, Cost, Execution, Planner, PlannerConfig, Trial, World, WorldConfig};

use crate::kept::KeptModel;
use crate::{DeviceChoice, Error, PrecisionChoice};

/// Whose plans, and how they are sought.
#[derive(Debug, clap::Args)]
pub(super) struct PlanningArgs {
    /// A finished run over a world; without it, the small model that comes with the program.
    run: Option<PathBuf>,
    /// Check that the model was trained in this world.
    #[arg(long)]
    world: Option<String>,
    /// Act in the world with this setting changed, a `data.world.KEY` of the run: in one that training never saw, or with goals farther
    /// off. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) settings: Vec<String>,
    /// random, cem, icem, mppi, actor or gradient. Without it, the model's actor if it has learnt one, or else icem. Of a policy: chunks, the
    /// default, or ensemble, the mean of what all its chunks say of each step.
    #[arg(long)]
    planner: Option<String>,
    /// Spend at most this many model calls on a plan; a step of one candidate is one call. Without it, as many as the planner
    /// takes.
    #[arg(long, value_name = "CALLS")]
    pub(super) budget: Option<u64>,
    #[arg(long, help = format!("Look this many steps ahead [default: {}]", PlannerConfig::default().horizon))]
    horizon: Option<usize>,
    /// Draw this many candidates in each iteration. Without it, as many as the planner takes.
    #[arg(long)]
    samples: Option<usize>,
    #[arg(long, help = format!("Standard deviation of the drawn actions, as a share of the longest action [default: {}]", PlannerConfig::default().spread))]
    spread: Option<f32>,
    #[arg(long, help = format!("Hold each drawn action for this many steps [default: {}]", PlannerConfig::default().hold))]
    hold: Option<usize>,
    /// Take this many steps of each plan before planning again. Without it, 1 for an actor and 2 for planners that search, and the
    /// model's whole block where that is longer; of a policy, its whole chunk.
    #[arg(long)]
    pub(super) replan: Option<u64>,
    /// How to sum up the distances along a path: sum, late (its second half), last, min, or discounted, with discounted=0.9 for that
    /// factor [default: sum].
    #[arg(long)]
    cost: Option<String>,
    /// How to measure the distance between an imagined state and the goal: steps, as the model predicts them, or latents, their
    /// difference. Without it, steps if the model has learnt to predict them.
    #[arg(long)]
    gauge: Option<String>,
    /// Plan on this many levels, where the model has several; 1 plans with the lowest alone. Without it, all.
    #[arg(long)]
    levels: Option<usize>,
    /// End an episode after this many steps [default: 200].
    #[arg(long)]
    steps: Option<u64>,
    /// Random seed of starts, goals, layouts and plans.
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,
    /// In how many bits to hold the weights of transformer blocks, where the model has such.
    #[arg(long, value_enum, default_value_t)]
    precision: PrecisionChoice,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceChoice,
}

/// No budget but the planner's own schedule.
const FREE: Budget = Budget { calls: u64::MAX };
/// Share of the one before it that a step is worth with `--cost discounted`.
const DISCOUNT: f32 = 0.95;
/// Actions of all candidates of one plan that memory should be asked for, and a spread that leaves nothing but the longest ones.
const MOST_ACTIONS: u64 = 2_400_000;
const WIDEST: f32 = 10.0;
/// More steps than any episode takes.
pub(super) const LONGEST: u64 = 100_000;
/// Steps where nothing is said.
const STEPS: u64 = 200;
/// What a policy's planner may be called.
const CHUNKS: &str = "chunks";
const ENSEMBLE: &str = "ensemble";

impl PlanningArgs {
    /// The model, in the world that was asked for.
    pub(super) fn model(&self) -> Result<KeptModel, Error> {
        let device = self.device.open()?;
        let mut kept = KeptModel::of(self.run.as_deref(), &device)?;
        if let Some(world) = changed(kept.session.recipe(), &self.settings)? {
            kept.learnt.act_in(world)?;
        }
        let (whose, system) = (kept.whose(), kept.session.row().name);
        if !self.precision.is_f32() {
            // What acts is a recurrent network, blocks that actions modulate, or queries.
            return Err(self.precision.unfit(&format!("what {whose} acts with")));
        }
        if let Some(name) = &self.world {
            WorldConfig::named(name)?;
            let own = kept.session.source();
            if *name != own {
                return Err(Error::Misuse(format!(
                    "{whose} learnt in the world {own}, and planning was asked for in {name}: leave out `--world`, or train a model there with `foretell train {system} --world {name}`"
                )));
            }
        }
        if let Learnt::Model(imaginer) = &kept.learnt
            && self.gauge()? == Some(Gauge::Steps)
            && imaginer.imagination.model.reach().is_none()
        {
            return Err(Error::Misuse(format!(
                "{whose} has not learnt to tell steps, and `--gauge steps` asks for them: leave it out, or train a model whose settings give its `reach` a weight above 0"
            )));
        }
        Ok(kept)
    }

    /// The name of the planner that was asked for, or of the model's own.
    pub(super) fn planner(&self, imaginer: &Imaginer) -> &str {
        self.planner.as_deref().unwrap_or(imaginer.planner())
    }

    /// Steps that are looked ahead.
    pub(super) fn horizon(&self) -> usize {
        self.horizon.unwrap_or(PlannerConfig::default().horizon)
    }

    /// How a policy acts; an error where something is asked of a search.
    pub(super) fn execution(&self, imitator: &Imitator, whose: &str) -> Result<Execution, Error> {
        let asked = [
            ("--budget", self.budget.is_some()),
            ("--horizon", self.horizon.is_some()),
            ("--samples", self.samples.is_some()),
            ("--spread", self.spread.is_some()),
            ("--hold", self.hold.is_some()),
            ("--cost", self.cost.is_some()),
            ("--gauge", self.gauge.is_some()),
            ("--levels", self.levels.is_some()),
        ];
        if let Some((option, _)) = asked.into_iter().find(|(_, asked)| *asked) {
            return Err(Error::Misuse(format!(
                "{whose} has learnt a policy, which searches for nothing, and `{option}` is of a search: leave it out"
            )));
        }
        at_least_one("--steps", self.steps())?;
        at_most("--steps", self.steps(), LONGEST)?;
        let chunk = imitator.imitation.chunk() as u64;
        let replan = self.replan.unwrap_or(chunk);
        at_least_one("--replan", replan)?;
        if replan > chunk {
            return Err(Error::Misuse(format!(
                "`--replan {replan}` takes more steps of a chunk than the {chunk} that it has: take at most that many"
            )));
        }
        match self.planner.as_deref().unwrap_or(CHUNKS) {
            CHUNKS => Ok(Execution::Chunk(replan)),
            ENSEMBLE if self.replan.is_none_or(|replan| replan == 1) => Ok(Execution::Ensemble),
            ENSEMBLE => Err(Error::Misuse(format!(
                "`--planner {ENSEMBLE}` looks after every step, found `--replan {replan}`: leave it out"
            ))),
            other => {
                Err(Error::Misuse(unknown("planner of a policy", other, [CHUNKS, ENSEMBLE].into_iter(), "`--planner`")))
            }
        }
    }

    /// How plans are sought with a model.
    pub(super) fn manner(&self, imaginer: &Imaginer) -> Result<Manner, Error> {
        let (name, horizon) = (self.planner(imaginer), self.horizon());
        let PlannerConfig { spread, hold, .. } = PlannerConfig::default();
        let (spread, hold) = (self.spread.unwrap_or(spread), self.hold.unwrap_or(hold));
        let planner = Planner::named(name)
            .ok_or_else(|| Error::Misuse(unknown("planner", name, Planner::NAMES.into_iter(), "`--planner`")))?;
        let planner = self.samples.map_or(planner, |samples| planner.with_samples(samples));
        let usual = imaginer.manner(planner);
        let replan = self.replan.unwrap_or(usual.replan.min(horizon as u64));
        at_least_one("--horizon", horizon as u64)?;
        at_least_one("--hold", hold as u64)?;
        if let Some(samples) = self.samples {
            at_least_one("--samples", samples as u64)?;
            at_most("--samples", samples as u64, (MOST_ACTIONS / horizon as u64).max(1))?;
        } else {
            at_most("--horizon", horizon as u64, MOST_ACTIONS / planner.samples() as u64)?;
        }
        if !(spread > 0.0 && spread <= WIDEST) {
            return Err(Error::Misuse(format!(
                "`--spread` is a share of the longest action, above 0 and at most {WIDEST}, found {spread}"
            )));
        }
        at_least_one("--replan", replan)?;
        at_least_one("--steps", self.steps())?;
        for (name, value) in [("--horizon", horizon as u64), ("--steps", self.steps())] {
            at_most(name, value, LONGEST)?;
        }
        if replan > horizon as u64 {
            return Err(Error::Misuse(format!(
                "`--replan {replan}` takes more steps of a plan than its horizon of {horizon} has: take at most that many"
            )));
        }
        if let Some(budget) = self.budget {
            at_least_one("--budget", budget)?;
        }
        let most = 1 + imaginer.imagination.model.levels().len();
        if let Some(levels) = self.levels.filter(|levels| *levels == 0 || *levels > most) {
            return Err(Error::Misuse(format!("`--levels` is 1 to {most}, as many as the model has, found {levels}")));
        }
        let manner = Manner {
            planner,
            config: PlannerConfig { horizon, hold, spread, ..PlannerConfig::default() },
            budget: self.budget.map_or(FREE, |calls| Budget { calls }),
            replan,
            cost: cost(self.cost())?,
            gauge: self.gauge()?,
            levels: self.levels,
        };
        let ground = imaginer.horizon(&manner) as u64;
        if replan > ground {
            return Err(Error::Misuse(format!(
                "`--replan {replan}` takes more steps of a plan than the {ground} to the goal that the level above sets: take at most that many, or `--levels 1`"
            )));
        }
        Ok(manner)
    }

    /// How distances along a path are summed up.
    pub(super) fn cost(&self) -> &str {
        self.cost.as_deref().unwrap_or("sum")
    }

    fn gauge(&self) -> Result<Option<Gauge>, Error> {
        self.gauge.as_deref().map(gauge).transpose()
    }

    /// The run's folder, if one was named.
    pub(super) fn run(&self) -> Option<&Path> {
        self.run.as_deref()
    }

    fn steps(&self) -> u64 {
        self.steps.unwrap_or(STEPS)
    }

    pub(super) fn trial(&self, episodes: u64) -> Trial {
        Trial { episodes, steps: self.steps(), seed: self.seed }
    }
}

/// The world of a run's recipe with these settings changed, if any are.
fn changed(mut recipe: toml::Table, settings: &[String]) -> Result<Option<Arc<dyn World>>, Error> {
    let refused = |what: String| Error::Misuse(format!("`--set`: {what}"));
    for entry in settings {
        let (key, value) = recipe::entry(entry).map_err(|error| refused(error.to_string()))?;
        let known =
            recipe::get(&recipe, "data.world").and_then(toml::Value::as_table).into_iter().flat_map(|of| of.keys());
        let known: Vec<String> = known.filter(|k| *k != "kind").map(|k| format!("data.world.{k}")).collect();
        if !known.iter().any(|known| known == key) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(refused(format!(
                "found `{key}`; what can be changed is the world that is acted in, not what has learnt. Known here: {known}"
            )));
        }
        recipe::set(&mut recipe, key, value).map_err(|error| refused(error.to_string()))?;
    }
    let world = recipe::get(&recipe, "data.world").filter(|_| !settings.is_empty());
    let Some(world) = world else { return Ok(None) };
    let config: WorldConfig = world.clone().try_into().map_err(|error: toml::de::Error| {
        refused(format!("`{}` is no world: {}", settings.join(" "), error.message().replace('\n', "; ")))
    })?;
    Ok(Some(config.init()?))
}

pub(super) fn at_least_one(name: &str, value: u64) -> Result<(), Error> {
    if value == 0 { Err(Error::Misuse(format!("`{name}` must be at least 1, found 0"))) } else { Ok(()) }
}

pub(super) fn at_most(name: &str, value: u64, most: u64) -> Result<(), Error> {
    if value > most { Err(Error::Misuse(format!("`{name}` is at most {most}, found {value}"))) } else { Ok(()) }
}

pub(super) fn gauge(text: &str) -> Result<Gauge, Error> {
    match text {
        "steps" => Ok(Gauge::Steps),
        "latents" => Ok(Gauge::Latents),
        _ => Err(Error::Misuse(unknown("gauge", text, ["steps", "latents"].into_iter(), "`--gauge`"))),
    }
}

fn cost(text: &str) -> Result<Cost, Error> {
    let (name, share) = text.split_once('=').map_or((text, None), |(name, share)| (name, Some(share)));
    Ok(match (name, share) {
        ("sum", None) => Cost::Sum,
        ("late", None) => Cost::Late,
        ("last", None) => Cost::Last,
        ("min", None) => Cost::Min,
        ("discounted", share) => {
            let share = share.map_or(Some(DISCOUNT), |text| text.parse().ok());
            let share = share.filter(|share| *share > 0.0 && *share <= 1.0);
            Cost::Discounted(share.ok_or_else(|| {
                Error::Misuse(format!("`--cost {text}`: the share must be a number above 0, at most 1, such as 0.9"))
            })?)
        }
        _ => {
            return Err(Error::Misuse(unknown(
                "cost",
                text,
                ["sum", "late", "last", "min", "discounted"].into_iter(),
                "`--cost`",
            )));
        }
    })
}
