//! `foretell plan`: held-out episodes played with a trained model's plans, or by a policy, beside controls.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use foretell_systems::{Imaginer, Imitator, Learnt, Manner};
use foretell_world::{
    Agent, Budget, Control, Episode, Execution, GoalPolicy, Measure, Now, Outcome, Planner, PolicyConfig, Protocol,
    ProtocolSet, Solve, Trial, Truth, World,
};
use serde::Serialize;

use super::planning::{PlanningArgs, at_least_one};
use crate::Error;
use crate::kept::{KeptModel, steps};
use crate::output::{counted, print, print_json};
use crate::timed::Timed;

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
    /// Also train and compare search-free policies on the same play (a minute or two): cloning, and inverse dynamics in a model's latents.
    #[arg(long)]
    policies: bool,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// The model's actor, as it is beside a planner that searches.
const ACTOR: Planner = Planner::Actor { samples: 1 };
/// Episodes where nothing is said.
const EPISODES: u64 = 20;

/// What is asked to act.
enum Entrant<'a> {
    /// A model, by its plans.
    Model(&'a Imaginer, Manner),
    /// A policy, by its chunks.
    Policy(&'a Imitator, Execution),
}

impl<'a> Entrant<'a> {
    fn of(kept: &'a KeptModel, asked: &PlanningArgs) -> Result<Self, Error> {
        Ok(match &kept.learnt {
            Learnt::Model(imaginer) => Self::Model(imaginer, asked.manner(imaginer)?),
            Learnt::Policy(imitator) => Self::Policy(imitator, asked.execution(imitator, kept.whose())?),
        })
    }

    fn agent(&self) -> Box<dyn Agent + 'a> {
        match self {
            Self::Model(imaginer, manner) => Box::new(imaginer.agent(manner)),
            Self::Policy(imitator, execution) => Box::new(imitator.agent(*execution)),
        }
    }

    /// The model's actor, where something else was asked to plan.
    fn actor(&self) -> Option<Box<dyn Agent + 'a>> {
        let Self::Model(imaginer, manner) = self else { return None };
        let beside = imaginer.imagination.model.actor().is_some() && !matches!(manner.planner, Planner::Actor { .. });
        let own = Manner { config: manner.config, ..imaginer.manner(ACTOR) };
        beside.then(|| Box::new(imaginer.agent(&own)) as Box<dyn Agent + 'a>)
    }

    /// The cross-entropy method with a perfect model, beside plans: what the settings allow, and the world.
    fn truth(&self, replan: Option<u64>, world: &dyn World) -> Option<impl Agent + use<>> {
        let Self::Model(_, manner) = self else { return None };
        Some(with_truth(manner, replan, world))
    }

    fn device(&self) -> &Device {
        match self {
            Self::Model(imaginer, _) => &imaginer.imagination.device,
            Self::Policy(imitator, _) => &imitator.imitation.device,
        }
    }

    /// How it acts, for scripts.
    fn planner(&self, asked: &PlanningArgs) -> String {
        match self {
            Self::Model(imaginer, _) => asked.planner(imaginer).to_owned(),
            Self::Policy(_, Execution::Chunk(_)) => "chunks".to_owned(),
            Self::Policy(_, Execution::Ensemble) => "ensemble".to_owned(),
        }
    }

    /// The same as a row of a table.
    fn title(&self, asked: &PlanningArgs) -> String {
        match self {
            Self::Model(imaginer, manner) => {
                let levels = imaginer.levels(manner);
                let levels = if levels > 1 { format!(" on {levels} levels") } else { String::new() };
                format!("{} in the model's latents{levels}", asked.planner(imaginer))
            }
            Self::Policy(imitator, Execution::Chunk(steps)) => {
                format!("the policy, {steps} of each chunk of {}", counted(imitator.imitation.chunk(), "step"))
            }
            Self::Policy(imitator, Execution::Ensemble) => {
                format!("the policy, the mean of chunks of {}", counted(imitator.imitation.chunk(), "step"))
            }
        }
    }
}

/// Success of the controls on the same episodes, 0 to 1.
#[derive(Serialize)]
struct Controls<T> {
    random: T,
    /// Where the world knows what is straight ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    greedy: Option<T>,
    /// Where it knows the shortest way.
    #[serde(skip_serializing_if = "Option::is_none")]
    oracle: Option<T>,
    /// Plans on the true dynamics, beside plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    truth: Option<T>,
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
            greedy: greedy.as_ref().map(&f),
            oracle: oracle.as_ref().map(&f),
            truth: truth.as_ref().map(&f),
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
    /// Steps of a plan, or of a chunk.
    horizon: usize,
    replan: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    levels: Option<usize>,
    /// Settings of the world that were changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    settings: Vec<String>,
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

