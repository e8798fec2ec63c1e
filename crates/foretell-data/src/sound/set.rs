//! Sound as a kind of data: what training, evaluation and people are given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use super::config::{ChannelTaken, Level, SoundConfig};
use super::decode::Recording;
use super::listing::{Listing, SoundFile, recognised};
use super::mel::LogMel;
use super::spectrogram::SoundSample;
use super::tones::{self, RATE, SAMPLES, TonesConfig};
use crate::cache::Cache;
use crate::images::labels::Factor;
use crate::images::recognise::Extent;
use crate::modality::{Description, Meta, Modality, OnBadSample, Opening, Part, Unit};
use crate::together::together;
use crate::visit::{fail, spread};
use crate::{Auto, DataError, Image};

/// Training recordings that are looked at before it is decided how long a sample is and at which rate, and those of them that are then
/// measured.
const LOOKED_AT: usize = 256;
const MEASURED: usize = 64;
/// Faster recordings are brought down to this: speech and most events lie below 8 kHz.
const USUAL_RATE: u32 = 16_000;
/// Moments of a sample are a multiple of this, and at most so many where nothing is said: 10 s at 10 ms.
const STEP: usize = 16;
const USUAL_FRAMES: usize = 1024;

/// Recordings, their labels and their split.
#[derive(Debug)]
pub struct Sounds {
    config: SoundConfig,
    from: Origin,
    factors: Vec<Factor>,
    mel: LogMel,
    level: Level,
    rate: u32,
    frames: usize,
    format: String,
    split: String,
    facts: Vec<(String, String)>,
    notes: Vec<String>,
    cache: Cache<SoundSample>,
}

/// Where recordings come from.
#[derive(Debug)]
enum Origin {
    Tones(TonesConfig),
    /// Those to learn from, and those that are held out.
    Files([Vec<SoundFile>; 2]),
}

/// What training recordings are like.
#[derive(Debug, Default)]
struct Looked {
    recordings: Vec<Recording>,
    rates: BTreeMap<u32, usize>,
    several_channels: usize,
}

impl Looked {
    fn of(files: &[SoundFile], on_bad: OnBadSample, threads: usize) -> Result<Self, DataError> {
        let (mut looked, mut first_error) = (Self::default(), None);
        let places: Vec<usize> = spread(Some(files.len()), LOOKED_AT).collect();
        let recordings = together(threads, places.len(), |i| files[places[i]].read());
        for (place, recording) in places.into_iter().zip(recordings) {
            match recording {
                Ok(recording) => {
                    *looked.rates.entry(recording.rate).or_insert(0) += 1;
                    looked.several_channels += usize::from(recording.channels > 1);
                    looked.recordings.push(recording);
                }
                Err(error) if on_bad == OnBadSample::Skip => _ = first_error.get_or_insert(error),
                Err(error) => return Err(fail(error, files[place].name.clone())),
            }
        }
        match first_error {
            Some(source) if looked.recordings.is_empty() => {
                let tried = files.len().min(LOOKED_AT);
                Err(DataError::AllBad { unit: Sounds::UNIT, tried, source: Box::new(source) })
            }
            _ => Ok(looked),
        }
    }

    /// The most common rate, of equally many the lower one.
    fn rate(&self) -> Option<u32> {
        self.rates.iter().max_by_key(|(rate, count)| (**count, std::cmp::Reverse(**rate))).map(|(rate, _)| *rate)
    }

    /// Seconds of which nine in ten are no longer.
    fn most_seconds(&self) -> f64 {
        let mut seconds: Vec<f64> = self.recordings.iter().map(Recording::seconds).collect();
        seconds.sort_unstable_by(f64::total_cmp);
        seconds.get(seconds.len().saturating_sub(1) * 9 / 10).copied().unwrap_or(0.0)
    }

