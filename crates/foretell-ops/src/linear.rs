//! The affine map `y = x Wᵀ + b`.

use burn::Tensor;
use burn::backend::Dispatch;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{buffer, dims, is_fused, rows, slice, tensor};
use crate::fused::Fused;
use crate::matmul::matmul;
use crate::matrix::{Matrix, Store, Threads, product};
use crate::reduce::sum_rows;
use crate::simd::{CHUNK, dispatch};

/// `y = x Wᵀ + b`.
///
/// # Shapes
/// - `x`: `[.., I]`, `weight`: `[O, I]` as in the official checkpoints, `bias`: `[O]`
/// - output: `[.., O]`
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<D> {
    if is_fused(&x) && is_fused(&weight) {
        let output = Dispatch::fused_linear(x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
        return Tensor::from_dispatch(output);
    }
    linear_composed(x, weight, bias)
}

/// The composed body of [`linear`].
pub fn linear_composed<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<D> {
    let mut shape = x.shape();
    let [outputs, inputs] = weight.dims();
    let rows = shape.num_elements() / inputs.max(1);
    shape[D - 1] = outputs;
    let y = matmul(x.reshape([rows, inputs]), weight.transpose()) + bias.unsqueeze();
    y.reshape(shape)
}

pub(crate) fn forward(x: &FlexTensor, weight: &FlexTensor, bias: &FlexTensor) -> FlexTensor {
    let (n, inputs) = rows(x);
    let (outputs, _) = rows(weight);
    let mut y = buffer(n * outputs);
    let w = Matrix::new(slice(weight), outputs, inputs).t();
    product(&mut y, outputs, Store::Replace, Matrix::new(slice(x), n, inputs), w, Threads::All);
    let bias = slice(bias);
    y.par_chunks_mut((CHUNK / outputs.max(1)).max(1) * outputs.max(1)).for_each(|chunk| {
        dispatch(
            #[inline(always)]
            || {
                for row in chunk.chunks_exact_mut(outputs) {
                    for (y, b) in row.iter_mut().zip(bias) {
                        *y += b;
                    }
                }
            },
        );
    });
    let mut shape = dims(x);
    *shape.last_mut().expect("x has an axis") = outputs;
    tensor(y, shape)
}

pub(crate) fn backward(
    x: &FlexTensor,
    weight: &FlexTensor,
    dy: &FlexTensor,
    want: [bool; 3],
) -> [Option<FlexTensor>; 3] {
    let (n, inputs) = rows(x);
    let (outputs, _) = rows(weight);
    let g = Matrix::new(slice(dy), n, outputs);
    let dx = want[0].then(|| {
        let mut dx = buffer(n * inputs);
        product(&mut dx, inputs, Store::Replace, g, Matrix::new(slice(weight), outputs, inputs), Threads::All);
        tensor(dx, dims(x))
    });
    let dw = want[1].then(|| {
        let mut dw = buffer(outputs * inputs);
        product(&mut dw, inputs, Store::Replace, g.t(), Matrix::new(slice(x), n, inputs), Threads::All);
        tensor(dw, [outputs, inputs])
    });
    let db = want[2].then(|| tensor(sum_rows(slice(dy), outputs), [outputs]));
    [dx, dw, db]
}
