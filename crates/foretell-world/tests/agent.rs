//! The agent in a field whose dynamics its model knows: lava lies halfway between start and goal.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use foretell_data::Normalise;
use foretell_data::random::{Stream, rng};
use foretell_jepa::dynamics::{Gauge, State, WorldModel};
use foretell_world::agent::{
    Configurator, Driven, Learning, Learnt, Mode, Modules, Percept, Task, learn, on_the_truth,
};
use foretell_world::{
    Agent, Budget, Control, Episode, Imagination, Now, Outcome, Planner, PlannerConfig, Reach, Spec, Split, Trail,
    Trial, Turn, World,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

const SIDE: f32 = 40.0;
/// Half the side of the lava, and how far off it is hot.
const LAVA: f32 = 4.0;
const HEAT: f32 = 3.0;
/// Of what is seen.
const UNIT: f32 = 10.0;

/// The state is a place, the action its displacement; what is seen is the place and the centre of the lava.
struct Field(Spec);

impl Field {
    fn new() -> Self {
        Self(Spec { name: "field".to_owned(), observation: [4, 1, 1], state: 2, action: 2, reach: Reach::Ball(2.0) })
    }
}

impl World for Field {
    fn spec(&self) -> &Spec {
        &self.0
    }
    fn reset(&self, _: Split, rng: &mut ChaCha8Rng) -> Episode {
        loop {
            let mut place = || vec![rng.random_range(2.0..SIDE - 2.0), rng.random_range(2.0..SIDE - 2.0)];
            let (state, goal) = (place(), place());
            if self.distance(&state, &goal) > 20.0 {
                let layout = vec![f32::midpoint(state[0], goal[0]), f32::midpoint(state[1], goal[1])];
                return Episode { layout, state, goal };
            }
        }
    }
    fn step(&self, _: &[f32], state: &mut [f32], action: &[f32]) {
        let mut action = action.to_vec();
        self.0.within_reach(&mut action);
        state.iter_mut().zip(action).for_each(|(x, by)| *x = (*x + by).clamp(0.0, SIDE));
    }
    fn render(&self, layout: &[f32], state: &[f32], out: &mut [f32]) {
        out.iter_mut().zip(state.iter().chain(layout)).for_each(|(out, x)| *out = x / UNIT - 2.0);
    }
    fn distance(&self, state: &[f32], goal: &[f32]) -> f32 {
        (state[0] - goal[0]).hypot(state[1] - goal[1])
    }
    fn has_hazards(&self) -> bool {
        true
    }
    fn hazard(&self, layout: &[f32], state: &[f32]) -> f32 {
        let off = |i: usize| ((state[i] - layout[i]).abs() - LAVA).max(0.0);
        (1.0 - off(0).hypot(off(1)) / HEAT).clamp(0.0, 1.0)
    }
    fn success(&self, state: &[f32], goal: &[f32]) -> bool {
        self.distance(state, goal) < 2.0
    }
    fn possible(&self, _: &[f32], _: &[f32]) -> bool {
        true
    }
    fn oracle(&self, _: &[f32], state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        self.greedy(state, goal)
    }
    fn greedy(&self, state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        let mut action = vec![goal[0] - state[0], goal[1] - state[1]];
        self.0.within_reach(&mut action);
        Some(action)
    }
    /// Any way, the same for four steps.
    fn behave(&self, _: &Episode, steps: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let drawn: Vec<Vec<f32>> = (0..steps.div_ceil(4)).map(|_| self.0.reach.draw(2, rng)).collect();
        (0..steps).flat_map(|t| drawn[t / 4].clone()).collect()
    }
}

/// The latent is what is seen; there is an edge to it.
struct Known;

impl WorldModel for Known {
    fn encode(&self, observations: Tensor<4>) -> Tensor<3> {
        let [b, c, h, w] = observations.dims();
        observations.reshape([b, 1, c * h * w])
    }
    fn step(&self, state: State, actions: Tensor<2>) -> State {
        let by = Tensor::cat(vec![actions.clone() / UNIT, actions.zeros_like()], 1);
        let next = (state.newest().clone() + by.unsqueeze_dim(1)).clamp(-2.0, SIDE / UNIT - 2.0);
        state.then(actions, next, 1)
    }
    fn history(&self) -> usize {
        1
    }
}

fn known() -> Imagination {
    Imagination {
        model: Box::new(Known),
        observation: [4, 1, 1],
        normalise: Normalise::nothing(4),
        actions: Normalise::nothing(2),
        poses: None,
        block: 1,
        device: Device::flex(),
    }
}

fn learning() -> Learning {
    Learning {
        model: "known".to_owned(),
        seed: 3,
        played: 60,
        rounds: 1,
        lived: 16,
        steps: 24,
        horizon: 8,
        planner: Planner::named("icem").unwrap(),
        replan: 2,
        by_steps: false,
        updates: 300,
        batch: 64,
        lr: 3e-3,
    }
}

const MODE_2: Configurator = Configurator { mode: Mode::Planning, horizon: 8, critic: true, guardrail: None };
const MODE_1: Configurator = Configurator { mode: Mode::Policy, ..MODE_2 };

fn driven<'a>(
    imagination: &'a Imagination,
    modules: &'a Modules,
    configurator: Configurator,
    task: Task,
) -> Driven<'a> {
    let manner = (Planner::named("icem").unwrap(), PlannerConfig::default(), Budget { calls: u64::MAX }, 2);
    Driven::new(imagination, modules, (configurator, task), manner, Gauge::Latents).unwrap()
}

