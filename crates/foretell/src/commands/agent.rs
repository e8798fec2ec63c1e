//! `foretell agent`: the modules of an agent around a trained model of a world, learnt, tried beside controls, and shown.

mod film;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use foretell_jepa::dynamics::Gauge;
use foretell_systems::Imaginer;
use foretell_systems::recipe::unknown;
use foretell_world::agent::{
    Configurator, Driven, Learning, Learnt, Mode, Modules, Sensed, StraightOn, Task, learn, on_the_truth,
};
use foretell_world::{Agent, Budget, Control, GoalPolicy, Planner, PlannerConfig, PolicyConfig, Trial, World, wilson};
use serde::Serialize;

use super::plan::percent;
use super::planning::{LONGEST, at_least_one, at_most, gauge};
use crate::kept::KeptModel;
use crate::output::{counted, print, print_json, say, word};
use crate::timed::Timed;
use crate::{DeviceChoice, Error};

/// What `agent` was asked.
#[derive(Debug, clap::Args)]
pub struct AgentArgs {
    /// A finished run over a world; without it, the small model that comes with the program.
    run: Option<PathBuf>,
    /// Learn first: hazards, a critic, and a policy for each task, from training layouts alone. A run that was killed goes on.
    #[arg(long)]
    learn: bool,
    /// Where what is learnt lies: by default `agent` in the run's folder, or `agent` here for the built-in model.
    #[arg(long, value_name = "FOLDER")]
    modules: Option<PathBuf>,
    /// What to do: reach the goal, avoid what harms on the way there, or flee from the goal.
    #[arg(long, default_value = "reach")]
    task: String,
    /// Act at once, by a policy (1), or by a plan (2).
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    mode: u8,
    /// Ask the critic what comes after the last imagined step; without it, where one has learnt.
    #[arg(long, value_enum)]
    critic: Option<Switch>,
    /// Reject plans through what harms; without it, as the task has it.
    #[arg(long, value_enum)]
    guardrail: Option<Switch>,
    /// Look this many steps ahead.
    #[arg(long, default_value_t = 10)]
    horizon: usize,
    /// random, cem, icem, mppi or gradient.
    #[arg(long, default_value = "icem")]
    planner: String,
    /// Take this many steps of each plan before planning again; whole blocks of the model. Without it 2, or the horizon if that is shorter.
    #[arg(long)]
    replan: Option<u64>,
    /// How to measure the distance from the goal: steps, as the model predicts them, or latents, their difference. Without it, as was
    /// learnt, or else steps if the model predicts them.
    #[arg(long)]
    gauge: Option<String>,
    /// Play this many held-out episodes.
    #[arg(long, default_value_t = 20)]
    episodes: u64,
    /// End an episode after this many steps, when learning too.
    #[arg(long, default_value_t = 100)]
    steps: u64,
    /// Also try the other mode, the plans without critic or guardrail, and the policy before it was distilled.
    #[arg(long, conflicts_with = "learn")]
    ablate: bool,
    /// Optimiser steps of the behaviour cloning that is compared, a minute or two; 0 leaves it out.
    #[arg(long, value_name = "STEPS", default_value_t = 2000)]
    cloning: u64,
    /// Write one episode as a page, a moving picture with what each module says beside it, instead of a table.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["learn", "ablate", "json"])]
    film: Option<PathBuf>,
    /// Which held-out episode to show, from 0.
    #[arg(long, default_value_t = 0)]
    episode: u64,
    /// Random seed of starts, goals, layouts and plans.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    learning: LearningArgs,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceChoice,
}

/// How an agent learns.
#[derive(Debug, clap::Args)]
struct LearningArgs {
    /// Learn from this many episodes of curious play first.
    #[arg(long, value_name = "EPISODES", default_value_t = 192)]
    played: u64,
    /// Then in this many rounds from episodes of its own.
    #[arg(long, default_value_t = 2)]
    rounds: u64,
    /// Of each task this many in a round.
    #[arg(long, value_name = "EPISODES", default_value_t = 32)]
    lived: u64,
    /// Optimiser steps of each network.
    #[arg(long, default_value_t = 2000)]
    updates: u64,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    /// Ask for it
    On,
    /// Do without
    Off,
}

/// Moments in a batch and peak rate of what learns.
const BATCH: usize = 256;
const RATE: f64 = 1e-3;
/// More episodes or updates than anyone waits for.
const MOST: u64 = 1_000_000;

