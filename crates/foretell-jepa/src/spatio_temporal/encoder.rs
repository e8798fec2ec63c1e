//! What is kept of a run of ST-JEMA: the target encoder over all windows of a recording, and what predicts links between moments.

use std::any::Any;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor};
use foretell_data::connectomes::DynamicGraph;
use foretell_data::{Collate, DataError};
use foretell_nn::dynamic_graph::WindowEncoder;
use foretell_nn::layers::{BatchStatistics, Pass, absorb};
use foretell_nn::tune::{Change, Take, Tunable};
use foretell_nn::{Encode, NamedTensors, Tokens, WeightsError, parameters, weights};
use foretell_ops as ops;

use super::batch::{Moment, PackedWindows, TimeCode};
use super::{SpatioTemporal, SpatioTemporalNetworks, WindowsBatch, WindowsCollator, placed, places};

/// Regions of windows that go through the network at a time.
const ROWS: usize = 1 << 16;

/// [`WindowEncoder`] as an encoder of recordings: a token for each region of each window.
pub struct ConnectomeEncoder {
    network: WindowEncoder,
    code: TimeCode,
    device: Device,
}

/// All windows of some recordings.
fn moments<'a>(samples: &[&'a DynamicGraph]) -> Vec<Moment<'a>> {
    let of = |(sample, recording): (usize, &&'a DynamicGraph)| {
        let recording = *recording;
        (0..recording.windows()).map(move |window| Moment { sample, recording, window })
    };
    samples.iter().enumerate().flat_map(of).collect()
}

impl ConnectomeEncoder {
    /// A network that lies on `device`.
    pub fn new(network: WindowEncoder, code: TimeCode, device: &Device) -> Self {
        Self { network, code, device: device.clone() }
    }

    fn with(&self, network: WindowEncoder) -> Self {
        Self::new(network, self.code, &self.device)
    }

    /// Recordings of about so many rows together.
    fn chunks<'s, 'a>(samples: &'s [&'a DynamicGraph]) -> impl Iterator<Item = &'s [&'a DynamicGraph]> {
        let each = samples.iter().map(|sample| sample.windows() * sample.regions()).max().unwrap_or(1);
        samples.chunks((ROWS / each.max(1)).max(1))
    }

    /// Rows of whole graphs, where they lie, and the number of windows.
    fn rows(&self, samples: &[&DynamicGraph], pass: &mut Pass<'_>) -> (Tensor<2>, PackedWindows) {
        let windows = PackedWindows::new(&moments(samples), &[], self.code);
        let codes = self.network.codes(&windows.signals);
        (self.network.forward(codes, &windows.rows, pass), windows)
    }

    fn pass(&self, samples: &[&DynamicGraph], pass: &mut Pass<'_>) -> Tokens {
        let (mut all, mut lengths) = (Vec::new(), Vec::new());
        let mut whole = true;
        for samples in Self::chunks(samples) {
            let (rows, windows) = self.rows(samples, pass);
            let mut first = 0;
            for sample in samples {
                let count = sample.windows();
                let own = |window: &&u32| (first..first + count as u32).contains(*window);
                let length = windows.rows.windows.iter().filter(own).count();
                whole &= length == count * sample.regions();
                lengths.push(length);
                first += count as u32;
            }
            all.push(rows);
        }
        let grid = samples.first().map(|sample| (sample.windows(), sample.regions()));
        let alike = samples.windows(2).all(|pair| pair[0].windows() == pair[1].windows());
        Tokens {
            rows: Tensor::cat(all, 0),
            sets: ops::Sets::of_lengths(&lengths),
            grid: grid.filter(|_| whole && alike),
        }
    }

    /// The mean of each window's regions, `[G, D]`, windows of a recording after those of another.
    pub fn windows(&self, samples: &[&DynamicGraph]) -> Tensor<2> {
        let of = |samples: &[&DynamicGraph]| {
            let (rows, windows) = self.rows(samples, &mut Pass::Evaluation);
            let count = windows.signals.picks.len();
            ops::segment_mean(rows, &ops::Segments::new(windows.rows.windows, count))
        };
        Tensor::cat(Self::chunks(samples).map(of).collect(), 0)
    }

    /// All places of all windows, `[G, N, D]`, zeros where nothing was measured.
    pub fn placed(&self, samples: &[&DynamicGraph]) -> Tensor<3> {
        let of = |samples: &[&DynamicGraph]| {
            let (rows, windows) = self.rows(samples, &mut Pass::Evaluation);
            let shape = [windows.signals.picks.len(), self.network.regions()];
            let nothing = Tensor::<2>::zeros([1, self.network.width()], &rows.device());
            placed(rows, nothing, &windows.slots, shape)
        };
        Tensor::cat(Self::chunks(samples).map(of).collect(), 0)
    }
}

impl Encode<DynamicGraph> for ConnectomeEncoder {
    fn tokens(&self, samples: &[&DynamicGraph]) -> Tokens {
        self.pass(samples, &mut Pass::Evaluation)
    }

