//! `foretell bench load`: from files to augmented, normalised batches, without a step to feed; of sound to log-mel spectrograms.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use foretell_data::random::{Stream, rng};
use foretell_data::sound::{SoundConfig, Sounds};
use foretell_data::{
    Augment, Auto, ClipSample, Clips, ClipsConfig, Collate, DataError, Dataset, Feed, Images, ImagesConfig, Loader,
    Modality, Normalise, Opening, Part, feed,
};
use foretell_jepa::views::ViewsCollator;
use serde::Serialize;

use super::{positive, rounded, show};
use crate::Error;

/// What `bench load` was asked.
#[derive(Debug, clap::Args)]
pub(super) struct LoadArgs {
    /// Images, clips or sound: whatever `train --data` takes.
    #[arg(long)]
    data: PathBuf,
    /// Side of the crops in pixels.
    #[arg(long, value_parser = positive, default_value_t = 224)]
    image: usize,
    /// Samples in a batch: 64 images or sounds or 8 clips where nothing is said.
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
struct SoundReport {
    sounds: usize,
    seconds: f64,
    sounds_per_s: f64,
    frames_per_s: f64,
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
    let batch = args.batch.unwrap_or(64);
    if images.is_err() && Sounds::recognises(&args.data) {
        return sound(args, batch);
    }
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

/// Whole recordings, each once: nothing is kept in memory and nothing is cut.
fn sound(args: &LoadArgs, batch: usize) -> Result<(), Error> {
    let path = args.data.to_string_lossy().into_owned();
    let mut config = SoundConfig { path, cache_mb: 0, ..SoundConfig::default() };
    let mut opening = Opening { seed: 0, batch: 1, threads: args.threads, decisions: &mut Vec::new() };
    let sounds = Sounds::open(&mut config, &mut opening)?;
    let sounds = Recordings { count: sounds.len(Part::Train).unwrap_or(0), sounds, batch };
    let (count, steps) = (sounds.count, sounds.count.div_ceil(batch));
    let started = Instant::now();
    let mut loader = Loader::new(Arc::new(sounds), args.threads, 2, 1);
    let mut frames = 0;
    for _ in 0..steps {
        let batch: Box<dyn Any + Send> = loader.next()?;
        frames += batch.downcast_ref::<usize>().copied().unwrap_or(0);
    }
    let seconds = started.elapsed().as_secs_f64();
    let report = SoundReport {
        sounds: count,
        seconds: rounded(seconds),
        sounds_per_s: rounded(count as f64 / seconds),
        frames_per_s: rounded(frames as f64 / seconds),
    };
    show(&report, args.json)
}

/// The recordings to learn from in their order; a batch is how many frames they have.
struct Recordings {
    sounds: Sounds,
    batch: usize,
    count: usize,
}

impl Feed for Recordings {
    fn batch(&self, step: u64) -> Result<Box<dyn Any + Send>, DataError> {
        let first = (step as usize - 1) * self.batch;
        let mut frames = 0_usize;
        for index in first..(first + self.batch).min(self.count) {
            frames += self.sounds.load(Part::Train, index)?.frames;
        }
        Ok(Box::new(frames))
    }
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
