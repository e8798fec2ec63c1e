//! How long what must not fall stands while pictures of it seldom come.

use foretell_eval::{Better, Figures, Finding};
use foretell_world::{
    Agent, Between, GoalPolicy, Imagination, Kalman, PlannerError, Playground, PolicyConfig, Silent, Trial, World,
};

use crate::system::JudgeError;

/// Steps from one picture to the next.
const EVERY: [u64; 6] = [1, 2, 4, 8, 16, 32];
/// Held-out episodes, and the steps of each.
const EPISODES: u64 = 20;
const STEPS: u64 = 200;
/// Steps in which an actor learns what the regulator does.
const LESSONS: u64 = 1500;

/// Steps that stand, of those that an episode has, by the steps between two pictures; `None` where the world has no linear form, or a
/// step of the model takes several of the world's.
pub(super) fn silence(
    playground: &Playground,
    trained: &Imagination,
    untrained: &Imagination,
    seed: u64,
) -> Result<Option<Finding>, JudgeError> {
    let Some(linear) = playground.world.linear().filter(|_| trained.block == 1) else { return Ok(None) };
    let world = playground.world.as_ref();
    let config = PolicyConfig { steps: LESSONS, seed, ..PolicyConfig::default() };
    let actor = |imagination| GoalPolicy::imitating(&playground.play, &config, imagination);
    let (known, fresh) = (actor(trained), actor(untrained));
    let mut figures =
        Figures::new(&["steps between pictures", "by"], "steps", "", Better::Higher).along("steps between pictures");
    for every in EVERY {
        let mut row = |by: &str, agent: &mut dyn Agent| -> Result<(), JudgeError> {
            figures.push([(every as usize).into(), by.into()], standing(world, agent, seed)?);
            Ok(())
        };
        row("foretold latents", &mut Silent::new(trained, &known, every, Between::Foretold))?;
        row("the same, untrained", &mut Silent::new(untrained, &fresh, every, Between::Foretold))?;
        row("the last action again", &mut Silent::new(trained, &known, every, Between::Held))?;
        row("Kalman filter on the true state", &mut Kalman::new(linear.clone(), every))?;
    }
    let lead = format!(
        "Steps until the first failure, of {STEPS}, on average over {EPISODES} held-out episodes, by the steps from one picture to the next. An \
         actor learns from the model's latents what the world's regulator does. Between two pictures it acts on the latents that the \
         model foretells from what was done; beside it the same with the untrained network, whoever does again what the last picture made it do, and a Kalman \
         filter that is told the true state where the others get a picture, and the linear dynamics."
    );
    Ok(Some(Finding::figures("silence", "While nothing is seen", &lead, figures)))
}

/// Steps before the first failure, on average.
fn standing(world: &dyn World, agent: &mut dyn Agent, seed: u64) -> Result<f64, PlannerError> {
    let trial = Trial { episodes: EPISODES, steps: STEPS, seed };
    let tasks = trial.tasks(world);
    let outcome = trial.play_out(world, tasks.clone(), agent)?;
    let stood = outcome
        .trails
        .iter()
        .zip(&tasks)
        .map(|(trail, task)| trail.states[1..].iter().take_while(|state| world.success(state, &task.goal)).count());
    Ok(stood.sum::<usize>() as f64 / tasks.len().max(1) as f64)
}
