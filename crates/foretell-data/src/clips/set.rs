//! Clips as a kind of data: what training, evaluation and people are given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clips::config::ClipsConfig;
use crate::clips::moving::{self, MovingConfig, SECONDS, USUAL_SIZE};
use crate::clips::sample::ClipSample;
use crate::images::labels::Factor;
use crate::images::transform::crop_resize;
use crate::modality::{Description, Meta, Modality, OnBadSample, Opening, Part, Unit};
use crate::normalise::Normalise;
use crate::source::Source;
use crate::visit::spread;
use crate::{Auto, Crop, DataError, Epochs, Image};

/// Clips that are measured at most.
const MEASURED: usize = 64;
/// Frames of a clip that the baseline takes, and their side in pixels.
const BASELINE_FRAMES: usize = 4;
const BASELINE_SIDE: usize = 16;

/// Clips, their labels and their split.
#[derive(Debug)]
pub struct Clips {
    config: ClipsConfig,
    from: Arc<Origin>,
    factors: Vec<Factor>,
}

/// Where clips come from.
#[derive(Debug)]
enum Origin {
    /// Drawn when they are asked for.
    Scenes { scenes: MovingConfig, size: usize, frames: usize },
}

impl Origin {
    fn len(&self, part: Part) -> Option<usize> {
        match self {
            Self::Scenes { scenes, .. } => scenes.len(part),
        }
    }

    fn check(&self, part: Part, index: usize) -> Result<(), DataError> {
        match self.len(part) {
            Some(len) if index >= len => Err(DataError::OutOfRange { part: part.name(), index, len }),
            _ => Ok(()),
        }
    }

    fn meta(&self, part: Part, index: usize) -> Result<Meta, DataError> {
        self.check(part, index)?;
        match self {
            Self::Scenes { scenes, .. } => Ok(Meta {
                name: moving::name(part, index as u64),
                labels: moving::labels(scenes, part, index as u64).to_vec(),
                ..Meta::default()
            }),
        }
    }

    fn load(&self, part: Part, index: usize) -> Result<ClipSample, DataError> {
        self.check(part, index)?;
        match self {
            Self::Scenes { scenes, size, frames } => Ok(scene(scenes, *size, *frames, part, index as u64)),
        }
    }
}

fn scene(scenes: &MovingConfig, size: usize, frames: usize, part: Part, index: u64) -> ClipSample {
    ClipSample::new(moving::draw(scenes, size, frames, part, index).0)
}

impl Clips {
    /// The moving scenes as a config says, whose `path` is not looked at.
    fn scenes(config: &mut ClipsConfig, opening: &mut Opening<'_>) -> Result<Self, DataError> {
        config.scenes.check().map_err(|error| error.under("data.scenes"))?;
        let asked = if let Auto::Value(size) = config.image_size { Some(size) } else { None };
        let size = config.scenes.size.resolve("data.scenes.size", opening.decisions, || match asked {
            Some(size) => (size, "as large as the samples".to_owned()),
            None => (USUAL_SIZE, "enough to tell the shapes".to_owned()),
        });
        config.scenes.check().map_err(|error| error.under("data.scenes"))?;
        config
            .image_size
            .resolve("data.image_size", opening.decisions, || (size, "as the scenes are drawn".to_owned()));
        let fps = config.frames as f64 / SECONDS;
        let whole = || format!("{} frames are spread over a scene of {SECONDS} seconds", config.frames);
        for (name, setting, value) in
            [("data.fps", &mut config.fps, fps), ("data.seconds", &mut config.seconds, SECONDS)]
        {
            let given = setting.resolve(name, opening.decisions, || (value, whole()));
            if (given - value).abs() > 1e-6 * value {
                return Err(DataError::BadSetting {
                    name: name.into(),
                    expected: "left at \"auto\" for the moving scenes, which last 2 seconds",
                    found: given.to_string(),
                });
            }
        }
        let from = Origin::Scenes { scenes: config.scenes.clone(), size, frames: config.frames };
        Ok(Self { config: config.clone(), from: Arc::new(from), factors: moving::factors() })
    }

    /// Mean and deviation of each channel, of at most 64 training samples spread evenly over the part.
    fn measure(&self, size: usize, threads: usize) -> Result<Normalise, DataError> {
        let from = Arc::clone(&self.from);
        let places: Vec<usize> = spread(from.len(Part::Train), MEASURED).collect();
        Normalise::of_images(3, places.len(), 1, threads, move |place| {
            Ok(from.load(Part::Train, places[place])?.fit(size).frames.to_vec())
        })
    }

