//! `foretell bench embed`: features of a vision transformer, forward only.

use burn::tensor::{Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_nn::ImageNetwork;
use foretell_nn::vit::VitConfig;
use foretell_ops as ops;
use rand::RngExt;
use serde::Serialize;

use super::{ceiling, counted, median, peak_memory, positive, rounded, show};
use crate::{DeviceChoice, Error, PrecisionChoice};

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
    /// In how many bits to hold the weights of the blocks.
    #[arg(long, value_enum, default_value_t)]
    precision: PrecisionChoice,
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
    if !vit.prepare(args.precision.get()) {
        return Err(args.precision.unfit("the network on another device"));
    }
    let mut noise = rng(0, Stream::Augment, 0, 0);
    let values: Vec<f32> =
        (0..args.batch * 3 * args.image * args.image).map(|_| noise.random::<f32>() * 2.0 - 1.0).collect();
    let images = Tensor::<4>::from_data(TensorData::new(values, [args.batch, 3, args.image, args.image]), &device);
    let (times, work) = counted(args.warmup, args.steps, || {
        // Read back, so that a device that computes later has computed by now.
        let _ = ops::values(vit.tokens(images.clone()).tokens);
        Ok(())
    })?;
    let peak = peak_memory();
    let tokens = (args.image / args.patch).pow(2);
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
