//! Planners on problems whose answers are known, and in a world whose dynamics are.

use burn::tensor::{Device, Tensor};
use foretell_data::random::{Stream, rng};
use foretell_jepa::dynamics::WorldModel;
use foretell_world::{
    Budget, Control, Cost, Episode, Imagined, Plan, Planner, PlannerConfig, PlannerError, Planning, Problem, Solve,
    Split, Trial, Truth, World, WorldConfig,
};

/// Each action should be its own target; the cost is the squared distance.
struct Bowl {
    /// One target for each episode.
    targets: Vec<[f32; 2]>,
    calls: u64,
}

impl Problem for Bowl {
    fn episodes(&self) -> usize {
        self.targets.len()
    }
    fn action(&self) -> usize {
        2
    }
    fn reach(&self) -> f32 {
        2.0
    }
    fn costs(&mut self, candidates: &[f32], per_episode: usize, horizon: usize) -> Vec<f32> {
        self.calls += (candidates.len() / 2 / self.targets.len()) as u64;
        let cost = |(i, actions): (usize, &[f32])| {
            let target = self.targets[i / per_episode];
            actions.chunks_exact(2).map(|a| (a[0] - target[0]).powi(2) + (a[1] - target[1]).powi(2)).sum()
        };
        candidates.chunks_exact(2 * horizon).enumerate().map(cost).collect()
    }
    fn gradients(&mut self, candidates: &[f32], per_episode: usize, horizon: usize) -> Option<(Vec<f32>, Vec<f32>)> {
        let costs = self.costs(candidates, per_episode, horizon);
        self.calls += (candidates.len() / 2 / self.targets.len()) as u64;
        let slope = |(i, x): (usize, &f32)| 2.0 * (x - self.targets[i / (2 * horizon * per_episode)][i % 2]);
        Some((costs, candidates.iter().enumerate().map(slope).collect()))
    }
}

fn bowl() -> Bowl {
    Bowl { targets: vec![[0.5, -1.0], [-1.2, 0.3], [0.0, 0.9]], calls: 0 }
}

const FREE: Budget = Budget { calls: u64::MAX };

fn config(horizon: usize) -> PlannerConfig {
    PlannerConfig { horizon, ..PlannerConfig::default() }
}

#[test]
fn every_planner_finds_the_bottom_of_a_bowl() {
    for name in Planner::NAMES {
        let planner = Planner::named(name).unwrap();
        let plans = planner.plan(&config(4), FREE, &mut bowl(), &[], (1, 0, &[0, 1, 2])).unwrap();
        // Doing nothing costs 4 · 1.25 and so on; independent draws in eight dimensions are no great help.
        let good = if name == "random" { 2.5 } else { 0.8 };
        for plan in &plans {
            assert!(plan.cost < good && plan.actions.len() == 8, "{name}: {plan:?}");
            assert!(plan.actions.chunks(2).all(|a| a[0].hypot(a[1]) <= 2.0001), "{name}: out of bounds");
        }
    }
}

#[test]
fn an_episode_is_planned_the_same_alone_and_in_company() {
    for name in Planner::NAMES {
        let planner = Planner::named(name).unwrap();
        let all = planner.plan(&config(3), FREE, &mut bowl(), &[], (7, 5, &[10, 11, 12])).unwrap();
        let mut alone = Bowl { targets: vec![[-1.2, 0.3]], calls: 0 };
        assert_eq!(all[1], planner.plan(&config(3), FREE, &mut alone, &[], (7, 5, &[11])).unwrap()[0], "{name}");
        let other = planner.plan(&config(3), FREE, &mut bowl(), &[], (8, 5, &[10, 11, 12])).unwrap();
        // Descent begins with the last plan's rest, which no seed changes.
        assert!(name == "gradient" || all[1].actions != other[1].actions, "{name}: another seed");
    }
}