    /// The resolved configuration.
    pub fn config(&self) -> &ClipsConfig {
        &self.config
    }
}

impl Modality for Clips {
    type Config = ClipsConfig;
    type Sample = ClipSample;
    const UNIT: Unit = Unit { one: "clip", many: "clips" };
    const BASELINE: &'static str = "pixels";
    const CONTROL: Option<&'static str> = Some("one frame repeated");

    fn open(config: &mut ClipsConfig, opening: &mut Opening<'_>) -> Result<Self, DataError> {
        config.check_frames()?;
        if !config.path.is_empty() {
            return Err(DataError::Setting("clips from files are not read yet".to_owned()));
        }
        let mut clips = Self::scenes(config, opening)?;
        if let Some(len) = clips.len(Part::Train) {
            crate::epochs::check_batch::<Self>(len, opening.batch)?;
        }
        if let (true, Auto::Value(size)) = (config.normalise.mean.is_empty(), config.image_size) {
            config.normalise = clips.measure(size, opening.threads)?;
        }
        config.form()?;
        clips.config = config.clone();
        Ok(clips)
    }

    fn of_paths(_: &ClipsConfig, paths: &[PathBuf]) -> Result<Self, DataError> {
        Err(DataError::Setting(format!("clips from files are not read yet: {paths:?}")))
    }

    fn elsewhere(config: &ClipsConfig, path: &str) -> ClipsConfig {
        ClipsConfig { path: path.to_owned(), fingerprint: String::new(), ..config.clone() }
    }

    fn source(config: &ClipsConfig) -> String {
        if config.path.is_empty() { "built-in moving scenes".to_owned() } else { config.path.clone() }
    }

    fn recognises(_: &Path) -> bool {
        false
    }

    fn describe(&self) -> Description {
        let [train, held_out] = [Part::Train, Part::HeldOut].map(|part| self.len(part).unwrap_or(0));
        let Origin::Scenes { scenes, size, .. } = &*self.from;
        Description {
            split: "each part is drawn for itself".to_owned(),
            factors: self.factors.clone(),
            numbers: BTreeMap::from([("frames".to_owned(), self.config.frames.into())]),
            ..Description::of::<Self>(
                &format!("generated moving scenes, {size}×{size}, seed {}", scenes.seed),
                train,
                held_out,
            )
        }
    }

    fn factors(&self) -> &[Factor] {
        &self.factors
    }

    fn len(&self, part: Part) -> Option<usize> {
        self.from.len(part)
    }

    fn meta(&self, part: Part, index: usize) -> Result<Meta, DataError> {
        self.from.meta(part, index)
    }

    fn load(&self, part: Part, index: usize) -> Result<ClipSample, DataError> {
        self.from.load(part, index)
    }

    fn prepare(&self, sample: ClipSample) -> ClipSample {
        let Auto::Value(size) = self.config.image_size else { return sample };
        sample.fit(size)
    }

    /// Four frames spread over the clip, 16 × 16 each.
    fn baseline(&self, sample: &ClipSample) -> Vec<f32> {
        let frames = crate::sample_frames(sample.frames.len(), BASELINE_FRAMES);
        let small = frames.into_iter().map(|frame| {
            let image = &sample.frames[frame];
            crop_resize(image, Crop::whole(image), BASELINE_SIDE)
        });
        small.flat_map(|image| image.pixels).map(|pixel| f32::from(pixel) / 255.0).collect()
    }

    /// The clip whose frames are all its middle one: what is known of it is not known of motion.
    fn control(&self, sample: &ClipSample) -> Option<ClipSample> {
        let middle = sample.frames.get(sample.frames.len() / 2)?;
        Some(ClipSample::new(vec![middle.clone(); sample.frames.len()]))
    }

    /// Its middle frame.
    fn picture(&self, sample: &ClipSample) -> Option<Image> {
        sample.frames.get(sample.frames.len() / 2).cloned()
    }

    fn enough_to_probe(&self) -> usize {
        match &*self.from {
            Origin::Scenes { .. } => 4000,
        }
    }

    fn on_bad(&self) -> OnBadSample {
        self.config.on_bad_sample
    }

    fn training(self: &Arc<Self>, batch: usize, seed: u64) -> Result<Arc<dyn Source<Sample = ClipSample>>, DataError> {
        match &*self.from {
            Origin::Scenes { scenes, size, frames } if scenes.train == 0 => {
                let (scenes, size, frames) = (scenes.clone(), *size, *frames);
                Ok(Arc::new(Endless { scenes, size, frames, batch, seed }))
            }
            Origin::Scenes { .. } => Ok(Arc::new(Epochs::new(Arc::clone(self), batch, seed)?)),
        }
    }
}

