//! `foretell bench plan`: one planning step of several episodes, from what is seen to a plan.

use burn::tensor::{Device, Tensor};
use foretell_data::Normalise;
use foretell_data::random::{Stream, rng};
use foretell_jepa::dynamics::State;
use foretell_jepa::systems::WorldSetting;
use foretell_jepa::systems::eb_jepa::EbJepaConfig;
use foretell_world::{Budget, Cost, Imagination, Imagined, Planner, PlannerConfig};
use rand::RngExt;
use serde::Serialize;

use super::{Timed, ceiling, median, operations, peak_memory, positive, rounded, show, time_and_count};
use crate::{DeviceChoice, Error};

/// What `bench plan` was asked.
#[derive(Debug, clap::Args)]
pub(super) struct PlanArgs {
    /// Episodes that are planned for at once.
    #[arg(long, value_parser = positive, default_value_t = 8)]
    episodes: usize,
    /// Candidates of an iteration.
    #[arg(long, value_parser = positive, default_value_t = 128)]
    samples: usize,
    /// Iterations of the cross-entropy method.
    #[arg(long, value_parser = positive, default_value_t = 8)]
    iterations: usize,
    /// The best so many make the next distribution.
    #[arg(long, value_parser = positive, default_value_t = 16)]
    elites: usize,
    /// Steps looked ahead.
    #[arg(long, value_parser = positive, default_value_t = 32)]
    horizon: usize,
    /// Side of the observations in pixels.
    #[arg(long, value_parser = positive, default_value_t = 32)]
    image: usize,
    /// Width of the latents.
    #[arg(long, value_parser = positive, default_value_t = 128)]
    width: usize,
    /// With the networks of our models, which measure by steps: hidden layers in the encoder, a mixer before the GRU and the head that
    /// tells steps. Otherwise as released, by the difference of latents.
    #[arg(long)]
    head: bool,
    /// Planning steps that are timed.
    #[arg(long, value_parser = positive, default_value_t = 10)]
    steps: usize,
    /// Planning steps before them.
    #[arg(long, default_value_t = 2)]
    warmup: usize,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceChoice,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    plan_ms: f64,
    calls: u64,
    calls_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rss_mb: Option<f64>,
    gflops: f64,
    gemm_ceiling_gflops: f64,
    ceiling_share: f64,
    plan_ms_all: Vec<f64>,
}

/// Numbers in an action, and the longest one: those of Two Rooms.
const ACTION: usize = 2;
const REACH: f32 = 2.45;

pub(super) fn plan(args: &PlanArgs) -> Result<(), Error> {
    let device = args.device.open()?;
    let (timed, calls) = steps(args, &device, args.warmup, args.steps)?;
    let peak = peak_memory();
    let work = operations(&device, &timed, |cpu| Ok(steps(args, cpu, 0, 1)?.0))?;
    let ms = median(&timed.times);
    let (gflops, ceiling) = (work / ms / 1e6, ceiling(&device)?);
    let report = Report {
        plan_ms: rounded(ms),
        calls,
        calls_per_s: rounded(calls as f64 / ms * 1e3),
        rss_mb: peak.map(rounded),
        gflops: rounded(gflops),
        gemm_ceiling_gflops: rounded(ceiling),
        ceiling_share: rounded(gflops / ceiling),
        plan_ms_all: timed.times.into_iter().map(rounded).collect(),
    };
    show(&report, args.json)
}

/// Planning steps, and the calls that each made.
fn steps(args: &PlanArgs, device: &Device, warmup: usize, steps: usize) -> Result<(Timed, u64), Error> {
    let imagination = imagination(args, &config(args), device)?;
    let mut noise = rng(0, Stream::Scene, 0, 0);
    let mut seen = || -> Vec<Vec<f32>> {
        let draw = |_| (0..2 * args.image * args.image).map(|_| noise.random_range(-1.0..1.0)).collect();
        (0..args.episodes).map(draw).collect()
    };
    let (seen, goals) = (seen(), seen());
    let latents = |seen: &[Vec<f32>]| seen.iter().map(|x| imagination.encode(x.clone())).collect::<Vec<Tensor<2>>>();
    let goals = latents(&goals);
    let planner = Planner::Cem { samples: args.samples, iterations: args.iterations, elites: args.elites };
    let planning = PlannerConfig { horizon: args.horizon, ..PlannerConfig::default() };
    let numbers: Vec<u64> = (0..args.episodes as u64).collect();
    let mut calls = 0;
    let timed = time_and_count(warmup, steps, || {
        let now: Vec<State> = latents(&seen).into_iter().map(State::begin).collect();
        let (reach, cost) = (REACH, Cost::Sum);
        let gauge = imagination.gauge();
        let mut problem = Imagined { imagination: &imagination, now: &now, goals: &goals, reach, gauge, cost };
        let plans = planner.plan(&planning, Budget { calls: u64::MAX }, &mut problem, &[], (0, 0, &numbers))?;
        calls = plans.iter().map(|plan| plan.calls).sum();
        Ok(())
    })?;
    Ok((timed, calls))
}

/// EB-JEPA as released, or as our models have it.
fn config(args: &PlanArgs) -> EbJepaConfig {
    let of = if args.head { EbJepaConfig::default() } else { EbJepaConfig::official() };
    EbJepaConfig { width: args.width, ..of }
}

/// The networks with random weights.
fn imagination(args: &PlanArgs, config: &EbJepaConfig, device: &Device) -> Result<Imagination, Error> {
    let setting = WorldSetting {
        observation: [2, args.image, args.image],
        action: ACTION,
        normalise: Normalise::nothing(2),
        actions: Normalise::nothing(ACTION),
        seed: 0,
        device: device.clone(),
    };
    Ok(Imagination::of(&config.init(&setting)?, 1))
}