impl AgentArgs {
    fn task(&self, world: &dyn World) -> Result<Task, Error> {
        let task = Task::named(&self.task).ok_or_else(|| {
            Error::Misuse(unknown("task", &self.task, Task::ALL.into_iter().map(Task::name), "`--task`"))
        })?;
        if task == Task::Avoid && !world.has_hazards() {
            return Err(Error::Misuse(format!(
                "`--task avoid` is for worlds in which something harms, and nothing does in {}: train a model in two-rooms-lava, or take `reach`",
                world.spec().name
            )));
        }
        Ok(task)
    }

    fn planner(&self) -> Result<Planner, Error> {
        let able = || Planner::NAMES.into_iter().filter(|name| *name != "actor");
        let planner = able().find(|name| *name == self.planner).and_then(Planner::named);
        planner.ok_or_else(|| Error::Misuse(unknown("planner", &self.planner, able(), "`--planner`")))
    }

    fn check(&self) -> Result<(), Error> {
        let LearningArgs { played, rounds, lived, updates } = self.learning;
        for (name, value, most) in [
            ("--horizon", self.horizon as u64, 1000),
            ("--replan", self.replan(), self.horizon as u64),
            ("--episodes", self.episodes, MOST),
            ("--steps", self.steps, LONGEST),
            ("--played", played, MOST),
            ("--rounds", rounds, 100),
            ("--lived", lived, MOST),
            ("--updates", updates, MOST),
        ] {
            at_least_one(name, value)?;
            at_most(name, value, most)?;
        }
        at_most("--cloning", self.cloning, MOST)
    }

    /// Steps taken of each plan.
    fn replan(&self) -> u64 {
        self.replan.unwrap_or(self.horizon.min(2) as u64)
    }

    /// The folder of what is learnt.
    fn folder(&self) -> PathBuf {
        let beside = || self.run.as_deref().unwrap_or(Path::new(".")).join("agent");
        self.modules.clone().unwrap_or_else(beside)
    }

    /// The command that learns, or goes on.
    fn command(&self) -> String {
        let run = self.run.as_ref().map_or(String::new(), |run| format!(" {}", word(run)));
        let modules = self.modules.as_ref().map_or(String::new(), |path| format!(" --modules {}", word(path)));
        format!("foretell agent{run}{modules}")
    }

    fn gauge(&self, kept: &KeptModel, imaginer: &Imaginer) -> Result<Option<Gauge>, Error> {
        let asked = self.gauge.as_deref().map(gauge).transpose()?;
        if asked == Some(Gauge::Steps) && imaginer.imagination.model.reach().is_none() {
            return Err(Error::Misuse(format!(
                "{} has not learnt to tell steps, and `--gauge steps` asks for them: leave it out",
                kept.whose()
            )));
        }
        Ok(asked)
    }
}

/// An agent and what it works with.
struct Workshop<'a> {
    args: &'a AgentArgs,
    kept: &'a KeptModel,
    imaginer: &'a Imaginer,
    modules: Modules,
    gauge: Gauge,
    planner: Planner,
    task: Task,
}

/// One way of doing without something.
#[derive(Clone, Copy)]
struct Variant {
    mode: Mode,
    critic: bool,
    guardrail: Option<bool>,
    task: Task,
}

