//! An actor learns when its model has: from what really followed in play, and from nothing that the model foretells.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::module::Module;
use foretell_data::{DataError, Demand, Material, Window};
use foretell_jepa::Objective;
use foretell_jepa::dynamics::{Dynamics, Networks};
use foretell_jepa::systems::eb_jepa::ActorConfig;
use foretell_jepa::target::Average;
use foretell_ops as ops;
use foretell_train::{Optimiser, TrainConfig};

/// Global norm at which gradients are cut.
const CLIP: f64 = 2.0;
/// Windows from this step on are the actor's: no run takes so many.
const FIRST: u64 = 1 << 48;

/// Teaches the objective's actor on frozen latents and gives back its networks with it, in evaluation mode; without an actor as they are.
/// `None` if it was stopped. `done` hears of each step. What comes out is a function of the objective, the play and `seed`.
pub fn learn_actor<N: Networks>(
    objective: &Dynamics<N>,
    play: &dyn Material<Sample = Window>,
    config: &ActorConfig,
    (batch, seed): (usize, u64),
    stop: &AtomicBool,
    done: &mut dyn FnMut(u64),
) -> Result<Option<N>, DataError> {
    let model = objective.model();
    let Some(mut actor) = objective.networks.actor().cloned() else { return Ok(Some(model)) };
    let [_, height, width] = objective.collator.observation;
    let windows = play.training(&Demand { batch, seed, image: (height, width), cache_bytes: 0 })?;
    let (collator, mut optimiser) = (objective.collator(), Optimiser::default());
    let train = TrainConfig { lr: config.lr, ..TrainConfig::default() };
    let rates = train.lr_schedule(config.steps);
    for step in 1..=config.steps {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let batch = collator.collate(FIRST + step, &windows.batch(FIRST + step)?)?;
        let Some(loss) = model.acted(&actor, &objective.seen(&batch)) else { break };
        let hyper = ops::AdamW { lr: rates.at(step), weight_decay: 1e-5, ..train.adamw(step) };
        actor = optimiser.step(actor, &mut Average::default(), loss.backward(), CLIP, hyper).0;
        done(step);
    }
    Ok(Some(model.with_actor(actor.valid())))
}
