//! A model of a world as an energy: E(x, a, y) is how far what it foretells after x and an action a lies from the latents of y, and
//! F(x, y) = min over a of E(x, a, y) is the least that any action makes of it (LeCun, 2022, §4.2: the action is the latent variable).
//!
//! A model that knows its world gives what really followed less than anything else.

use burn::tensor::Tensor;
use foretell_data::Window;
use foretell_jepa::dynamics::LatentVariable;
use foretell_ops as ops;

use crate::imagination::Imagination;
use crate::watched::Watched;

/// Actions among which F seeks the best: those of as many windows, the own one among them.
const ACTIONS: usize = 16;
/// Windows that go through a model at a time, and lend each other what did not happen.
const CHUNK: usize = 32;

/// Energies of windows, `[N]` each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Energies {
    /// E of what was done and came; of a model with a latent variable the least over it, with what it costs.
    pub own: Vec<f32>,
    /// E of what was done, and what came in another window.
    pub of_another: Vec<f32>,
    /// E of what was done in another window, and what came.
    pub done_in_another: Vec<f32>,
    /// F of what came.
    pub free: Vec<f32>,
    /// F of what came in another window.
    pub free_of_another: Vec<f32>,
}

/// The rows of another window in place of each one's: those so many further on.
fn turned<const D: usize>(rows: &Tensor<D>, by: usize) -> Tensor<D> {
    let count = rows.dims()[0];
    let by = by % count.max(1);
    if by == 0 {
        return rows.clone();
    }
    Tensor::cat(vec![rows.clone().narrow(0, by, count - by), rows.clone().narrow(0, 0, by)], 0)
}

/// The first so many observations of a window and what was done between.
fn beginning(window: &Window, frames: usize) -> Window {
    let of = |values: &[f32], steps: usize, all: usize| values[..values.len() / all.max(1) * steps].to_vec();
    Window {
        frames,
        observations: of(&window.observations, frames, window.frames),
        actions: of(&window.actions, frames - 1, window.frames - 1),
        states: of(&window.states, frames, window.frames),
        ..Window::default()
    }
}

impl Energies {
    /// Of windows longer than what the model looks back on; x are the first observations, y the one after them. Windows beyond the last
    /// multiple of 32 are left out, so that each has as many others.
    pub fn of(imagination: &Imagination, windows: &[Window]) -> Self {
        let mut energies = Self::default();
        windows.chunks_exact(CHUNK).for_each(|chunk| energies.add(imagination, chunk));
        energies
    }

    fn add(&mut self, imagination: &Imagination, windows: &[Window]) {
        let model = &imagination.model;
        let (history, variable) = (model.history(), model.variable());
        let beginnings: Vec<Window> = windows.iter().map(|window| beginning(window, history + 1)).collect();
        let watched = Watched::of(imagination, &beginnings);
        let (x, y) = (watched.seen(history, history), &watched.latents[history]);
        let other = turned(y, 1);
        let (mut least, mut least_other) = (vec![f32::INFINITY; windows.len()], vec![f32::INFINITY; windows.len()]);
        for by in 0..ACTIONS {
            let action = turned(&watched.actions[history - 1], by);
            // Without a latent variable one step serves all that may have come.
            let foretold =
                (variable == LatentVariable::None).then(|| model.step(x.clone(), action.clone()).newest().clone());
            let energy = |there: &Tensor<3>| match &foretold {
                Some(foretold) => ops::values(model.energy(foretold.clone(), there.clone())),
                None => variable.infer(model.as_ref(), &x, &action, there).free_energy,
            };
            let (here, there) = (energy(y), energy(&other));
            for (least, energies) in [(&mut least, &here), (&mut least_other, &there)] {
                least.iter_mut().zip(energies).for_each(|(least, energy)| *least = least.min(*energy));
            }
            match by {
                0 => {
                    self.own.extend(here);
                    self.of_another.extend(there);
                }
                1 => self.done_in_another.extend(here),
                _ => {}
            }
        }
        self.free.extend(least);
        self.free_of_another.extend(least_other);
    }
}