impl Workshop<'_> {
    fn world(&self) -> &dyn World {
        self.imaginer.playground.world.as_ref()
    }

    fn configurator(&self, variant: Variant) -> Configurator {
        let Variant { mode, critic, guardrail, .. } = variant;
        Configurator { mode, horizon: self.args.horizon, critic, guardrail }
    }

    /// What was asked for.
    fn asked(&self) -> Variant {
        let switch = |switch: Switch| switch == Switch::On;
        Variant {
            mode: if self.args.mode == 1 { Mode::Policy } else { Mode::Planning },
            critic: self.args.critic.map_or(self.modules.critic.is_some(), switch),
            guardrail: self.args.guardrail.map(switch),
            task: self.task,
        }
    }

    fn agent<'b>(&'b self, modules: &'b Modules, variant: Variant) -> Result<Driven<'b>, Error> {
        let configured = (self.configurator(variant), variant.task);
        let manner = (self.planner, PlannerConfig::default(), Budget { calls: u64::MAX }, self.args.replan());
        let agent = Driven::new(&self.imaginer.imagination, modules, configured, manner, self.gauge);
        agent.map_err(|error| Error::Misuse(format!("{error}: learn first with `{} --learn`", self.args.command())))
    }

    /// A row's name.
    fn named(&self, variant: Variant) -> String {
        let Variant { mode, critic, .. } = variant;
        let configuration = self.configurator(variant).configure(variant.task);
        let mut name = match mode {
            Mode::Policy => "Mode-1, the distilled policy".to_owned(),
            Mode::Planning => format!("Mode-2, {}", self.args.planner),
        };
        if mode == Mode::Planning && self.modules.critic.is_some() && self.task != Task::Flee {
            name += if critic { " and the critic" } else { ", no critic" };
        }
        if mode == Mode::Planning && self.world().has_hazards() {
            name += match (configuration.guardrail, configuration.cost.drives().hazard > 0.0) {
                (true, true) => "",
                (false, true) => ", no guardrail",
                (true, false) => ", guardrail alone",
                (false, false) => ", hazards ignored",
            };
        }
        name
    }
}

/// One agent in all episodes.
#[derive(Clone, Debug, Serialize)]
struct Line {
    name: String,
    /// At the end.
    success: f64,
    interval: [f64; 2],
    /// At any step.
    ever: f64,
    ever_interval: [f64; 2],
    /// Steps in what harms, of an episode on average; none in a world in which nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    harmed_steps: Option<f64>,
    /// Share of the episodes with such a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    harmed: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    harmed_interval: Option<[f64; 2]>,
    /// Mean distance from the goal at the end, in the world's units.
    distance: f64,
    ms_per_step: f64,
    calls_per_step: f64,
}

/// The outcome for scripts.
#[derive(Serialize)]
struct Tried {
    world: String,
    task: Task,
    run: String,
    system: &'static str,
    episodes: u64,
    steps: u64,
    horizon: usize,
    seed: u64,
    /// The agent as it was asked for.
    agent: Line,
    /// The same without something.
    ablations: Vec<Line>,
    controls: Vec<Line>,
}

/// Plays all episodes.
fn line(name: String, all: (&dyn World, &Trial, Task), agent: &mut dyn Agent) -> Result<Line, Error> {
    let (world, trial, task) = all;
    let mut timed = Timed::new(agent, trial.steps);
    let outcome = trial.run(world, &mut timed)?;
    let tasks = trial.tasks(world);
    let well: Vec<(bool, bool)> =
        tasks.iter().zip(&outcome.trails).map(|(episode, trail)| task.success(world, episode, trail)).collect();
    let share = |of: &dyn Fn(usize) -> bool| wilson((0..well.len()).filter(|e| of(*e)).count(), well.len());
    let ((success, interval), (ever, ever_interval)) = (share(&|e| well[e].0), share(&|e| well[e].1));
    let (harmed, harmed_interval) = share(&|e| outcome.harmed[e] > 0);
    let there = world.has_hazards();
    let mean = |sum: f64| sum / well.len().max(1) as f64;
    Ok(Line {
        name,
        success,
        interval,
        ever,
        ever_interval,
        harmed_steps: there.then(|| mean(outcome.harmed.iter().map(|steps| *steps as f64).sum())),
        harmed: there.then_some(harmed),
        harmed_interval: there.then_some(harmed_interval),
        distance: mean(outcome.distance.iter().map(|d| f64::from(*d)).sum()),
        ms_per_step: timed.spent.as_secs_f64() * 1e3 / (trial.steps * trial.episodes) as f64,
        calls_per_step: outcome.calls_per_step,
    })
}