/// Scenes of which none comes twice.
struct Endless {
    scenes: MovingConfig,
    size: usize,
    frames: usize,
    batch: usize,
    seed: u64,
}

impl Source for Endless {
    type Sample = ClipSample;

    /// Runs with different seeds learn from different scenes: 2⁴⁰ lie between the first ones of two seeds.
    fn batch(&self, step: u64) -> Result<Vec<ClipSample>, DataError> {
        let first = self.seed.wrapping_mul(1 << 40).wrapping_add((step - 1).wrapping_mul(self.batch as u64));
        let draw = |place| scene(&self.scenes, self.size, self.frames, Part::Train, first.wrapping_add(place));
        Ok((0..self.batch as u64).map(draw).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, rng};
    use crate::{Augment, Decision};

    fn open(mut config: ClipsConfig) -> Result<(Clips, ClipsConfig, Vec<Decision>), DataError> {
        let mut decisions = Vec::new();
        let mut opening = Opening { seed: 0, batch: 2, threads: 2, decisions: &mut decisions };
        let clips = Clips::open(&mut config, &mut opening)?;
        Ok((clips, config, decisions))
    }

    #[test]
    fn scenes_are_resolved_measured_and_without_end() {
        let (clips, config, decisions) = open(ClipsConfig::default()).unwrap();
        assert_eq!(config.form().unwrap(), (16, 64, 3));
        assert_eq!((config.fps, config.seconds), (Auto::Value(8.0), Auto::Value(2.0)));
        let told: Vec<&str> = decisions.iter().map(|decision| decision.what.as_str()).collect();
        assert_eq!(told, ["data.scenes.size", "data.image_size", "data.fps", "data.seconds"]);
        assert_eq!((clips.len(Part::Train), clips.len(Part::HeldOut)), (None, Some(1000)));
        // A resolved config is opened as it is.
        assert_eq!(open(config.clone()).unwrap().1, config);

        let clips = Arc::new(clips);
        let source = clips.training(3, 0).unwrap();
        let second = source.batch(2).unwrap();
        assert!(second == (3..6).map(|index| clips.load(Part::Train, index).unwrap()).collect::<Vec<_>>());
        assert!(clips.training(3, 1).unwrap().batch(2).unwrap() != second);
        let sample = clips.prepare(second[0].clone());
        assert_eq!(sample.frames.len(), 16);
        assert_eq!(clips.baseline(&sample).len(), 4 * 16 * 16 * 3);
        assert!(clips.load(Part::HeldOut, 1000).is_err());
    }

    #[test]
    fn what_scenes_cannot_be_is_refused() {
        let refused = |config: ClipsConfig| open(config).unwrap_err().to_string();
        let scenes = MovingConfig { size: Auto::Value(4), ..MovingConfig::default() };
        assert!(refused(ClipsConfig { scenes, ..ClipsConfig::default() }).contains("data.scenes.size"));
        assert!(refused(ClipsConfig { frames: 0, ..ClipsConfig::default() }).contains("data.frames"));
        assert!(refused(ClipsConfig { fps: Auto::Value(3.0), ..ClipsConfig::default() }).contains("data.fps"));
        let scenes = MovingConfig { train: 3, ..MovingConfig::default() };
        assert!(refused(ClipsConfig { scenes, ..ClipsConfig::default() }).contains("clips"));
    }

    #[test]
    fn every_frame_of_a_view_is_changed_alike() {
        let (clips, ..) = open(ClipsConfig { frames: 3, ..ClipsConfig::default() }).unwrap();
        let frame = clips.load(Part::HeldOut, 0).unwrap().frames[0].clone();
        let augment = Augment {
            crop_scale: (0.3, 0.6),
            flip: 0.5,
            jitter: 1.0,
            brightness: 0.4,
            contrast: 0.4,
            hue: 0.2,
            blur: 0.5,
            ..Augment::default()
        };
        let still = ClipSample::new(vec![frame.clone(); 3]);
        for index in 0..10 {
            let mut once = rng(0, Stream::Augment, 0, index);
            let mut whole = once.clone();
            let expected = augment.apply(&frame, 24, &mut once);
            let view = still.view(&augment, 24, &mut whole);
            assert!(view.frames.iter().all(|frame| *frame == expected));
            // And what is drawn behind it does not depend on how many frames there are.
            assert!(whole == once);
        }
    }
}
