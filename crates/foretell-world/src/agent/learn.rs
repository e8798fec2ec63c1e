//! Learning, in stages: curious play, hazards, a critic, and then in rounds episodes of the agent's own and a critic that knows them too; at
//! last policies distilled from the plans. Each stage is a function of the files before it and ends with one of its own, written whole: a
//! killed run goes on with the first that is missing, to the same bytes.

use std::path::{Path, PathBuf};

use foretell_data::random::{Stream, rng};
use foretell_jepa::dynamics::Gauge;
use foretell_nn::{NamedTensor, NamedTensors, weights};
use foretell_ops as ops;
use foretell_train::{TrainError, write_whole};
use serde::{Deserialize, Serialize};

use super::act::{Driven, Modules, REMEMBERED};
use super::configurator::{Configurator, Mode, Task};
use super::critic::Critic;
use super::lessons::{Lessons, Pace};
use super::life::{Life, Perception, Played};
use super::sense::Sense;
use crate::evaluate::Trial;
use crate::imagination::Imagination;
use crate::planner::{Budget, Planner, PlannerConfig, PlannerError};
use crate::world::{Episode, Split, World};

/// How an agent learns. What it learns is a function of this, the world and the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Learning {
    /// A mark of the model that it learns with.
    pub model: String,
    /// Of all that is drawn.
    pub seed: u64,
    /// Episodes of curious play.
    pub played: u64,
    /// Rounds of episodes of its own.
    pub rounds: u64,
    /// Episodes of each task in a round.
    pub lived: u64,
    /// Steps of an episode.
    pub steps: u64,
    /// Steps that a plan looks ahead.
    pub horizon: usize,
    /// By what plans are sought.
    pub planner: Planner,
    /// Steps taken of each plan.
    pub replan: u64,
    /// Whether distances are steps, as the model tells them, or differences of latents.
    pub by_steps: bool,
    /// Optimiser steps of each network.
    pub updates: u64,
    /// Moments in a batch.
    pub batch: usize,
    /// Peak learning rate.
    pub lr: f64,
}

impl Learning {
    /// By what distances are measured.
    pub fn gauge(&self) -> Gauge {
        if self.by_steps { Gauge::Steps } else { Gauge::Latents }
    }

    /// The tasks that a world has.
    pub fn tasks(world: &dyn World) -> Vec<Task> {
        Task::ALL.into_iter().filter(|task| *task != Task::Avoid || world.has_hazards()).collect()
    }

    fn check(&self) -> Result<(), TrainError> {
        let Self { played, rounds, lived, steps, updates, .. } = *self;
        if [played, rounds, lived, updates].contains(&0) || !(2..REMEMBERED as u64).contains(&steps) {
            return Err(TrainError::Setting(format!(
                "an agent learns from at least 1 episode of play, 1 round of at least 1 episode a task, episodes of 2 to {} steps and at least 1 update, found {played}, {rounds}, {lived}, {steps} and {updates}",
                REMEMBERED - 1
            )));
        }
        Ok(())
    }
}

/// A folder of what an agent has learnt.
pub struct Learnt {
    folder: PathBuf,
    /// How.
    pub learning: Learning,
}

const SETTINGS: &str = "learning.json";
const ACTORS: &str = "actors";
/// The round of the stream of lives that batches of plans are drawn from.
const DISTILLING: u64 = u64::MAX - 2;

/// Names of the stages, in order.
fn stages(learning: &Learning, world: &dyn World) -> Vec<String> {
    let mut names = vec!["play".to_owned()];
    names.extend(world.has_hazards().then(|| "sense".to_owned()));
    names.push("critic-0".to_owned());
    for round in 1..=learning.rounds {
        names.extend([format!("lived-{round}"), format!("critic-{round}")]);
    }
    names.push(ACTORS.to_owned());
    names
}

impl Learnt {
    /// Whether anything was begun in a folder.
    pub fn begun(folder: &Path) -> bool {
        folder.join(SETTINGS).is_file()
    }

