//! `foretell bench op`: one operation at a time, forward alone and with its backward pass.

use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_ops as ops;
use rand::RngExt;
use serde::Serialize;

use super::{median, positive, rounded, show, time};
use crate::{DeviceChoice, Error};

/// What `bench op` was asked.
#[derive(Debug, clap::Args)]
pub(super) struct OpArgs {
    /// The operation.
    #[arg(value_enum)]
    op: Op,
    /// Rows: samples times tokens.
    #[arg(long, value_parser = positive, default_value_t = 8192)]
    rows: usize,
    /// Tokens that attend to each other; pixels of a feature map's side for convolutions.
    #[arg(long, value_parser = positive, default_value_t = 64)]
    tokens: usize,
    /// Width of a row.
    #[arg(long, value_parser = positive, default_value_t = 192)]
    width: usize,
    /// Attention heads.
    #[arg(long, value_parser = positive, default_value_t = 3)]
    heads: usize,
    /// Calls that are timed.
    #[arg(long, value_parser = positive, default_value_t = 20)]
    steps: usize,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceChoice,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Op {
    Linear,
    Gelu,
    LayerNorm,
    BatchNorm,
    Attention,
    Block,
    Conv2d,
    Softmax,
    Gather,
    Gru,
    SmoothL1,
    L1,
    L2,
    Cosine,
    Sigreg,
    Adamw,
}

#[derive(Serialize)]
struct Report {
    op: String,
    shape: Vec<usize>,
    forward_ms: f64,
    /// Forward and backward together.
    #[serde(skip_serializing_if = "Option::is_none")]
    both_ms: Option<f64>,
}

/// Uniform noise.
fn noise<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let mut numbers = rng(0, Stream::Augment, 0, shape.iter().product::<usize>() as u64);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| numbers.random::<f32>() - 0.5).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// An operation on a main input and its parameters, to any tensor's sum.
type Forward = dyn Fn(Tensor<2>) -> Tensor<2>;

pub(super) fn op(args: &OpArgs) -> Result<(), Error> {
    let (n, d) = (args.rows, args.width);
    if matches!(args.op, Op::Attention | Op::Block) && (d % args.heads != 0 || n % args.tokens != 0) {
        return Err(Error::Misuse("`--tokens` must divide `--rows`, and `--heads` must divide `--width`".to_owned()));
    }
    if args.op == Op::Conv2d && n % (args.tokens * args.tokens) != 0 {
        return Err(Error::Misuse(format!(
            "a map of {0} × {0} has {1} rows (`--tokens`, the side, twice), and `--rows` must be a multiple of that: found {n}",
            args.tokens,
            args.tokens * args.tokens
        )));
    }
    let plain = args.device.open()?;
    if args.op == Op::Adamw {
        return adamw(args, &plain);
    }
    let (shape, forward) = build(args, &plain, false);
    let input = noise(shape, &plain);
    // Nothing is tracked here: a tape that nobody plays back would keep every value.
    let forward_ms = median(&time(2, args.steps, || {
        let _ = forward(input.clone());
        Ok(())
    })?);
    let (_, forward) = build(args, &plain, true);
    let both_ms = median(&time(2, args.steps, || {
        let _ = forward(input.clone().autodiff().require_grad()).sum().backward();
        Ok(())
    })?);
    report(args, shape.to_vec(), forward_ms, Some(both_ms))
}

/// A parameter of noise, `tracked` by automatic differentiation or not.
fn leaf<const D: usize>(shape: [usize; D], device: &Device, tracked: bool) -> Tensor<D> {
    let values = noise(shape, device);
    if tracked { values.autodiff().require_grad() } else { values }
}

