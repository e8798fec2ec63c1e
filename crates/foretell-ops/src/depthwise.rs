//! Depthwise convolution over time with three taps, any number of steps apart: the dilated layers of convolutional forecasters. Composed of
//! ordinary tensor calls: three products for each value are less than what stands around it.

use burn::Tensor;

/// What lies beyond either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Zeros.
    Zeros,
    /// The value at that end.
    Repeated,
}

/// `y[t] = w₀ x[t − d] + w₁ x[t] + w₂ x[t + d]` of each channel by itself, plus a bias.
///
/// # Shapes
/// - `x`: `[B, T, C]`; `weight`: `[C, 3]`; `bias`: `[C]`; output: `[B, T, C]`
pub fn depthwise(x: Tensor<3>, weight: Tensor<2>, bias: Tensor<1>, dilation: usize, ends: Ends) -> Tensor<3> {
    let [b, t, c] = x.dims();
    let tap = |i: usize| weight.clone().slice([0..c, i..i + 1]).reshape([1, 1, c]);
    let y = x.clone() * tap(1) + bias.reshape([1, 1, c]);
    // By so many steps everything comes from beyond the ends.
    let shift = dilation.min(t);
    let beyond = |at: usize| match ends {
        Ends::Zeros => Tensor::zeros([b, shift, c], (&x.device(), x.dtype())),
        Ends::Repeated => x.clone().slice([0..b, at..at + 1, 0..c]).repeat_dim(1, shift),
    };
    if shift == t && ends == Ends::Zeros {
        return y;
    }
    let before = Tensor::cat(vec![beyond(0), x.clone().slice([0..b, 0..t - shift, 0..c])], 1);
    let after = Tensor::cat(vec![x.clone().slice([0..b, shift..t, 0..c]), beyond(t - 1)], 1);
    y + before * tap(0) + after * tap(2)
}