const TRIAL: Trial = Trial { episodes: 16, steps: 30, seed: 11 };

fn play(world: &Field, agent: &mut dyn Agent) -> Outcome {
    TRIAL.run(world, agent).unwrap()
}

fn harmed(outcome: &Outcome) -> u64 {
    outcome.harmed.iter().sum()
}

fn off(outcome: &Outcome) -> f32 {
    outcome.distance.iter().sum::<f32>() / outcome.distance.len() as f32
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let mut all: Vec<_> = entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap()))
        .collect();
    all.sort();
    all
}

#[test]
fn an_agent_learns_in_stages_and_its_modules_do_what_they_are_for() {
    let (world, imagination, root) = (Field::new(), known(), tempfile::tempdir().unwrap());
    let folder = root.path().join("agent");
    let mut said = Vec::new();
    let learnt = learn(&folder, &learning(), &world, &imagination, &mut |line| said.push(line.to_owned())).unwrap();
    let stages = ["play", "sense", "critic-0", "lived-1", "critic-1", "actors"];
    let told: Vec<String> =
        stages.iter().enumerate().map(|(i, stage)| format!("stage {} of 6: {stage}", i + 1)).collect();
    assert_eq!(said, told);

    // Whatever stage was the last to end, learning goes on to the same bytes.
    let whole = files(&folder);
    for missing in 1..=stages.len() {
        let cut = root.path().join(format!("without-{missing}"));
        std::fs::create_dir(&cut).unwrap();
        let gone: Vec<String> =
            stages[stages.len() - missing..].iter().map(|stage| format!("{stage}.safetensors")).collect();
        for (name, bytes) in whole.iter().filter(|(name, _)| !gone.contains(name)) {
            std::fs::write(cut.join(name), bytes).unwrap();
        }
        // The first and the last say it for all.
        if missing == 2 || missing == stages.len() - 1 {
            learn(&cut, &learning(), &world, &imagination, &mut |_| ()).unwrap();
            assert!(files(&cut) == whole, "{missing} stages were made again and are others");
        }
    }
    let other = Learning { lived: 17, ..learning() };
    let refused = learn(&folder, &other, &world, &imagination, &mut |_| ()).err().unwrap().to_string();
    assert!(refused.contains("`lived` 16, not 17"), "{refused}");

    let modules = learnt.modules(&world, &imagination).unwrap();

    // Perception: hazards are read from held-out play, seen and imagined.
    let sensed = modules.sense.as_ref().unwrap().judge(&world, &imagination, 5, 24);
    assert_eq!(sensed.iter().map(|sensed| sensed.ahead).collect::<Vec<_>>(), [0, 4, 10]);
    for found in &sensed {
        assert!(found.imagined > 0.95 && found.untrained < found.imagined - 0.1, "{found:?}");
        assert!(found.barred > 0.9 && found.barred_wrongly < 0.1, "{found:?}");
    }
    assert!(sensed[2].copied < sensed[2].imagined, "what is seen now does not say what comes: {sensed:?}");

    // The configurator: three tasks, the same networks.
    let run = |configurator, task| play(&world, &mut driven(&imagination, &modules, configurator, task));
    let [reach, avoid, flee] = Task::ALL.map(|task| run(MODE_2, task));
    let random = play(&world, &mut Control::Random);
    assert!(reach.success().0 > 0.9 && random.success().0 < 0.3, "{} and {}", reach.success().0, random.success().0);
    assert!(off(&flee) > off(&random) && off(&random) > off(&reach), "{} {} {}", off(&flee), off(&random), off(&reach));
    assert!(harmed(&reach) > 40 && 10 * harmed(&avoid) < harmed(&reach), "{} and {}", harmed(&avoid), harmed(&reach));
    assert!(avoid.success().0 > 0.7, "{}", avoid.success().0);
    // What bars the way is enough, and so is what it costs, nearly.
    let without = Configurator { guardrail: Some(false), ..MODE_2 };
    let with = Configurator { guardrail: Some(true), ..MODE_2 };
    let (cost, guardrail) = (run(without, Task::Avoid), run(with, Task::Reach));
    assert!(4 * harmed(&cost) < harmed(&reach) && 10 * harmed(&guardrail) < harmed(&reach));
    let truth = driven(&imagination, &modules, MODE_2, Task::Avoid);
    let truth = play(&world, &mut on_the_truth(truth.configuration(), 2, &world));
    assert!(truth.success().0 > 0.7 && harmed(&truth) == 0, "with a perfect model and perfect eyes: {truth:?}");

    // The intrinsic cost knows nothing of what was learnt.
    let percept = Percept { distance: 0.7, hazard: 0.4, effort: 0.2 };
    let none = Modules { critic: modules.critic.clone(), ..Modules::default() };
    for task in Task::ALL {
        let cost = |modules: &Modules| driven(&imagination, modules, MODE_2, task).configuration().cost.of(percept);
        assert_eq!(cost(&none).to_bits(), cost(&modules).to_bits());
    }

    // Mode-1 says at once what Mode-2 finds, and did not before.
    let fresh = modules.before_distillation(&imagination, learnt.learning.seed);
    let first = |modules: &Modules, configurator| first_actions(&world, &imagination, modules, configurator);
    let plans = first(&modules, MODE_2);
    let apart = |actions: &[Vec<f32>]| -> f32 {
        actions.iter().flatten().zip(plans.iter().flatten()).map(|(a, b)| (a - b).powi(2)).sum::<f32>()
    };
    let (after, before) = (apart(&first(&modules, MODE_1)), apart(&first(&fresh, MODE_1)));
    assert!(2.0 * after < before, "off by {after} after and {before} before");
    let (after, before) =
        (run(MODE_1, Task::Reach), play(&world, &mut driven(&imagination, &fresh, MODE_1, Task::Reach)));
    assert!(off(&after) < 0.5 * off(&before), "{} after and {} before", off(&after), off(&before));
    assert_eq!(after.calls_per_step, 0.0, "nothing is imagined");
}

