//! Encoders of what a world shows: one vector for each observation. Pictures go through strided convolutions, plain numbers
//! through an MLP.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::encode::{Backbone, FeatureMap, ImageNetwork};
use crate::layers::{Conv, LayerNorm, Linear, Pass};

/// Lengths of an [`Observer`]. [`ObserverConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct ObserverConfig {
    /// `[C, H, W]` of an observation; K plain numbers are `[K, 1, 1]`.
    pub observation: [usize; 3],
    /// Width of each convolution, stride 2; of the hidden layer for plain numbers the last one.
    pub widths: Vec<usize>,
    /// Whether the hidden layers also get the largest value of each channel behind each convolution: what lies beside what,
    /// wherever it is.
    pub maxima: bool,
    /// Width of each hidden layer between the convolutions and the vector: what lies far apart in a picture meets there.
    pub hidden: Vec<usize>,
    /// Width of the vector, D.
    pub width: usize,
    /// Whether convolutions begin with He's normal weights; otherwise with PyTorch's uniform ones, 2.4 times smaller, which learn
    /// sooner where a norm comes last and say too little where none does.
    pub he: bool,
    /// Whether a layer norm comes last; SIGReg wants none, as it fixes each vector's length.
    pub norm: bool,
}

impl ObserverConfig {
    /// Whether observations are pictures.
    fn pictures(&self) -> bool {
        self.observation[1] * self.observation[2] > 1
    }

    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> Observer {
        let mut init = Init::new(rng, device);
        let [channels, mut height, mut width] = self.observation;
        let (mut convs, mut biases, mut inputs) = (Vec::new(), Vec::new(), channels);
        if self.pictures() {
            for outputs in &self.widths {
                if self.he {
                    convs.push(Conv::new(inputs, *outputs, 3, 2, &mut init));
                    biases.push(init.constant([*outputs], 0.0));
                } else {
                    convs.push(Conv::uniform(inputs, *outputs, 3, 2, &mut init));
                    biases.push(init.uniform([*outputs], 1.0 / ((9 * inputs) as f64).sqrt()));
                }
                (height, width, inputs) = (height.div_ceil(2), width.div_ceil(2), *outputs);
            }
        }
        let first = (!self.pictures()).then(|| self.widths.last().copied().unwrap_or(self.width));
        let maxima = if self.maxima { self.widths.iter().sum() } else { 0 };
        let mut flat = if self.pictures() { inputs * height * width + maxima } else { channels };
        let mut hidden = Vec::new();
        for outputs in first.iter().chain(&self.hidden) {
            hidden.push(Linear::uniform(flat, *outputs, &mut init));
            flat = *outputs;
        }
        Observer {
            convs,
            biases,
            hidden,
            head: Linear::uniform(flat, self.width, &mut init),
            norm: self.norm.then(|| LayerNorm::new(self.width, 1e-5, &mut init)),
            config: self.clone(),
        }
    }
}

/// See [`ObserverConfig`].
#[derive(Module, Debug)]
pub struct Observer {
    convs: Vec<Conv>,
    biases: Vec<Param<Tensor<1>>>,
    hidden: Vec<Linear>,
    head: Linear,
    norm: Option<LayerNorm>,
    #[module(skip)]
    config: ObserverConfig,
}

impl Observer {
    /// The lengths it was made with.
    pub fn config(&self) -> &ObserverConfig {
        &self.config
    }

    /// Observations `[B, C, H, W]` → `[B, D]`.
    pub fn forward(&self, observations: Tensor<4>) -> Tensor<2> {
        let mut x = observations.permute([0, 2, 3, 1]);
        let mut maxima = Vec::new();
        for (conv, bias) in self.convs.iter().zip(&self.biases) {
            x = conv.forward(x);
            let [b, h, w, c] = x.dims();
            x = ops::relu(x + bias.val().reshape([1, 1, 1, c]));
            if self.config.maxima {
                maxima.push(x.clone().reshape([b, h * w, c]).max_dim(1).reshape([b, c]));
            }
        }
        let [b, h, w, c] = x.dims();
        maxima.insert(0, x.reshape([b, h * w * c]));
        let mut x = Tensor::cat(maxima, 1);
        for layer in &self.hidden {
            x = ops::relu(layer.forward(x));
        }
        self.normalise(self.head.forward(x))
    }

    /// The last norm, if there is one.
    pub fn norm(&self) -> Option<&LayerNorm> {
        self.norm.as_ref()
    }

    /// The last norm, or nothing: what a predictor's output goes through too, so that both live in one space.
    pub fn normalise(&self, latents: Tensor<2>) -> Tensor<2> {
        match &self.norm {
            Some(norm) => norm.forward(latents),
            None => latents,
        }
    }
}

impl ImageNetwork for Observer {
    fn tokens(&self, observations: Tensor<4>) -> FeatureMap {
        let z = self.forward(observations);
        let [b, d] = z.dims();
        FeatureMap { tokens: z.reshape([b, 1, d]), grid: (1, 1) }
    }

    fn width(&self) -> usize {
        self.config.width
    }

    fn image(&self) -> (usize, usize) {
        (self.config.observation[1], self.config.observation[2])
    }

    fn channels(&self) -> usize {
        self.config.observation[0]
    }
}

impl Backbone for Observer {
    fn view(&self, observations: Tensor<4>, _: &mut Pass<'_>) -> Tensor<2> {
        self.forward(observations)
    }
}
