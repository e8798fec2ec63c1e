//! Planners in the latents of both systems' models.

use burn::tensor::Tensor;
use foretell_data::Normalise;
use foretell_jepa::dynamics::{Gauge, State};
use foretell_systems::System;
use foretell_systems::eb_jepa::EbJepaConfig;
use foretell_systems::h_jepa::HJepaConfig;
use foretell_systems::heads::ActorConfig;
use foretell_systems::le_wm::LeWmConfig;
use foretell_train::Which;
use foretell_world::{
    Above, Budget, Control, Cost, Experience, ExperienceConfig, Imagination, Imagined, Planner, PlannerConfig,
    PlannerError, Planning, PlaySettings, Problem, Trial, WorldConfig,
};

use crate::made::{Bench, imagination};

const FREE: Budget = Budget { calls: u64::MAX };

fn config(horizon: usize) -> PlannerConfig {
    PlannerConfig { horizon, ..PlannerConfig::default() }
}

/// A fresh model of blocks of so many actions, whose every weight is moved a little, so that what begins as zero counts.
fn moved(system: &impl System<Data = Experience>, block: usize) -> Imagination {
    let settings = PlaySettings {
        frameskip: block,
        normalise: Normalise { mean: vec![0.01, 0.3], std: vec![0.1, 0.4] },
        actions: Normalise { mean: vec![0.1; 2 * block], std: vec![0.8; 2 * block] },
        ..PlaySettings::default()
    };
    let bench = Bench::<Experience>::new(None, ExperienceConfig::Play(settings), (10, 6));
    let mut learner = Bench { seed: 4, ..bench }.learner(system);
    let mut state = learner.state(Which::Trained);
    for (i, (name, tensor)) in state.iter_mut().enumerate() {
        if name.contains("modulation") || name.contains("predictor.projector.layers.1") {
            let value = |j: usize| ((i * 7919 + j * 104_729) % 1000) as f32 / 1000.0 - 0.5;
            tensor.values.iter_mut().enumerate().for_each(|(j, x)| *x += 0.4 * value(j));
        }
    }
    learner.load(Which::Trained, state).unwrap();
    imagination(learner.as_ref(), Which::Trained, block)
}

/// Both systems' models, EB-JEPA's of single actions and LeWorldModel's of blocks of two, as published and ours.
fn models() -> [(&'static str, Imagination); 4] {
    let ours = EbJepaConfig { width: 16, ..EbJepaConfig::default() };
    let eb = EbJepaConfig { width: 16, ..EbJepaConfig::official() };
    let by_steps = LeWmConfig { width: 16, ..LeWmConfig::default() };
    let le = LeWmConfig { reach: 0.0, actor: ActorConfig { steps: 0, ..by_steps.actor }, ..by_steps.clone() };
    [
        ("eb-jepa", moved(&eb, 1)),
        ("le-wm", moved(&le, 2)),
        ("eb-jepa by steps", moved(&ours, 1)),
        ("le-wm by steps", moved(&by_steps, 2)),
    ]
}

#[test]
fn gradients_through_a_model_are_its_costs_slopes() {
    let world = WorldConfig::default().init().unwrap();
    let trial = Trial { episodes: 2, steps: 6, seed: 3 };
    let tasks = trial.tasks(world.as_ref());
    let outcome = trial.run(world.as_ref(), &mut Control::Random).unwrap();
    for (name, imagination) in models() {
        let states: Vec<State> = tasks
            .iter()
            .zip(&outcome.trails)
            .map(|(task, trail)| imagination.state(world.as_ref(), &task.layout, trail))
            .collect();
        assert_eq!(states[0].latents().len(), imagination.model.history(), "{name}");
        let goals: Vec<Tensor<3>> =
            tasks.iter().map(|t| imagination.look(world.as_ref(), &t.layout, &t.goal)).collect();
        for cost in [Cost::Sum, Cost::Last, Cost::Discounted(0.7)] {
            let mut problem = Imagined {
                imagination: &imagination,
                now: &states,
                goals: &goals,
                lifts: &[],
                reach: foretell_world::Reach::Ball(2.45),
                gauge: imagination.gauge(),
                cost,
            };
            let candidates: Vec<f32> = (0..2 * 2 * 4 * 2).map(|i| ((i * 37 % 17) as f32 / 17.0 - 0.5) * 2.0).collect();
            let costs = problem.costs(&candidates, 2, 4);
            let (same, gradients) = problem.gradients(&candidates, 2, 4).unwrap();
            assert!(
                costs.iter().zip(&same).all(|(a, b)| (a - b).abs() <= 1e-5 * a.abs()),
                "{name}: {costs:?} {same:?}"
            );
            let largest = gradients.iter().fold(0.0_f32, |most, g| most.max(g.abs()));
            assert!(largest > 1e-5, "{name} {cost:?}: actions matter");
            if imagination.gauge() == Gauge::Steps {
                // Between two points lie kinks of some relu or other: down the gradient the cost falls as it says, nearly.
                let square = gradients.iter().map(|g| f64::from(g * g)).sum::<f64>();
                let mut at = |step: f32| {
                    let moved: Vec<f32> = candidates.iter().zip(&gradients).map(|(x, g)| x + step * g).collect();
                    problem.costs(&moved, 2, 4).iter().map(|c| f64::from(*c)).sum::<f64>()
                };
                let step = 0.002 / square.sqrt() as f32;
                let slope = (at(step) - at(-step)) / f64::from(2.0 * step);
                assert!((slope - square).abs() < 0.1 * square, "{name} {cost:?}: {slope} and {square}");
                continue;
            }
            for i in 0..candidates.len() {
                let mut at = |step: f32| {
                    let mut moved = candidates.clone();
                    moved[i] += step;
                    problem.costs(&moved, 2, 4).iter().map(|c| f64::from(*c)).sum::<f64>()
                };
                let slope = (at(0.02) - at(-0.02)) / 0.04;
                assert!(
                    (slope - f64::from(gradients[i])).abs() < 0.02 * f64::from(largest) + 1e-5,
                    "{name} {cost:?}, number {i}: {slope} and {}",
                    gradients[i]
                );
            }
        }
    }
}

#[test]
fn every_planner_plans_in_both_models_the_same_on_any_threads_and_in_any_company() {
    let world = WorldConfig::default().init().unwrap();
    for (name, imagination) in models() {
        imagination.check(world.as_ref()).unwrap();
        for planner in Planner::NAMES {
            if planner == "actor" && imagination.model.actor().is_none() {
                let mut agent = Planning::new(
                    Planner::Actor { samples: 1 },
                    config(4),
                    FREE,
                    1,
                    imagination.pose(Cost::Sum, imagination.gauge()),
                );
                let trial = Trial { episodes: 1, steps: 1, seed: 8 };
                assert_eq!(trial.run(world.as_ref(), &mut agent), Err(PlannerError::NoActor), "{name}");
                continue;
            }
            let run = |episodes: u64, threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let trial = Trial { episodes, steps: 6, seed: 8 };
                let budget = Budget { calls: 400 };
                let mut agent = Planning::new(
                    Planner::named(planner).unwrap(),
                    config(4),
                    budget,
                    2,
                    imagination.pose(Cost::Sum, imagination.gauge()),
                );
                pool.install(|| trial.run(world.as_ref(), &mut agent).unwrap())
            };
            let all = run(3, 1);
            assert!(
                all.calls_per_step > 0.0 && all.calls_per_step <= 200.0,
                "{name} {planner}: {}",
                all.calls_per_step
            );
            assert_eq!(all, run(3, 5), "{name} {planner}: threads");
            assert_eq!(all.trails[0], run(1, 2).trails[0], "{name} {planner}: company");
        }
    }
}

