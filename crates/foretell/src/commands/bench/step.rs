//! `foretell bench step` and `foretell bench embed`.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Image, Normalise, Sample};
use foretell_jepa::masked::MaskedBatch;
use foretell_jepa::systems::Setting;
use foretell_jepa::systems::i_jepa::IJepaConfig;
use foretell_jepa::systems::le_jepa::{BackboneConfig, LeJepa, LeJepaConfig};
use foretell_jepa::target::TargetTransform;
use foretell_jepa::{Auto, Clock, Objective};
use foretell_nn::Encode;
use foretell_nn::vit::{Size, VitConfig};
use foretell_ops as ops;
use foretell_train::{Optimiser, TrainConfig, take_step};
use rand::RngExt;
use serde::Serialize;

use super::masks::Kind;
use super::{Timed, ceiling, median, operations, peak_memory, positive, rounded, show, time_and_count};
use crate::{DeviceChoice, Error};

/// What `bench step` was asked.
#[derive(Debug, clap::Args)]
pub(super) struct StepArgs {
    /// i-jepa or le-jepa.
    #[arg(long, value_enum, default_value_t = System::IJepa)]
    system: System,
    /// le-jepa's encoder.
    #[arg(long, value_enum, default_value_t = Backbone::Resnet)]
    backbone: Backbone,
    /// Side of the images in pixels.
    #[arg(long, value_parser = positive, default_value_t = 32)]
    image: usize,
    /// Side of a patch.
    #[arg(long, value_parser = positive, default_value_t = 4)]
    patch: usize,
    /// Width of the tokens: 192, 384, 768, 1024, 1280 for le-jepa, any multiple of the heads for i-jepa.
    #[arg(long, value_parser = positive, default_value_t = 192)]
    width: usize,
    /// Blocks of the encoder.
    #[arg(long, value_parser = positive, default_value_t = 12)]
    depth: usize,
    /// Attention heads.
    #[arg(long, value_parser = positive, default_value_t = 3)]
    heads: usize,
    /// Width of the predictor (i-jepa).
    #[arg(long, value_parser = positive, default_value_t = 96)]
    predictor_width: usize,
    /// Blocks of the predictor (i-jepa).
    #[arg(long, value_parser = positive, default_value_t = 6)]
    predictor_depth: usize,
    /// Views of an image, all global and of one size (le-jepa); 0 for the recipe's two global and two local ones.
    #[arg(long, default_value_t = 0)]
    views: usize,
    /// Images in a batch.
    #[arg(long, value_parser = positive, default_value_t = 128)]
    batch: usize,
    /// blocks, random or official (i-jepa).
    #[arg(long, value_enum, default_value_t = Kind::Official)]
    masks: Kind,
    /// Steps that are timed.
    #[arg(long, value_parser = positive, default_value_t = 10)]
    steps: usize,
    /// Steps before them.
    #[arg(long, default_value_t = 2)]
    warmup: usize,
    /// Write the masks of all steps as JSON, for a peer that is to have the same ones (i-jepa).
    #[arg(long, value_name = "FILE")]
    save_masks: Option<PathBuf>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceChoice,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// `--system`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum System {
    IJepa,
    LeJepa,
}

/// `--backbone`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Backbone {
    Resnet,
    Vit,
}

#[derive(Serialize)]
struct Report {
    system: &'static str,
    step_ms: f64,
    images_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rss_mb: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_tokens: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_tokens: Option<f64>,
    /// Operations in matrix products a second, in units of 10⁹.
    gflops: f64,
    gemm_ceiling_gflops: f64,
    ceiling_share: f64,
    parameters: usize,
    step_ms_all: Vec<f64>,
}

/// The numbers of some steps.
struct Steps {
    timed: Timed,
    parameters: usize,
    peak: Option<f64>,
    /// Tokens of a context and of a target, where there are such.
    tokens: Option<(f64, f64)>,
}

/// `steps` steps after `warmup` others.
#[derive(Clone, Copy)]
struct Count {
    warmup: usize,
    steps: usize,
    /// Whether they are the steps that were asked for, and not one that is taken again to count its operations.
    asked: bool,
}