/// Runs the command.
pub fn agent(args: &AgentArgs) -> Result<(), Error> {
    args.check()?;
    let device = args.device.open()?;
    let planner = args.planner()?;
    let kept = KeptModel::of(args.run.as_deref(), &device)?;
    let imaginer = kept.model("an agent")?;
    let (world, imagination) = (imaginer.playground.world.as_ref(), &imaginer.imagination);
    let (task, asked, folder) = (args.task(world)?, args.gauge(&kept, imaginer)?, args.folder());
    if args.learn {
        let LearningArgs { played, rounds, lived, updates } = args.learning;
        let learning = Learning {
            model: kept.mark.clone(),
            seed: args.seed,
            played,
            rounds,
            lived,
            steps: args.steps,
            horizon: args.horizon,
            planner,
            replan: args.replan(),
            by_steps: asked.unwrap_or(imagination.gauge()) == Gauge::Steps,
            updates,
            batch: BATCH,
            lr: RATE,
        };
        let learnt = learn(&folder, &learning, world, imagination, &mut |line| say(line))?;
        return learned(args, imaginer, &learnt, &folder);
    }
    let (mut modules, mut gauge) = (Modules::default(), asked.unwrap_or(imagination.gauge()));
    if Learnt::begun(&folder) {
        let learnt = Learnt::open(&folder)?;
        if !learnt.ended() {
            return Err(Error::Misuse(format!(
                "learning in {} has not ended: go on with `{} --learn` and the settings that it began with",
                folder.display(),
                args.command()
            )));
        }
        if learnt.learning.model != kept.mark {
            return Err(Error::Misuse(format!(
                "what lies in {} was learnt with another model than {}: name another folder with `--modules`",
                folder.display(),
                kept.whose()
            )));
        }
        if asked.is_some_and(|asked| asked != learnt.learning.gauge()) {
            let by = if learnt.learning.by_steps { "steps" } else { "latents" };
            return Err(Error::Misuse(format!(
                "what lies in {} was learnt with `--gauge {by}`: leave `--gauge` out, or learn in another folder",
                folder.display()
            )));
        }
        (modules, gauge) = (learnt.modules(world, imagination)?, learnt.learning.gauge());
    } else if args.modules.is_some() {
        return Err(Error::Misuse(format!(
            "nothing has been learnt in {}: learn first with `{} --learn`",
            folder.display(),
            args.command()
        )));
    }
    let shop = Workshop { args, kept: &kept, imaginer, modules, gauge, planner, task };
    // Nothing is read of hazards without a sense.
    if world.has_hazards() && shop.modules.sense.is_none() && task != Task::Reach {
        return Err(Error::Misuse(format!(
            "the agent cannot tell yet what harms: learn first with `{} --learn`",
            args.command()
        )));
    }
    match &args.film {
        Some(file) => film::show(&shop, file),
        None => tried(&shop),
    }
}

/// What came of learning.
fn learned(args: &AgentArgs, imaginer: &Imaginer, learnt: &Learnt, folder: &Path) -> Result<(), Error> {
    let (world, imagination) = (imaginer.playground.world.as_ref(), &imaginer.imagination);
    let modules = learnt.modules(world, imagination)?;
    let sensed: Vec<Sensed> = modules
        .sense
        .as_ref()
        .map_or(Vec::new(), |sense| sense.judge(world, imagination, learnt.learning.seed, learnt.learning.steps));
    if args.json {
        return print_json(&serde_json::json!({ "modules": folder, "learning": learnt.learning, "sensed": sensed }));
    }
    let mut text = format!("learnt    {}\n", folder.display());
    if !sensed.is_empty() {
        let _ = writeln!(
            text,
            "\n  {:<38}{:>12}{:>12}{:>12}{:>12}{:>12}",
            "what harms, read from held-out play", "imagined", "copied", "untrained", "barred", "wrongly"
        );
        for Sensed { ahead, imagined, copied, untrained, barred, barred_wrongly } in &sensed {
            let _ = writeln!(
                text,
                "  {:<38}{imagined:>12.3}{copied:>12.3}{untrained:>12.3}{:>10.1} %{:>10.1} %",
                format!("{ahead} steps of the model ahead"),
                100.0 * barred,
                100.0 * barred_wrongly,
            );
        }
        text += "\nareas under the ROC curve, where 0.5 is chance; barred: share of harmful and of harmless moments that the guardrail rejects\n";
    }
    print(format!("{text}next      {}   beside controls; --film FILE shows an episode\n", args.command()))
}

