//! Clips as a kind of data: what training, evaluation and people are given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use super::config::{ClipsConfig, ShortClips};
use super::ffmpeg::{About, about};
use super::files::Files;
use super::listing::{ClipFile, Listing, Looking, recognised};
use super::moving::flow::{self, FlowMap};
use super::moving::{self, MovingConfig, SECONDS, USUAL_SIZE};
use super::sample::ClipSample;
use super::windows::{Cut, Extent};
use crate::images::labels::Factor;
use crate::images::recognise::Extent as Whose;
use crate::images::scenes;
use crate::images::transform::crop_resize;
use crate::images::usual_size;
use crate::modality::{Description, Film, Meta, Modality, OnBadSample, Opening, Part, Unit};
use crate::normalise::Normalise;
use crate::source::Source;
use crate::together::together;
use crate::visit::{fail, spread};
use crate::{Auto, Crop, DataError, Decision, Epochs, Image};

/// Clips that are measured at most, and how many a thread reads at a time.
const MEASURED: usize = 64;
const CHUNK: usize = 8;
/// Clips of which ffmpeg is asked what they are like.
const LOOKED_AT: usize = 32;
/// Frames of a clip that the baseline takes, and their side in pixels.
const BASELINE_FRAMES: usize = 4;
const BASELINE_SIDE: usize = 16;

/// Clips, their labels and their split.
#[derive(Debug)]
pub struct Clips {
    config: ClipsConfig,
    from: Arc<Origin>,
    factors: Vec<Factor>,
    /// Of clips in files.
    told: Told,
}

/// What people are told of clips in files.
#[derive(Debug, Default)]
struct Told {
    format: String,
    split: String,
    notes: Vec<String>,
    /// The median of the clips' shorter sides, in pixels.
    short_side: usize,
}

/// Where clips come from.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a data set has one of them")]
enum Origin {
    /// Drawn when they are asked for.
    Scenes { scenes: MovingConfig, size: usize, frames: usize },
    /// Read when they are asked for.
    Files(Files),
}

