//! Many rollouts of a recurrent model at once, without a tape: what a planner asks again and again.

use std::cell::RefCell;

use burn::Tensor;
use rayon::prelude::*;

use crate::flex::is_fused;
use crate::gru::{gates, parts};
use crate::kernel::Start;
use crate::matrix::{Matrix, Ready, product_ready, room};
use crate::norm::moments;
use crate::reduce::values;
use crate::simd::dispatch;

/// Candidates that one task rolls out: their states and gates stay in L2 beside the weights.
const ROWS: usize = 64;

/// A [`gru_cell`](crate::gru_cell) whose state goes through a [`layer_norm`](crate::layer_norm) after each step, or
/// through nothing, with its weights packed once for all the rollouts to come. Its input is what is done, or `relu` of a map
/// of what is done beside the state.
///
/// A task takes some candidates from the first step to the last, so that nothing but the distances leaves the caches.
/// The bits are the same whatever the thread count.
pub struct GruRollout {
    /// `[H, 3 H]`.
    recurrent: Ready,
    /// `[3 H]`.
    recurrent_bias: Vec<f32>,
    /// `[I, 3 H]`, a row for each input; with a mixer `[I, M]`.
    input: Vec<f32>,
    /// `[3 H]`; with a mixer `[M]`.
    input_bias: Vec<f32>,
    mixer: Option<Mixer>,
    /// Weight, bias and ε.
    norm: Option<(Vec<f32>, Vec<f32>, f32)>,
    inputs: usize,
    width: usize,
}

/// From the state to the cell's input.
struct Mixer {
    /// `[H, M]`: of the state.
    state: Ready,
    /// `[M, 3 H]`: the cell's own map.
    input: Ready,
    /// `[3 H]`.
    bias: Vec<f32>,
}

/// Room for one task.
#[derive(Default)]
struct Scratch {
    states: Vec<f32>,
    maps: Vec<f32>,
    input: Vec<f32>,
    hidden: Vec<f32>,
}

impl GruRollout {
    /// The weights of [`gru_cell`](crate::gru_cell), `[3 H, I]` and `[3 H, H]` with their biases, and those of the norm, `[H]`
    /// each, with its ε. With a mixer `[M, I + H]`, whose first I columns are for what is done, the cell's are `[3 H, M]`. `None`
    /// where they do not lie in the processor's memory.
    pub fn new(
        mixer: Option<(Tensor<2>, Tensor<1>)>,
        input: (Tensor<2>, Tensor<1>),
        recurrent: (Tensor<2>, Tensor<1>),
        norm: Option<(Tensor<1>, Tensor<1>, f64)>,
    ) -> Option<Self> {
        if !is_fused(&recurrent.0) || !is_fused(&input.0) {
            return None;
        }
        let ([gates, into], [_, width]) = (input.0.dims(), recurrent.0.dims());
        assert_eq!(recurrent.0.dims(), [gates, width], "maps of input and state differ in their gates");
        assert_eq!(gates, 3 * width, "three gates for each number of the state");
        let ready = |weight: Tensor<2>| {
            let [rows, cols] = weight.dims();
            Ready::of(Matrix::new(&values(weight.inner()), rows, cols).t())
        };
        let (first, inputs, mixer) = match mixer {
            None => (input, into, None),
            Some((weight, bias)) => {
                let [hidden, both] = weight.dims();
                assert!(hidden == into && both > width, "a mixer [M, I + H] before a cell with M inputs");
                let of_state = ready(weight.clone().narrow(1, both - width, width));
                let of_input = weight.narrow(1, 0, both - width);
                let mixer = Mixer { state: of_state, input: ready(input.0), bias: values(input.1.inner()) };
                ((of_input, bias), both - width, Some(mixer))
            }
        };
        Some(Self {
            recurrent: ready(recurrent.0),
            recurrent_bias: values(recurrent.1.inner()),
            input: values(first.0.inner().transpose()),
            input_bias: values(first.1.inner()),
            mixer,
            norm: norm.map(|(weight, bias, eps)| (values(weight.inner()), values(bias.inner()), eps as f32)),
            inputs,
            width,
        })
    }

