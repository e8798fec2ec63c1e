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
use super::work::{Block, linear, residual};
use super::{ceiling, median, peak_memory, positive, rounded, show, time};
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
    /// Of the arithmetic counted from the shapes, a second, in units of 10⁹.
    gflops: f64,
    gemm_ceiling_gflops: f64,
    ceiling_share: f64,
    parameters: usize,
    step_ms_all: Vec<f64>,
}

/// The numbers of this call's runs.
struct Timed {
    times: Vec<f64>,
    parameters: usize,
    peak: Option<f64>,
    ceiling: f64,
}

impl Timed {
    fn report(self, args: &StepArgs, system: &'static str, work: f64, tokens: Option<(f64, f64)>) -> Result<(), Error> {
        let ms = median(&self.times);
        let (gflops, ceiling) = (work / ms / 1e6, self.ceiling);
        let report = Report {
            system,
            step_ms: rounded(ms),
            images_per_s: rounded(args.batch as f64 / ms * 1e3),
            rss_mb: self.peak.map(rounded),
            context_tokens: tokens.map(|t| rounded(t.0)),
            target_tokens: tokens.map(|t| rounded(t.1)),
            gflops: rounded(gflops),
            gemm_ceiling_gflops: rounded(ceiling),
            ceiling_share: rounded(gflops / ceiling),
            parameters: self.parameters,
            step_ms_all: self.times.into_iter().map(rounded).collect(),
        };
        show(&report, args.json)
    }
}

pub(super) fn step(args: &StepArgs) -> Result<(), Error> {
    let setting = Setting {
        image_size: args.image,
        channels: 3,
        normalise: Normalise { mean: vec![0.5; 3], std: vec![0.25; 3] },
        seed: 0,
        total_steps: 1_000_000,
        batch: args.batch,
        device: args.device.open()?,
        on_cpu: true,
    };
    match args.system {
        System::IJepa => i_jepa(args, &setting),
        System::LeJepa => le_jepa(args, &setting),
    }
}

