//! `foretell bench`: how fast this machine does the work, and how near that is to what its cores can do.

mod embed;
mod knn;
mod load;
mod masks;
mod op;
mod plan;
mod step;

use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_ops as ops;
use rand::RngExt;
use serde::Serialize;

use crate::Error;
use crate::output::{print, print_json};

/// What `bench` was asked.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// A training step of any system, on batches made beforehand.
    Step(step::StepArgs),
    /// Features of a vision transformer with random weights: forward only.
    Embed(embed::EmbedArgs),
    /// Masks for a batch.
    Masks(masks::MasksArgs),
    /// A planning step in the latents of a world model with random weights.
    Plan(plan::PlanArgs),
    /// Decoding and augmenting a folder (or anything else that `train --data` takes).
    Load(load::LoadArgs),
    /// Exact nearest neighbours of random features by cosine.
    Knn(knn::KnnArgs),
    /// One operation, forward and backward.
    Op(op::OpArgs),
}

/// Runs the command.
pub fn bench(args: &BenchArgs) -> Result<(), Error> {
    match &args.what {
        What::Step(args) => step::step(args),
        What::Embed(args) => embed::embed(args),
        What::Masks(args) => masks::masks(args),
        What::Plan(args) => plan::plan(args),
        What::Load(args) => load::load(args),
        What::Knn(args) => knn::knn(args),
        What::Op(args) => op::op(args),
    }
}

/// A dial that starts at one.
fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be 1 or more".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("it must be a whole number, 1 or more".to_owned()),
    }
}

/// Milliseconds of each of `runs` calls, after `warmup` that are not counted.
fn time(warmup: usize, runs: usize, mut work: impl FnMut() -> Result<(), Error>) -> Result<Vec<f64>, Error> {
    for _ in 0..warmup {
        work()?;
    }
    (0..runs)
        .map(|_| {
            let started = Instant::now();
            work()?;
            Ok(started.elapsed().as_secs_f64() * 1e3)
        })
        .collect()
}

/// [`time`], and the operations in matrix products of one of the timed calls; as the processor counts them.
fn counted(warmup: usize, runs: usize, mut work: impl FnMut() -> Result<(), Error>) -> Result<(Vec<f64>, f64), Error> {
    time(0, warmup, &mut work)?;
    let before = ops::operations();
    let times = time(0, runs, work)?;
    Ok((times, ops::operations().wrapping_sub(before) as f64 / runs.max(1) as f64))
}

/// Multiplications and additions a second of a large product in f32 there, in units of 10⁹: what the work is held against.
fn ceiling(device: &Device) -> Result<f64, Error> {
    const SIDE: usize = 4096;
    if ops::on_cpu(device) {
        return Ok(ops::product_ceiling());
    }
    let mut noise = rng(0, Stream::Augment, 1, 0);
    let values: Vec<f32> = (0..SIDE * SIDE).map(|_| noise.random::<f32>() - 0.5).collect();
    let a = Tensor::<2>::from_data(TensorData::new(values, [SIDE, SIDE]), device);
    let mut product = a.clone();
    let times = time(3, 5, || {
        // Several in a row, so that the last one's reading back weighs little.
        for _ in 0..10 {
            product = a.clone().matmul(a.clone());
        }
        let _ = ops::values(product.clone().slice([0..1, 0..1]));
        Ok(())
    })?;
    Ok(10.0 * 2.0 * (SIDE as f64).powi(3) / median(&times) / 1e6)
}

/// The middle of some times.
fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// The most memory that this process has held, in MiB; `None` where the system does not say.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

/// One JSON object, or the same as lines of `name value`.
fn show(report: &impl Serialize, json: bool) -> Result<(), Error> {
    if json {
        return print_json(report);
    }
    let value = serde_json::to_value(report).map_err(|error| Error::Failure(error.to_string()))?;
    let lines = value.as_object().into_iter().flatten().map(|(name, value)| format!("{name:<22}{value}\n"));
    print(lines.collect::<String>())
}

/// `x` with two digits after the point.
fn rounded(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}
