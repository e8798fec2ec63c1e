//! `foretell plan`: held-out episodes played with a trained model's plans, beside controls.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use foretell_jepa::dynamics::Gauge;
use foretell_systems::recipe::unknown;
use foretell_systems::{Imaginer, Manner};
use foretell_world::{
    Agent, Budget, Control, Cost, Episode, GoalPolicy, Measure, Now, Outcome, Planner, PlannerConfig, PolicyConfig,
    Protocol, ProtocolSet, Solve, Trial, Truth, World, WorldConfig,
};
use serde::Serialize;

use crate::kept::{KeptModel, steps};
use crate::output::{counted, print, print_json};
use crate::timed::Timed;
use crate::{DeviceChoice, Error, PrecisionChoice};

/// What `plan` was asked.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    #[command(flatten)]
    planning: PlanningArgs,
    /// Play this many held-out episodes; without it 20, or all of a protocol. Of a protocol: the first of each set.
    #[arg(long)]
    episodes: Option<u64>,
    /// Play the fixed starts and goals of this file, by its own rules and for its own number of steps, instead of drawn ones.
    #[arg(long, value_name = "FILE", conflicts_with = "steps")]
    protocol: Option<PathBuf>,
    /// Also train and compare two search-free policies on the same play (a minute or two).
    #[arg(long)]
    policies: bool,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Whose plans, and how they are sought.
#[derive(Debug, clap::Args)]
pub(super) struct PlanningArgs {
    /// A finished run over a world; without it, the small model that comes with the program.
    run: Option<PathBuf>,
    /// Check that the model was trained in this world.
    #[arg(long)]
    world: Option<String>,
    /// random, cem, icem, mppi, actor or gradient. Without it, the model's actor if it has learnt one, or else icem.
    #[arg(long)]
    planner: Option<String>,
    /// Spend at most this many model calls on a plan; a step of one candidate is one call. Without it, as many as the planner
    /// takes.
    #[arg(long, value_name = "CALLS")]
    budget: Option<u64>,
    /// Look this many steps ahead.
    #[arg(long, default_value_t = PlannerConfig::default().horizon)]
    horizon: usize,
    /// Draw this many candidates in each iteration. Without it, as many as the planner takes.
    #[arg(long)]
    samples: Option<usize>,
    /// Standard deviation of the drawn actions, as a share of the longest action.
    #[arg(long, default_value_t = PlannerConfig::default().spread)]
    spread: f32,
    /// Hold each drawn action for this many steps.
    #[arg(long, default_value_t = PlannerConfig::default().hold)]
    hold: usize,
    /// Take this many steps of each plan before planning again. Without it, 1 for an actor and 2 for planners that search, and the
    /// model's whole block where that is longer.
    #[arg(long)]
    replan: Option<u64>,
    /// How to sum up the distances along a path: sum, late (its second half), last, min, or discounted, with discounted=0.9 for that
    /// factor.
    #[arg(long, default_value = "sum")]
    cost: String,
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
    seed: u64,
    /// In how many bits to hold the weights of transformer blocks, where the model has such.
    #[arg(long, value_enum, default_value_t)]
    precision: PrecisionChoice,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceChoice,
}

/// The model's actor, as it is beside a planner that searches.
const ACTOR: Planner = Planner::Actor { samples: 1 };
/// No budget but the planner's own schedule.
const FREE: Budget = Budget { calls: u64::MAX };
/// Share of the one before it that a step is worth with `--cost discounted`.
const DISCOUNT: f32 = 0.95;
/// Actions of all candidates of one plan that memory should be asked for, and a spread that leaves nothing but the longest ones.
const MOST_ACTIONS: u64 = 2_400_000;
const WIDEST: f32 = 10.0;
/// More steps than any episode takes.
pub(super) const LONGEST: u64 = 100_000;
/// Steps and episodes where nothing is said.
const STEPS: u64 = 200;
const EPISODES: u64 = 20;

