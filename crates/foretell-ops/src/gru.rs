//! The gated recurrent unit (Cho et al., 2014), in PyTorch's form.

use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::activation::sigmoid;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{buffer, dims, is_fused, rows, slice, tensor};
use crate::fused::Fused;
use crate::linear::linear;
use crate::simd::{dispatch, exp, rows_in_chunk};

/// The next state: `r = σ(i_r + h_r)`, `z = σ(i_z + h_z)`, `n = tanh(i_n + r h_n)`, `h' = (1 − z) n + z h`, where `i` and
/// `h` are affine maps of input and state, each `[r | z | n]`.
///
/// # Shapes
/// - `x`: `[B, I]`, `state`: `[B, H]`; `input`: weight `[3 H, I]` and bias `[3 H]`; `recurrent`: `[3 H, H]` and `[3 H]`
/// - output: `[B, H]`
pub fn gru_cell(
    x: Tensor<2>,
    state: Tensor<2>,
    input: (Tensor<2>, Tensor<1>),
    recurrent: (Tensor<2>, Tensor<1>),
) -> Tensor<2> {
    let (inputs, states) = (linear(x, input.0, input.1), linear(state.clone(), recurrent.0, recurrent.1));
    gru_gates(inputs, states, state)
}

/// The gates of [`gru_cell`] on finished affine maps, `[B, 3 H]` each, and the state, `[B, H]`.
pub fn gru_gates(inputs: Tensor<2>, states: Tensor<2>, state: Tensor<2>) -> Tensor<2> {
    if is_fused(&inputs) && is_fused(&states) && is_fused(&state) {
        let (inputs, states) = (inputs.into_dispatch(), states.into_dispatch());
        return Tensor::from_dispatch(Dispatch::fused_gru(inputs, states, state.into_dispatch()));
    }
    gru_gates_composed(inputs, states, state)
}

/// The composed body of [`gru_gates`].
pub fn gru_gates_composed(inputs: Tensor<2>, states: Tensor<2>, state: Tensor<2>) -> Tensor<2> {
    let [batch, width] = state.dims();
    let part = |t: &Tensor<2>, i: usize| t.clone().slice([0..batch, i * width..(i + 1) * width]);
    let r = sigmoid(part(&inputs, 0) + part(&states, 0));
    let z = sigmoid(part(&inputs, 1) + part(&states, 1));
    let n = (part(&inputs, 2) + r * part(&states, 2)).tanh();
    n.clone() + z * (state - n)
}

#[inline(always)]
pub(crate) fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `tanh x = 2 σ(2x) − 1`; near zero, where that loses digits, its series.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let x2 = x * x;
    let near = x * (x2 * x2.mul_add(x2.mul_add(-0.053_968_254, 0.133_333_33), -0.333_333_33) + 1.0);
    let far = 2.0_f32.mul_add(logistic(2.0 * x), -1.0);
    if x2 < 0.04 { near } else { far }
}

/// The three parts of a row of `3 · width` values. Their lengths are plain to see, so that loops over them vectorise.
#[inline(always)]
fn parts(row: &[f32], width: usize) -> [&[f32]; 3] {
    [&row[..width], &row[width..2 * width], &row[2 * width..3 * width]]
}

/// [`parts`] to write to.
#[inline(always)]
fn parts_mut(row: &mut [f32], width: usize) -> [&mut [f32]; 3] {
    let (first, rest) = row.split_at_mut(width);
    let (second, third) = rest.split_at_mut(width);
    [first, second, &mut third[..width]]
}

/// The gates `[r | z | n]` of one row in place of the state's map. One gate after the other: a loop over all three at once
/// is too long for the compiler to make vectors of.
#[inline(always)]
fn gates(inputs: &[f32], map: &mut [f32], width: usize) {
    let [to_reset, to_update, to_new] = parts(inputs, width);
    let [resets, updates, news] = parts_mut(map, width);
    for (gates, inputs) in [(&mut *resets, to_reset), (updates, to_update)] {
        for (gate, input) in gates.iter_mut().zip(inputs) {
            *gate = logistic(*input + *gate);
        }
    }
    for ((new, reset), input) in news.iter_mut().zip(&*resets).zip(to_new) {
        *new = new.mul_add(*reset, *input);
    }
    for new in news.iter_mut() {
        *new = tanh(*new);
    }
}

