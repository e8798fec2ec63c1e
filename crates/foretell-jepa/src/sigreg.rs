//! SIGReg: pulls the distribution of embeddings towards N(0, I) along random directions (LeJEPA, arXiv 2511.08544).

use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_ops as ops;
use rand_distr::{Distribution, StandardNormal};

/// Directions of a step, `[K, M]` row-major, normal with columns of length 1: a function of seed and step, so that
/// every process of a run draws the same.
pub fn directions(seed: u64, step: u64, width: usize, slices: usize) -> Vec<f32> {
    if slices == 0 {
        return Vec::new();
    }
    let mut rng = rng(seed, Stream::Slices, step, 0);
    let normal: Vec<f64> = (0..width * slices).map(|_| StandardNormal.sample(&mut rng)).collect();
    let mut norms = vec![0.0_f64; slices];
    for row in normal.chunks(slices) {
        for (norm, x) in norms.iter_mut().zip(row) {
            *norm += x * x;
        }
    }
    normal.chunks(slices).flat_map(|row| row.iter().zip(&norms).map(|(x, n)| (x / n.sqrt()) as f32)).collect()
}

/// `mean over views and slices of N Σ_j w_j φ_j |ecf(t_j) − φ_j|²` in f32; see [`ops::sigreg_statistic`].
///
/// # Shapes
/// - `embeddings`: `[V, N, K]`, each view judged apart; `directions`: `[K, M]` from [`directions`]; output: `[1]`
pub fn sigreg(embeddings: Tensor<3>, directions: &[f32]) -> Tensor<1> {
    ops::sigreg_statistic(project(embeddings, directions))
}

/// EB-JEPA's form, without the factor N and with its knots; see [`ops::bcs_statistic`]. Shapes as in [`sigreg`].
pub fn bcs(embeddings: Tensor<3>, directions: &[f32]) -> Tensor<1> {
    ops::bcs_statistic(project(embeddings, directions))
}

/// Embeddings along directions: `[V, N, K]`, `[K, M]` → `[V, N, M]`.
pub(crate) fn project(embeddings: Tensor<3>, directions: &[f32]) -> Tensor<3> {
    let [_, _, width] = embeddings.dims();
    let slices = directions.len() / width.max(1);
    let device: Device = embeddings.device().inner();
    // The op's weight is [M, K], so the directions go in transposed.
    let transposed: Vec<f32> = (0..slices).flat_map(|m| (0..width).map(move |k| directions[k * slices + m])).collect();
    let weight = Tensor::<2>::from_data(TensorData::new(transposed, [slices, width]), &device);
    ops::linear(embeddings, weight, Tensor::zeros([slices], &device))
}