pub(super) fn step(args: &StepArgs) -> Result<(), Error> {
    let device = args.device.open()?;
    let run = |device: &Device, count: Count| {
        let setting = Setting {
            image_size: args.image,
            channels: 3,
            normalise: Normalise { mean: vec![0.5; 3], std: vec![0.25; 3] },
            seed: 0,
            total_steps: 1_000_000,
            batch: args.batch,
            device: device.clone(),
            on_cpu: true,
        };
        match args.system {
            System::IJepa => i_jepa(args, &setting, count),
            System::LeJepa => le_jepa(args, &setting, count),
        }
    };
    let Steps { timed, parameters, peak, tokens } =
        run(&device, Count { warmup: args.warmup, steps: args.steps, asked: true })?;
    let work = operations(&device, &timed, |cpu| Ok(run(cpu, Count { warmup: 0, steps: 1, asked: false })?.timed))?;
    let ms = median(&timed.times);
    let (gflops, ceiling) = (work / ms / 1e6, ceiling(&device)?);
    let report = Report {
        system: match args.system {
            System::IJepa => "i-jepa",
            System::LeJepa => "le-jepa",
        },
        step_ms: rounded(ms),
        images_per_s: rounded(args.batch as f64 / ms * 1e3),
        rss_mb: peak.map(rounded),
        context_tokens: tokens.map(|t| rounded(t.0)),
        target_tokens: tokens.map(|t| rounded(t.1)),
        gflops: rounded(gflops),
        gemm_ceiling_gflops: rounded(ceiling),
        ceiling_share: rounded(gflops / ceiling),
        parameters,
        step_ms_all: timed.times.into_iter().map(rounded).collect(),
    };
    show(&report, args.json)
}

fn i_jepa(args: &StepArgs, setting: &Setting, count: Count) -> Result<Steps, Error> {
    let mut config = IJepaConfig {
        patch: Auto::Value(args.patch),
        width: Auto::Value(args.width),
        depth: Auto::Value(args.depth),
        heads: Auto::Value(args.heads),
        predictor_width: Auto::Value(args.predictor_width),
        predictor_depth: Auto::Value(args.predictor_depth),
        target_transform: TargetTransform::LayerNorm,
        sigreg: 0.0,
        masks: args.masks.config(args.image / args.patch),
        ..IJepaConfig::default()
    };
    config.resolve(setting, &mut Vec::new())?;
    let objective = config.init(setting)?;
    let batches = batches(&objective, args, count)?;
    if let Some(path) = args.save_masks.as_ref().filter(|_| count.asked) {
        save_masks(path, &batches)?;
    }
    let seen = &batches[count.warmup..];
    let mean = |f: &dyn Fn(&MaskedBatch) -> usize| seen.iter().map(f).sum::<usize>() as f64 / seen.len() as f64;
    let tokens = (mean(&|b| b.masks.context_len), mean(&|b| b.masks.target_len));
    Ok(Steps { tokens: Some(tokens), ..steps(objective, &batches, args, count)? })
}

/// `[{"context": [B][N_c], "targets": [B][K][N_t]}]`, one entry for each step.
fn save_masks(path: &Path, batches: &[MaskedBatch]) -> Result<(), Error> {
    let steps = batches.iter().map(|batch| {
        let m = &batch.masks;
        let targets: Vec<Vec<&[u32]>> =
            (0..m.batch).map(|i| (0..m.targets).map(|k| m.target_of(i, k)).collect()).collect();
        let context: Vec<&[u32]> = (0..m.batch).map(|i| m.context_of(i)).collect();
        serde_json::json!({ "context": context, "targets": targets })
    });
    let text = serde_json::Value::Array(steps.collect()).to_string();
    std::fs::write(path, text).map_err(|error| Error::Misuse(format!("cannot write {}: {error}", path.display())))
}

fn le_jepa(args: &StepArgs, setting: &Setting, count: Count) -> Result<Steps, Error> {
    let mut config = LeJepaConfig::default();
    if args.views > 0 {
        (config.global_views, config.local_views) = (args.views, 0);
    }
    if args.backbone == Backbone::Vit {
        let sizes = [Size::Tiny, Size::Small, Size::Base, Size::Large, Size::Huge];
        let Some(size) = sizes.into_iter().find(|size| size.dimensions().0 == args.width) else {
            return Err(Error::Misuse(format!(
                "`--width {}`: le-jepa's transformer is 192, 384, 768, 1024 or 1280 wide",
                args.width
            )));
        };
        config.backbone = BackboneConfig::Vit { size, patch: Auto::Value(args.patch), depth: Auto::Value(args.depth) };
    }
    config.resolve(setting, &mut Vec::new())?;
    match config.init(setting)? {
        LeJepa::Resnet(objective) => {
            let batches = batches(&objective, args, count)?;
            steps(objective, &batches, args, count)
        }
        LeJepa::Vit(objective) => {
            let batches = batches(&objective, args, count)?;
            steps(objective, &batches, args, count)
        }
    }
}

