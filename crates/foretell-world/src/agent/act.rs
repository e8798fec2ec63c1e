//! The agent's turn: perceive, remember, configure, act at once or by a plan.

use burn::tensor::{Device, Tensor};
use foretell_data::random::{Stream, rng};
use foretell_jepa::dynamics::{Gauge, State, flat};
use foretell_nn::pair::Pair;
use foretell_ops as ops;
use rayon::prelude::*;

use super::configurator::{Configuration, Configurator, Mode, Task};
use super::critic::Critic;
use super::intrinsic::Percept;
use super::life::{Perception, effort};
use super::memory::{Entry, Memory};
use super::mode_2::Mode2;
use super::sense::Sense;
use crate::evaluate::{Agent, Now, Trail, Turn};
use crate::imagination::Imagination;
use crate::planner::{Budget, Plan, Planner, PlannerConfig, PlannerError};
use crate::world::{Episode, World};

/// Moments that short-term memory holds.
pub(super) const REMEMBERED: usize = 1024;
/// Width of the hidden layers of a policy.
const HIDDEN: usize = 256;

/// What has learnt: what is not there has not.
#[derive(Clone, Default)]
pub struct Modules {
    /// Reads hazards.
    pub sense: Option<Sense>,
    /// Foretells costs.
    pub critic: Option<Critic>,
    /// Mode-1's policies, one for each task that was distilled: of a latent and the goal's, `[N, D]` each, a block of actions, normalised as
    /// the model takes them.
    pub actors: Vec<(Task, Pair)>,
}

impl Modules {
    /// A fresh policy for a model, the same for the same seed: what distillation begins with.
    pub fn fresh_actor(imagination: &Imagination, task: Task, seed: u64, device: &Device) -> Pair {
        let said = imagination.block * imagination.action();
        Pair::new(imagination.width(), HIDDEN, said, &mut rng(seed, Stream::Init, 30, 2 + task as u64), device)
    }

    /// The same with fresh policies: Mode-1 before distillation.
    pub fn before_distillation(&self, imagination: &Imagination, seed: u64) -> Self {
        let fresh =
            |(task, _): &(Task, Pair)| (*task, Self::fresh_actor(imagination, *task, seed, &imagination.device));
        Self { actors: self.actors.iter().map(fresh).collect(), ..self.clone() }
    }

    /// The policy of a task.
    pub fn actor(&self, task: Task) -> Option<&Pair> {
        self.actors.iter().find(|(of, _)| *of == task).map(|(_, actor)| actor)
    }
}

/// What was found in one turn of one episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// Steps taken before it.
    pub step: u64,
    /// What the moment was like.
    pub percept: Percept,
    /// Its intrinsic cost.
    pub cost: f32,
    /// All that the critic says is still to come, where there is one.
    pub rest: Option<f32>,
    /// How far the nearest remembered moment is, and its time; none at the first.
    pub nearest: Option<(f32, u64)>,
    /// How the actor acted.
    pub mode: Mode,
    /// The energy of the plan that was chosen; none where nothing was sought.
    pub energy: Option<f32>,
    /// What was to be done, `[H, A]`.
    pub actions: Vec<f32>,
}

/// The objective-driven agent, in several episodes at once. What it does in one depends on that one alone.
pub struct Driven<'a> {
    imagination: &'a Imagination,
    modules: &'a Modules,
    configuration: Configuration,
    planner: Planner,
    spread: PlannerConfig,
    budget: Budget,
    replan: u64,
    gauge: Gauge,
    memories: Vec<Memory>,
    warm: Vec<Plan>,
    notes: Vec<Vec<Note>>,
}

/// One episode's moment.
struct Moment {
    state: State,
    goal: Tensor<3>,
    note: Note,
}

/// What is seen of an episode: its memory, task and trail, where it stands and its goal's latents.
type Seen<'s> = ((((&'s mut Memory, &'s Episode), &'s Trail), State), Tensor<3>);

impl<'a> Driven<'a> {
    /// An agent with a task. `planner` searches in Mode-2 with the spread and hold of `spread`; `replan` steps of each plan are taken, whole
    /// blocks of the model.
    pub fn new(
        imagination: &'a Imagination,
        modules: &'a Modules,
        (configurator, task): (Configurator, Task),
        (planner, spread, budget, replan): (Planner, PlannerConfig, Budget, u64),
        gauge: Gauge,
    ) -> Result<Self, PlannerError> {
        let mut agent = Self {
            imagination,
            modules,
            configuration: configurator.configure(task),
            planner,
            spread,
            budget,
            replan: replan.next_multiple_of(imagination.block as u64),
            gauge,
            memories: Vec::new(),
            warm: Vec::new(),
            notes: Vec::new(),
        };
        agent.switch(configurator, task)?;
        Ok(agent)
    }

    /// Another task from here on, with the same networks. Plans for the last one are dropped, what was remembered stays.
    pub fn switch(&mut self, configurator: Configurator, task: Task) -> Result<(), PlannerError> {
        let configuration = configurator.configure(task);
        let setting = |what: String| Err(PlannerError::Setting(what));
        if configuration.critic && self.modules.critic.is_none() {
            return setting("the critic has not learnt anything yet, and it is asked for".to_owned());
        }
        if configuration.mode == Mode::Policy && self.modules.actor(task).is_none() {
            return setting(format!(
                "no policy has been distilled for the task `{}` yet, and Mode-1 acts by one",
                task.name()
            ));
        }
        (self.configuration, self.warm) = (configuration, Vec::new());
        Ok(())
    }

