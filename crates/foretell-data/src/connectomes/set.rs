//! A set of recordings as sequences of graphs, in two parts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use regex::Regex;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::connectomes::atlas::Atlas;
use crate::connectomes::config::ConnectomesConfig;
use crate::connectomes::correlation::{correlations, edges};
use crate::connectomes::nifti::Nifti;
use crate::connectomes::series::RegionSeries;
use crate::connectomes::{bad, networks};
use crate::images::labels::{Factor, by_text};
use crate::modality::{Description, Meta, Modality, Opening, Unit};
use crate::{DataError, Image, Part};

/// One subject in so many is held out.
const ONE_IN: usize = 5;
/// Matrices of a picture, and pixels of a pair.
const SHOWN: usize = 4;
const PIXELS: usize = 96;

/// Graphs over the same regions, one for each window.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectomeSample {
    /// `[W, R, R]`: how alike two regions are in each window.
    pub correlations: Arc<[f32]>,
    /// Whether each region has a course.
    pub present: Arc<[bool]>,
    /// W
    pub windows: usize,
    /// The state that lasts longest in each window, where that is known; empty otherwise.
    pub states: Arc<[u32]>,
    /// Share of pairs that are edges.
    share: f64,
}

impl ConnectomeSample {
    /// R
    pub fn regions(&self) -> usize {
        self.present.len()
    }

    /// One window's matrix, `[R, R]`.
    pub fn window(&self, window: usize) -> &[f32] {
        let area = self.regions() * self.regions();
        &self.correlations[window * area..][..area]
    }

    /// One window's edges `(i, j)`, i < j.
    pub fn edges(&self, window: usize) -> Vec<(u32, u32)> {
        edges(self.window(window), &self.present, self.share)
    }
}

/// A recording that was read.
#[derive(Debug)]
struct Known {
    name: String,
    series: RegionSeries,
    subject: u32,
    label: Option<u32>,
}

/// See the module.
#[derive(Debug)]
pub struct Connectomes {
    config: ConnectomesConfig,
    /// Empty where they are generated.
    known: Vec<Known>,
    /// A recording and its first time, for each sample of a part.
    parts: [Vec<(usize, usize)>; 2],
    factors: Vec<Factor>,
    format: String,
    split: String,
    notes: Vec<String>,
}

fn part_of(part: Part) -> usize {
    usize::from(part == Part::HeldOut)
}

/// Recordings at a path, by name.
fn files(path: &Path) -> Result<Vec<(PathBuf, String)>, DataError> {
    if !path.is_dir() {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        return if path.exists() {
            Ok(vec![(path.to_owned(), name)])
        } else {
            Err(DataError::Missing { path: path.to_owned() })
        };
    }
    let mut all = Vec::new();
    let mut folders = vec![(path.to_owned(), 0)];
    while let Some((folder, deep)) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|source| DataError::reading(&folder, source))?;
        for entry in entries.flatten().map(|entry| entry.path()) {
            if entry.is_dir() && deep < 6 {
                folders.push((entry, deep + 1));
            } else if entry.is_file() && (Nifti::may_be(&entry) || is_table(&entry)) {
                let name = entry.strip_prefix(path).unwrap_or(&entry).to_string_lossy().replace('\\', "/");
                all.push((entry, name));
            }
        }
    }
    all.sort_by(|a, b| a.1.cmp(&b.1));
    if all.is_empty() {
        return Err(bad(path, "it holds no recordings; expected names that end in .nii, .nii.gz, .hdr, .csv or .tsv"));
    }
    Ok(all)
}

fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv") || end.eq_ignore_ascii_case("tsv"))
}

fn captured(key: &'static str, pattern: &str, name: &str) -> Result<String, DataError> {
    let wrong = |expected, found: String| DataError::BadSetting { name: key.into(), expected, found };
    let pattern = Regex::new(pattern)
        .map_err(|_| wrong("a regular expression such as `sub-([0-9]+)`", format!("`{pattern}`")))?;
    let found = pattern.captures(name).ok_or_else(|| {
        wrong(
            "a pattern that each recording's path holds",
            format!("`{}`, which `{name}` does not hold", pattern.as_str()),
        )
    })?;
    Ok(found.get(1).or(found.get(0)).map(|text| text.as_str().to_owned()).unwrap_or_default())
}