impl Origin {
    fn len(&self, part: Part) -> Option<usize> {
        match self {
            Self::Scenes { scenes, .. } => scenes.len(part),
            Self::Files(files) => Some(files.len(part)),
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
                name: scenes::name(part, index),
                labels: moving::labels(scenes, part, index as u64).to_vec(),
                ..Meta::default()
            }),
            Self::Files(files) => Ok(files.meta(part, index)),
        }
    }

    fn load(&self, part: Part, indices: &[usize]) -> Vec<Result<ClipSample, DataError>> {
        match self {
            Self::Scenes { scenes, size, frames } => {
                let draw = |index: &usize| {
                    self.check(part, *index)?;
                    Ok(scene(scenes, *size, *frames, part, *index as u64))
                };
                indices.iter().map(draw).collect()
            }
            Self::Files(files) => files.load(part, indices),
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
        let told = Told::default();
        Ok(Self { config: config.clone(), from: Arc::new(from), factors: moving::factors(), told })
    }

    /// Clips in files, as far as they are known without decoding any.
    fn files(config: &mut ClipsConfig, opening: &mut Opening<'_>, whose: Whose) -> Result<Self, DataError> {
        if config.scenes != MovingConfig::default() {
            config.scenes = MovingConfig::default();
            opening.decisions.push(Decision {
                what: "data.scenes".to_owned(),
                value: "not looked at".to_owned(),
                reason: "it is of the moving scenes that come with the program, and clips were named".to_owned(),
            });
        }
        let looking = config.looking(opening.threads)?;
        let listing = Listing::open(Path::new(&config.path), config.reading(whose), &looking)?;
        let fingerprint = fingerprint(&listing, config);
        let seen: Vec<Extent> = listing.all().filter_map(|clip| Some(clip.seen.as_ref().ok()?.extent)).collect();
        if seen.is_empty() {
            return Err(all_bad(listing.all()));
        }
        let cut = config.resolve_time(&seen, opening.decisions)?;
        let (short_side, mut notes) = likes(&listing, &looking)?;
        let size = config.image_size.resolve("data.image_size", opening.decisions, || usual_size(short_side));
        config.check_size()?;
        notes.extend(short_note(&seen, cut));
        let Listing { format, split, notes: told, factors, .. } = &listing;
        let (format, split, factors) = (format.clone(), split.clone(), factors.clone());
        let notes = told.iter().cloned().chain(notes).collect();
        let files = Files::new(listing, cut, 2 * size, looking, config.cache_mb << 20, config.open_files);
        let fingerprint = format!("{fingerprint:016x}");
        if !config.fingerprint.is_empty() && config.fingerprint != fingerprint {
            return Err(DataError::changed(Self::UNIT, &config.path));
        }
        config.fingerprint = fingerprint;
        let told = Told { format, split, notes, short_side };
        Ok(Self { config: config.clone(), from: Arc::new(Origin::Files(files)), factors, told })
    }

    fn open_as(config: &mut ClipsConfig, opening: &mut Opening<'_>) -> Result<Self, DataError> {
        config.check()?;
        if config.path.is_empty() { Self::scenes(config, opening) } else { Self::files(config, opening, Whose::Split) }
    }

    /// Mean and deviation of each channel, of at most 64 training samples spread evenly over the part.
    fn measure(&self, size: usize, threads: usize) -> Result<Normalise, DataError> {
        let from = Arc::clone(&self.from);
        let places: Vec<usize> = spread(from.len(Part::Train), MEASURED).collect();
        let on_bad = self.config.on_bad_sample;
        Normalise::of_images(3, places.len(), CHUNK, threads, move |chunk| {
            let places = &places[chunk];
            let mut images = Vec::new();
            for (sample, place) in from.load(Part::Train, places).into_iter().zip(places) {
                match sample {
                    Ok(sample) => images.extend(sample.fit(size).frames.iter().cloned()),
                    Err(_) if on_bad == OnBadSample::Skip => {}
                    Err(error) => return Err(fail(error, from.meta(Part::Train, *place)?.name)),
                }
            }
            Ok(images)
        })
    }

    /// The resolved configuration.
    pub fn config(&self) -> &ClipsConfig {
        &self.config
    }

    /// How the pixels of one frame of a prepared sample move to another frame, where that is known: of the moving scenes.
    pub fn flow(&self, part: Part, index: usize, between: [usize; 2]) -> Result<Option<FlowMap>, DataError> {
        self.from.check(part, index)?;
        match (&*self.from, self.config.image_size) {
            (Origin::Scenes { scenes, frames, .. }, Auto::Value(size)) => {
                Ok(Some(flow::flow(scenes, size, *frames, (part, index as u64), between)))
            }
            _ => Ok(None),
        }
    }

    /// Of each of these frames of a prepared sample, the share of each of `side` × `side` cells, row by row, in which something is seen
    /// that moves, where that is known: of the moving scenes.
    pub fn moving_shares(
        &self,
        part: Part,
        index: usize,
        of: &[usize],
        side: usize,
    ) -> Result<Option<Vec<Vec<f32>>>, DataError> {
        self.from.check(part, index)?;
        match &*self.from {
            Origin::Scenes { scenes, frames, .. } => {
                Ok(Some(moving::moving_shares(scenes, *frames, (part, index as u64), of, side)))
            }
            Origin::Files(_) => Ok(None),
        }
    }

    /// The two neighbouring frames of a sample by which flow is judged: another moment in each of them, of two frames at least.
    pub fn judged_frames(&self, index: usize) -> [usize; 2] {
        let first = index % (self.config.frames - 1).max(1);
        [first, first + 1]
    }
}

