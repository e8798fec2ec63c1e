//! Matrix products of tensors, for operations that are composed.

use burn::Tensor;
use burn::backend::{Backend, Dispatch, Flex, tensor::FloatTensor};
use burn_flex::FlexTensor;

use crate::count::count;
use crate::flex::{dims, is_fused};
use crate::fused::Fused;

/// The engine's matrix product, whose [operations](crate::operations) are counted on the CPU.
///
/// # Shapes
/// - `a`: `[.., M, K]`, `b`: `[.., K, N]`, the first axes alike
/// - output: `[.., M, N]`
///
/// # Panics
/// If the shapes do not match.
pub fn matmul<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    if !is_fused(&a) || !is_fused(&b) {
        return a.matmul(b);
    }
    assert_eq!(a.dims()[..D - 2], b.dims()[..D - 2], "the first axes differ");
    Tensor::from_dispatch(Dispatch::fused_matmul(a.into_dispatch(), b.into_dispatch()))
}

pub(crate) fn forward(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    let ((rows, inner), cols) = (crate::flex::rows(&a), dims(&b));
    count(rows, cols[cols.len() - 1], inner);
    plain::<Flex>(a, b)
}

/// `da = dy bᵀ`, `db = aᵀ dy`.
pub(crate) fn backward(a: FlexTensor, b: FlexTensor, dy: FlexTensor, want: [bool; 2]) -> [Option<FlexTensor>; 2] {
    let da = want[0].then(|| forward(dy.clone(), transposed::<Flex>(b)));
    let db = want[1].then(|| forward(transposed::<Flex>(a), dy));
    [da, db]
}

fn plain<B: Backend>(a: FloatTensor<B>, b: FloatTensor<B>) -> FloatTensor<B> {
    B::float_matmul(a, b)
}

fn transposed<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_transpose(x)
}
