//! Tensor operations with analytic gradients, composed everywhere and fused where it pays.