#[test]
fn a_budget_is_kept_and_too_small_a_one_is_refused() {
    for name in Planner::NAMES {
        let planner = Planner::named(name).unwrap();
        for calls in [8, 40, 100, 4096, 100_000] {
            let mut problem = bowl();
            let plans = planner.plan(&config(4), Budget { calls }, &mut problem, &[], (1, 0, &[0, 1, 2])).unwrap();
            assert!(problem.calls <= calls, "{name}: {} calls of {calls}", problem.calls);
            assert_eq!(plans[0].calls, problem.calls, "{name} counts what it took");
        }
        let refused = planner.plan(&config(4), Budget { calls: 3 }, &mut bowl(), &[], (1, 0, &[0, 1, 2]));
        assert!(matches!(refused, Err(PlannerError::Budget { .. })), "{name}: {refused:?}");
    }
}

#[test]
fn one_elite_and_no_spread_give_no_nan() {
    let narrow = PlannerConfig { horizon: 4, spread: 1e-12, least_spread: 0.0 };
    for planner in [
        Planner::Cem { samples: 16, iterations: 20, elites: 1 },
        Planner::Icem { samples: 16, iterations: 20, elites: 1, beta: 2.0, momentum: 0.0, keep: 1.0, decay: 1.0 },
        Planner::Mppi { samples: 16, iterations: 20, temperature: 0.0, elites: 1 },
        Planner::Mppi { samples: 16, iterations: 20, temperature: 1e-30, elites: 16 },
    ] {
        for config in [narrow, config(4)] {
            let plans = planner.plan(&config, FREE, &mut bowl(), &[], (1, 0, &[0, 1, 2])).unwrap();
            assert!(plans.iter().all(|p| p.cost.is_finite() && p.actions.iter().all(|a| a.is_finite())), "{planner:?}");
        }
    }
}

/// A model gone wrong.
struct Broken(f32);

impl Problem for Broken {
    fn episodes(&self) -> usize {
        1
    }
    fn action(&self) -> usize {
        1
    }
    fn reach(&self) -> f32 {
        1.0
    }
    fn costs(&mut self, candidates: &[f32], _: usize, horizon: usize) -> Vec<f32> {
        vec![self.0; candidates.len() / horizon]
    }
}

#[test]
fn a_model_that_says_nothing_leaves_a_finite_plan() {
    for name in ["random", "cem", "icem", "mppi"] {
        for cost in [f32::NAN, f32::INFINITY, 0.0] {
            let planner = Planner::named(name).unwrap();
            let plans = planner.plan(&config(4), FREE, &mut Broken(cost), &[], (1, 0, &[0])).unwrap();
            assert!(plans[0].actions.len() == 4 && plans[0].actions.iter().all(|a| a.is_finite()), "{name} {cost}");
        }
    }
    let no = Planner::named("gradient").unwrap().plan(&config(4), FREE, &mut Broken(1.0), &[], (1, 0, &[0]));
    assert_eq!(no, Err(PlannerError::NoGradient));
}

#[test]
fn a_warm_start_is_never_worse_than_what_it_starts_from() {
    let planner = Planner::Cem { samples: 8, iterations: 1, elites: 2 };
    let good = Plan { actions: [0.5, -1.0].repeat(4), cost: 0.0, calls: 0 };
    let warm = [good.clone(), Plan::default(), Plan::default()];
    let plans = planner.plan(&config(4), FREE, &mut bowl(), &warm, (1, 0, &[0, 1, 2])).unwrap();
    assert_eq!((plans[0].cost, &plans[0].actions), (0.0, &good.actions));
    assert!(plans[1].cost > 0.1);
    assert_eq!(good.rest(3, 2).actions, [0.5, -1.0]);
}