fn i_jepa(args: &StepArgs, setting: &Setting) -> Result<(), Error> {
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
    let batches = batches(&objective, args)?;
    if let Some(path) = &args.save_masks {
        save_masks(path, &batches)?;
    }
    let tokens = (args.image / args.patch).pow(2);
    let block = Block { width: args.width, hidden: 4 * args.width };
    let narrow = Block { width: args.predictor_width, hidden: 4 * args.predictor_width };
    let patch = 3 * args.patch * args.patch;
    let work = |batch: &MaskedBatch| {
        let masks = &batch.masks;
        let (b, c, k, t) = (masks.batch, masks.context_len, masks.targets, masks.target_len);
        let target = linear(b * tokens, patch, args.width) + args.depth as f64 * block.forward(b, tokens);
        // Backward passes cost twice the forward pass; but nobody asks for the gradient of the pixels.
        let context = 2.0 * linear(b * c, patch, args.width) + 3.0 * args.depth as f64 * block.forward(b, c);
        let ends =
            linear(b * c, args.width, args.predictor_width) + linear(b * k * t, args.predictor_width, args.width);
        target + context + 3.0 * (ends + args.predictor_depth as f64 * narrow.forward(b * k, c + t))
    };
    let counted = &batches[args.warmup..];
    let mean = |f: &dyn Fn(&MaskedBatch) -> f64| counted.iter().map(f).sum::<f64>() / counted.len() as f64;
    let (flops, c, t) = (mean(&work), mean(&|b| b.masks.context_len as f64), mean(&|b| b.masks.target_len as f64));
    timed(objective, &batches, args, &setting.device)?.report(args, "i-jepa", flops, Some((c, t)))
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

fn le_jepa(args: &StepArgs, setting: &Setting) -> Result<(), Error> {
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
    let local = if let Auto::Value(size) = config.local_size { size } else { args.image };
    let forward = |side: usize, views: usize| {
        let images = views * args.batch;
        match &config.backbone {
            BackboneConfig::Resnet { widths, blocks, stem_kernel, stem_stride, .. } => {
                (residual(images, side, 3, widths, *blocks, (*stem_kernel, *stem_stride)), widths[widths.len() - 1])
            }
            BackboneConfig::Vit { .. } => {
                let (len, block) = ((side / args.patch).pow(2), Block { width: args.width, hidden: 4 * args.width });
                let embed = linear(images * len, 3 * args.patch * args.patch, args.width);
                (embed + args.depth as f64 * block.forward(images, len), args.width)
            }
        }
    };
    let (global, width) = forward(args.image, config.global_views);
    let rows = args.batch * (config.global_views + config.local_views);
    let mut lengths = vec![width];
    lengths.extend(config.projector.iter().chain([&config.code_width]));
    let maps: f64 = lengths.windows(2).map(|w| linear(rows, w[0], w[1])).sum();
    let work = 3.0 * (global + forward(local, config.local_views).0 + maps)
        + 2.0 * linear(rows, config.code_width, config.slices);
    match config.init(setting)? {
        LeJepa::Resnet(objective) => {
            let batches = batches(&objective, args)?;
            timed(objective, &batches, args, &setting.device)?.report(args, "le-jepa", work, None)
        }
        LeJepa::Vit(objective) => {
            let batches = batches(&objective, args)?;
            timed(objective, &batches, args, &setting.device)?.report(args, "le-jepa", work, None)
        }
    }
}

/// A batch for each step: noise does, as nothing learns here.
fn batches<O: Objective<Sample = Sample>>(objective: &O, args: &StepArgs) -> Result<Vec<O::Batch>, Error> {
    let mut noise = rng(0, Stream::Augment, 0, 0);
    let samples: Vec<Sample> = (0..args.batch)
        .map(|index| {
            let mut image = Image::black(args.image, args.image, 3);
            image.pixels.iter_mut().for_each(|pixel| *pixel = noise.random());
            Sample { index, name: index.to_string(), image: image.into(), labels: Vec::new() }
        })
        .collect();
    let collator = objective.collator();
    Ok((1..=args.warmup + args.steps).map(|step| collator.collate(step as u64, &samples)).collect::<Result<_, _>>()?)
}

fn timed<O: Objective>(objective: O, batches: &[O::Batch], args: &StepArgs, device: &Device) -> Result<Timed, Error> {
    let (mut optimiser, config) = (Optimiser::default(), TrainConfig::default());
    let parameters = objective.trained().num_params();
    let (mut objective, mut at) = (Some(objective), 0);
    let times = time(args.warmup, args.steps, || {
        let clock = Clock { step: at as u64 + 1, total: 1_000_000, batch: args.batch, health_due: false };
        let taken = objective.take().expect("put back after each step");
        let hyper = config.adamw(at as u64 + 1);
        objective = Some(take_step(taken, &mut optimiser, &batches[at], &clock, config.clip, hyper)?.0);
        at += 1;
        Ok(())
    })?;
    Ok(Timed { times, parameters, peak: peak_memory(), ceiling: ceiling(device)? })
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
    let mut vit = config.init(&mut rng(0, Stream::Init, 0, 0), &device);
    vit.prepare();
    let mut noise = rng(0, Stream::Augment, 0, 0);
    let values: Vec<f32> =
        (0..args.batch * 3 * args.image * args.image).map(|_| noise.random::<f32>() * 2.0 - 1.0).collect();
    let images = Tensor::<4>::from_data(TensorData::new(values, [args.batch, 3, args.image, args.image]), &device);
    let times = time(args.warmup, args.steps, || {
        let map = vit.tokens(images.clone());
        // Read back, so that a device that computes later has computed by now.
        let _ = ops::values(vit.pool(&map));
        Ok(())
    })?;
    let peak = peak_memory();
    let tokens = (args.image / args.patch).pow(2);
    let block = Block { width: args.width, hidden: 4 * args.width };
    let work = linear(args.batch * tokens, 3 * args.patch * args.patch, args.width)
        + args.depth as f64 * block.forward(args.batch, tokens);
    let ms = median(&times);
    let (gflops, ceiling) = (work / ms / 1e6, ceiling(&device)?);
    let report = Embedded {
        batch_ms: rounded(ms),
        images_per_s: rounded(args.batch as f64 / ms * 1e3),
        rss_mb: peak.map(rounded),
        tokens,
        gflops: rounded(gflops),
        gemm_ceiling_gflops: rounded(ceiling),
        ceiling_share: rounded(gflops / ceiling),
        batch_ms_all: times.into_iter().map(rounded).collect(),
    };
    show(&report, args.json)
}