impl Modality for Clips {
    type Config = ClipsConfig;
    type Sample = ClipSample;
    const UNIT: Unit = Unit { one: "clip", many: "clips" };
    const BASELINE: &'static str = "pixels";
    const MEASURED: &'static [&'static str] = &["normalise", "fingerprint"];
    const CONTROL: Option<&'static str> = Some("one frame repeated");

    fn open(config: &mut ClipsConfig, opening: &mut Opening<'_>) -> Result<Self, DataError> {
        let mut clips = Self::open_as(config, opening)?;
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

    fn of_paths(config: &ClipsConfig, paths: &[PathBuf]) -> Result<Self, DataError> {
        config.form()?;
        let (Auto::Value(size), Some(cut)) = (config.image_size, config.cut()) else {
            return Err(DataError::BadSetting {
                name: "data.fps".into(),
                expected: "a number in the config of a run",
                found: "auto".to_owned(),
            });
        };
        // A clip that was asked for is there, however short.
        let cut = Cut { short: ShortClips::Repeat, ..cut };
        let looking = config.looking(std::thread::available_parallelism().map_or(1, usize::from))?;
        let listing = Listing::of_paths(paths, config.reading(Whose::Whole), &looking)?;
        let factors = listing.factors.clone();
        let seen: Vec<Extent> = listing.all().filter_map(|clip| Some(clip.seen.as_ref().ok()?.extent)).collect();
        let notes = listing.notes.iter().cloned().chain(short_note(&seen, cut)).collect();
        let told = Told { format: listing.format.clone(), split: listing.split.clone(), notes, short_side: size };
        let files = Files::new(listing, cut, 2 * size, looking, 0, config.open_files);
        Ok(Self { config: config.clone(), from: Arc::new(Origin::Files(files)), factors, told })
    }

    fn elsewhere(config: &ClipsConfig, path: &str) -> ClipsConfig {
        ClipsConfig { path: path.to_owned(), fingerprint: String::new(), ..config.clone() }
    }

    fn source(config: &ClipsConfig) -> String {
        if config.path.is_empty() { "built-in moving scenes".to_owned() } else { config.path.clone() }
    }

    fn recognises(path: &Path) -> bool {
        recognised(path)
    }

    /// Without measuring them, which takes decoding.
    fn look_as(mut config: ClipsConfig) -> Result<Description, DataError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut opening = Opening { seed: 0, batch: 1, threads, decisions: &mut Vec::new() };
        Ok(Self::open_as(&mut config, &mut opening)?.describe())
    }

    fn describe(&self) -> Description {
        let [train, held_out] = [Part::Train, Part::HeldOut].map(|part| self.len(part).unwrap_or(0));
        let ClipsConfig { frames, fps, seconds, .. } = &self.config;
        let number = |setting: &Auto<f64>| if let Auto::Value(value) = setting { *value } else { 0.0 };
        let (fps, seconds) = (number(fps), number(seconds));
        let told = |value: f64| (value * 1e3).round() / 1e3;
        let window = format!("{frames} frames, {} a second: {} seconds", told(fps), told(seconds));
        let mut numbers = BTreeMap::from([
            ("frames".to_owned(), Value::from(*frames)),
            ("fps".to_owned(), fps.into()),
            ("seconds".to_owned(), seconds.into()),
        ]);
        let mut facts = vec![("window".to_owned(), window)];
        let (format, split) = match &*self.from {
            Origin::Scenes { scenes, size, .. } => {
                let format = format!("generated moving scenes, {size}×{size}, seed {}", scenes.seed);
                (format, "each part is drawn for itself".to_owned())
            }
            Origin::Files(files) => {
                let [train, held_out] = [Part::Train, Part::HeldOut].map(|part| files.clips(part));
                let windows = (files.len(Part::Train) + files.len(Part::HeldOut)) as f64;
                let each = windows / (train + held_out).max(1) as f64;
                facts.push((
                    "files".to_owned(),
                    format!("{train} to train, {held_out} held out; {each:.1} windows of each on average"),
                ));
                facts.push(("pixels".to_owned(), format!("median short side {}", self.told.short_side)));
                numbers.insert("files".to_owned(), (train + held_out).into());
                numbers.insert("median_short_side".to_owned(), self.told.short_side.into());
                (self.told.format.clone(), self.told.split.clone())
            }
        };
        Description {
            endless: self.len(Part::Train).is_none(),
            split,
            factors: self.factors.clone(),
            facts,
            numbers,
            notes: self.told.notes.clone(),
            ..Description::of::<Self>(&format, train, held_out)
        }
    }

    fn cautions(&self) -> Vec<String> {
        self.told.notes.clone()
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
        self.from.load(part, &[index]).pop().unwrap_or(Err(DataError::NoInputs))
    }

    fn load_many(&self, part: Part, indices: &[usize]) -> Vec<Result<ClipSample, DataError>> {
        self.from.load(part, indices)
    }

    fn load_many_to_train(&self, indices: &[usize]) -> Vec<Result<ClipSample, DataError>> {
        self.from.load(Part::Train, indices)
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

    fn objects(&self) -> Vec<String> {
        if matches!(*self.from, Origin::Scenes { .. }) { moving::objects() } else { Vec::new() }
    }

    fn covered(&self, part: Part, index: usize, grid: (usize, usize, usize)) -> Option<Vec<(u32, f32)>> {
        match &*self.from {
            Origin::Scenes { scenes, frames, .. } => Some(moving::covered(scenes, *frames, part, index as u64, grid)),
            Origin::Files(_) => None,
        }
    }

    /// As fast as it is.
    fn film(&self, sample: &ClipSample) -> Option<Film> {
        let Auto::Value(fps) = self.config.fps else { return None };
        Some(Film { frames: sample.frames.to_vec(), fps })
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
        4000
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
            _ => Ok(Arc::new(Epochs::new(Arc::clone(self), batch, seed)?)),
        }
    }
}

