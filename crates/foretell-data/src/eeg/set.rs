//! A set of recordings in two parts: what training, evaluation and people are given.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::eeg::bands::{BANDS, band_powers};
use crate::eeg::channels::{self, Prepared, listed, median};
use crate::eeg::config::EegConfig;
use crate::eeg::drawing::{self, Mark};
use crate::eeg::found::{self, Found};
use crate::eeg::windows::{self, Place};
use crate::eeg::{heads, recording};
use crate::images::labels::Factor;
use crate::modality::{Description, Meta, Modality, OnBadSample, Opening, Unit};
use crate::{DataError, Image, Part};

/// One subject in so many is held out.
const ONE_IN: usize = 5;
/// Side of a head in a picture, and width of the courses beside it, in pixels.
const HEAD: usize = 180;
const COURSES: usize = 260;
/// Values further away, in the set's unit, are cut there: what electrodes show that lose the skin.
const FURTHEST: f32 = 20.0;

/// A window: channels of equal numbers of samples, in the unit of the set.
#[derive(Clone, Debug, PartialEq)]
pub struct EegSample {
    /// `[C, T]`
    pub values: Arc<[f32]>,
    /// T
    pub samples: usize,
}

impl EegSample {
    /// C
    pub fn channels(&self) -> usize {
        self.values.len() / self.samples.max(1)
    }
}

/// Recordings, the windows in them, their labels and their split.
#[derive(Debug)]
pub struct Eeg {
    config: EegConfig,
    /// Empty where they are generated.
    found: Vec<Found>,
    prepared: Prepared,
    places: Vec<Place>,
    /// Of each recording.
    subjects: Vec<u32>,
    factors: Vec<Factor>,
    labels: Vec<u32>,
    train: Vec<usize>,
    held_out: Vec<usize>,
    split: String,
    notes: Vec<String>,
}

impl Eeg {
    /// The generated recordings, of what a config says of them.
    pub fn generated(config: &EegConfig) -> Self {
        let mut config = config.clone();
        if config.channels.is_empty() {
            config.channels = heads::CHANNELS.map(str::to_owned).to_vec();
        }
        let mut eeg = Self {
            factors: heads::factors(),
            split: "each part has subjects of its own".to_owned(),
            ..Self::of(config, Vec::new())
        };
        if eeg.config.scale == 0.0 {
            let count = 64.min(eeg.config.heads.train);
            let deviation = |index: usize| {
                let (values, _) = heads::generate(&eeg.config, Part::Train, index);
                (values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / values.len().max(1) as f64).sqrt()
            };
            eeg.config.scale = rounded(median(&(0..count).map(deviation).collect::<Vec<_>>()).unwrap_or(1.0));
        }
        eeg
    }

    fn of(config: EegConfig, found: Vec<Found>) -> Self {
        Self {
            config,
            found,
            prepared: Prepared { of: Vec::new(), filters: Vec::new() },
            places: Vec::new(),
            subjects: Vec::new(),
            factors: Vec::new(),
            labels: Vec::new(),
            train: Vec::new(),
            held_out: Vec::new(),
            split: "all in one part".to_owned(),
            notes: Vec::new(),
        }
    }

    /// The resolved configuration.
    pub fn config(&self) -> &EegConfig {
        &self.config
    }

    fn is_generated(&self) -> bool {
        self.found.is_empty()
    }

    fn count(&self, part: Part) -> usize {
        match (self.is_generated(), part) {
            (true, Part::Train) => self.config.heads.train,
            (true, Part::HeldOut) => self.config.heads.held_out,
            (false, Part::Train) => self.train.len(),
            (false, Part::HeldOut) => self.held_out.len(),
        }
    }

    /// The window's number among all.
    fn place(&self, part: Part, index: usize) -> usize {
        match part {
            Part::Train => self.train[index],
            Part::HeldOut => self.held_out[index],
        }
    }

