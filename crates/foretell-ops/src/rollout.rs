//! Many rollouts of a recurrent model at once, without a tape: what a planner asks again and again.

use std::cell::RefCell;

use burn::Tensor;
use rayon::prelude::*;

use crate::flex::is_fused;
use crate::gru::advance;
use crate::kernel::Start;
use crate::matrix::{Matrix, Ready, product_ready, room};
use crate::norm::moments;
use crate::reduce::values;
use crate::simd::dispatch;

/// Candidates that one task rolls out: their states and gates stay in L2 beside the weights.
const ROWS: usize = 64;

/// A [`gru_cell`](crate::gru_cell) whose state goes through a [`layer_norm`](crate::layer_norm) after each step, or
/// through nothing, with its weights packed once for all the rollouts to come. Its input is what is done, or what
/// some maps, each with a `relu` behind, make of what is done beside the state.
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
    perceptron: Option<Perceptron>,
    inputs: usize,
    width: usize,
}

/// From the state to one number.
struct Perceptron {
    /// `[H, P]`.
    first: Ready,
    /// `[P]`.
    first_bias: Vec<f32>,
    /// `[P, Q]`.
    second: Ready,
    /// `[Q]`.
    second_bias: Vec<f32>,
    /// `[Q]`.
    last: Vec<f32>,
    last_bias: f32,
}

/// A map's weight `[O, I]` and bias `[O]`.
pub type Map = (Tensor<2>, Tensor<1>);

