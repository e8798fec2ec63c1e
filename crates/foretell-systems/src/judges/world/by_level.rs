//! How well each level of a model foretells: all are asked for the same later states of the highest, and the lower ones get there by more
//! steps of their own.

use burn::tensor::Tensor;
use foretell_data::Window;
use foretell_eval::{Better, Figures, Finding};
use foretell_jepa::dynamics::{State, flat, levels};
use foretell_nn::layers::Pass;
use foretell_nn::level::Level;
use foretell_ops as ops;
use foretell_train::Which;
use foretell_world::{Experience, Imagination, Split, Watched};

use super::{FORETOLD, HELD_OUT, imagination};
use crate::judging::Judging;
use crate::system::JudgeError;

/// Errors of the highest level's states as shares of what always saying their mean is off.
struct Shares {
    /// By level, then by steps of the highest.
    levels: Vec<Vec<f64>>,
    /// Of saying that nothing changes.
    copied: Vec<f64>,
}

/// See the module; `None` of a model of one level.
pub fn by_level(run: &Judging<'_, Experience>) -> Result<Option<Finding>, JudgeError> {
    let trained = imagination(run, Which::Trained)?;
    let levels = trained.model.levels();
    let Some(span) = levels.iter().map(Level::stride).reduce(|a, b| a * b) else { return Ok(None) };
    let windows: Vec<Window> = match run.data.as_ref() {
        Experience::Play(playground) => {
            (0..FORETOLD).map(|i| playground.play.window(Split::HeldOut, HELD_OUT[1], i)).collect()
        }
        Experience::Episodes(episodes) => episodes.held_out_stretches(episodes.window(), FORETOLD as usize),
    };
    let [known, fresh] = [Shares::of(&trained, &windows), Shares::of(&imagination(run, Which::Untrained)?, &windows)];
    let mut figures = Figures::new(&["steps ahead", "by"], "error", "", Better::Lower).along("steps ahead");
    for k in 0..known.copied.len() {
        let ahead = (k + 1) * span * trained.block;
        let mut row = |by: String, error: f64| figures.push([ahead.into(), by.into()], error);
        for (l, (trained, untrained)) in known.levels.iter().zip(&fresh.levels).enumerate() {
            row(format!("level {}", l + 1), trained[k]);
            row(format!("level {}, untrained", l + 1), untrained[k]);
        }
        row("nothing changes".to_owned(), known.copied[k]);
    }
    let lead = format!(
        "Mean squared error of the highest level's states, by steps of the world ahead, as a share of what always saying their mean is \
         off, over {} held-out windows. Each level begins with the first observation, is told what is done, and sees nothing on the way; \
         what a lower one foretells goes through the maps to the highest.",
        windows.len()
    );
    Ok(Some(Finding::figures("by_level", "What comes next, by level", &lead, figures)))
}

/// Actions of the level above: `stride` of those below, side by side.
fn acts(level: &Level, below: &[Tensor<2>]) -> Vec<Tensor<2>> {
    let done = below.chunks_exact(level.stride());
    done.map(|done| level.act(Tensor::cat(done.to_vec(), 1), &mut Pass::Evaluation)).collect()
}

fn square(a: &Tensor<2>, b: &Tensor<2>) -> f64 {
    ops::values((a.clone() - b.clone()).square().sum())[0].into()
}

impl Shares {
    fn of(imagination: &Imagination, windows: &[Window]) -> Self {
        let Watched { latents, actions: done, .. } = Watched::of(imagination, windows);
        let (model, levels) = (&imagination.model, imagination.model.levels());
        let seen = |t: usize| flat(latents[t].clone());
        let span: usize = levels.iter().map(Level::stride).product();
        let risen =
            |from: usize, states: Tensor<2>| levels[from..].iter().fold(states, |states, level| level.lift(states));
        let there: Vec<Tensor<2>> = (0..latents.len()).step_by(span).map(|t| risen(0, seen(t))).collect();
        let mut actions = vec![done];
        for level in levels {
            actions.push(acts(level, &actions[actions.len() - 1]));
        }
        let off: Vec<f64> = there[1..].iter().map(|there| square(there, &there.clone().mean_dim(0))).collect();
        let share = |k: usize, error: f64| error / off[k].max(f64::MIN_POSITIVE);
        let (mut here, mut steps) = (seen(0), span);
        let by = (0..=levels.len()).map(|l| {
            if l > 0 {
                here = levels[l - 1].lift(here.clone());
                steps /= levels[l - 1].stride();
            }
            let mut state = State::begin(here.clone().unsqueeze_dim(1));
            (1..there.len())
                .map(|k| {
                    for action in &actions[l][(k - 1) * steps..k * steps] {
                        state = match l {
                            0 => model.step(state.clone(), action.clone()),
                            _ => levels::act(&levels[l - 1], state.clone(), action.clone()),
                        };
                    }
                    share(k - 1, square(&risen(l, state.vectors()), &there[k]))
                })
                .collect()
        });
        let levels = by.collect();
        let copied = (1..there.len()).map(|k| share(k - 1, square(&there[0], &there[k]))).collect();
        Self { levels, copied }
    }
}