    fn facts(&self) -> Vec<(String, String)> {
        let rates: Vec<String> = self.rates.iter().map(|(rate, count)| format!("{count} at {rate} Hz")).collect();
        let seconds: Vec<f64> = self.recordings.iter().map(Recording::seconds).collect();
        let (least, most) = seconds.iter().fold((f64::MAX, 0.0_f64), |(low, high), x| (low.min(*x), high.max(*x)));
        let all = if self.recordings.is_empty() {
            Vec::new()
        } else {
            vec![("lengths".to_owned(), format!("{least:.2} to {most:.2} s, of {} looked at", seconds.len()))]
        };
        std::iter::once(("recorded".to_owned(), rates.join(", ")))
            .filter(|(_, text)| !text.is_empty())
            .chain(all)
            .collect()
    }

    fn notes(&self, config: &SoundConfig, rate: u32) -> Vec<String> {
        let others: usize = self.rates.iter().filter(|(own, _)| **own != rate).map(|(_, count)| count).sum();
        let of = self.recordings.len();
        let mut notes = Vec::new();
        if others > 0 {
            notes.push(format!(
                "{others} of {of} recordings looked at have another rate than {rate} Hz and are resampled (`data.rate`)"
            ));
        }
        let silent = |channel| self.recordings.iter().filter(|recording| recording.silent(channel)).count();
        match (silent(config.channel), silent(ChannelTaken::First)) {
            (0, _) => {}
            (quiet, first) if first < quiet => notes.push(format!(
                "{quiet} of {of} recordings looked at are silent as they are heard, and their first channel is not: their channels cancel each other; set `data.channel` to \"first\""
            )),
            (quiet, _) => notes.push(format!("{quiet} of {of} recordings looked at are silent: nothing ever changes in them")),
        }
        if self.several_channels > 0 {
            notes.push(format!(
                "{} of {of} recordings looked at have several channels: of each, {} is heard (`data.channel`)",
                self.several_channels, config.channel
            ));
        }
        notes
    }
}

impl Sounds {
    fn files(&self, part: Part) -> &[SoundFile] {
        match &self.from {
            Origin::Tones(_) => &[],
            Origin::Files(parts) => &parts[usize::from(part == Part::HeldOut)],
        }
    }

    fn count(&self, part: Part) -> usize {
        match (&self.from, part) {
            (Origin::Tones(tones), Part::Train) => tones.train,
            (Origin::Tones(tones), Part::HeldOut) => tones.held_out,
            (Origin::Files(_), part) => self.files(part).len(),
        }
    }

    /// The resolved configuration.
    pub fn config(&self) -> &SoundConfig {
        &self.config
    }

    /// One channel of a sample at the rate of the data, as it is heard.
    pub fn wave(&self, part: Part, index: usize) -> Result<Vec<f32>, DataError> {
        part.holds(index, self.count(part))?;
        match &self.from {
            Origin::Tones(tones) => Ok(tones::generate(tones, part, index)),
            Origin::Files(_) => {
                let file = &self.files(part)[index];
                heard(file.read()?, &self.config, self.rate, &file.name)
            }
        }
    }

    /// Of a resolved config, over what is listed.
    fn of(config: &SoundConfig, from: Origin, listing: Listing, rate: u32) -> Result<Self, DataError> {
        let (_, frames) = config.form()?;
        let mel = LogMel::new(&config.mel, rate)?;
        let slots = if let Origin::Files(parts) = &from { parts[0].len() } else { 0 };
        let deaf = mel.deaf();
        let mut notes = listing.notes;
        if deaf > 0 {
            notes.push(format!(
                "{deaf} of {} bands lie between two bins of the transform and hear nothing: take fewer `data.mel.bands` or a longer `data.mel.fft`",
                config.mel.bands
            ));
        }
        Ok(Self {
            from,
            factors: listing.factors,
            mel,
            level: config.level.unwrap_or(Level { mean: 0.0, std: 1.0 }),
            rate,
            frames,
            format: listing.format,
            split: listing.split,
            facts: Vec::new(),
            notes,
            cache: Cache::new(slots, config.cache_mb << 20),
            config: config.clone(),
        })
    }

