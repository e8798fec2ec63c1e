//! `foretell bench plan`: one planning step of several episodes, from what is seen to a plan.

use burn::tensor::{Device, Tensor};
use foretell_data::random::{Stream, rng};
use foretell_jepa::dynamics::State;
use foretell_systems::{Imaginer, Learnt, family, recipe};
use foretell_world::{Budget, Cost, Imagined, Planner, PlannerConfig};
use rand::RngExt;
use serde::Serialize;
use toml::{Table, Value};

use super::{ceiling, counted, median, peak_memory, positive, rounded, show};
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

pub(super) fn plan(args: &PlanArgs) -> Result<(), Error> {
    let device = args.device.open()?;
    let imaginer = imaginer(args, &device)?;
    let (imagination, world) = (&imaginer.imagination, imaginer.playground.world.spec());
    let mut noise = rng(0, Stream::Scene, 0, 0);
    let mut seen = || -> Vec<Vec<f32>> {
        let draw = |_| (0..world.pixels()).map(|_| noise.random_range(-1.0..1.0)).collect();
        (0..args.episodes).map(draw).collect()
    };
    let (seen, goals) = (seen(), seen());
    let latents = |seen: &[Vec<f32>]| seen.iter().map(|x| imagination.encode(x.clone())).collect::<Vec<Tensor<3>>>();
    let goals = latents(&goals);
    let planner = Planner::Cem { samples: args.samples, iterations: args.iterations, elites: args.elites };
    let planning = PlannerConfig { horizon: args.horizon, ..PlannerConfig::default() };
    let numbers: Vec<u64> = (0..args.episodes as u64).collect();
    let mut calls = 0;
    let (times, work) = counted(args.warmup, args.steps, || {
        let now: Vec<State> = latents(&seen).into_iter().map(State::begin).collect();
        let (reach, cost) = (world.reach, Cost::Sum);
        let gauge = imagination.gauge();
        let mut problem = Imagined { imagination, now: &now, goals: &goals, lifts: &[], reach, gauge, cost };
        let plans = planner.plan(&planning, Budget { calls: u64::MAX }, &mut problem, &[], (0, 0, &numbers))?;
        calls = plans.iter().map(|plan| plan.calls).sum();
        Ok(())
    })?;
    let peak = peak_memory();
    let ms = median(&times);
    let (gflops, ceiling) = (work / ms / 1e6, ceiling(&device)?);
    let report = Report {
        plan_ms: rounded(ms),
        calls,
        calls_per_s: rounded(calls as f64 / ms * 1e3),
        rss_mb: peak.map(rounded),
        gflops: rounded(gflops),
        gemm_ceiling_gflops: rounded(ceiling),
        ceiling_share: rounded(gflops / ceiling),
        plan_ms_all: times.into_iter().map(rounded).collect(),
    };
    show(&report, args.json)
}

/// Networks with random weights in Two Rooms: as our models have them, or as they were released.
fn imaginer(args: &PlanArgs, device: &Device) -> Result<Imaginer, Error> {
    let member = family::find(family::usual(None, true)).map_err(Error::Misuse)?;
    let mut asked = Table::new();
    let whole = |number: usize| Value::Integer(number as i64);
    let mut sets = vec![("model.width", whole(args.width)), ("data.world.resolution", whole(args.image))];
    if !args.head {
        let none = || Value::Array(Vec::new());
        sets.extend([("model.hidden", none()), ("model.mixer", none()), ("model.terms.reach", Value::Float(0.0))]);
    }
    for (key, value) in sets {
        recipe::set(&mut asked, key, value)?;
    }
    let mut session = member.open(member.recipe(&asked, "the options")?, device, true)?;
    let learner = session.learner(1)?;
    match session.learnt(learner.as_ref())? {
        Some(Learnt::Model(imaginer)) => Ok(imaginer),
        _ => Err(Error::Failure("a model of a world plans nowhere".to_owned())),
    }
}
