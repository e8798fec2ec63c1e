//! A latent variable: what nobody is told and may yet decide what comes (LeCun, 2022, section 4.4). A predictor is given z beside the
//! action, the energy of what came is `E(x, a, z, y)`, and `F(x, a, y) = min_z [E(x, a, z, y) + R(z)]` is what it is worth: R keeps z
//! from saying more than it must.
//!
//! In training z is found for each step by that minimum, at the weights as they are, and then is as given as an action: the gradient of
//! a minimum is that at the place where it is taken. Whoever foretells without having seen y takes z = 0, which costs nothing.

use burn::tensor::{Tensor, TensorData};
use foretell_nn::level::Level;
use foretell_nn::pair::Pair;
use foretell_ops as ops;
use serde::{Deserialize, Serialize};

use super::model::{State, WorldModel};

/// What kind of variable z is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LatentVariable {
    /// There is none: what comes follows from what was seen and done.
    #[default]
    None,
    /// One of a few codes. The first says nothing and costs nothing, each other one costs `weight`.
    Codes {
        /// How many, K: log₂ K bits at most.
        #[serde(default = "two")]
        count: usize,
        /// R(z) of all but the first.
        #[serde(default = "weight")]
        weight: f64,
    },
    /// Numbers, sought by gradient steps from 0, of which the best is taken.
    Continuous {
        /// How many.
        #[serde(default = "two")]
        width: usize,
        /// R(z) is so many times ‖z‖².
        #[serde(default = "weight")]
        weight: f64,
    },
}

fn two() -> usize {
    2
}
fn weight() -> f64 {
    0.01
}

/// Gradient steps in which numbers are sought; the length of the first, and of each as a share of the one before.
const STEPS: usize = 12;
const FIRST: f32 = 1.0;
const SHORTER: f32 = 0.8;
/// Codes and numbers at most.
const MOST: usize = 64;

/// What z is for some steps.
#[derive(Clone, Debug)]
pub struct Inferred {
    /// `[B, Z]`; a code is one number for each code but the first, at most one of them 1.
    pub z: Tensor<2>,
    /// `F = min_z [E + R]` of each, B numbers.
    pub free_energy: Vec<f32>,
}

impl LatentVariable {
    /// Numbers that a predictor is given beside an action, Z.
    pub fn width(self) -> usize {
        match self {
            Self::None => 0,
            Self::Codes { count, .. } => count - 1,
            Self::Continuous { width, .. } => width,
        }
    }

    /// An error in a sentence for what cannot be, by the key of the settings.
    pub fn check(self, key: &str) -> Result<(), String> {
        let (name, size, least, weight) = match self {
            Self::None => return Ok(()),
            Self::Codes { count, weight } => ("count", count, 2, weight),
            Self::Continuous { width, weight } => ("width", width, 1, weight),
        };
        if !(least..=MOST).contains(&size) {
            return Err(format!("`{key}.{name}` must be {least} to {MOST}, found {size}"));
        }
        if !(weight >= 0.0 && weight.is_finite()) {
            return Err(format!("`{key}.weight` must be 0 or more, found {weight}"));
        }
        Ok(())
    }

    /// R(z) of `[B, Z]`, `[B, 1]`.
    pub fn cost(self, z: Tensor<2>) -> Tensor<2> {
        match self {
            Self::None | Self::Codes { weight: 0.0, .. } | Self::Continuous { weight: 0.0, .. } => z.sum_dim(1) * 0.0,
            Self::Codes { weight, .. } => z.sum_dim(1) * weight,
            Self::Continuous { weight, .. } => z.square().sum_dim(1) * weight,
        }
    }

