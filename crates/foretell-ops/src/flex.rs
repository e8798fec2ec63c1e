//! The bridge between tensors and plain slices on Flex, Burn's CPU backend.

use burn::tensor::{DType, Shape, Tensor, TensorData};
use burn_flex::FlexTensor;

use crate::device::on_cpu;

/// Whether the fused bodies take this tensor: f32, on Flex, tracked or not.
pub(crate) fn is_fused<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && on_cpu(&tensor.device())
}

/// The same values in row-major order, without gaps.
pub(crate) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.as_slice::<f32>().is_some() { tensor } else { tensor.to_contiguous() }
}

/// The same values, filling their storage exactly, for writing in place; copied only where another handle shares them.
pub(crate) fn owned(tensor: FlexTensor) -> FlexTensor {
    let exact = tensor.as_slice::<f32>().is_some_and(|values| size_of_val(values) == tensor.bytes().len());
    if exact { tensor } else { tensor.to_contiguous() }
}

/// The values of a [`contiguous`] tensor.
pub(crate) fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().expect("a contiguous f32 tensor")
}

/// A tensor of these values.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.into()))
}

/// The lengths of a tensor's axes.
pub(crate) fn dims(tensor: &FlexTensor) -> Vec<usize> {
    tensor.layout().shape().iter().copied().collect()
}

/// `(rows, width)` of a tensor seen as a matrix of its last axis.
pub(crate) fn rows(tensor: &FlexTensor) -> (usize, usize) {
    let dims = dims(tensor);
    let width = dims.last().copied().unwrap_or(1);
    (dims.iter().product::<usize>() / width.max(1), width)
}

/// Room for `len` values that the caller writes before it reads them.
pub(crate) fn buffer(len: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    // SAFETY: the capacity was just reserved, every bit pattern is an f32, and each kernel of this crate writes all
    // of its output before anything reads it (the fused bodies are tested against the composed ones for that).
    #[allow(clippy::uninit_vec)]
    unsafe {
        values.set_len(len);
    }
    values
}
