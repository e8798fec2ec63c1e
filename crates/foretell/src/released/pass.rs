//! Inputs through a published model, some at a time: memory does not grow with their number.

use burn::tensor::{Device, Tensor, TensorData};
use foretell_nn::released::Model;
use foretell_ops as ops;

use super::Pixels;
use crate::Error;

/// Tokens that go through the network at a time, as far as whole inputs allow.
const TOKENS: usize = 4096;
/// Inputs at most.
const MOST: usize = 64;

/// What is taken of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// `[D]`: the mean of its tokens.
    Mean,
    /// `[N, D]`.
    Tokens,
    /// After each of these blocks, counted from 0: the mean, `[L, D]`, or all tokens, `[L, N, D]`.
    Layers(Vec<usize>, bool),
    /// `[classes]`: logits.
    Classes,
}

/// What came of some inputs, in their order.
#[derive(Debug)]
pub struct Rows {
    /// Of one input.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

/// See the module.
pub struct Pass<'a> {
    model: &'a Model,
    device: &'a Device,
    taken: Taken,
    shape: [usize; 4],
    pending: Vec<f32>,
}

impl<'a> Pass<'a> {
    /// Through this model.
    pub fn new(model: &'a Model, device: &'a Device, taken: Taken) -> Self {
        Self { model, device, taken, shape: [0; 4], pending: Vec::new() }
    }

    /// Takes an input; what came of those before it, when there are enough or it is of another size.
    pub fn push(&mut self, pixels: Pixels) -> Result<Option<Rows>, Error> {
        let done = if pixels.shape == self.shape { None } else { self.flush()? };
        self.shape = pixels.shape;
        self.pending.extend(pixels.values);
        let [t, c, h, w] = self.shape;
        let grid = self.model.grid([1, t, c, h, w]).map_err(|e| Error::Misuse(e.to_string()))?;
        let held = self.pending.len() / self.shape.iter().product::<usize>().max(1);
        if held < (TOKENS / grid.len().max(1)).clamp(1, MOST) {
            return Ok(done);
        }
        Ok(match (done, self.flush()?) {
            (Some(mut first), Some(second)) if first.shape == second.shape => {
                first.values.extend(second.values);
                Some(first)
            }
            (Some(first), Some(second)) => {
                return Err(Error::Misuse(format!(
                    "inputs of different sizes make rows of {:?} and of {:?}, which do not fit one array: give inputs of one size, or leave \
                     `--tokens` out",
                    first.shape, second.shape
                )));
            }
            (first, second) => first.or(second),
        })
    }

    /// What came of those since the last time.
    pub fn flush(&mut self) -> Result<Option<Rows>, Error> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        let [t, c, h, w] = self.shape;
        let batch = self.pending.len() / (t * c * h * w);
        let values = TensorData::new(std::mem::take(&mut self.pending), [batch, t, c, h, w]);
        let clips = Tensor::<5>::from_data(values, self.device);
        self.run(clips).map(Some)
    }

    fn run(&self, clips: Tensor<5>) -> Result<Rows, Error> {
        let wrong = |e: foretell_nn::released::ReleasedError| Error::Misuse(e.to_string());
        let (model, batch) = (self.model, clips.dims()[0]);
        match &self.taken {
            Taken::Classes => {
                let logits = model.classify(clips).map_err(wrong)?;
                Ok(Rows { shape: vec![logits.dims()[1]], values: ops::values(logits) })
            }
            Taken::Mean => {
                let mean = mean(model.features(clips).map_err(wrong)?);
                Ok(Rows { shape: vec![mean.dims()[1]], values: ops::values(mean) })
            }
            Taken::Tokens => {
                let tokens = model.features(clips).map_err(wrong)?;
                let [_, n, d] = tokens.dims();
                Ok(Rows { shape: vec![n, d], values: ops::values(tokens) })
            }
            Taken::Layers(layers, tokens) => {
                let outputs = model.layers(clips, layers).map_err(wrong)?;
                let [_, n, d] = outputs[0].dims();
                let each = if *tokens { n * d } else { d };
                let outputs: Vec<Vec<f32>> = outputs
                    .into_iter()
                    .map(|output| if *tokens { ops::values(output) } else { ops::values(mean(output)) })
                    .collect();
                let mut values = Vec::with_capacity(batch * layers.len() * each);
                for row in 0..batch {
                    for output in &outputs {
                        values.extend(&output[row * each..(row + 1) * each]);
                    }
                }
                let shape = if *tokens { vec![layers.len(), n, d] } else { vec![layers.len(), d] };
                Ok(Rows { shape, values })
            }
        }
    }
}

/// `[B, N, D]` → `[B, D]`.
fn mean(tokens: Tensor<3>) -> Tensor<2> {
    tokens.mean_dim(1).squeeze_dim::<2>(1)
}