    /// The z with which a model foretells best what came, `there` `[B, N, D]`, after actions `[B, A]` at a state of B rows.
    pub fn infer(self, model: &dyn WorldModel, state: &State, actions: &Tensor<2>, there: &Tensor<3>) -> Inferred {
        let ([rows, _], device) = (actions.dims(), actions.device());
        let free = |state: State, actions: Tensor<2>, z: Tensor<2>, there: Tensor<3>| {
            let foretold = model.step(state, Tensor::cat(vec![actions, z.clone()], 1)).newest().clone();
            model.energy(foretold, there) + self.cost(z)
        };
        match self {
            Self::None => {
                let foretold = model.step(state.clone(), actions.clone()).newest().clone();
                let free_energy = ops::values(model.energy(foretold, there.clone()));
                Inferred { z: Tensor::zeros([rows, 0], &device), free_energy }
            }
            Self::Codes { count, .. } => {
                let width = count - 1;
                let code = |k: usize| (1..count).map(move |number| f32::from(u8::from(number == k)));
                let every: Vec<f32> = (0..count).flat_map(|k| (0..rows).flat_map(move |_| code(k))).collect();
                let every = Tensor::<2>::from_data(TensorData::new(every, [count * rows, width]), &device);
                let (actions, there) = (actions.clone().repeat_dim(0, count), there.clone().repeat_dim(0, count));
                let energies = ops::values(free(state.repeat(count), actions, every, there));
                let of = |row: usize, k: usize| energies[k * rows + row];
                let best = |row: usize| (1..count).fold(0, |best, k| if of(row, k) < of(row, best) { k } else { best });
                let best: Vec<usize> = (0..rows).map(best).collect();
                let free_energy = best.iter().enumerate().map(|(row, k)| of(row, *k)).collect();
                let chosen: Vec<f32> = best.into_iter().flat_map(code).collect();
                Inferred { z: Tensor::from_data(TensorData::new(chosen, [rows, width]), &device), free_energy }
            }
            Self::Continuous { width, .. } => {
                let learning = device.clone().autodiff();
                let mut z = vec![0.0_f32; rows * width];
                let (mut best, mut free_energy, mut length) = (z.clone(), vec![f32::INFINITY; rows], FIRST);
                for step in 0..=STEPS {
                    let at =
                        Tensor::<2>::from_data(TensorData::new(z.clone(), [rows, width]), &learning).require_grad();
                    let energy = free(state.clone(), actions.clone().autodiff(), at.clone(), there.clone());
                    for (row, energy) in ops::values(energy.clone()).into_iter().enumerate() {
                        if energy < free_energy[row] {
                            free_energy[row] = energy;
                            best[row * width..][..width].copy_from_slice(&z[row * width..][..width]);
                        }
                    }
                    if step == STEPS {
                        break;
                    }
                    let Some(slopes) = at.grad(&energy.sum().backward()).map(ops::values) else { break };
                    for (z, slope) in z.chunks_exact_mut(width).zip(slopes.chunks_exact(width)) {
                        let norm = slope.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
                        z.iter_mut().zip(slope).for_each(|(z, slope)| *z -= length * slope / norm);
                    }
                    length *= SHORTER;
                }
                Inferred { z: Tensor::from_data(TensorData::new(best, [rows, width]), &device), free_energy }
            }
        }
    }

    /// Time-major actions `[(T − 1)·B, A]` with the z of each step beside them, `[(T − 1)·B, A + Z]`, for latents `[T·B, N, D]`; each step
    /// knows the z of those before it.
    pub(super) fn beside(
        self,
        model: &dyn WorldModel,
        latents: &Tensor<3>,
        actions: &Tensor<2>,
        samples: usize,
    ) -> Tensor<2> {
        let at = |t: usize| latents.clone().narrow(0, t * samples, samples);
        let mut state = State::begin(at(0));
        let mut all = Vec::new();
        for t in 0..actions.dims()[0] / samples.max(1) {
            let told = actions.clone().narrow(0, t * samples, samples);
            let z = self.infer(model, &state, &told, &at(t + 1)).z;
            let both = Tensor::cat(vec![told, z], 1);
            all.push(both.clone());
            state = state.then(both, at(t + 1), model.history());
        }
        Tensor::cat(all, 0)
    }
}

/// A model with a latent variable as those see it who are told none: z is 0 where actions come alone.
pub(super) struct Untold {
    pub model: Box<dyn WorldModel + Send + Sync>,
    pub variable: LatentVariable,
    /// Numbers of an action that are told, A.
    pub told: usize,
}

impl WorldModel for Untold {
    fn encode(&self, observations: Tensor<4>) -> Tensor<3> {
        self.model.encode(observations)
    }

    fn step(&self, state: State, actions: Tensor<2>) -> State {
        let whole = self.told + self.variable.width();
        self.model.step(state.widened(whole), widened(actions, whole))
    }

    fn history(&self) -> usize {
        self.model.history()
    }

    fn energy(&self, latents: Tensor<3>, there: Tensor<3>) -> Tensor<2> {
        self.model.energy(latents, there)
    }

    fn energy_of(&self, difference: f64) -> f64 {
        self.model.energy_of(difference)
    }

    fn energy_name(&self) -> &'static str {
        self.model.energy_name()
    }

    fn latents_are_given(&self) -> bool {
        self.model.latents_are_given()
    }

    fn reach(&self) -> Option<&Pair> {
        self.model.reach()
    }

    fn actor(&self) -> Option<&Pair> {
        self.model.actor()
    }

    fn levels(&self) -> &[Level] {
        self.model.levels()
    }

    fn variable(&self) -> LatentVariable {
        self.variable
    }
}

/// `[B, A]` with zeros behind, `[B, whole]`.
pub(super) fn widened(actions: Tensor<2>, whole: usize) -> Tensor<2> {
    let [rows, width] = actions.dims();
    if width >= whole {
        return actions;
    }
    let zeros = Tensor::zeros([rows, whole - width], &actions.device());
    Tensor::cat(vec![actions, zeros], 1)
}