impl PlanningArgs {
    /// The model, in the world that was asked for.
    pub(super) fn model(&self) -> Result<KeptModel, Error> {
        let device = self.device.open()?;
        let kept = match &self.run {
            Some(run) => KeptModel::open(run, &device)?,
            None => KeptModel::built_in(&device)?,
        };
        let (whose, system) = (kept.whose(), kept.session.row().name);
        if !self.precision.is_f32() {
            // What imagines is a recurrent network, or blocks that actions modulate.
            return Err(self.precision.unfit(&format!("what {whose} imagines with")));
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
        if self.gauge()? == Some(Gauge::Steps) && kept.imaginer.imagination.model.reach().is_none() {
            return Err(Error::Misuse(format!(
                "{whose} has not learnt to tell steps, and `--gauge steps` asks for them: leave it out, or train a model whose settings give its `reach` a weight above 0"
            )));
        }
        Ok(kept)
    }

    /// The name of the planner that was asked for, or of the model's own.
    fn planner(&self, imaginer: &Imaginer) -> &str {
        self.planner.as_deref().unwrap_or(imaginer.planner())
    }

    /// How plans are sought with a model.
    pub(super) fn manner(&self, imaginer: &Imaginer) -> Result<Manner, Error> {
        let name = self.planner(imaginer);
        let planner = Planner::named(name)
            .ok_or_else(|| Error::Misuse(unknown("planner", name, Planner::NAMES.into_iter(), "`--planner`")))?;
        let planner = self.samples.map_or(planner, |samples| planner.with_samples(samples));
        let usual = imaginer.manner(planner);
        let replan = self.replan.unwrap_or(usual.replan.min(self.horizon as u64));
        at_least_one("--horizon", self.horizon as u64)?;
        at_least_one("--hold", self.hold as u64)?;
        if let Some(samples) = self.samples {
            at_least_one("--samples", samples as u64)?;
            at_most("--samples", samples as u64, (MOST_ACTIONS / self.horizon as u64).max(1))?;
        } else {
            at_most("--horizon", self.horizon as u64, MOST_ACTIONS / planner.samples() as u64)?;
        }
        if !(self.spread > 0.0 && self.spread <= WIDEST) {
            return Err(Error::Misuse(format!(
                "`--spread` is a share of the longest action, above 0 and at most {WIDEST}, found {}",
                self.spread
            )));
        }
        at_least_one("--replan", replan)?;
        at_least_one("--steps", self.steps())?;
        for (name, value) in [("--horizon", self.horizon as u64), ("--steps", self.steps())] {
            at_most(name, value, LONGEST)?;
        }
        if replan > self.horizon as u64 {
            return Err(Error::Misuse(format!(
                "`--replan {replan}` takes more steps of a plan than its horizon of {} has: take at most that many",
                self.horizon
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
            config: PlannerConfig {
                horizon: self.horizon,
                hold: self.hold,
                spread: self.spread,
                ..PlannerConfig::default()
            },
            budget: self.budget.map_or(FREE, |calls| Budget { calls }),
            replan,
            cost: cost(&self.cost)?,
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

/// Success of the controls on the same episodes, 0 to 1.
#[derive(Serialize)]
struct Controls<T> {
    random: T,
    greedy: T,
    oracle: T,
    truth: T,
    /// The model's actor, where something else was asked to plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloning: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inverse: Option<T>,
}

impl<T> Controls<T> {
    fn map<U>(&self, f: impl Fn(&T) -> U) -> Controls<U> {
        let Self { random, greedy, oracle, truth, actor, cloning, inverse } = self;
        Controls {
            random: f(random),
            greedy: f(greedy),
            oracle: f(oracle),
            truth: f(truth),
            actor: actor.as_ref().map(&f),
            cloning: cloning.as_ref().map(&f),
            inverse: inverse.as_ref().map(&f),
        }
    }
}

/// Success by both rules, each with its interval.
#[derive(Clone, Copy)]
struct Reached {
    end: (f64, [f64; 2]),
    ever: (f64, [f64; 2]),
}

impl Reached {
    fn of(outcome: &Outcome) -> Self {
        Self { end: outcome.success(), ever: outcome.ever() }
    }
}

/// The outcome for scripts.
#[derive(Serialize)]
struct Planned {
    world: String,
    /// The set of a protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<String>,
    planner: String,
    episodes: u64,
    /// At the end.
    success: f64,
    interval: [f64; 2],
    /// At any step.
    ever: f64,
    ever_interval: [f64; 2],
    solved_at_start: f64,
    controls: Controls<f64>,
    controls_ever: Controls<f64>,
    /// What random actions are published to reach at any step.
    #[serde(skip_serializing_if = "Option::is_none")]
    random_published: Option<f64>,
    calls_per_step: f64,
    ms_per_step: f64,
    /// Mean distance from the goal at the end, in the world's units.
    distance: f64,
    run: String,
    system: &'static str,
    trained_steps: u64,
    trained_seed: u64,
    steps: u64,
    horizon: usize,
    replan: u64,
    cost: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<u64>,
    levels: usize,
    seed: u64,
}

/// The outcomes of a protocol for scripts.
#[derive(Serialize)]
struct Protocolled<'a> {
    protocol: &'a Path,
    source: &'a str,
    sets: Vec<&'a Planned>,
}

/// Tasks that everyone plays.
struct Match<'a> {
    world: &'a dyn World,
    trial: Trial,
    tasks: Vec<Episode>,
    /// The set of a protocol, and what random actions are published to reach there.
    set: Option<(&'a str, Option<f64>)>,
}

impl Match<'_> {
    fn play(&self, agent: &mut dyn Agent) -> Result<Outcome, Error> {
        Ok(self.trial.play_out(self.world, self.tasks.clone(), agent)?)
    }

    fn reached(&self, agent: &mut dyn Agent) -> Result<Reached, Error> {
        Ok(Reached::of(&self.play(agent)?))
    }
}

/// Runs the command.
pub fn plan(args: &PlanArgs) -> Result<(), Error> {
    let asked = &args.planning;
    if let Some(episodes) = args.episodes {
        at_least_one("--episodes", episodes)?;
    }
    let kept = asked.model()?;
    let imaginer = &kept.imaginer;
    let manner = asked.manner(imaginer)?;
    let protocol = args.protocol.as_deref().map(|file| protocol(file, &kept)).transpose()?;
    let matches: Vec<Match<'_>> = if let Some(Protocol { steps, sets, .. }) = &protocol {
        sets.iter()
            .map(|ProtocolSet { name, world, tasks, random }| {
                let most = args.episodes.map_or(tasks.len(), |most| tasks.len().min(most as usize));
                Match {
                    world,
                    trial: Trial { episodes: most as u64, steps: *steps, seed: asked.seed },
                    tasks: tasks[..most].to_vec(),
                    set: Some((name, *random)),
                }
            })
            .collect()
    } else {
        let (world, trial) = (imaginer.playground.world.as_ref(), asked.trial(args.episodes.unwrap_or(EPISODES)));
        vec![Match { world, trial, tasks: trial.tasks(world), set: None }]
    };
    let (play, imagination) = (&imaginer.playground.play, &imaginer.imagination);
    let config = PolicyConfig { seed: asked.seed, ..PolicyConfig::default() };
    let mut policies = args.policies.then(|| {
        [
            GoalPolicy::cloned(play, &config, &imagination.device),
            GoalPolicy::inverse_dynamics(play, &config, imagination),
        ]
    });
    let trained_steps = steps(kept.session.as_ref())?;
    let planned = matches.iter().map(|all| {
        let mut agent = Timed::new(imaginer.agent(&manner), all.trial.steps);
        let outcome = all.play(&mut agent)?;
        let [cloning, inverse] = match &mut policies {
            Some([cloned, inverse]) => [Some(all.reached(cloned)?), Some(all.reached(inverse)?)],
            None => [None, None],
        };
        let actor = imagination.model.actor().is_some() && !matches!(manner.planner, Planner::Actor { .. });
        let actor_manner = Manner { config: manner.config, ..imaginer.manner(ACTOR) };
        let controls = Controls {
            random: all.reached(&mut Control::Random)?,
            greedy: all.reached(&mut Control::Greedy)?,
            oracle: all.reached(&mut Control::Oracle)?,
            truth: all.reached(&mut with_truth(&manner, asked.replan, all.world))?,
            actor: actor.then(|| all.reached(&mut imaginer.agent(&actor_manner))).transpose()?,
            cloning,
            inverse,
        };
        let (reached, spent) = (Reached::of(&outcome), agent.spent.as_secs_f64());
        let turns = (all.trial.steps * all.trial.episodes) as f64;
        let planned = Planned {
            world: all.world.spec().name.clone(),
            set: all.set.map(|(name, _)| name.to_owned()),
            planner: asked.planner(imaginer).to_owned(),
            episodes: all.trial.episodes,
            success: reached.end.0,
            interval: reached.end.1,
            ever: reached.ever.0,
            ever_interval: reached.ever.1,
            solved_at_start: outcome.solved_at_start(),
            controls: controls.map(|control| control.end.0),
            controls_ever: controls.map(|control| control.ever.0),
            random_published: all.set.and_then(|(_, random)| random),
            calls_per_step: outcome.calls_per_step,
            ms_per_step: spent * 1e3 / turns,
            distance: outcome.distance.iter().map(|d| f64::from(*d)).sum::<f64>() / outcome.distance.len() as f64,
            run: kept.name().to_owned(),
            system: kept.session.row().name,
            trained_steps,
            trained_seed: kept.session.seed(),
            steps: all.trial.steps,
            horizon: asked.horizon,
            replan: manner.replan,
            cost: asked.cost.clone(),
            budget: asked.budget,
            levels: imaginer.levels(&manner),
            seed: asked.seed,
        };
        if !args.json {
            print(text(&planned, &reached, &controls, kept.session.row().title))?;
            // One set below the other.
            print(if all.set.is_some() { "\n" } else { "" })?;
        }
        Ok(planned)
    });
    let planned: Vec<Planned> = planned.collect::<Result<_, Error>>()?;
    match (&args.protocol, &protocol) {
        _ if !args.json => Ok(()),
        (Some(file), Some(Protocol { source, .. })) => {
            print_json(&Protocolled { protocol: file, source, sets: planned.iter().collect() })
        }
        _ => planned.iter().try_for_each(print_json),
    }
}

/// A protocol for a model that learnt in its world.
fn protocol(file: &Path, kept: &KeptModel) -> Result<Protocol, Error> {
    let (whose, system, own) = (kept.whose(), kept.session.row().name, kept.session.source());
    if own != Protocol::WORLD {
        return Err(Error::Misuse(format!(
            "{whose} learnt in the world {own}, and `--protocol {}` is played in {world}: train a model there with `foretell train {system} --world {world}`",
            file.display(),
            world = Protocol::WORLD
        )));
    }
    let [_, side, _] = kept.imaginer.playground.world.spec().observation;
    Ok(Protocol::read(file, side)?)
}

/// The cross-entropy method with a perfect model: what the settings allow, and the world.
fn with_truth(manner: &Manner, replan: Option<u64>, world: &dyn World) -> impl Agent + use<> {
    let (cost, replan) = (manner.cost, replan.unwrap_or(Manner::REPLAN));
    let pose =
        move |now: &Now<'_>, solve: Solve<'_>| solve(&mut Truth::new(now.world, now.tasks, cost, Measure::default()));
    let planner = Planner::named("cem").unwrap_or(manner.planner);
    let budget = Budget { calls: world.affordable().max(manner.config.horizon as u64) };
    Manner { planner, replan, budget, ..*manner }.planning(pose)
}

/// A share and its interval.
pub(super) fn percent((share, [low, high]): (f64, [f64; 2])) -> String {
    format!("{:5.1} % ({:4.1} to {:5.1})", 100.0 * share, 100.0 * low, 100.0 * high)
}

fn text(planned: &Planned, reached: &Reached, controls: &Controls<Reached>, title: &str) -> String {
    let whose = if planned.set.is_some() { "" } else { "held-out " };
    let mut text = format!(
        "{}{}, {} of {} steps; {title}, {} steps of training ({})\n\n  {:<48}{:>26}{:>26}\n",
        planned.world,
        planned.set.as_ref().map_or(String::new(), |set| format!(", {set}")),
        counted(planned.episodes as usize, &format!("{whose}episode")),
        planned.steps,
        planned.trained_steps,
        planned.run,
        "success (95 %)",
        "at the end",
        "at any step"
    );
    let mut row = |name: &str, Reached { end, ever }: &Reached| {
        let _ = writeln!(text, "  {name:<48}{:>26}{:>26}", percent(*end), percent(*ever));
    };
    let levels = if planned.levels > 1 { format!(" on {} levels", planned.levels) } else { String::new() };
    row(&format!("{} in the model's latents{levels}", planned.planner), reached);
    row("random actions", &controls.random);
    row("straight ahead", &controls.greedy);
    row("cem on the true dynamics", &controls.truth);
    row("the shortest way", &controls.oracle);
    for (name, reached) in [
        ("the model's actor", &controls.actor),
        ("behaviour cloning", &controls.cloning),
        ("inverse dynamics", &controls.inverse),
    ] {
        if let Some(reached) = reached {
            row(&format!("{name}, without search"), reached);
        }
    }
    let _ = writeln!(text, "\n{:.1} % were solved at the start", 100.0 * planned.solved_at_start);
    if let Some(random) = planned.random_published {
        let _ = writeln!(text, "{:.1} % is published for random actions, at any step", 100.0 * random);
    }
    let _ = writeln!(
        text,
        "{:.0} model calls and {:.2} ms a step; {:.1} from the goal at the end, on average",
        planned.calls_per_step, planned.ms_per_step, planned.distance
    );
    if planned.set.is_none() {
        let run = if planned.run == "built-in" { String::new() } else { format!(" {}", planned.run) };
        let _ = writeln!(
            text,
            "next      foretell play{run} --seed {}   one of these episodes as a moving picture",
            planned.seed
        );
    }
    text
}