#[test]
fn another_world_and_a_horizon_that_does_not_split_are_refused_in_a_sentence() {
    let [_, (_, le_wm), ..] = models();
    let world = WorldConfig::two_rooms(48).init().unwrap();
    let said = le_wm.check(world.as_ref()).unwrap_err().to_string();
    assert!(said.contains("[2, 32, 32]") && said.contains("two-rooms") && said.contains("[2, 48, 48]"), "{said}");
    let world = WorldConfig::default().init().unwrap();
    let mut agent =
        Planning::new(Planner::named("cem").unwrap(), config(5), FREE, 2, le_wm.pose(Cost::Sum, le_wm.gauge()));
    let said = Trial { episodes: 1, steps: 1, seed: 0 }.run(world.as_ref(), &mut agent).unwrap_err().to_string();
    assert!(said.contains("blocks of 2 actions"), "{said}");
}

/// H-JEPA's model of blocks of two actions and three levels: 2, 4 and 8 steps of the world.
fn of_levels() -> Imagination {
    let config = HJepaConfig::default();
    moved(&HJepaConfig { frames: LeWmConfig { width: 16, ..config.frames }, ..config }, 2)
}

#[test]
fn plans_from_above_are_the_same_on_any_threads_and_in_any_company_and_their_calls_count() {
    let world = WorldConfig::default().init().unwrap();
    let imagination = of_levels();
    assert_eq!(Above::ground_horizon(&imagination), Some(4));
    let cem = Planner::Cem { samples: 10, iterations: 2, elites: 3 };
    let run = |planner: Planner, levels: usize, episodes: u64, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let trial = Trial { episodes, steps: 8, seed: 8 };
        let above = Above { levels, planner, horizon: 24, cost: Cost::Sum };
        let mut agent = Planning::new(planner, config(4), FREE, 4, imagination.pose_from_above(above));
        pool.install(|| trial.run(world.as_ref(), &mut agent).unwrap())
    };
    for levels in [2, 3] {
        let all = run(cem, levels, 3, 1);
        // Of 20 candidates, two steps of the level that acts; of two levels six steps of four, of three two of four and three of eight.
        let steps = 2 + if levels == 2 { 6 } else { 2 + 3 };
        assert_eq!(all.calls_per_step, (20 * steps) as f64 / 4.0, "one plan for four steps, {levels} levels");
        assert_eq!(all, run(cem, levels, 3, 5), "threads, {levels} levels");
        assert_eq!(all.trails[0], run(cem, levels, 1, 2).trails[0], "company, {levels} levels");
        let down = run(Planner::Gradient { samples: 5, iterations: 2, rate: 0.1 }, levels, 3, 2);
        assert_eq!(down.calls_per_step, all.calls_per_step, "a step back is a call");
        assert_ne!(down.trails, all.trails);
    }
    assert_ne!(run(cem, 2, 3, 1).trails, run(cem, 3, 3, 1).trails);
}