    /// How far each candidate is from the goal after each of its steps.
    ///
    /// # Shapes
    /// - `state` and `goal`: `[H]`; `inputs`: `[S, T, I]`
    /// - output: `[S, T]`, mean squared differences
    pub fn distances(&self, state: &[f32], goal: &[f32], inputs: &[f32], steps: usize) -> Vec<f32> {
        assert_eq!((state.len(), goal.len()), (self.width, self.width), "state or goal of another width");
        let long = steps * self.inputs;
        assert!(long > 0 && inputs.len().is_multiple_of(long), "inputs do not fill [S, T, I]");
        let mut distances = vec![0.0; inputs.len() / self.inputs];
        let tasks = distances.par_chunks_mut(ROWS * steps).zip(inputs.par_chunks(ROWS * long));
        tasks.for_each(|(out, inputs)| self.roll(state, goal, inputs, steps, out));
        distances
    }

    /// [`distances`](Self::distances) of some candidates, on the calling thread.
    fn roll(&self, state: &[f32], goal: &[f32], inputs: &[f32], steps: usize, out: &mut [f32]) {
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::default();
        }
        let (width, rows) = (self.width, out.len() / steps);
        SCRATCH.with_borrow_mut(|scratch| {
            let states = room(&mut scratch.states, rows * width);
            let maps = room(&mut scratch.maps, rows * 3 * width);
            let hidden = self.input_bias.len();
            // Of one row, or with a mixer of all of them.
            let input = room(&mut scratch.input, if self.mixer.is_some() { rows } else { 1 } * 3 * width);
            let mixed = room(&mut scratch.hidden, if self.mixer.is_some() { rows * hidden } else { 0 });
            states.chunks_exact_mut(width).for_each(|row| row.copy_from_slice(state));
            for step in 0..steps {
                let acted = |row: usize| &inputs[(row * steps + step) * self.inputs..][..self.inputs];
                if let Some(mixer) = &self.mixer {
                    product_ready(mixed, Start::Bias(&self.input_bias), Matrix::new(states, rows, width), &mixer.state);
                    dispatch(
                        #[inline(always)]
                        || {
                            for (row, out) in mixed.chunks_exact_mut(hidden).enumerate() {
                                self.add_input(acted(row), out);
                                for x in out {
                                    *x = x.max(0.0);
                                }
                            }
                        },
                    );
                    product_ready(input, Start::Bias(&mixer.bias), Matrix::new(mixed, rows, hidden), &mixer.input);
                }
                let start = Start::Bias(&self.recurrent_bias);
                product_ready(maps, start, Matrix::new(states, rows, width), &self.recurrent);
                dispatch(
                    #[inline(always)]
                    || {
                        let pairs = states.chunks_exact_mut(width).zip(maps.chunks_exact(3 * width));
                        for (row, (state, map)) in pairs.enumerate() {
                            if self.mixer.is_some() {
                                advance(state, &input[row * 3 * width..][..3 * width], map);
                            } else {
                                input.copy_from_slice(&self.input_bias);
                                self.add_input(acted(row), input);
                                advance(state, input, map);
                            }
                            if let Some((weight, bias, eps)) = &self.norm {
                                normalise(state, weight, bias, *eps);
                            }
                            out[row * steps + step] = distance(state, goal);
                        }
                    },
                );
            }
        });
    }

    /// `out + W x`.
    #[inline(always)]
    fn add_input(&self, x: &[f32], out: &mut [f32]) {
        for (x, weight) in x.iter().zip(self.input.chunks_exact(out.len())) {
            for (out, w) in out.iter_mut().zip(weight) {
                *out = w.mul_add(*x, *out);
            }
        }
    }
}

/// The state after the gates, in place.
#[inline(always)]
fn advance(state: &mut [f32], input: &[f32], map: &[f32]) {
    let width = state.len();
    let (input, map) = (parts(input, width), parts(map, width));
    for (i, x) in state.iter_mut().enumerate() {
        let (_, z, n) = gates(input, map, i);
        *x = z.mul_add(*x - n, n);
    }
}

#[inline(always)]
fn normalise(state: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    let (mean, rstd) = moments(state, eps);
    for ((x, w), b) in state.iter_mut().zip(weight).zip(bias) {
        *x = ((*x - mean) * rstd).mul_add(*w, *b);
    }
}

/// The mean squared difference, in 16 lanes.
#[inline(always)]
fn distance(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let (mut left, mut right) = (a.chunks_exact(16), b.chunks_exact(16));
    for (a, b) in (&mut left).zip(&mut right) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            let difference = a - b;
            *lane = difference.mul_add(difference, *lane);
        }
    }
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| (a - b) * (a - b)).sum();
    (lanes.iter().sum::<f32>() + rest) / a.len() as f32
}
