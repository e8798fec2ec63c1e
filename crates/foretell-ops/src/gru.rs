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
pub(crate) fn parts(row: &[f32], width: usize) -> [&[f32]; 3] {
    [&row[..width], &row[width..2 * width], &row[2 * width..3 * width]]
}

/// `(r, z, n)` of one unit.
#[inline(always)]
fn gates(inputs: [&[f32]; 3], states: [&[f32]; 3], i: usize) -> (f32, f32, f32) {
    let r = logistic(inputs[0][i] + states[0][i]);
    let z = logistic(inputs[1][i] + states[1][i]);
    (r, z, tanh(states[2][i].mul_add(r, inputs[2][i])))
}

pub(crate) fn forward(inputs: &FlexTensor, states: &FlexTensor, state: &FlexTensor) -> FlexTensor {
    let (_, width) = rows(state);
    let mut out = buffer(slice(state).len());
    let chunk = rows_in_chunk(3 * width) * width.max(1);
    out.par_chunks_mut(chunk)
        .zip(slice(state).par_chunks(chunk))
        .zip(slice(inputs).par_chunks(3 * chunk).zip(slice(states).par_chunks(3 * chunk)))
        .for_each(|((out, state), (inputs, states))| {
            let rows = out.chunks_exact_mut(width).zip(state.chunks_exact(width));
            let maps = inputs.chunks_exact(3 * width).zip(states.chunks_exact(3 * width));
            for ((out, state), (inputs, states)) in rows.zip(maps) {
                dispatch(
                    #[inline(always)]
                    || {
                        let (inputs, states) = (parts(inputs, width), parts(states, width));
                        let (out, state) = (&mut out[..width], &state[..width]);
                        for i in 0..width {
                            let (_, z, n) = gates(inputs, states, i);
                            out[i] = z.mul_add(state[i] - n, n);
                        }
                    },
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
            let dstate = &mut dstate[one];
            let (ir, rest) = di[three.clone()].split_at_mut(width);
            let (iz, in_) = rest.split_at_mut(width);
            let (hr, rest) = dh[three].split_at_mut(width);
            let (hz, hn) = rest.split_at_mut(width);
            dispatch(
                #[inline(always)]
                || {
                    let (inputs, states) = (parts(inputs, width), parts(states, width));
                    let (state, dy, dstate) = (&state[..width], &dy[..width], &mut dstate[..width]);
                    let (ir, iz, in_) = (&mut ir[..width], &mut iz[..width], &mut in_[..width]);
                    let (hr, hz, hn) = (&mut hr[..width], &mut hz[..width], &mut hn[..width]);
                    for i in 0..width {
                        let (r, z, n) = gates(inputs, states, i);
                        dstate[i] = dy[i] * z;
                        let dn = dy[i] * (1.0 - z) * (1.0 - n * n);
                        let dr = dn * states[2][i] * r * (1.0 - r);
                        let dz = dy[i] * (state[i] - n) * z * (1.0 - z);
                        (ir[i], iz[i], in_[i]) = (dr, dz, dn);
                        (hr[i], hz[i], hn[i]) = (dr, dz, dn * r);
                    }
                },
            );
        }
    });
    let shape = dims(inputs);
    [tensor(di, shape.clone()), tensor(dh, shape), tensor(dstate, dims(state))]
}