/// What is done first in each task.
fn first_actions(
    world: &Field,
    imagination: &Imagination,
    modules: &Modules,
    configurator: Configurator,
) -> Vec<Vec<f32>> {
    let trial = Trial { steps: 1, ..TRIAL };
    let outcome = trial.run(world, &mut driven(imagination, modules, configurator, Task::Reach)).unwrap();
    outcome.trails.into_iter().map(|trail| trail.actions[0].clone()).collect()
}

/// An agent whose task is another from a step on.
struct Switched<'a> {
    agent: Driven<'a>,
    at: u64,
}

impl Agent for Switched<'_> {
    fn act(&mut self, now: &Now<'_>) -> Result<Turn, foretell_world::PlannerError> {
        if now.step == self.at {
            self.agent.switch(Configurator { critic: false, ..MODE_2 }, Task::Flee)?;
        }
        self.agent.act(now)
    }
}

#[test]
fn a_task_is_switched_in_the_middle_and_memory_stays() {
    let (world, imagination, modules) = (Field::new(), known(), Modules::default());
    let blind = Configurator { critic: false, ..MODE_2 };
    let mut agent = Switched { agent: driven(&imagination, &modules, blind, Task::Reach), at: 14 };
    let outcome = play(&world, &mut agent);
    for (trail, task) in outcome.trails.iter().zip(TRIAL.tasks(&world)) {
        let off = |step: usize| world.distance(&trail.states[step], &task.goal);
        assert!(off(14) < off(0) - 10.0 && off(30) > off(14) + 10.0, "{} {} {}", off(0), off(14), off(30));
    }
    // Every moment that was looked at is remembered, and each is its own nearest.
    let (memory, notes) = (&agent.agent.memories()[3], &agent.agent.notes()[3]);
    let times: Vec<u64> = memory.entries().map(|entry| entry.time).collect();
    assert_eq!(times, (0..=28).collect::<Vec<_>>());
    for entry in memory.entries() {
        let (apart, found) = memory.nearest(&entry.key, 1)[0];
        assert_eq!((apart, found.key.as_slice()), (0.0, entry.key.as_slice()));
    }
    assert_eq!((notes.len(), notes[0].nearest), (15, None));
    assert!(notes[1..].iter().all(|note| note.nearest.is_some() && note.energy.is_some()));
}