impl Connectomes {
    /// The generated recordings.
    pub fn generated(config: &ConnectomesConfig) -> Self {
        let config = ConnectomesConfig { regions: networks::REGIONS, ..config.clone() };
        Self {
            factors: networks::factors(),
            format: format!("generated networks, seed {}", config.networks.seed),
            split: "each part has subjects of its own".to_owned(),
            ..Self::of(config)
        }
    }

    fn of(config: ConnectomesConfig) -> Self {
        Self {
            config,
            known: Vec::new(),
            parts: [Vec::new(), Vec::new()],
            factors: Vec::new(),
            format: String::new(),
            split: "all in one part".to_owned(),
            notes: Vec::new(),
        }
    }

    /// The resolved configuration.
    pub fn config(&self) -> &ConnectomesConfig {
        &self.config
    }

    fn count(&self, part: Part) -> usize {
        match (self.known.is_empty(), part) {
            (true, Part::Train) => self.config.networks.train,
            (true, Part::HeldOut) => self.config.networks.held_out,
            (false, part) => self.parts[part_of(part)].len(),
        }
    }

    fn check(&self, part: Part, index: usize) -> Result<(), DataError> {
        let len = self.count(part);
        if index < len { Ok(()) } else { Err(DataError::OutOfRange { part: part.name(), index, len }) }
    }

    fn read(config: &mut ConnectomesConfig, files: Vec<(PathBuf, String)>) -> Result<Self, DataError> {
        let needs = files.iter().find(|(path, _)| !is_table(path));
        let atlas = match (config.atlas.is_empty(), needs) {
            (_, None) => None,
            (false, Some(_)) => Some(Atlas::open(Path::new(&config.atlas))?),
            (true, Some((path, _))) => {
                return Err(bad(
                    path,
                    "it is an image, of which regions are made by an atlas: name one in `data.atlas` (NIfTI, a whole number for each region)",
                ));
            }
        };
        let mut known: Vec<Known> = Vec::new();
        let mut names = Vec::new();
        let mut notes = Vec::new();
        for (path, name) in files {
            let series = match &atlas {
                Some(atlas) if !is_table(&path) => RegionSeries::of_image(&Nifti::open(&path)?, atlas)?,
                _ => RegionSeries::of_table(&path, config.orientation)?,
            };
            if config.regions == 0 {
                config.regions = series.regions();
            }
            if series.regions() != config.regions {
                let (found, expected) = (series.regions(), config.regions);
                return Err(bad(
                    &path,
                    format!(
                        "it has {found} regions, and the others have {expected}: all recordings need the same regions in the same order"
                    ),
                ));
            }
            let there = series.present.iter().filter(|present| **present).count();
            if there < 2 {
                return Err(bad(
                    &path,
                    format!(
                        "{there} of its {} regions has a course, and at least 2 are needed: does the atlas lie on the image?",
                        config.regions
                    ),
                ));
            }
            if there < config.regions {
                notes.push(format!(
                    "`{name}`: {} of {} regions have no course, and stay without edges",
                    config.regions - there,
                    config.regions
                ));
            }
            names.push(match config.group.as_str() {
                "auto" => captured("data.group", "sub-([A-Za-z0-9]+)", &name).unwrap_or_else(|_| name.clone()),
                pattern => captured("data.group", pattern, &name)?,
            });
            known.push(Known { name, series, subject: 0, label: None });
        }
        let all: BTreeSet<String> = names.iter().cloned().collect();
        let numbers: BTreeMap<&String, u32> = all.iter().zip(0..).collect();
        known.iter_mut().zip(&names).for_each(|(known, name)| known.subject = numbers[name]);
        let mut factors = Vec::new();
        if config.label != "none" {
            let texts = known
                .iter()
                .map(|known| captured("data.label", &config.label, &known.name))
                .collect::<Result<Vec<_>, _>>()?;
            let (factor, labels) = by_text(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            known.iter_mut().zip(labels).for_each(|(known, label)| known.label = Some(label));
            factors.push(factor);
        }
        let format = if atlas.is_some() { "NIfTI-1 with an atlas" } else { "tables of regions by times" }.to_owned();
        Ok(Self { known, factors, format, notes, ..Self::of(config.clone()) })
    }

    /// The samples of a recording: runs of windows that follow each other.
    fn samples(&self, recording: usize) -> Vec<(usize, usize)> {
        let (times, step) = (self.config.times(), self.config.windows * self.config.stride);
        let count = self.known[recording].series.times.checked_sub(times).map_or(0, |rest| rest / step + 1);
        (0..count).map(|sample| (recording, sample * step)).collect()
    }

    fn divide(&mut self) -> Result<(), DataError> {
        let mut subjects: Vec<u32> =
            self.known.iter().map(|known| known.subject).collect::<BTreeSet<_>>().into_iter().collect();
        subjects.sort_by_key(|subject| {
            let name = self
                .known
                .iter()
                .find(|known| known.subject == *subject)
                .map(|known| known.name.clone())
                .unwrap_or_default();
            (xxh3_64(name.as_bytes()), *subject)
        });
        let held = if subjects.len() > 1 { (subjects.len() / ONE_IN).max(1) } else { 0 };
        let held_out: BTreeSet<u32> = subjects.iter().take(held).copied().collect();
        for recording in 0..self.known.len() {
            let part = usize::from(held_out.contains(&self.known[recording].subject));
            let samples = self.samples(recording);
            self.parts[part].extend(samples);
        }
        self.split = if held > 0 {
            format!("{held} of {} subjects held out", subjects.len())
        } else {
            "one subject, of which nothing is held out".to_owned()
        };
        if self.parts[0].is_empty() {
            let longest = self.known.iter().map(|known| known.series.times).max().unwrap_or(0);
            let (windows, window, stride, times) =
                (self.config.windows, self.config.window, self.config.stride, self.config.times());
            return Err(bad(
                Path::new(&self.config.path),
                format!(
                    "its longest recording has {longest} times, and {windows} windows of {window} every {stride} take {times}: lower `data.windows`"
                ),
            ));
        }
        Ok(())
    }
}

impl Modality for Connectomes {
    type Config = ConnectomesConfig;
    type Sample = ConnectomeSample;
    const UNIT: Unit = Unit { one: "connectome", many: "connectomes" };
    const BASELINE: &'static str = "static correlations";