/// Why none of the clips can be read.
fn all_bad<'a>(clips: impl Iterator<Item = &'a ClipFile>) -> DataError {
    let mut bad = clips.filter_map(|clip| Some((clip, clip.seen.as_ref().err()?)));
    let Some((first, reason)) = bad.next() else { return DataError::NoInputs };
    let source = DataError::BadClip { name: first.name.clone(), reason: reason.clone() };
    DataError::AllBad { unit: Clips::UNIT, tried: 1 + bad.count(), source: Box::new(source) }
}

/// The median short side in pixels, and a note for each thing that is changed when frames are read: of a sample of the clips.
fn likes(listing: &Listing, looking: &Looking) -> Result<(usize, Vec<String>), DataError> {
    let good: Vec<&ClipFile> = listing.all().filter(|clip| clip.seen.is_ok()).collect();
    let (mut sides, mut changes, mut failed) = (Vec::new(), BTreeMap::<&str, usize>::new(), None);
    let places: Vec<usize> = spread(Some(good.len()), LOOKED_AT).collect();
    let looked = |place: usize| -> Result<About, (usize, String)> {
        let ClipFile { seen, path, .. } = good[place];
        match seen {
            Ok(seen) if !seen.decoded => Ok(About { size: seen.size.unwrap_or((0, 0)), ..About::default() }),
            _ => about(&looking.program, path).map_err(|reason| (place, reason)),
        }
    };
    for about in together(looking.threads, places.len(), |i| looked(places[i])) {
        match about {
            Ok(about) => {
                sides.push(about.size.0.min(about.size.1));
                about.changes.iter().for_each(|change| *changes.entry(change).or_insert(0) += 1);
            }
            Err(error) => _ = failed.get_or_insert(error),
        }
    }
    if let (true, Some((place, reason))) = (sides.is_empty(), failed) {
        let source = DataError::BadClip { name: good[place].name.clone(), reason };
        return Err(DataError::AllBad { unit: Clips::UNIT, tried: places.len(), source: Box::new(source) });
    }
    sides.sort_unstable();
    let looked_at = if places.len() < good.len() {
        format!("of {} clips that were looked at ", places.len())
    } else {
        String::new()
    };
    let note = |(change, count): (&str, usize)| {
        let have = if count == 1 { "1 clip has".to_owned() } else { format!("{count} clips have") };
        format!("{looked_at}{have} {change}")
    };
    Ok((sides[sides.len() / 2], changes.into_iter().map(note).collect()))
}

/// How many clips are shorter than a window, and what becomes of them.
fn short_note(seen: &[Extent], cut: Cut) -> Option<String> {
    let short = seen.iter().filter(|extent| cut.is_short(**extent)).count();
    let (are, their) = if short == 1 { ("clip is", "its") } else { ("clips are", "their") };
    let become_of = match cut.short {
        ShortClips::Repeat => format!("{their} last frame is repeated"),
        ShortClips::LeaveOut if short == 1 => "it is left out".to_owned(),
        ShortClips::LeaveOut => "they are left out".to_owned(),
    };
    let seconds = (cut.reach() * 1e3).round() / 1e3;
    (short > 0).then(|| {
        format!("{short} {are} shorter than the {seconds} seconds from a window's first frame to its last: {become_of} (`data.short`)")
    })
}

/// Changes when clips are added, removed, renamed, relabelled, moved to the other part or changed in length, and when windows are cut
/// otherwise.
fn fingerprint(listing: &Listing, config: &ClipsConfig) -> u64 {
    let mut hash = Xxh3::new();
    for (part, clips) in [(0_u8, &listing.train), (1, &listing.held_out)] {
        for clip in clips {
            hash.update(&[part]);
            hash.update(&(clip.name.len() as u64).to_le_bytes());
            hash.update(clip.name.as_bytes());
            hash.update(&clip.bytes.to_le_bytes());
            clip.labels.iter().for_each(|label| hash.update(&label.to_le_bytes()));
        }
    }
    hash.update(&(config.frames as u64).to_le_bytes());
    hash.update(&(config.windows as u64).to_le_bytes());
    hash.digest()
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
        let flow = clips.flow(Part::HeldOut, 3, clips.judged_frames(3)).unwrap().unwrap();
        assert_eq!((flow.size, clips.judged_frames(18)), (64, [3, 4]));
        assert!((50..2000).contains(&(0..64 * 64).filter(|pixel| flow.moves(*pixel)).count()));
        assert!(clips.flow(Part::HeldOut, 1000, [0, 1]).is_err());
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