#[test]
fn an_episode_is_the_same_alone_and_in_company_on_any_threads() {
    let (world, imagination, modules) = (Field::new(), known(), Modules::default());
    let blind = Configurator { critic: false, ..MODE_2 };
    let run = |numbers: &[u64], threads: usize| -> Vec<Trail> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let trial = Trial { steps: 8, ..TRIAL };
        let mut agent = driven(&imagination, &modules, blind, Task::Reach);
        pool.install(|| trial.play(&world, numbers, &mut agent).unwrap().trails)
    };
    let all = run(&[0, 1, 2], 1);
    assert_eq!(all, run(&[0, 1, 2], 3));
    assert_eq!(all[2..], run(&[2], 2));
}

#[test]
fn what_has_not_learnt_is_not_asked() {
    let (imagination, modules) = (known(), Modules::default());
    let refused = |configurator| {
        let manner = (Planner::named("cem").unwrap(), PlannerConfig::default(), Budget { calls: 100 }, 1);
        let agent = Driven::new(&imagination, &modules, (configurator, Task::Reach), manner, Gauge::Latents);
        agent.err().unwrap().to_string()
    };
    assert!(refused(MODE_2).contains("critic has not learnt"));
    assert!(
        refused(Configurator { critic: false, ..MODE_1 }).contains("no policy has been distilled for the task `reach`")
    );
    let root = tempfile::tempdir().unwrap();
    assert!(
        !Learnt::begun(root.path()) && Learnt::open(root.path()).err().unwrap().to_string().contains("learning.json")
    );
    let world = Field::new();
    let long = Learning { steps: 5000, ..learning() };
    let said = learn(root.path(), &long, &world, &imagination, &mut |_| ()).err().unwrap().to_string();
    assert!(said.contains("2 to 1023 steps") && said.contains("5000"), "{said}");
    assert!(!Learnt::begun(root.path()), "nothing was begun");
    // Held-out play and play to learn from are other play.
    let start = |round| world.reset(Split::Training, &mut rng(3, Stream::Life, round, 0)).state;
    assert_ne!(start(0), start(1));
}