/// The table.
fn tried(shop: &Workshop<'_>) -> Result<(), Error> {
    let Workshop { args, kept, imaginer, modules, task, .. } = shop;
    let world = shop.world();
    let imagination = &imaginer.imagination;
    let trial = Trial { episodes: args.episodes, steps: args.steps, seed: args.seed };
    let all = (world, &trial, *task);
    let asked = shop.asked();
    let play = |name: String, modules: &Modules, variant: Variant| line(name, all, &mut shop.agent(modules, variant)?);
    let agent = play(shop.named(asked), modules, asked)?;
    let mut ablations = Vec::new();
    if args.ablate {
        let planning = Variant { mode: Mode::Planning, ..asked };
        let mut variants = vec![planning];
        if modules.critic.is_some() && *task != Task::Flee {
            variants.push(Variant { critic: !asked.critic, ..planning });
        }
        if modules.sense.is_some() {
            let others = [(Some(false), *task), (Some(true), Task::Reach), (Some(false), Task::Reach)];
            let others = others.into_iter().filter(|_| *task == Task::Avoid);
            variants.extend(others.map(|(guardrail, task)| Variant { guardrail, task, ..planning }));
        }
        if modules.actor(*task).is_some() {
            variants.push(Variant { mode: Mode::Policy, ..asked });
        }
        for variant in variants {
            let name = shop.named(variant);
            if name != agent.name {
                ablations.push(play(name, modules, variant)?);
            }
        }
        if modules.actor(*task).is_some() {
            let fresh = modules.before_distillation(imagination, args.seed);
            let name = "Mode-1 before distillation".to_owned();
            ablations.push(play(name, &fresh, Variant { mode: Mode::Policy, ..asked })?);
        }
    }
    let configuration = shop.configurator(asked).configure(*task);
    let mut controls = vec![line("random actions".to_owned(), all, &mut Control::Random)?];
    let straight = if *task == Task::Flee { "straight away" } else { "straight ahead" };
    controls.push(line(straight.to_owned(), all, &mut StraightOn(*task))?);
    controls.push(line(
        "cem on the true dynamics and costs".to_owned(),
        all,
        &mut on_the_truth(&configuration, args.replan(), world),
    )?);
    if *task != Task::Flee {
        if args.cloning > 0 {
            let config = PolicyConfig { seed: args.seed, steps: args.cloning, ..PolicyConfig::default() };
            say(format_args!("cloning behaviour in {} steps, to compare", args.cloning));
            let mut cloned = GoalPolicy::cloned(&imaginer.playground.play, &config, &imagination.device);
            controls.push(line("behaviour cloning".to_owned(), all, &mut cloned)?);
        }
        controls.push(line("the shortest way".to_owned(), all, &mut Control::Oracle)?);
    }
    let tried = Tried {
        world: world.spec().name.clone(),
        task: *task,
        run: kept.name().to_owned(),
        system: kept.session.row().name,
        episodes: args.episodes,
        steps: args.steps,
        horizon: args.horizon,
        seed: args.seed,
        agent,
        ablations,
        controls,
    };
    if args.json { print_json(&tried) } else { print(text(&tried, kept.session.row().title)) }
}

fn text(tried: &Tried, title: &str) -> String {
    let harms = tried.agent.harmed.is_some();
    let mut text = format!(
        "{}, task {}: {} of {} steps, horizon {}; {title} ({})\n\n  {:<44}{:>26}{:>26}",
        tried.world,
        tried.task.name(),
        counted(tried.episodes as usize, "held-out episode"),
        tried.steps,
        tried.horizon,
        tried.run,
        "success (95 %)",
        "at the end",
        "at any step",
    );
    if harms {
        let _ = write!(text, "{:>26}{:>10}", "harmed", "steps");
    }
    let _ = writeln!(text, "{:>10}{:>10}", "ms", "off");
    for row in std::iter::once(&tried.agent).chain(&tried.ablations).chain(&tried.controls) {
        let Line { name, success, interval, ever, ever_interval, distance, ms_per_step, .. } = row;
        let _ =
            write!(text, "  {name:<44}{:>26}{:>26}", percent((*success, *interval)), percent((*ever, *ever_interval)));
        if let (Some(share), Some(interval), Some(steps)) = (row.harmed, row.harmed_interval, row.harmed_steps) {
            let _ = write!(text, "{:>26}{steps:>10.2}", percent((share, interval)));
        }
        let _ = writeln!(text, "{ms_per_step:>10.2}{distance:>10.1}");
    }
    if tried.task == Task::Flee {
        text += "\nsuccess is to be farther from the goal than at the start, along the shortest way\n";
    }
    text += "\nms is of a step of an episode; off is how far the goal is at the end, on average\n";
    if harms {
        text += "harmed is the share of episodes with a step in what harms, steps their number in an episode\n";
    }
    text
}