    /// The mean over windows of each window's mean, and the deviation over windows: the mean alone does not tell how a recording moves.
    fn probed(&self, samples: &[&DynamicGraph]) -> Tensor<2> {
        let windows = self.windows(samples);
        let mut first = 0;
        let rows = samples.iter().map(|sample| {
            let own = windows.clone().slice([first..first + sample.windows(), 0..self.network.width()]);
            first += sample.windows();
            let mean = own.clone().mean_dim(0);
            let deviation = (own - mean.clone()).square().mean_dim(0).sqrt();
            Tensor::cat(vec![mean, deviation], 1)
        });
        Tensor::cat(rows.collect(), 0)
    }

    fn width(&self) -> usize {
        self.network.width()
    }

    fn state(&self) -> NamedTensors {
        weights::read(&self.network, "")
    }

    fn load(&mut self, tensors: NamedTensors) -> Result<(), WeightsError> {
        self.network = weights::load_whole(self.network.clone(), tensors)?;
        Ok(())
    }

    fn network(&self) -> &dyn Any {
        self
    }

    fn tunable(&self) -> Option<Box<dyn Tunable<DynamicGraph>>> {
        Some(Box::new(self.with(self.network.clone().train())))
    }
}

impl Tunable<DynamicGraph> for ConnectomeEncoder {
    fn learned(&self, samples: &[&DynamicGraph], pass: &mut Pass<'_>) -> Tokens {
        self.pass(samples, pass)
    }

    fn gradients(&self, gradients: &mut Gradients, take: &mut Take<'_>) {
        parameters::gradients(&self.network, gradients, take);
    }

    fn change(self: Box<Self>, change: &mut Change<'_>) -> Box<dyn Tunable<DynamicGraph>> {
        let Self { network, code, device } = *self;
        Box::new(Self { network: parameters::change(network, change), code, device })
    }

    fn absorb(self: Box<Self>, seen: &[BatchStatistics]) -> Box<dyn Tunable<DynamicGraph>> {
        let Self { network, code, device } = *self;
        Box::new(Self { network: absorb(network, seen), code, device })
    }

    fn tuned(&self) -> Box<dyn Encode<DynamicGraph>> {
        Box::new(self.with(self.network.valid()))
    }
}

/// A pair of regions within a hidden block, and what says whether it is joined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AskedLink {
    /// Place of its recording among those that were given.
    pub sample: usize,
    /// The two regions, the lower first.
    pub pair: (u32, u32),
    /// Whether it is.
    pub joined: bool,
    /// Told by the window's own regions that are seen: a logit.
    pub space: f32,
    /// Told by two windows around it: a probability.
    pub time: f32,
}

/// What a run's decoders say of links, in evaluation mode.
pub struct KeptLinks {
    networks: SpatioTemporalNetworks,
    collator: Arc<WindowsCollator>,
}

impl KeptLinks {
    pub(super) fn of(objective: &SpatioTemporal, networks: &SpatioTemporalNetworks) -> Self {
        Self { networks: networks.valid(), collator: Arc::clone(&objective.collator) }
    }

    /// Links within the hidden blocks of windows of some recordings, as the step's masks hide them; none where the run does not ask for
    /// links, or for nothing between moments.
    pub fn asked(&self, samples: &[DynamicGraph], step: u64) -> Result<Vec<AskedLink>, DataError> {
        if !self.collator.links || !self.collator.between {
            return Ok(Vec::new());
        }
        let WindowsBatch { seen, triples, links_between, shape: [graphs, n], .. } =
            self.collator.collate(step, samples)?;
        let SpatioTemporalNetworks { encoder, mask_token, edge_decoder, .. } = &self.networks;
        let rows = encoder.forward(encoder.codes(&seen.signals), &seen.rows, &mut Pass::Evaluation);
        let pairs = edge_decoder.forward(placed(rows, mask_token.val(), &seen.slots, [graphs, n]));
        let width = encoder.width();
        let pairs = pairs.reshape([graphs * n, width]);
        let of = |which: usize| {
            let rows = places(triples.iter().map(|triple| triple[which]), n);
            ops::gather(pairs.clone(), &rows).reshape([triples.len(), n, width])
        };
        let products = |a: Tensor<3>, b: Tensor<3>| ops::values(ops::matmul(a, b.swap_dims(1, 2)));
        let (space, time) = (products(of(0), of(0)), products(of(1), of(2)));
        let sigma = |x: f32| 1.0 / (1.0 + (-x).exp());
        let mut asked = Vec::new();
        for triple in 0..triples.len() {
            for u in 0..n {
                for v in u + 1..n {
                    let (at, back) = ((triple * n + u) * n + v, (triple * n + v) * n + u);
                    if links_between.weights.get(at).is_some_and(|weight| *weight > 0.0) {
                        asked.push(AskedLink {
                            sample: triple / self.collator.moments,
                            pair: (u as u32, v as u32),
                            joined: links_between.joined[at] > 0.5,
                            space: space[at],
                            time: f32::midpoint(sigma(time[at]), sigma(time[back])),
                        });
                    }
                }
            }
        }
        Ok(asked)
    }
}