#[test]
fn with_the_true_dynamics_the_planner_passes_the_door() {
    let world = WorldConfig::default().init().unwrap();
    let numbers: Vec<u64> = (0..12).collect();
    let mut tasks: Vec<Episode> =
        numbers.iter().map(|i| world.reset(Split::HeldOut, &mut rng(4, Stream::Task, 0, *i))).collect();
    let planner =
        Planner::Icem { samples: 128, iterations: 8, elites: 16, beta: 2.0, momentum: 0.0, keep: 0.5, decay: 1.0 };
    let config = config(48);
    let mut warm: Vec<Plan> = Vec::new();
    for step in 0..40 {
        let mut truth = Truth { world: world.as_ref(), episodes: &tasks, cost: Cost::Last };
        let plans = planner.plan(&config, FREE, &mut truth, &warm, (0, step, &numbers)).unwrap();
        for (task, plan) in tasks.iter_mut().zip(&plans) {
            for action in plan.actions.chunks_exact(2).take(3) {
                world.step(&task.layout, &mut task.state, action);
            }
        }
        warm = plans.into_iter().map(|plan| plan.rest(3, 2)).collect();
    }
    let reached = tasks.iter().filter(|t| world.success(&t.state, &t.goal)).count();
    // The straight distance leads into walls: no planner with this cost finds every door, and one that looks no way ahead
    // finds none of those that do not lie on the straight line.
    assert!(reached >= 8, "{reached} of 12");
}

/// A model that knows the truth of a plane without walls: the latent is the place, and an action moves it.
struct Plane;

impl WorldModel for Plane {
    fn encode(&self, observations: Tensor<4>) -> Tensor<2> {
        let [b, c, h, w] = observations.dims();
        observations.reshape([b, c * h * w])
    }
    fn step(&self, latents: Tensor<2>, actions: Tensor<2>) -> Tensor<2> {
        latents + actions
    }
}

fn places(places: &[[f32; 2]]) -> Vec<Tensor<2>> {
    places.iter().map(|p| Tensor::from_data([*p], &Device::flex())).collect()
}

#[test]
fn imagined_costs_are_the_distances_along_the_way() {
    let device = Device::flex();
    let (now, goals) = (places(&[[0.0, 0.0], [5.0, 5.0]]), places(&[[2.0, 0.0], [5.0, 3.0]]));
    let mut problem =
        Imagined { model: &Plane, now: &now, goals: &goals, action: 2, reach: 2.0, cost: Cost::Sum, device: &device };
    // Two candidates of two steps for each of two episodes; means of the squared differences of both coordinates.
    let candidates = [[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 2.0], [0.0, -2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]];
    let costs = problem.costs(&candidates.concat(), 2, 2);
    assert_eq!(costs, [0.5 + 0.0, 2.0 + 4.0, 0.0 + 0.0, 2.0 + 2.0]);
    let mut alone = Imagined { now: &now[1..], goals: &goals[1..], ..problem };
    assert_eq!(alone.costs(&candidates[2..].concat(), 2, 2), costs[2..]);
}

#[test]
fn a_trial_in_imagination_is_repeated_by_its_seed_and_beats_chance() {
    let (world, device) = (WorldConfig::default().init().unwrap(), Device::flex());
    let trial = Trial { episodes: 6, steps: 60, seed: 2 };
    let run = |episodes: u64| {
        let pose = |world: &dyn World, tasks: &[Episode], solve: Solve<'_>| {
            let now = places(&tasks.iter().map(|t| [t.state[0], t.state[1]]).collect::<Vec<_>>());
            let goals = places(&tasks.iter().map(|t| [t.goal[0], t.goal[1]]).collect::<Vec<_>>());
            let (reach, cost) = (world.spec().reach, Cost::Sum);
            solve(&mut Imagined { model: &Plane, now: &now, goals: &goals, action: 2, reach, cost, device: &device })
        };
        let mut agent = Planning::new(Planner::named("icem").unwrap(), config(12), FREE, 4, pose);
        Trial { episodes, ..trial }.run(world.as_ref(), &mut agent).unwrap()
    };
    let (all, few) = (run(6), run(2));
    assert_eq!(all.distance[..2], few.distance, "the same alone and in company");
    let mean = |d: &[f32]| d.iter().sum::<f32>() / d.len() as f32;
    let random = trial.run(world.as_ref(), &mut Control::Random).unwrap();
    let oracle = trial.run(world.as_ref(), &mut Control::Oracle).unwrap();
    assert!(mean(&all.distance) < mean(&random.distance), "{all:?} {random:?}");
    assert_eq!((oracle.success().0, oracle.calls_per_step), (1.0, 0.0));
    assert!(all.calls_per_step > 0.0);
}