    /// Whether the world knows what is straight ahead.
    fn knows_ahead(&self) -> bool {
        self.tasks.iter().any(|task| self.world.greedy(&task.state, &task.goal).is_some())
    }

    /// Whether it knows any shortest way.
    fn knows_ways(&self) -> bool {
        self.tasks.iter().any(|task| self.world.oracle(&task.layout, &task.state, &task.goal).is_some())
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
    let entrant = Entrant::of(&kept, asked)?;
    let playground = kept.learnt.playground();
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
        let (world, trial) = (playground.world.as_ref(), asked.trial(args.episodes.unwrap_or(EPISODES)));
        vec![Match { world, trial, tasks: trial.tasks(world), set: None }]
    };
    let config = PolicyConfig { seed: asked.seed, ..PolicyConfig::default() };
    let mut cloned = args.policies.then(|| GoalPolicy::cloned(&playground.play, &config, entrant.device()));
    let mut inverse = match &entrant {
        Entrant::Model(imaginer, _) if args.policies => {
            Some(GoalPolicy::inverse_dynamics(&playground.play, &config, &imaginer.imagination))
        }
        _ => None,
    };
    let trained_steps = steps(kept.session.as_ref())?;
    let planned = matches.iter().map(|all| {
        let mut agent = Timed::new(entrant.agent(), all.trial.steps);
        let outcome = all.play(&mut agent)?;
        let controls = Controls {
            random: all.reached(&mut Control::Random)?,
            greedy: all.knows_ahead().then(|| all.reached(&mut Control::Greedy)).transpose()?,
            oracle: all.knows_ways().then(|| all.reached(&mut Control::Oracle)).transpose()?,
            truth: entrant.truth(asked.replan, all.world).map(|mut truth| all.reached(&mut truth)).transpose()?,
            actor: entrant.actor().map(|mut actor| all.reached(actor.as_mut())).transpose()?,
            cloning: cloned.as_mut().map(|cloned| all.reached(cloned)).transpose()?,
            inverse: inverse.as_mut().map(|inverse| all.reached(inverse)).transpose()?,
        };
        let (horizon, replan, levels) = match &entrant {
            Entrant::Model(imaginer, manner) => (asked.horizon(), manner.replan, Some(imaginer.levels(manner))),
            Entrant::Policy(imitator, execution) => (imitator.imitation.chunk(), execution.steps(), None),
        };
        let (reached, spent) = (Reached::of(&outcome), agent.spent.as_secs_f64());
        let turns = (all.trial.steps * all.trial.episodes) as f64;
        let planned = Planned {
            world: all.world.spec().name.clone(),
            set: all.set.map(|(name, _)| name.to_owned()),
            planner: entrant.planner(asked),
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
            horizon,
            replan,
            cost: levels.map(|_| asked.cost().to_owned()),
            budget: asked.budget,
            levels,
            settings: asked.settings.clone(),
            seed: asked.seed,
        };
        if !args.json {
            print(text(&planned, &entrant.title(asked), (&reached, &controls), kept.session.row().title))?;
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
    let [_, side, _] = kept.learnt.playground().world.spec().observation;
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

fn text(planned: &Planned, how: &str, (reached, controls): (&Reached, &Controls<Reached>), title: &str) -> String {
    let whose = if planned.set.is_some() { "" } else { "held-out " };
    let mut text = format!(
        "{}{}, {} of {} steps; {title}, {} steps of training ({})\n\n  {:<48}{:>26}{:>26}\n",
        planned.world,
        planned.set.iter().chain(&planned.settings).fold(String::new(), |text, set| text + ", " + set),
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
    row(how, reached);
    row("random actions", &controls.random);
    if let Some(greedy) = &controls.greedy {
        row("straight ahead", greedy);
    }
    if let Some(truth) = &controls.truth {
        row("cem on the true dynamics", truth);
    }
    if let Some(oracle) = &controls.oracle {
        row("the shortest way", oracle);
    }
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
        "{} model calls and {:.2} ms a step; {:.1} from the goal at the end, on average",
        rounded(planned.calls_per_step),
        planned.ms_per_step,
        planned.distance
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

/// Whole numbers of calls, and parts of one where a call is of several steps.
fn rounded(calls: f64) -> String {
    if calls < 1.0 { format!("{calls:.2}") } else { format!("{calls:.0}") }
}