    fn open(config: &mut ConnectomesConfig, _: &mut Opening<'_>) -> Result<Self, DataError> {
        config.check()?;
        if config.path.is_empty() {
            let set = Self::generated(config);
            *config = set.config.clone();
            return Ok(set);
        }
        let mut set = Self::read(config, files(Path::new(&config.path))?)?;
        set.divide()?;
        let mut hash = Xxh3::new();
        for known in &set.known {
            hash.update(known.name.as_bytes());
            known.series.values.iter().for_each(|x| hash.update(&x.to_le_bytes()));
        }
        set.parts
            .iter()
            .flatten()
            .for_each(|(recording, first)| hash.update(&[recording.to_le_bytes(), first.to_le_bytes()].concat()));
        let fingerprint = format!("{:016x}", hash.digest());
        if !config.fingerprint.is_empty() && config.fingerprint != fingerprint {
            return Err(DataError::changed(Self::UNIT, &config.path));
        }
        config.fingerprint = fingerprint;
        set.config = config.clone();
        Ok(set)
    }

    fn of_paths(config: &ConnectomesConfig, paths: &[PathBuf]) -> Result<Self, DataError> {
        config.check()?;
        if paths.is_empty() {
            return Err(DataError::NoInputs);
        }
        let mut all = Vec::new();
        for path in paths {
            all.extend(files(path)?);
        }
        let mut config = ConnectomesConfig { label: "none".to_owned(), group: "auto".to_owned(), ..config.clone() };
        let mut set = Self::read(&mut config, all)?;
        set.config = config;
        set.parts[0] = (0..set.known.len()).flat_map(|recording| set.samples(recording)).collect();
        Ok(set)
    }

    fn elsewhere(config: &ConnectomesConfig, path: &str) -> ConnectomesConfig {
        ConnectomesConfig { path: path.to_owned(), fingerprint: String::new(), ..config.clone() }
    }

    fn source(config: &ConnectomesConfig) -> String {
        if config.path.is_empty() { "built-in networks".to_owned() } else { config.path.clone() }
    }

    /// Images alone: a table may be anything.
    fn recognises(path: &Path) -> bool {
        files(path).is_ok_and(|files| files.iter().any(|(path, _)| Nifti::may_be(path) && Nifti::open(path).is_ok()))
    }