/// What is measured after each step.
enum Goal<'a> {
    /// The mean squared difference to this, `[H]`.
    State(&'a [f32]),
    /// What the perceptron says, its first map starting at this, `[P]`.
    Mapped(&'a [f32]),
}

/// From the state to the cell's input.
struct Mixer {
    /// `[H, M]`: of the state, beside what is done.
    state: Ready,
    /// The maps behind it, each after a `relu`; the last is the cell's own, `[M, 3 H]`.
    maps: Vec<(Ready, Vec<f32>)>,
}

/// Room for one task.
#[derive(Default)]
struct Scratch {
    states: Vec<f32>,
    maps: Vec<f32>,
    input: Vec<f32>,
    hidden: Vec<f32>,
    behind: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl GruRollout {
    /// The weights of [`gru_cell`](crate::gru_cell), `[3 H, I]` and `[3 H, H]` with their biases, and those of the norm, `[H]`
    /// each, with its ε. With maps before it, the first `[M, I + H]` with I columns for what is done, the cell's are `[3 H, M]` of the last. `None`
    /// where they do not lie in the processor's memory.
    ///
    /// A perceptron with two hidden layers, `[P, H]`, `[Q, P]` and `[1, Q]`, is what [`perceived`](Self::perceived) asks.
    pub fn new(
        mixer: Vec<Map>,
        input: Map,
        recurrent: Map,
        norm: Option<(Tensor<1>, Tensor<1>, f64)>,
        perceptron: Option<[Map; 3]>,
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
        let mut mixer = mixer.into_iter();
        let (first, inputs, mixer) = match mixer.next() {
            None => (input, into, None),
            Some((weight, bias)) => {
                let [_, both] = weight.dims();
                assert!(both > width, "a first map [M, I + H]");
                let state = ready(weight.clone().narrow(1, both - width, width));
                let of_input = weight.narrow(1, 0, both - width);
                let maps = mixer.chain([input]).map(|(weight, bias)| (ready(weight), values(bias.inner()))).collect();
                ((of_input, bias), both - width, Some(Mixer { state, maps }))
            }
        };
        let perceptron = perceptron.map(|[first, second, last]| Perceptron {
            first: ready(first.0),
            first_bias: values(first.1.inner()),
            second: ready(second.0),
            second_bias: values(second.1.inner()),
            last: values(last.0.inner()),
            last_bias: values(last.1.inner())[0],
        });
        Some(Self {
            perceptron,
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
        assert_eq!(goal.len(), self.width, "a goal of another width");
        self.measured(state, &Goal::State(goal), inputs, steps)
    }

    /// What the perceptron says of each candidate after each of its steps, with `goal` added to its first map: nothing where
    /// there is no perceptron.
    ///
    /// # Shapes
    /// - `state`: `[H]`; `goal`: `[P]`; `inputs`: `[S, T, I]`
    /// - output: `[S, T]`
    pub fn perceived(&self, state: &[f32], goal: &[f32], inputs: &[f32], steps: usize) -> Option<Vec<f32>> {
        let Perceptron { first_bias, .. } = self.perceptron.as_ref()?;
        assert_eq!(goal.len(), first_bias.len(), "a goal of another width than the perceptron's first map");
        let start: Vec<f32> = goal.iter().zip(first_bias).map(|(a, b)| a + b).collect();
        Some(self.measured(state, &Goal::Mapped(&start), inputs, steps))
    }

    fn measured(&self, state: &[f32], goal: &Goal<'_>, inputs: &[f32], steps: usize) -> Vec<f32> {
        assert_eq!(state.len(), self.width, "a state of another width");
        let long = steps * self.inputs;
        assert!(long > 0 && inputs.len().is_multiple_of(long), "inputs do not fill [S, T, I]");
        let mut distances = vec![0.0; inputs.len() / self.inputs];
        let tasks = distances.par_chunks_mut(ROWS * steps).zip(inputs.par_chunks(ROWS * long));
        tasks.for_each(|(out, inputs)| self.roll(state, goal, inputs, steps, out));
        distances
    }

    /// The same of some candidates, on the calling thread.
    fn roll(&self, state: &[f32], goal: &Goal<'_>, inputs: &[f32], steps: usize, out: &mut [f32]) {
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::default();
        }
        let (width, rows) = (self.width, out.len() / steps);
        SCRATCH.with_borrow_mut(|scratch| {
            let states = room(&mut scratch.states, rows * width);
            let maps = room(&mut scratch.maps, rows * 3 * width);
            let hidden = self.input_bias.len();
            // Of one row, or with a mixer of all of them.
            let input = room(&mut scratch.input, if self.mixer.is_some() { 0 } else { 3 * width });
            let mixed = room(&mut scratch.hidden, if self.mixer.is_some() { rows * hidden } else { 0 });
            let of = |mixer: &Mixer| mixer.maps.iter().map(|(_, bias)| rows * bias.len()).sum();
            let behind = room(&mut scratch.behind, self.mixer.as_ref().map_or(0, of));
            let (wide, deep) = match (goal, &self.perceptron) {
                (Goal::Mapped(_), Some(p)) => (p.first_bias.len(), p.second_bias.len()),
                _ => (0, 0),
            };
            let (first, second) = (room(&mut scratch.first, rows * wide), room(&mut scratch.second, rows * deep));
            states.chunks_exact_mut(width).for_each(|row| row.copy_from_slice(state));
            for step in 0..steps {
                let acted = |row: usize| &inputs[(row * steps + step) * self.inputs..][..self.inputs];
                let mut mixture: &[f32] = &[];
                if let Some(mixer) = &self.mixer {
                    product_ready(mixed, Start::Bias(&self.input_bias), Matrix::new(states, rows, width), &mixer.state);
                    dispatch(
                        #[inline(always)]
                        || {
                            for (row, out) in mixed.chunks_exact_mut(hidden).enumerate() {
                                self.add_input(acted(row), out);
                            }
                        },
                    );
                    let (mut before, mut rest): (&mut [f32], &mut [f32]) = (&mut *mixed, &mut *behind);
                    for (map, bias) in &mixer.maps {
                        positive(before);
                        let (out, more) = rest.split_at_mut(rows * bias.len());
                        let from = Matrix::new(before, rows, before.len() / rows);
                        product_ready(out, Start::Bias(bias), from, map);
                        (before, rest) = (out, more);
                    }
                    mixture = before;
                }
                let start = Start::Bias(&self.recurrent_bias);
                product_ready(maps, start, Matrix::new(states, rows, width), &self.recurrent);
                dispatch(
                    #[inline(always)]
                    || {
                        let pairs = states.chunks_exact_mut(width).zip(maps.chunks_exact_mut(3 * width));
                        for (row, (state, map)) in pairs.enumerate() {
                            if self.mixer.is_some() {
                                advance(state, &mixture[row * 3 * width..][..3 * width], map);
                            } else {
                                input.copy_from_slice(&self.input_bias);
                                self.add_input(acted(row), input);
                                advance(state, input, map);
                            }
                            if let Some((weight, bias, eps)) = &self.norm {
                                normalise(state, weight, bias, *eps);
                            }
                            if let Goal::State(goal) = goal {
                                out[row * steps + step] = distance(state, goal);
                            }
                        }
                    },
                );
                if let (Goal::Mapped(start), Some(perceptron)) = (goal, &self.perceptron) {
                    product_ready(first, Start::Bias(start), Matrix::new(states, rows, width), &perceptron.first);
                    positive(first);
                    let start = Start::Bias(&perceptron.second_bias);
                    product_ready(second, start, Matrix::new(first, rows, wide), &perceptron.second);
                    positive(second);
                    dispatch(
                        #[inline(always)]
                        || {
                            for (row, hidden) in second.chunks_exact(deep).enumerate() {
                                out[row * steps + step] = dot(hidden, &perceptron.last) + perceptron.last_bias;
                            }
                        },
                    );
                }
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

#[inline(always)]
fn normalise(state: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    let (mean, rstd) = moments(state, eps);
    for ((x, w), b) in state.iter_mut().zip(weight).zip(bias) {
        *x = ((*x - mean) * rstd).mul_add(*w, *b);
    }
}

/// `max(x, 0)`, in place.
fn positive(values: &mut [f32]) {
    dispatch(
        #[inline(always)]
        || values.iter_mut().for_each(|x| *x = x.max(0.0)),
    );
}

/// The inner product, in 16 lanes.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let (mut left, mut right) = (a.chunks_exact(16), b.chunks_exact(16));
    for (a, b) in (&mut left).zip(&mut right) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane = a.mul_add(*b, *lane);
        }
    }
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
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