    /// Mean and deviation over so many training spectrograms. Each is summed by itself, so that threads make no difference.
    fn measure(
        &self,
        threads: usize,
        waves: usize,
        wave: impl Fn(usize) -> Result<Vec<f32>, DataError> + Sync,
    ) -> Result<Level, DataError> {
        let sums = together(threads, waves, |i| -> Result<(usize, f64, f64), DataError> {
            let values = self.mel.of(&wave(i)?).values;
            // In lanes, which do not wait for one another.
            let (mut sums, mut squares) = ([0.0_f64; 8], [0.0_f64; 8]);
            for values in values.chunks(8) {
                for ((sum, square), x) in sums.iter_mut().zip(&mut squares).zip(values) {
                    *sum += f64::from(*x);
                    *square += f64::from(*x).powi(2);
                }
            }
            Ok((values.len(), sums.iter().sum(), squares.iter().sum()))
        });
        let (mut count, mut sum, mut squares) = (0_usize, 0.0_f64, 0.0_f64);
        for of_one in sums {
            let of_one = of_one?;
            (count, sum, squares) = (count + of_one.0, sum + of_one.1, squares + of_one.2);
        }
        let mean = sum / count.max(1) as f64;
        let std = (squares / count.max(1) as f64 - mean * mean).max(0.0).sqrt();
        // What is silent throughout is not divided by nothing.
        Ok(Level { mean: mean as f32, std: if std < 1e-3 { 1.0 } else { std as f32 } })
    }

    fn tones(config: &mut SoundConfig, opening: &mut Opening<'_>) -> Result<Self, DataError> {
        let rate =
            config.rate.resolve("data.rate", opening.decisions, || (RATE, "as the sounds are generated".to_owned()));
        if rate != RATE {
            return Err(DataError::BadSetting {
                name: "data.rate".into(),
                expected: "left at \"auto\" for the generated sounds, which have 8000 samples a second",
                found: rate.to_string(),
            });
        }
        if !config.pattern.is_empty() {
            return Err(DataError::BadSetting {
                name: "data.pattern".into(),
                expected: "left out for the generated sounds, which have labels",
                found: config.pattern.clone(),
            });
        }
        config.mel.resolve(rate, opening.decisions)?;
        let frames = LogMel::new(&config.mel, rate)?.frames(SAMPLES);
        config.frames.resolve("data.frames", opening.decisions, || (frames, "all of a generated sound".to_owned()));
        let tones = config.tones.clone();
        let listing = Listing {
            format: format!("generated sounds, seed {}", tones.seed),
            split: "each part is drawn for itself".to_owned(),
            factors: tones::factors(),
            ..Listing::default()
        };
        let mut sounds = Self::of(config, Origin::Tones(tones), listing, rate)?;
        if config.level.is_none() {
            let waves = sounds.count(Part::Train).min(MEASURED);
            let level = sounds.measure(opening.threads, waves, |index| sounds.wave(Part::Train, index))?;
            (config.level, sounds.level) = (Some(level), level);
        }
        Ok(sounds)
    }