    /// What lies in a folder; an error where nothing was begun.
    pub fn open(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(SETTINGS);
        let wrong = |what: String| {
            TrainError::Setting(format!("{} says nothing of how an agent learnt: {what}", path.display()))
        };
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let learning = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { folder: folder.to_owned(), learning })
    }

    /// Begins in a folder, or goes on there: an error where it was begun otherwise.
    fn begin(folder: &Path, learning: &Learning) -> Result<Self, TrainError> {
        learning.check()?;
        if Self::begun(folder) {
            let begun = Self::open(folder)?;
            if begun.learning != *learning {
                let of = |learning: &Learning| serde_json::to_value(learning).unwrap_or_default();
                let (old, new) = (of(&begun.learning), of(learning));
                let other = old.as_object().into_iter().flatten().find(|(key, value)| new[key.as_str()] != **value);
                let (key, value) = other.map_or(("", String::new()), |(key, value)| (key.as_str(), value.to_string()));
                return Err(TrainError::Setting(format!(
                    "{} was begun with `{key}` {value}, not {}: go on with the same, or choose another folder",
                    folder.display(),
                    new[key]
                )));
            }
            return Ok(begun);
        }
        let failed = |source| TrainError::Io { action: "make the folder", path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let text = serde_json::to_string_pretty(learning).unwrap_or_default() + "\n";
        write_whole(&folder.join(SETTINGS), text.as_bytes())?;
        Ok(Self { folder: folder.to_owned(), learning: learning.clone() })
    }

    fn file(&self, stage: &str) -> PathBuf {
        self.folder.join(format!("{stage}.safetensors"))
    }

    fn read(&self, stage: &str) -> Result<NamedTensors, TrainError> {
        Ok(weights::read_file(&self.file(stage))?)
    }

    /// Whether all stages have ended.
    pub fn ended(&self) -> bool {
        self.file(ACTORS).is_file()
    }

    /// The modules as they were learnt.
    pub fn modules(&self, world: &dyn World, imagination: &Imagination) -> Result<Modules, TrainError> {
        let (device, seed) = (&imagination.device, self.learning.seed);
        let sense = || Sense::new(imagination.width(), seed, device).with(self.read("sense")?);
        let sense = world.has_hazards().then(sense).transpose()?;
        let critic = self.read(&format!("critic-{}", self.learning.rounds))?;
        let critic = Some(Critic::new(imagination.width(), seed, device).with(critic)?);
        let mut tensors = self.read(ACTORS)?;
        let mut actors = Vec::new();
        for task in Learning::tasks(world) {
            let fresh = Modules::fresh_actor(imagination, task, seed, device);
            actors.push((task, weights::load(fresh, &format!("{}.", task.name()), &mut tensors)?));
        }
        weights::none_left(&tensors)?;
        Ok(Modules { sense, critic, actors })
    }
}

/// Where a run of learning stands, and what it works with.
struct School<'a> {
    learnt: Learnt,
    world: &'a dyn World,
    imagination: &'a Imagination,
    tell: &'a mut dyn FnMut(&str),
}

