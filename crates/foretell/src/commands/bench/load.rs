//! `foretell bench load`: from files to augmented, normalised batches, without a step to feed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use foretell_data::{Augment, Auto, Dataset, Images, ImagesConfig, Loader, Modality, Normalise, feed};
use foretell_jepa::views::ViewsCollator;
use serde::Serialize;

use super::{positive, rounded, show};
use crate::Error;

/// What `bench load` was asked.
#[derive(Debug, clap::Args)]
pub(super) struct LoadArgs {
    /// Images: whatever `train --data` takes.
    #[arg(long)]
    data: PathBuf,
    /// Side of the crops in pixels.
    #[arg(long, value_parser = positive, default_value_t = 224)]
    image: usize,
    /// Images in a batch.
    #[arg(long, value_parser = positive, default_value_t = 64)]
    batch: usize,
    /// Threads that decode and augment.
    #[arg(long, value_parser = positive, default_value_t = 2)]
    threads: usize,
    /// Batches.
    #[arg(long, value_parser = positive, default_value_t = 20)]
    steps: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    images: usize,
    seconds: f64,
    images_per_s: f64,
}

/// One random resized crop of an image, flipped by chance and normalised, as torchvision's usual training transform.
pub(super) fn load(args: &LoadArgs) -> Result<(), Error> {
    let dataset = Dataset::open(&args.data)?;
    let crop = Augment { crop_scale: (0.08, 1.0), crop_aspect: (0.75, 4.0 / 3.0), flip: 0.5, ..Augment::default() };
    let channels = dataset.channels();
    let normalise = Normalise { mean: vec![0.5; channels], std: vec![0.25; channels] };
    let collator = ViewsCollator {
        seed: 0,
        size: args.image,
        local_size: args.image,
        global_views: 1,
        local_views: 0,
        local: crop.clone(),
        global: crop,
        normalise: normalise.clone(),
        code_width: 1,
        slices: 0,
    };
    let config =
        ImagesConfig { image_size: Auto::Value(args.image), cache_bytes: 0, normalise, ..ImagesConfig::default() };
    let source = Arc::new(Images::of(dataset, &config)?).training(args.batch, 0)?;
    let mut loader = Loader::new(feed(source, Arc::new(collator)), args.threads, 2, 1);
    for _ in 0..2 {
        loader.next()?;
    }
    let started = Instant::now();
    for _ in 0..args.steps {
        loader.next()?;
    }
    let (images, seconds) = (args.steps * args.batch, started.elapsed().as_secs_f64());
    show(&Report { images, seconds: rounded(seconds), images_per_s: rounded(images as f64 / seconds) }, args.json)
}