    fn from_files(config: &mut SoundConfig, opening: &mut Opening<'_>) -> Result<Self, DataError> {
        let mut listing = Listing::open(Path::new(&config.path), config, Extent::Split)?;
        let fingerprint = format!("{:016x}", fingerprint(&listing));
        if !config.fingerprint.is_empty() && config.fingerprint != fingerprint {
            return Err(DataError::changed(Self::UNIT, &config.path));
        }
        config.fingerprint = fingerprint;
        // A config that is resolved needs no look.
        let known = config.level.is_some() && config.frames != Auto::Auto && config.rate != Auto::Auto;
        let looked =
            if known { Looked::default() } else { Looked::of(&listing.train, config.on_bad_sample, opening.threads)? };
        let rate = config.rate.resolve("data.rate", opening.decisions, || match looked.rate() {
            Some(rate) if rate > USUAL_RATE => (USUAL_RATE, format!("the usual one; most recordings have {rate} Hz")),
            rate => (rate.unwrap_or(USUAL_RATE), "most recordings have it".to_owned()),
        });
        config.mel.resolve(rate, opening.decisions)?;
        let mel = LogMel::new(&config.mel, rate)?;
        config.frames.resolve("data.frames", opening.decisions, || {
            let seconds = looked.most_seconds();
            let frames = mel.frames((seconds * f64::from(rate)) as usize).div_ceil(STEP).max(1) * STEP;
            (
                frames.min(USUAL_FRAMES),
                format!("nine in ten recordings last {seconds:.2} s or less; a multiple of {STEP}"),
            )
        });
        let files = [std::mem::take(&mut listing.train), std::mem::take(&mut listing.held_out)];
        let mut sounds = Self::of(config, Origin::Files(files), listing, rate)?;
        sounds.facts = looked.facts();
        sounds.notes.extend(looked.notes(config, rate));
        if config.level.is_none() {
            let recordings: Vec<&Recording> =
                spread(Some(looked.recordings.len()), MEASURED).map(|place| &looked.recordings[place]).collect();
            let wave = |index: usize| heard(recordings[index].clone(), config, rate, &config.path);
            let level = sounds.measure(opening.threads, recordings.len(), wave)?;
            (config.level, sounds.level) = (Some(level), level);
        }
        Ok(sounds)
    }

    fn spectrogram(&self, wave: &[f32]) -> SoundSample {
        let Level { mean, std } = self.level;
        self.mel.of(wave).scaled(mean, std * self.mel.deviations(), self.mel.decibel())
    }
}

fn heard(recording: Recording, config: &SoundConfig, rate: u32, name: &str) -> Result<Vec<f32>, DataError> {
    let bad = |reason| DataError::BadSound { name: name.to_owned(), reason };
    recording.mono(config.channel, rate).map_err(bad)
}

/// Changes when recordings are added, removed, renamed, relabelled, moved to the other part or changed in length.
fn fingerprint(listing: &Listing) -> u64 {
    let mut hash = Xxh3::new();
    for (part, sounds) in [(0_u8, &listing.train), (1, &listing.held_out)] {
        for sound in sounds {
            hash.update(&[part]);
            hash.update(&(sound.name.len() as u64).to_le_bytes());
            hash.update(sound.name.as_bytes());
            hash.update(&sound.bytes().to_le_bytes());
            sound.labels.iter().for_each(|label| hash.update(&label.to_le_bytes()));
        }
    }
    hash.digest()
}