impl School<'_> {
    /// What a stage makes: read where it has ended, else made and written.
    fn stage(
        &mut self,
        name: &str,
        make: impl FnOnce(&Self) -> Result<NamedTensors, TrainError>,
    ) -> Result<NamedTensors, TrainError> {
        if !self.learnt.file(name).is_file() {
            (self.tell)(name);
            let made = make(self)?;
            write_whole(&self.learnt.file(name), &weights::to_bytes(&made))?;
        }
        self.learnt.read(name)
    }

    fn pace(&self) -> Pace {
        let Learning { updates, batch, lr, .. } = self.learnt.learning;
        (updates, batch, lr)
    }

    fn perception<'b>(&'b self, sense: Option<&'b Sense>) -> Perception<'b> {
        Perception { imagination: self.imagination, sense, gauge: self.learnt.learning.gauge() }
    }

    /// Episodes of each task by plans, with a critic that has learnt so far: what was remembered, and for each task what was planned.
    fn live(&self, modules: &Modules, round: u64) -> Result<NamedTensors, TrainError> {
        let Learning { seed, lived, steps, horizon, planner, replan, .. } = self.learnt.learning;
        let (world, imagination) = (self.world, self.imagination);
        let (mut life, mut plans) = (Life::new(steps, imagination.width()), NamedTensors::new());
        let setting = |error: PlannerError| TrainError::Setting(error.to_string());
        for (place, task) in Learning::tasks(world).into_iter().enumerate() {
            let drawn = |number: u64| {
                world.reset(Split::Training, &mut rng(seed, Stream::Life, round, place as u64 * lived + number))
            };
            let tasks: Vec<Episode> = (0..lived).map(drawn).collect();
            let configurator = Configurator { mode: Mode::Planning, horizon, critic: true, guardrail: None };
            let manner = (planner, PlannerConfig::default(), Budget { calls: u64::MAX }, replan);
            let gauge = self.learnt.learning.gauge();
            let mut agent = Driven::new(imagination, modules, (configurator, task), manner, gauge).map_err(setting)?;
            let trial = Trial { episodes: lived, steps, seed: seed ^ round };
            let trails = trial.play_out(world, tasks.clone(), &mut agent).map_err(setting)?.trails;
            agent.look_back(world, &tasks, &trails);
            let block = imagination.block * imagination.action();
            let (mut from, mut to, mut planned) = (Vec::new(), Vec::new(), Vec::new());
            for ((episode, memory), notes) in tasks.iter().zip(agent.memories()).zip(agent.notes()) {
                let goal = ops::values(imagination.look(world, &episode.layout, &episode.goal));
                let keys: Vec<&[f32]> = memory.entries().map(|entry| entry.key.as_slice()).collect();
                life.add(memory.entries().map(|e| (e.key.as_slice(), e.percept)), &goal, task != Task::Flee);
                for note in notes {
                    from.extend_from_slice(keys[note.step as usize]);
                    to.extend_from_slice(&goal);
                    planned.extend_from_slice(&note.actions[..block]);
                }
            }
            imagination.actions.scale(&mut planned, 1);
            for (what, values, width) in
                [("from", from, life.width), ("to", to, life.width), ("planned", planned, block)]
            {
                let shape = vec![values.len() / width, width];
                plans.insert(format!("{}.{what}", task.name()), NamedTensor { shape, values });
            }
        }
        plans.append(&mut life.state());
        Ok(plans)
    }

    /// Policies that say at once what was planned: one for each task.
    fn distil(&self, lives: &[NamedTensors]) -> Result<NamedTensors, TrainError> {
        let (imagination, seed) = (self.imagination, self.learnt.learning.seed);
        let device = &imagination.device;
        let (width, block) = (imagination.width(), imagination.block * imagination.action());
        let mut actors = NamedTensors::new();
        for task in Learning::tasks(self.world) {
            let mut lessons = Lessons::new(width);
            for life in lives {
                let of = |what: &str| {
                    let name = format!("{}.{what}", task.name());
                    let missing = || TrainError::Setting(format!("remembered episodes have no `{name}`"));
                    life.get(&name).map(|tensor| &tensor.values).ok_or_else(missing)
                };
                let (from, to) = (lessons.add(of("from")?), lessons.add(of("to")?));
                for (i, planned) in (0..).zip(of("planned")?.chunks_exact(block)) {
                    lessons.say(from + i, to + i, planned);
                }
            }
            let fresh = Modules::fresh_actor(imagination, task, seed, &device.clone().autodiff());
            let actor = lessons.learnt(fresh, self.pace(), (seed, DISTILLING), device);
            actors.extend(weights::read(&actor, &format!("{}.", task.name())));
        }
        Ok(actors)
    }
}

/// Learns in a folder, or goes on there; `tell` hears of each stage that begins.
pub fn learn(
    folder: &Path,
    learning: &Learning,
    world: &dyn World,
    imagination: &Imagination,
    tell: &mut dyn FnMut(&str),
) -> Result<Learnt, TrainError> {
    let learnt = Learnt::begin(folder, learning)?;
    if learnt.ended() {
        return Ok(learnt);
    }
    let names = stages(learning, world);
    let mut told = |name: &str| {
        let place = names.iter().position(|stage| stage == name).unwrap_or(0);
        tell(&format!("stage {} of {}: {name}", place + 1, names.len()));
    };
    let mut school = School { learnt, world, imagination, tell: &mut told };
    let (seed, width, device) = (learning.seed, imagination.width(), &imagination.device);

    let play = school.stage("play", |school| {
        let played = Played::of(world, Split::Training, (seed, 0), (learning.played, learning.steps));
        Ok(Life::played(world, &school.perception(None), &played, learning.steps).state())
    })?;
    let play = Life::of(play)?;
    let mut modules = Modules::default();
    if world.has_hazards() {
        let sense = school.stage("sense", |school| {
            Ok(Sense::learnt((&play.keys, width), &play.labels, school.pace(), seed, device).state())
        })?;
        modules.sense = Some(Sense::new(width, seed, device).with(sense)?);
    }
    let (mut lives, mut lessons) = (Vec::new(), Lessons::new(width));
    play.teach(&mut lessons, &school.perception(modules.sense.as_ref()), (seed, 0));
    for round in 0..=learning.rounds {
        if round > 0 {
            let state = school.stage(&format!("lived-{round}"), |school| school.live(&modules, round))?;
            lives.push(state.clone());
            Life::of(state)?.teach(&mut lessons, &school.perception(modules.sense.as_ref()), (seed, round));
        }
        let critic = school.stage(&format!("critic-{round}"), |school| {
            Ok(Critic::learnt(&lessons, width, school.pace(), seed, device).state())
        })?;
        modules.critic = Some(Critic::new(width, seed, device).with(critic)?);
    }
    school.stage(ACTORS, |school| school.distil(&lives))?;
    Ok(school.learnt)
}