    /// Recordings with everything but their parts.
    fn read(config: &mut EegConfig, found: Vec<Found>) -> Result<Self, DataError> {
        let mut notes = Vec::new();
        channels::choose(&found, config, &mut notes)?;
        let places = windows::places(&found, config);
        if places.is_empty() {
            let longest = found.iter().max_by(|a, b| a.recording.seconds().total_cmp(&b.recording.seconds()));
            let (path, seconds) = longest.map_or_else(<_>::default, |found| {
                let part = found.recording.segments.iter().map(|segment| segment.seconds).fold(0.0, f64::max);
                (found.recording.path.clone(), part)
            });
            return Err(recording::bad(
                &path,
                format!(
                    "its longest stretch without a gap lasts {seconds:.3} seconds, and none is longer; windows take {} (`data.seconds`)",
                    config.seconds
                ),
            ));
        }
        let prepared = channels::prepare(&found, &places, config, &mut notes)?;
        let (names, how) = found::subjects(&found, &config.group)?;
        let (subjects, _) = found::numbered(&names);
        let labelled = windows::labels(&found, &places, config, &mut notes)?;
        for there in &found {
            notes.extend(there.recording.notes.iter().map(|note| format!("`{}`: {note}", there.name)));
        }
        let cut: usize = found.iter().map(|there| there.recording.segments.len().saturating_sub(1)).sum();
        if cut > 0 {
            notes.push(format!("recordings have {cut} gaps, across which no window reaches"));
        }
        let (factors, labels) = labelled.map_or_else(<_>::default, |(factor, labels)| (vec![factor], labels));
        Ok(Self { prepared, places, subjects, factors, labels, notes, split: how, ..Self::of(config.clone(), found) })
    }

    /// Holds out whole subjects; of one subject whole recordings, and of one recording its end.
    fn divide(&mut self) -> Result<(), DataError> {
        let names: Vec<String> = {
            let several: BTreeSet<u32> = self.subjects.iter().copied().collect();
            let by = |i: usize| {
                if several.len() > 1 { format!("s{}", self.subjects[i]) } else { self.found[i].name.clone() }
            };
            (0..self.found.len()).map(by).collect()
        };
        // Recordings that are too short for a window hold nothing out.
        let used: BTreeSet<u32> = self.places.iter().map(|place| place.recording).collect();
        let subjects = used.iter().map(|i| self.subjects[*i as usize]).collect::<BTreeSet<_>>().len();
        let mut units: Vec<&String> =
            used.iter().map(|i| &names[*i as usize]).collect::<BTreeSet<_>>().into_iter().collect();
        if units.len() > 1 {
            // By a number of each name: others that come or go change nothing.
            units.sort_by_key(|name| (xxh3_64(name.as_bytes()), (*name).clone()));
            let count = (units.len() / ONE_IN).max(1);
            let held: BTreeSet<&String> = units.into_iter().take(count).collect();
            let is_held = |place: &Place| held.contains(&names[place.recording as usize]);
            let (held_out, train) = (0..self.places.len()).partition(|i| is_held(&self.places[*i]));
            (self.train, self.held_out) = (train, held_out);
            let how = std::mem::take(&mut self.split);
            self.split = if subjects == 1 {
                format!(
                    "{count} of {} recordings held out, all of one subject: figures say nothing of other people",
                    used.len()
                )
            } else {
                format!("{count} of {subjects} subjects held out; {how}")
            };
        } else {
            let length = self.places.len();
            let cut = length - (length / ONE_IN).max(usize::from(length > 1));
            // The windows before the cut end before it.
            let begins = self.places.get(cut).copied();
            let clear = |place: &Place| {
                begins.is_none_or(|first| {
                    first.segment != place.segment || place.start + self.config.seconds <= first.start + 1e-9
                })
            };
            self.train = (0..cut).filter(|i| clear(&self.places[*i])).collect();
            self.held_out = (cut..length).collect();
            "the last fifth of one recording held out: figures say nothing of other people".clone_into(&mut self.split);
        }
        if self.train.is_empty() {
            let path = PathBuf::from(&self.config.path);
            return Err(recording::bad(
                &path,
                format!(
                    "with some held out, none of its {} windows is left to train on: shorten `data.seconds`, or add recordings",
                    self.places.len()
                ),
            ));
        }
        Ok(())
    }

    fn fingerprint(&self) -> String {
        let mut hash = Xxh3::new();
        for found in &self.found {
            hash.update(found.name.as_bytes());
            hash.update(&found.recording.mark.to_le_bytes());
        }
        for part in [&self.train, &self.held_out] {
            hash.update(&(part.len() as u64).to_le_bytes());
            for place in part {
                hash.update(&(*place as u64).to_le_bytes());
            }
        }
        self.labels.iter().for_each(|label| hash.update(&label.to_le_bytes()));
        format!("{:016x}", hash.digest())
    }
}

/// Four digits are enough for a unit.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