impl Modality for Sounds {
    type Config = SoundConfig;
    type Sample = SoundSample;
    const UNIT: Unit = Unit { one: "sound", many: "sounds" };
    const BASELINE: &'static str = "mel statistics";
    const MEASURED: &'static [&'static str] = &["level", "fingerprint"];

    fn open(config: &mut SoundConfig, opening: &mut Opening<'_>) -> Result<Self, DataError> {
        config.check()?;
        let mut sounds =
            if config.path.is_empty() { Self::tones(config, opening)? } else { Self::from_files(config, opening)? };
        crate::epochs::check_batch::<Self>(sounds.count(Part::Train), opening.batch)?;
        sounds.config = config.clone();
        Ok(sounds)
    }

    fn of_paths(config: &SoundConfig, paths: &[PathBuf]) -> Result<Self, DataError> {
        config.check()?;
        let Auto::Value(rate) = config.rate else {
            return Err(DataError::BadSetting {
                name: "data.rate".into(),
                expected: "a number in the config of a run",
                found: "auto".to_owned(),
            });
        };
        let mut listing = Listing::of_paths(paths, config)?;
        let files = [std::mem::take(&mut listing.train), Vec::new()];
        Self::of(&SoundConfig { cache_mb: 0, ..config.clone() }, Origin::Files(files), listing, rate)
    }

    fn elsewhere(config: &SoundConfig, path: &str) -> SoundConfig {
        SoundConfig { path: path.to_owned(), fingerprint: String::new(), ..config.clone() }
    }

    fn source(config: &SoundConfig) -> String {
        if config.path.is_empty() { "built-in sounds".to_owned() } else { config.path.clone() }
    }

    fn recognises(path: &Path) -> bool {
        recognised(path)
    }

    fn look_as(mut config: SoundConfig) -> Result<Description, DataError> {
        let mut opening = Opening { seed: 0, batch: 1, threads: 1, decisions: &mut Vec::new() };
        config.check()?;
        let sounds = if config.path.is_empty() {
            Self::tones(&mut config, &mut opening)?
        } else {
            Self::from_files(&mut config, &mut opening)?
        };
        Ok(sounds.describe())
    }

    fn describe(&self) -> Description {
        let hop = if let Auto::Value(hop) = self.config.mel.hop { hop } else { 0 };
        let seconds = self.frames as f64 * hop as f64 / f64::from(self.rate);
        let mel = &self.config.mel;
        let mut facts = self.facts.clone();
        facts.push((
            "heard".to_owned(),
            format!(
                "{} Hz, {}",
                self.rate,
                if self.facts.is_empty() { "one channel".to_owned() } else { self.config.channel.to_string() }
            ),
        ));
        facts.push((
            "spectrogram".to_owned(),
            format!("{} ({}), {} moments: {seconds:.2} s", mel.preset, counted(mel.bands), self.frames),
        ));
        let numbers = [
            ("rate", Value::from(self.rate)),
            ("bands", mel.bands.into()),
            ("frames", self.frames.into()),
            ("seconds", seconds.into()),
        ];
        Description {
            split: self.split.clone(),
            factors: self.factors.clone(),
            facts,
            numbers: numbers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            notes: self.notes.clone(),
            ..Description::of::<Self>(&self.format, self.count(Part::Train), self.count(Part::HeldOut))
        }
    }

    fn cautions(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn factors(&self) -> &[Factor] {
        &self.factors
    }

    fn len(&self, part: Part) -> Option<usize> {
        Some(self.count(part))
    }

    fn meta(&self, part: Part, index: usize) -> Result<Meta, DataError> {
        part.holds(index, self.count(part))?;
        Ok(match &self.from {
            Origin::Tones(tones) => Meta {
                name: tones::name(part, index),
                labels: tones::labels(tones, part, index).to_vec(),
                ..Meta::default()
            },
            Origin::Files(_) => {
                let file = &self.files(part)[index];
                Meta {
                    name: file.name.clone(),
                    labels: file.labels.to_vec(),
                    bytes: Some(file.bytes()),
                    ..Meta::default()
                }
            }
        })
    }

    fn load(&self, part: Part, index: usize) -> Result<SoundSample, DataError> {
        Ok(self.spectrogram(&self.wave(part, index)?))
    }

    /// Kept in memory as far as there is room.
    fn load_to_train(&self, index: usize) -> Result<SoundSample, DataError> {
        if let Some(sample) = self.cache.get(index) {
            return Ok(sample);
        }
        let sample = self.load(Part::Train, index)?;
        self.cache.keep(index, sample.values.len() * size_of::<f32>(), &sample);
        Ok(sample)
    }

    fn prepare(&self, sample: SoundSample) -> SoundSample {
        sample.middle(self.frames, self.config.short)
    }

    /// Mean and deviation of each band over the moments that were recorded.
    fn baseline(&self, sample: &SoundSample) -> Vec<f32> {
        sample.statistics()
    }

    fn picture(&self, sample: &SoundSample) -> Option<Image> {
        Some(sample.picture())
    }

    fn on_bad(&self) -> OnBadSample {
        self.config.on_bad_sample
    }
}

fn counted(bands: usize) -> String {
    if bands == 1 { "1 band".to_owned() } else { format!("{bands} bands") }
}
