//! The encoder of graphs that change: a GRU over the signals gives each window a time code, and a graph isomorphism network (Xu et al.,
//! 2019) passes messages within the window's graph. The lay-out is STAGIN's (Kim, Ye and Kim, NeurIPS 2021, arXiv 2105.13495), on which
//! ST-JEMA (Choi et al., arXiv 2403.06432) is built. Regions are packed rows: what is hidden or was not measured is not there.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::gru::Gru;
use crate::layers::{BatchNorm, Linear, Pass};

/// What a GRU reads: S steps of L sequences of N regions, and for each of G windows the step and the sequence whose state is its code.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// `[S, L, N]`.
    pub values: Vec<f32>,
    /// L.
    pub sequences: usize,
    /// Step and sequence of each window, `[G]`.
    pub picks: Vec<[u32; 2]>,
}

/// Regions of G windows that are seen: R rows, M messages.
#[derive(Clone, Debug)]
pub struct WindowRows {
    /// The region of each row, `[R]`, below N.
    pub regions: Vec<u32>,
    /// The window of each row, `[R]`, below G.
    pub windows: Vec<u32>,
    /// The row that each message comes from, `[M]`.
    pub sources: Vec<u32>,
    /// Messages by the row that hears them: M rows, R segments.
    pub heard: ops::Segments,
}

/// A layer: `MLP((1 + ε) h_v + Σ h_u)`, the MLP `Linear → BatchNorm → ReLU → Linear → BatchNorm → ReLU`.
#[derive(Module, Debug)]
pub struct Gin {
    /// ε, `[1]`, which begins at 0.
    pub epsilon: Param<Tensor<1>>,
    /// D → D.
    pub linear1: Linear,
    /// Behind it.
    pub norm1: BatchNorm,
    /// D → D.
    pub linear2: Linear,
    /// Behind it.
    pub norm2: BatchNorm,
}

impl Gin {
    /// PyTorch's default weights.
    pub fn new(width: usize, init: &mut Init<'_>) -> Self {
        Self {
            epsilon: init.constant([1], 0.0),
            linear1: Linear::uniform(width, width, init),
            norm1: BatchNorm::new(width, init),
            linear2: Linear::uniform(width, width, init),
            norm2: BatchNorm::new(width, init),
        }
    }

    /// `[R, D]` → `[R, D]`.
    pub fn forward(&self, h: Tensor<2>, rows: &WindowRows, pass: &mut Pass<'_>) -> Tensor<2> {
        let own = h.clone() * (self.epsilon.val() + 1.0).unsqueeze();
        let summed = if rows.sources.is_empty() {
            own
        } else {
            own + ops::segment_sum(ops::gather(h, &rows.sources), &rows.heard)
        };
        let hidden = self.norm1.forward_relu(self.linear1.forward(summed), pass);
        self.norm2.forward_relu(self.linear2.forward(hidden), pass)
    }
}

/// See the module.
#[derive(Module, Debug)]
pub struct WindowEncoder {
    /// The signals of all regions to a time code, N → D.
    pub time: Gru,
    /// Which region it is, and when: `W [e_v ‖ η]`, N + D → D.
    pub input: Linear,
    /// The layers.
    pub layers: Vec<Gin>,
}

impl WindowEncoder {
    /// For N regions, D wide; PyTorch's default weights.
    pub fn new(regions: usize, width: usize, depth: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let time = Gru::new(regions, width, rng, device);
        let mut init = Init::new(rng, device);
        Self {
            time,
            input: Linear::uniform(regions + width, width, &mut init),
            layers: (0..depth).map(|_| Gin::new(width, &mut init)).collect(),
        }
    }

    /// N.
    pub fn regions(&self) -> usize {
        self.time.weight_ih.val().dims()[1]
    }

    /// D.
    pub fn width(&self) -> usize {
        self.time.weight_hh.val().dims()[1]
    }

    /// The time code η of each window, `[G, D]`.
    pub fn codes(&self, signals: &Signals) -> Tensor<2> {
        let (n, width, sequences) = (self.regions(), self.width(), signals.sequences);
        let learning = self.time.weight_hh.val().device();
        let device = learning.clone().inner();
        let steps = signals.picks.iter().map(|[step, _]| step + 1).max().unwrap_or(0);
        let mut needed = vec![None; steps as usize];
        signals.picks.iter().for_each(|[step, _]| needed[*step as usize] = Some(0));
        let state = Tensor::<2>::zeros([sequences, width], &device);
        let mut state = if learning.is_autodiff() { state.autodiff() } else { state };
        let mut kept = Vec::new();
        for (step, needed) in needed.iter_mut().enumerate() {
            let values = &signals.values[step * sequences * n..(step + 1) * sequences * n];
            let input = Tensor::<2>::from_data(TensorData::new(values.to_vec(), [sequences, n]), &device);
            state = self.time.forward(input, state);
            if let Some(place) = needed {
                *place = kept.len() as u32;
                kept.push(state.clone());
            }
        }
        let at = |[step, sequence]: &[u32; 2]| needed[*step as usize].unwrap_or(0) * sequences as u32 + sequence;
        let picked: Vec<u32> = signals.picks.iter().map(at).collect();
        ops::gather(Tensor::cat(kept, 0), &picked)
    }

    /// Latents of the rows.
    ///
    /// # Shapes
    /// - `codes`: `[G, D]`; output: `[R, D]`
    pub fn forward(&self, codes: Tensor<2>, rows: &WindowRows, pass: &mut Pass<'_>) -> Tensor<2> {
        let (n, width) = (self.regions(), self.width());
        let weight = self.input.weight.val();
        // W [e_v ‖ η] is a column of W and a map of η.
        let names = weight.clone().slice([0..width, 0..n]).transpose();
        let when = ops::linear(codes, weight.slice([0..width, n..n + width]), self.input.bias.val());
        let h = ops::gather(names, &rows.regions) + ops::gather(when, &rows.windows);
        self.layers.iter().fold(h, |h, layer| layer.forward(h, rows, pass))
    }
}