/// The next state of one row in place of the state; its gates are left in place of the state's map.
#[inline(always)]
pub(crate) fn advance(state: &mut [f32], inputs: &[f32], map: &mut [f32]) {
    let width = state.len();
    gates(inputs, map, width);
    let [_, updates, news] = parts(map, width);
    for ((x, update), new) in state.iter_mut().zip(updates).zip(news) {
        *x = update.mul_add(*x - new, *new);
    }
}

pub(crate) fn forward(inputs: &FlexTensor, states: &FlexTensor, state: &FlexTensor) -> FlexTensor {
    let (_, width) = rows(state);
    let mut out = buffer(slice(state).len());
    let chunk = rows_in_chunk(3 * width) * width.max(1);
    out.par_chunks_mut(chunk)
        .zip(slice(state).par_chunks(chunk))
        .zip(slice(inputs).par_chunks(3 * chunk).zip(slice(states).par_chunks(3 * chunk)))
        .for_each(|((out, state), (inputs, states))| {
            out.copy_from_slice(state);
            let mut map = vec![0.0; 3 * width];
            let maps = inputs.chunks_exact(3 * width).zip(states.chunks_exact(3 * width));
            for (out, (inputs, states)) in out.chunks_exact_mut(width).zip(maps) {
                map.copy_from_slice(states);
                dispatch(
                    #[inline(always)]
                    || advance(out, inputs, &mut map),
                );
            }
        });
    tensor(out, dims(state))
}

/// The gradients of the two maps and of the state. The gates are computed again.
pub(crate) fn backward(
    inputs: &FlexTensor,
    states: &FlexTensor,
    state: &FlexTensor,
    dy: &FlexTensor,
) -> [FlexTensor; 3] {
    let (_, width) = rows(state);
    let (mut di, mut dh) = (buffer(slice(inputs).len()), buffer(slice(inputs).len()));
    let mut dstate = buffer(slice(state).len());
    let chunk = rows_in_chunk(3 * width) * width.max(1);
    let outs = dstate.par_chunks_mut(chunk).zip(di.par_chunks_mut(3 * chunk).zip(dh.par_chunks_mut(3 * chunk)));
    let maps = slice(inputs).par_chunks(3 * chunk).zip(slice(states).par_chunks(3 * chunk));
    let values = slice(state).par_chunks(chunk).zip(slice(dy).par_chunks(chunk));
    outs.zip(maps.zip(values)).for_each(|((dstate, (di, dh)), ((inputs, states), (state, dy)))| {
        for row in 0..state.len() / width {
            let (one, three) = (row * width..(row + 1) * width, 3 * row * width..3 * (row + 1) * width);
            let (inputs, states, state, dy) =
                (&inputs[three.clone()], &states[three.clone()], &state[one.clone()], &dy[one.clone()]);
            let (dstate, di, dh) = (&mut dstate[one], &mut di[three.clone()], &mut dh[three]);
            dh.copy_from_slice(states);
            dispatch(
                #[inline(always)]
                || {
                    gates(inputs, dh, width);
                    let [_, _, states] = parts(states, width);
                    let ([ir, iz, in_], [hr, hz, hn]) = (parts_mut(di, width), parts_mut(dh, width));
                    let (state, dy, dstate) = (&state[..width], &dy[..width], &mut dstate[..width]);
                    for i in 0..width {
                        let (z, n) = (hz[i], hn[i]);
                        dstate[i] = dy[i] * z;
                        in_[i] = dy[i] * (1.0 - z) * (1.0 - n * n);
                        iz[i] = dy[i] * (state[i] - n) * z * (1.0 - z);
                    }
                    hz.copy_from_slice(iz);
                    for i in 0..width {
                        let r = hr[i];
                        ir[i] = in_[i] * states[i] * r * (1.0 - r);
                        hn[i] = in_[i] * r;
                    }
                    hr.copy_from_slice(ir);
                },
            );
        }
    });
    let shape = dims(inputs);
    [tensor(di, shape.clone()), tensor(dh, shape), tensor(dstate, dims(state))]
}