/// The operation, its parameters `tracked` or not, and its input's shape.
fn build(args: &OpArgs, device: &Device, tracked: bool) -> ([usize; 2], Box<Forward>) {
    let (n, d, tokens, heads) = (args.rows, args.width, args.tokens, args.heads);
    let vector = |len: usize| leaf([len], device, tracked);
    let weight = |o: usize, i: usize| leaf([o, i], device, tracked);
    let sets = ops::Sets::uniform(n / tokens, tokens);
    let (w, b) = (weight(d, d), vector(d));
    match args.op {
        Op::Linear => ([n, d], Box::new(move |x| ops::linear(x, w.clone(), b.clone()))),
        Op::Gelu => ([n, d], Box::new(ops::gelu)),
        Op::LayerNorm => ([n, d], Box::new(move |x| ops::layer_norm(x, b.clone(), b.clone(), 1e-6))),
        Op::BatchNorm => ([n, d], Box::new(move |x| ops::batch_norm(x, b.clone(), b.clone(), 1e-5).output)),
        Op::Attention => ([n, 3 * d], Box::new(move |x| ops::attention(x, &sets, heads))),
        Op::Block => {
            let block = ops::BlockWeights {
                norm1: (vector(d), vector(d)),
                qkv: (weight(3 * d, d), vector(3 * d)),
                proj: (weight(d, d), vector(d)),
                norm2: (vector(d), vector(d)),
                fc1: (weight(4 * d, d), vector(4 * d)),
                fc2: (weight(d, 4 * d), vector(d)),
                packed: None,
            };
            ([n, d], Box::new(move |x| ops::transformer_block(x, &sets, block.clone(), heads, 1e-6)))
        }
        Op::Conv2d => {
            let (images, kernel) = (n / (tokens * tokens), leaf([d, d, 3, 3], device, tracked));
            let rows = images * tokens * tokens;
            let conv = move |x: Tensor<2>| {
                let x = x.reshape([images, tokens, tokens, d]);
                ops::conv2d(x, kernel.clone(), 1, 1).reshape([rows, d])
            };
            ([rows, d], Box::new(conv))
        }
        Op::Softmax => ([n, d], Box::new(ops::softmax)),
        Op::Gather => {
            // A permutation: every row once.
            let indices: Vec<u32> = (0..n as u32).rev().collect();
            ([n, d], Box::new(move |x| ops::gather(x, &indices)))
        }
        Op::Gru => {
            let (input, recurrent) = ((weight(3 * d, d), vector(3 * d)), (weight(3 * d, d), vector(3 * d)));
            let state = noise([n, d], device);
            let cell = move |x| ops::gru_cell(x, state.clone(), input.clone(), recurrent.clone());
            ([n, d], Box::new(cell))
        }
        Op::SmoothL1 | Op::L1 | Op::L2 | Op::Cosine => {
            let (op, target) = (args.op, noise([n, d], device));
            let distance = move |x: Tensor<2>| match op {
                Op::SmoothL1 => ops::smooth_l1(x, target.clone(), 1.0),
                Op::L1 => ops::l1(x, target.clone()),
                Op::L2 => ops::l2(x, target.clone()),
                _ => ops::cosine_distance(x, target.clone()),
            };
            ([n, d], Box::new(move |x| distance(x).reshape([1, 1])))
        }
        Op::Sigreg => ([n, d], Box::new(move |x| ops::sigreg_statistic(x.reshape([1, n, d])).reshape([1, 1]))),
        Op::Adamw => unreachable!("timed by itself"),
    }
}

fn adamw(args: &OpArgs, device: &Device) -> Result<(), Error> {
    let shape = [args.rows, args.width];
    let square = || noise(shape, device).square();
    let mut state = Some(ops::Stepped { parameter: noise(shape, device), first: square(), second: square() });
    let (hyper, gradient) = (foretell_train::TrainConfig::default().adamw(1), noise(shape, device));
    let ms = median(&time(2, args.steps, || {
        let before = state.take().expect("put back after each step");
        state = Some(ops::adamw(before, gradient.clone(), &hyper));
        Ok(())
    })?);
    report(args, shape.to_vec(), ms, None)
}

fn report(args: &OpArgs, shape: Vec<usize>, forward_ms: f64, both_ms: Option<f64>) -> Result<(), Error> {
    let op = format!("{:?}", args.op).to_lowercase();
    show(&Report { op, shape, forward_ms: rounded(forward_ms), both_ms: both_ms.map(rounded) }, args.json)
}