    /// The settings of the modules.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// What is remembered of each episode.
    pub fn memories(&self) -> &[Memory] {
        &self.memories
    }

    /// What was found in each turn of each episode.
    pub fn notes(&self) -> &[Vec<Note>] {
        &self.notes
    }

    /// Remembers what came of the last turn too, when all is over.
    pub(super) fn look_back(&mut self, world: &dyn World, tasks: &[Episode], trails: &[Trail]) {
        let step = trails.first().map_or(0, |trail| trail.actions.len() as u64);
        self.perceive(&Now { world, tasks, trails, numbers: &[], seed: 0, step });
    }

    fn perception(&self) -> Perception<'a> {
        Perception { imagination: self.imagination, sense: self.modules.sense.as_ref(), gauge: self.gauge }
    }

    /// Sees and remembers all that came since the last turn of each episode.
    fn perceive(&mut self, now: &Now<'_>) -> Vec<Moment> {
        if now.step == 0 {
            // Another trial begins.
            self.memories.clear();
            self.notes.clear();
            self.warm.clear();
        }
        let (perception, spec) = (self.perception(), now.world.spec());
        let (states, goals) = self.imagination.standing(now);
        self.memories.resize_with(now.tasks.len(), || Memory::new(REMEMBERED));
        let (configuration, critic) = (self.configuration, self.modules.critic.as_ref());
        let one = |((((memory, task), trail), state), goal): Seen<'_>| {
            let first = memory.entries().last().map_or(0, |entry| entry.time as usize + 1);
            let fresh = &trail.states[first..];
            let latents = perception.look(now.world, &task.layout, fresh);
            let effort_to = |t: usize| if t == 0 { 0.0 } else { effort(&trail.actions[t - 1], spec) };
            let efforts: Vec<f32> = (first..trail.states.len()).map(effort_to).collect();
            let percepts = perception.percepts(&latents, &goal, &efforts);
            let keys = ops::values(latents);
            let width = keys.len() / fresh.len().max(1);
            let mut nearest = None;
            for ((t, key), percept) in (first..).zip(keys.chunks_exact(width)).zip(&percepts) {
                if t + 1 == trail.states.len() {
                    nearest = memory.nearest(key, 1).first().map(|(apart, entry)| (*apart, entry.time));
                }
                memory.push(Entry { time: t as u64, key: key.to_vec(), percept: *percept });
            }
            let percept = percepts.last().copied().unwrap_or_default();
            let rest = critic.filter(|_| configuration.critic).map(|critic| {
                let distance = perception.distance(state.newest().clone(), goal.clone());
                let rest = critic.rest(&configuration.cost, state.vectors(), flat(goal.clone()), distance);
                ops::values(rest)[0]
            });
            let note = Note {
                step: now.step,
                percept,
                cost: configuration.cost.of(percept),
                rest,
                nearest,
                mode: configuration.mode,
                energy: None,
                actions: Vec::new(),
            };
            Moment { state, goal, note }
        };
        let memories = self.memories.par_iter_mut().zip(now.tasks).zip(now.trails);
        memories.zip(states).zip(goals).map(one).collect()
    }
}

impl Agent for Driven<'_> {
    fn act(&mut self, now: &Now<'_>) -> Result<Turn, PlannerError> {
        let (spec, block) = (now.world.spec(), self.imagination.block);
        let moments = self.perceive(now);
        let perception = self.perception();
        let configuration = self.configuration;
        let (states, (goals, mut notes)): (Vec<_>, (Vec<_>, Vec<_>)) =
            moments.into_iter().map(|Moment { state, goal, note }| (state, (goal, note))).unzip();
        let (actions, taken, calls): (Vec<Vec<f32>>, u64, u64) = match configuration.mode {
            Mode::Policy => {
                let Some(actor) = self.modules.actor(configuration.task) else { return Err(PlannerError::NoActor) };
                let act = |(state, goal): (&State, &Tensor<3>)| {
                    let mut would = ops::values(actor.forward(state.vectors(), flat(goal.clone())));
                    self.imagination.actions.unscale(&mut would, 1);
                    would.chunks_exact_mut(spec.action).for_each(|action| spec.within_reach(action));
                    would
                };
                (states.par_iter().zip(&goals).map(act).collect(), block as u64, 0)
            }
            Mode::Planning => {
                let horizon = configuration.horizon.next_multiple_of(block);
                let config = PlannerConfig { horizon, ..self.spread };
                let mut problem = Mode2 {
                    perception,
                    critic: self.modules.critic.as_ref().filter(|_| configuration.critic),
                    configuration,
                    spec,
                    now: &states,
                    goals: &goals,
                };
                let place = (now.seed, now.step, now.numbers);
                let plans = self.planner.plan(&config, self.budget, &mut problem, &self.warm, place)?;
                let taken = self.replan.clamp(1, horizon as u64);
                for (note, plan) in notes.iter_mut().zip(&plans) {
                    note.energy = Some(plan.cost);
                }
                let actions = plans.iter().map(|plan| plan.actions.clone()).collect();
                let calls = plans.iter().map(|plan| plan.calls).sum();
                self.warm = plans.into_iter().map(|plan| plan.rest(taken as usize, spec.action)).collect();
                (actions, taken, calls)
            }
        };
        self.notes.resize_with(now.tasks.len(), Vec::new);
        for ((all, mut note), actions) in self.notes.iter_mut().zip(notes).zip(&actions) {
            note.actions.clone_from(actions);
            all.push(note);
        }
        Ok(Turn { actions, taken, calls })
    }
}