impl Modality for Eeg {
    type Config = EegConfig;
    type Sample = EegSample;
    const UNIT: Unit = Unit { one: "EEG window", many: "EEG windows" };
    const BASELINE: &'static str = "band powers";
    const MEASURED: &'static [&'static str] = &["scale", "fingerprint"];

    fn open(config: &mut EegConfig, opening: &mut Opening<'_>) -> Result<Self, DataError> {
        config.rename();
        config.check()?;
        if config.path.is_empty() {
            let eeg = Self::generated(config);
            *config = eeg.config.clone();
            return Ok(eeg);
        }
        let path = PathBuf::from(&config.path);
        let chosen = config.channels.is_empty();
        let (found, passed) = found::open(&[path], config.on_bad_sample)?;
        let mut eeg = Self::read(config, found)?;
        eeg.notes.extend(passed);
        eeg.divide()?;
        let fingerprint = eeg.fingerprint();
        if !config.fingerprint.is_empty() && config.fingerprint != fingerprint {
            return Err(DataError::changed(Self::UNIT, &config.path));
        }
        if config.scale == 0.0 {
            let learnt: BTreeSet<u32> = eeg.train.iter().map(|place| eeg.places[*place].recording).collect();
            let deviations: Vec<f64> = learnt.iter().filter_map(|i| eeg.prepared.of[*i as usize].deviation).collect();
            config.scale = rounded(median(&deviations).unwrap_or(1.0));
        }
        if chosen {
            opening.decisions.push(crate::Decision {
                what: "data.channels".to_owned(),
                value: format!("{} electrodes", config.channels.len()),
                reason: format!(
                    "what all of {} have",
                    Unit { one: "recording", many: "recordings" }.counted(eeg.found.len())
                ),
            });
        }
        config.fingerprint = fingerprint;
        eeg.config = config.clone();
        Ok(eeg)
    }

    fn of_paths(config: &EegConfig, paths: &[PathBuf]) -> Result<Self, DataError> {
        config.check()?;
        if paths.is_empty() {
            return Err(DataError::NoInputs);
        }
        let (all, passed) = found::open(paths, config.on_bad_sample)?;
        let mut config = EegConfig { label: "none".to_owned(), group: "auto".to_owned(), ..config.clone() };
        let mut eeg = Self::read(&mut config, all)?;
        if config.scale == 0.0 {
            config.scale = rounded(
                median(&eeg.prepared.of.iter().filter_map(|of| of.deviation).collect::<Vec<_>>()).unwrap_or(1.0),
            );
        }
        eeg.train = (0..eeg.places.len()).collect();
        eeg.config = config;
        eeg.notes.extend(passed);
        Ok(eeg)
    }

    fn elsewhere(config: &EegConfig, path: &str) -> EegConfig {
        EegConfig { path: path.to_owned(), fingerprint: String::new(), ..config.clone() }
    }

    fn source(config: &EegConfig) -> String {
        if config.path.is_empty() { "built-in EEG".to_owned() } else { config.path.clone() }
    }

    fn recognises(path: &Path) -> bool {
        found::recognises(path)
    }

    fn describe(&self) -> Description {
        let config = &self.config;
        let mut facts = vec![
            ("electrodes".to_owned(), format!("{} ({})", config.channels.len(), config.channels.join(", "))),
            (
                "windows".to_owned(),
                format!("{} s at {} Hz, {} to {} Hz", config.seconds, config.rate, config.band.0, config.band.1),
            ),
            ("unit".to_owned(), format!("{} uV", config.scale)),
        ];
        let format = if self.is_generated() {
            let subjects = heads::SUBJECTS.iter().sum::<u64>();
            facts.push(("subjects".to_owned(), subjects.to_string()));
            format!("generated EEG, seed {}", config.heads.seed)
        } else {
            let forms: BTreeSet<&str> = self.found.iter().map(|found| found.recording.form.as_str()).collect();
            let seconds: f64 = self.found.iter().map(|found| found.recording.seconds()).sum();
            let mut rates: Vec<String> = self
                .found
                .iter()
                .zip(&self.prepared.of)
                .flat_map(|(found, of)| of.signals.iter().map(|signal| found.recording.signals[*signal].rate))
                .map(|rate| format!("{} Hz", (rate * 1e3).round() / 1e3))
                .collect();
            rates.sort();
            rates.dedup();
            let units: BTreeSet<String> = self
                .found
                .iter()
                .zip(&self.prepared.of)
                .flat_map(|(found, of)| of.signals.iter().map(|signal| found.recording.signals[*signal].unit.clone()))
                .collect();
            let units: Vec<String> =
                units.into_iter().map(|unit| if unit.is_empty() { "none".to_owned() } else { unit }).collect();
            let deviations: Vec<f64> = self.prepared.of.iter().filter_map(|of| of.deviation).collect();
            facts.push(("recordings".to_owned(), format!("{}, {:.1} minutes", self.found.len(), seconds / 60.0)));
            facts.push(("subjects".to_owned(), self.subjects.iter().collect::<BTreeSet<_>>().len().to_string()));
            facts.push(("rates".to_owned(), rates.join(", ")));
            facts.push(("units".to_owned(), units.join(", ")));
            if let Some(deviation) = median(&deviations) {
                facts.push(("deviation".to_owned(), format!("{deviation:.2} uV, the median of recordings")));
            }
            forms.into_iter().collect::<Vec<_>>().join(", ")
        };
        Description {
            split: self.split.clone(),
            factors: self.factors.clone(),
            facts,
            numbers: BTreeMap::from([
                ("electrodes".to_owned(), config.channels.clone().into()),
                ("rate".to_owned(), config.rate.into()),
                ("seconds".to_owned(), config.seconds.into()),
                ("microvolts".to_owned(), config.scale.into()),
            ]),
            notes: self.cautions(),
            ..Description::of::<Self>(&format, self.count(Part::Train), self.count(Part::HeldOut))
        }
    }

    fn factors(&self) -> &[Factor] {
        &self.factors
    }

    fn len(&self, part: Part) -> Option<usize> {
        Some(self.count(part))
    }

    /// The group is the subject.
    fn meta(&self, part: Part, index: usize) -> Result<Meta, DataError> {
        part.holds(index, self.count(part))?;
        if self.is_generated() {
            return Ok(Meta {
                name: heads::name(part, index),
                labels: heads::labels(&self.config.heads, part, index).to_vec(),
                numbers: Vec::new(),
                group: Some(heads::subject(part, index)),
                bytes: None,
            });
        }
        let number = self.place(part, index);
        let place = &self.places[number];
        let found = &self.found[place.recording as usize];
        let second = found.recording.segments[place.segment as usize].start + place.start;
        Ok(Meta {
            // Windows of a recording differ in their labels: they are no parts of one sample, as `@` would say.
            name: format!("{} {}s", found.name, (second * 1e3).round() / 1e3),
            labels: self.labels.get(number).copied().into_iter().collect(),
            numbers: Vec::new(),
            group: Some(self.subjects[place.recording as usize]),
            bytes: None,
        })
    }

    fn load(&self, part: Part, index: usize) -> Result<EegSample, DataError> {
        part.holds(index, self.count(part))?;
        let config = &self.config;
        let samples = config.samples();
        let cut = |x: f64| (x as f32).clamp(-FURTHEST, FURTHEST);
        if self.is_generated() {
            let (values, _) = heads::generate(config, part, index);
            let values = values.into_iter().map(|x| cut(f64::from(x) / config.scale)).collect();
            return Ok(EegSample { values, samples });
        }
        let place = &self.places[self.place(part, index)];
        let (found, electrodes) = (&self.found[place.recording as usize], &self.prepared.of[place.recording as usize]);
        let window = channels::window(&found.recording, electrodes, place, &self.prepared.filters, config)?;
        let scaled = window.into_iter().zip(&electrodes.micro);
        let values = scaled.flat_map(|(values, micro)| {
            let unit = micro / config.scale;
            values.into_iter().map(move |x| cut(f64::from(x) * unit))
        });
        Ok(EegSample { values: values.collect(), samples })
    }

    /// Logarithms of each channel's power in the classic bands.
    fn baseline(&self, sample: &EegSample) -> Vec<f32> {
        band_powers(&sample.values, sample.samples, self.config.rate)
    }

    /// A head with the power of alpha at each electrode, beside the courses of voltage.
    fn picture(&self, sample: &EegSample) -> Option<Image> {
        let places = self.config.places();
        let powers = self.baseline(sample);
        let alpha: Vec<f32> = powers.iter().skip(2).step_by(BANDS.len()).copied().collect();
        let mean = alpha.iter().sum::<f32>() / alpha.len().max(1) as f32;
        // A third of the way to full colour is twice the power.
        let marks: Vec<Mark> = alpha.iter().map(|x| Mark { value: 0.5 + (x - mean) / 4.0, hidden: false }).collect();
        let head = drawing::draw(&places, &marks, HEAD);
        let courses = drawing::courses(&sample.values, sample.samples, (COURSES, HEAD));
        let rows = head.pixels.chunks_exact(3 * HEAD).zip(courses.pixels.chunks_exact(3 * COURSES));
        let pixels = rows.flat_map(|(a, b)| a.iter().chain(b).copied()).collect();
        Some(Image { width: HEAD + COURSES, height: HEAD, channels: 3, pixels })
    }

    fn cautions(&self) -> Vec<String> {
        let lost: Vec<String> = self
            .found
            .iter()
            .zip(&self.prepared.of)
            .filter(|(_, of)| of.deviation.is_none())
            .map(|(found, _)| found.name.clone())
            .collect();
        let lost = (!lost.is_empty()).then(|| format!("recordings with no window, or a silent one: {}", listed(&lost)));
        self.notes.iter().cloned().chain(lost).collect()
    }

    fn on_bad(&self) -> OnBadSample {
        self.config.on_bad_sample
    }
}