/// A batch for each step: noise does, as nothing learns here.
fn batches<O: Objective<Sample = Sample>>(
    objective: &O,
    args: &StepArgs,
    count: Count,
) -> Result<Vec<O::Batch>, Error> {
    let mut noise = rng(0, Stream::Augment, 0, 0);
    let samples: Vec<Sample> = (0..args.batch)
        .map(|index| {
            let mut image = Image::black(args.image, args.image, 3);
            image.pixels.iter_mut().for_each(|pixel| *pixel = noise.random());
            Sample { index, name: index.to_string(), image: image.into(), labels: Vec::new() }
        })
        .collect();
    let collator = objective.collator();
    Ok((1..=count.warmup + count.steps)
        .map(|step| collator.collate(step as u64, &samples))
        .collect::<Result<_, _>>()?)
}

fn steps<O: Objective>(objective: O, batches: &[O::Batch], args: &StepArgs, count: Count) -> Result<Steps, Error> {
    let (mut optimiser, config) = (Optimiser::default(), TrainConfig::default());
    let parameters = objective.trained().num_params();
    let (mut objective, mut at) = (Some(objective), 0);
    let timed = time_and_count(count.warmup, count.steps, || {
        let clock = Clock { step: at as u64 + 1, total: 1_000_000, batch: args.batch, health_due: false };
        let taken = objective.take().expect("put back after each step");
        let hyper = config.adamw(at as u64 + 1);
        objective = Some(take_step(taken, &mut optimiser, &batches[at], &clock, config.clip, hyper)?.0);
        at += 1;
        Ok(())
    })?;
    Ok(Steps { timed, parameters, peak: peak_memory(), tokens: None })
}

/// What `bench embed` was asked.
#[derive(Debug, clap::Args)]
pub(super) struct EmbedArgs {
    /// Side of the images in pixels.
    #[arg(long, value_parser = positive, default_value_t = 224)]
    image: usize,
    /// Side of a patch.
    #[arg(long, value_parser = positive, default_value_t = 16)]
    patch: usize,
    /// Width of the tokens.
    #[arg(long, value_parser = positive, default_value_t = 384)]
    width: usize,
    /// Blocks.
    #[arg(long, value_parser = positive, default_value_t = 12)]
    depth: usize,
    /// Attention heads.
    #[arg(long, value_parser = positive, default_value_t = 6)]
    heads: usize,
    /// Images in a batch.
    #[arg(long, value_parser = positive, default_value_t = 32)]
    batch: usize,
    /// Batches that are timed.
    #[arg(long, value_parser = positive, default_value_t = 10)]
    steps: usize,
    /// Batches before them.
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
struct Embedded {
    batch_ms: f64,
    images_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rss_mb: Option<f64>,
    tokens: usize,
    gflops: f64,
    gemm_ceiling_gflops: f64,
    ceiling_share: f64,
    batch_ms_all: Vec<f64>,
}

pub(super) fn embed(args: &EmbedArgs) -> Result<(), Error> {
    if !args.image.is_multiple_of(args.patch) || !args.width.is_multiple_of(4 * args.heads) {
        return Err(Error::Misuse(
            "`--patch` must divide `--image`, and `--width` must be a multiple of 4 times `--heads`".to_owned(),
        ));
    }
    let device = args.device.open()?;
    let config = VitConfig {
        image: (args.image, args.image),
        patch: args.patch,
        channels: 3,
        width: args.width,
        depth: args.depth,
        heads: args.heads,
        hidden: 4 * args.width,
    };
    let run = |device: &Device, warmup: usize, steps: usize| {
        let mut vit = config.init(&mut rng(0, Stream::Init, 0, 0), device);
        vit.prepare();
        let mut noise = rng(0, Stream::Augment, 0, 0);
        let values: Vec<f32> =
            (0..args.batch * 3 * args.image * args.image).map(|_| noise.random::<f32>() * 2.0 - 1.0).collect();
        let images = Tensor::<4>::from_data(TensorData::new(values, [args.batch, 3, args.image, args.image]), device);
        time_and_count(warmup, steps, || {
            let map = vit.tokens(images.clone());
            // Read back, so that a device that computes later has computed by now.
            let _ = ops::values(vit.pool(&map));
            Ok(())
        })
    };
    let timed = run(&device, args.warmup, args.steps)?;
    let peak = peak_memory();
    let work = operations(&device, &timed, |cpu| run(cpu, 0, 1))?;
    let ms = median(&timed.times);
    let (gflops, ceiling) = (work / ms / 1e6, ceiling(&device)?);
    let report = Embedded {
        batch_ms: rounded(ms),
        images_per_s: rounded(args.batch as f64 / ms * 1e3),
        rss_mb: peak.map(rounded),
        tokens: (args.image / args.patch).pow(2),
        gflops: rounded(gflops),
        gemm_ceiling_gflops: rounded(ceiling),
        ceiling_share: rounded(gflops / ceiling),
        batch_ms_all: timed.times.into_iter().map(rounded).collect(),
    };
    show(&report, args.json)
}
