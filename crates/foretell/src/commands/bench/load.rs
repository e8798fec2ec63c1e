//! `foretell bench load`: from files to augmented, normalised batches, without a step to feed; of other kinds of data to samples.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use foretell_data::random::{Stream, rng};
use foretell_data::{
    Augment, Auto, ClipSample, Clips, ClipsConfig, Collate, DataError, Dataset, Feed, Images, ImagesConfig, Loader,
    Modality, Normalise, Opening, feed,
};
use foretell_jepa::views::ViewsCollator;
use foretell_systems::{Member, family};
use serde::Serialize;
use toml::Table;

use super::{positive, rounded, show};
use crate::Error;

/// What `bench load` was asked.
#[derive(Debug, clap::Args)]
pub(super) struct LoadArgs {
    /// Images or clips, or data of another kind, whose samples are then all read once.
    #[arg(long)]
    data: PathBuf,
    /// Side of the crops in pixels.
    #[arg(long, value_parser = positive, default_value_t = 224)]
    image: usize,
    /// Images or clips in a batch: 64 images or 8 clips where nothing is said.
    #[arg(long, value_parser = positive)]
    batch: Option<usize>,
    /// Frames of a clip.
    #[arg(long, value_parser = positive, default_value_t = 16)]
    frames: usize,
    /// Frames of a clip in a second.
    #[arg(long, value_name = "N", default_value_t = 8.0)]
    fps: f64,
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

#[derive(Serialize)]
struct ClipsReport {
    clips: usize,
    frames: usize,
    seconds: f64,
    clips_per_s: f64,
    frames_per_s: f64,
}

#[derive(Serialize)]
struct WholeReport {
    samples: usize,
    seconds: f64,
    samples_per_s: f64,
}

/// One random resized crop of an image, flipped by chance and normalised, as torchvision's usual training transform; of a clip the same
/// of all its frames.
pub(super) fn load(args: &LoadArgs) -> Result<(), Error> {
    let crop = Augment { crop_scale: (0.08, 1.0), crop_aspect: (0.75, 4.0 / 3.0), flip: 0.5, ..Augment::default() };
    let images = Dataset::open(&args.data);
    if images.is_err() && Clips::recognises(&args.data) {
        let batch = args.batch.unwrap_or(8);
        let seconds = timed(of_clips(args, batch, crop)?, args)?;
        let (clips, frames) = (args.steps * batch, args.steps * batch * args.frames);
        let report = ClipsReport {
            clips,
            frames,
            seconds: rounded(seconds),
            clips_per_s: rounded(clips as f64 / seconds),
            frames_per_s: rounded(frames as f64 / seconds),
        };
        return show(&report, args.json);
    }
    if let Some(member) = family::members().find(|member| images.is_err() && member.recognises(&args.data)) {
        return whole(member, args);
    }
    let batch = args.batch.unwrap_or(64);
    let seconds = timed(of_images(images?, args, batch, crop)?, args)?;
    let images = args.steps * batch;
    show(&Report { images, seconds: rounded(seconds), images_per_s: rounded(images as f64 / seconds) }, args.json)
}

/// Seconds that the batches take, behind two of which nothing is counted.
fn timed(feed: Arc<dyn Feed>, args: &LoadArgs) -> Result<f64, Error> {
    let mut loader = Loader::new(feed, args.threads, 2, 1);
    for _ in 0..2 {
        loader.next()?;
    }
    let started = Instant::now();
    for _ in 0..args.steps {
        loader.next()?;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Every sample of data of another kind, each once as it is read for training; what is measured when they are opened is in the time.
fn whole(member: &dyn Member, args: &LoadArgs) -> Result<(), Error> {
    let mut data = Table::new();
    data.insert("path".to_owned(), args.data.to_string_lossy().into_owned().into());
    let started = Instant::now();
    let samples = member.read_all(data, &mut |_, _| {})?.samples;
    let seconds = started.elapsed().as_secs_f64();
    show(
        &WholeReport { samples, seconds: rounded(seconds), samples_per_s: rounded(samples as f64 / seconds) },
        args.json,
    )
}

fn of_images(dataset: Dataset, args: &LoadArgs, batch: usize, crop: Augment) -> Result<Arc<dyn Feed>, Error> {
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
    let source = Arc::new(Images::of(dataset, &config)?).training(batch, 0)?;
    Ok(feed(source, Arc::new(collator)))
}

/// Nothing is kept in memory: each clip is decoded.
fn of_clips(args: &LoadArgs, batch: usize, augment: Augment) -> Result<Arc<dyn Feed>, Error> {
    let normalise = Normalise { mean: vec![0.5; 3], std: vec![0.25; 3] };
    let mut config = ClipsConfig {
        path: args.data.to_string_lossy().into_owned(),
        frames: args.frames,
        fps: Auto::Value(args.fps),
        image_size: Auto::Value(args.image),
        cache_mb: 0,
        normalise: normalise.clone(),
        ..ClipsConfig::default()
    };
    let mut opening = Opening { seed: 0, batch, threads: args.threads, decisions: &mut Vec::new() };
    let source = Arc::new(Clips::open(&mut config, &mut opening)?).training(batch, 0)?;
    Ok(feed(source, Arc::new(ViewOfClips { augment, size: args.image, normalise })))
}

/// One view of each clip, `[B, T, C, S, S]`.
struct ViewOfClips {
    augment: Augment,
    size: usize,
    normalise: Normalise,
}

impl Collate for ViewOfClips {
    type Sample = ClipSample;
    type Batch = Vec<f32>;

    fn collate(&self, step: u64, samples: &[ClipSample]) -> Result<Vec<f32>, DataError> {
        let frames: usize = samples.iter().map(|sample| sample.frames.len()).sum();
        let each = 3 * self.size * self.size;
        let mut batch = vec![0.0; frames * each];
        let mut rest = batch.chunks_exact_mut(each);
        for (sample, index) in samples.iter().zip(0..) {
            let view = sample.view(&self.augment, self.size, &mut rng(0, Stream::Augment, step, index));
            for (frame, out) in view.frames.iter().zip(rest.by_ref()) {
                self.normalise.apply(frame, out);
            }
        }
        Ok(batch)
    }
}