    fn describe(&self) -> Description {
        let config = &self.config;
        let kind = format!("{:?}", config.correlation).to_lowercase();
        Description {
            split: self.split.clone(),
            factors: self.factors.clone(),
            facts: vec![
                ("regions".to_owned(), config.regions.to_string()),
                (
                    "windows".to_owned(),
                    format!("{} of {} times, every {}", config.windows, config.window, config.stride),
                ),
                ("correlation".to_owned(), format!("{kind}, the first {} % of pairs are edges", 100.0 * config.edges)),
            ],
            notes: self.notes.clone(),
            ..Description::of::<Self>(&self.format, self.count(Part::Train), self.count(Part::HeldOut))
        }
    }

    fn factors(&self) -> &[Factor] {
        &self.factors
    }

    fn len(&self, part: Part) -> Option<usize> {
        Some(self.count(part))
    }

    fn meta(&self, part: Part, index: usize) -> Result<Meta, DataError> {
        self.check(part, index)?;
        if self.known.is_empty() {
            let (_, _, labels) = networks::generate(&self.config.networks, part, index, self.config.times());
            return Ok(Meta { name: networks::name(part, index), labels: labels.to_vec(), ..Meta::default() });
        }
        let (recording, first) = self.parts[part_of(part)][index];
        let Known { name, subject, label, .. } = &self.known[recording];
        Ok(Meta {
            name: format!("{name} from {first}"),
            labels: label.iter().copied().collect(),
            group: Some(*subject),
            ..Meta::default()
        })
    }

    fn load(&self, part: Part, index: usize) -> Result<ConnectomeSample, DataError> {
        self.check(part, index)?;
        let config = &self.config;
        let (generated, place);
        let (series, states, first) = if self.known.is_empty() {
            generated = networks::generate(&config.networks, part, index, config.times());
            (&generated.0, Some(&generated.1), 0)
        } else {
            place = self.parts[part_of(part)][index];
            (&self.known[place.0].series, None, place.1)
        };
        let mut all = Vec::new();
        let mut of_windows = Vec::new();
        for window in 0..config.windows {
            let begin = first + window * config.stride;
            let courses: Vec<f32> = series
                .values
                .chunks_exact(series.times)
                .flat_map(|course| &course[begin..begin + config.window])
                .copied()
                .collect();
            all.extend(correlations(&courses, config.window, &series.present, config.correlation));
            if let Some(states) = states {
                let own = &states[begin..begin + config.window];
                let counts = |state: &u32| own.iter().filter(|known| *known == state).count();
                of_windows.extend(own.iter().copied().max_by_key(|state| (counts(state), std::cmp::Reverse(*state))));
            }
        }
        Ok(ConnectomeSample {
            correlations: all.into(),
            present: series.present.as_slice().into(),
            windows: config.windows,
            states: of_windows.into(),
            share: config.edges,
        })
    }

    /// The mean over windows of each pair's correlation: what does not change.
    fn baseline(&self, sample: &ConnectomeSample) -> Vec<f32> {
        let regions = sample.regions();
        let mean = |i: usize, j: usize| {
            (0..sample.windows).map(|window| sample.window(window)[i * regions + j]).sum::<f32>()
                / sample.windows.max(1) as f32
        };
        (0..regions).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| mean(i, j)).collect()
    }

    /// The matrices of some windows, side by side: red where two regions go together, blue where one falls as the other rises.
    fn picture(&self, sample: &ConnectomeSample) -> Option<Image> {
        let shown = sample.windows.min(SHOWN).max(1);
        let regions = sample.regions().max(1);
        let (width, height) = (shown * (PIXELS + 4), PIXELS);
        let mut pixels = vec![255; 3 * width * height];
        for place in 0..shown {
            let matrix = sample.window(place * sample.windows / shown);
            for row in 0..PIXELS {
                for column in 0..PIXELS {
                    let value = matrix[row * regions / PIXELS * regions + column * regions / PIXELS].clamp(-1.0, 1.0);
                    let end: [f32; 3] = if value < 0.0 { [33.0, 102.0, 172.0] } else { [178.0, 24.0, 43.0] };
                    let at = 3 * (row * width + place * (PIXELS + 4) + column);
                    for (pixel, end) in pixels[at..at + 3].iter_mut().zip(end) {
                        *pixel = (255.0 + value.abs() * (end - 255.0)) as u8;
                    }
                }
            }
        }
        Some(Image { width, height, channels: 3, pixels })
    }
}
