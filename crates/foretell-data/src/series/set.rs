//! Series in two parts: what training, evaluation and people are given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand_distr::{Distribution, StandardNormal};
use serde_json::Value;

use crate::images::labels::Factor;
use crate::modality::{Description, Meta, Modality, Opening, Unit};
use crate::random::{Stream, rng};
use crate::series::config::{SeriesConfig, Standardise};
use crate::series::drawing::Chart;
use crate::series::linear::stretched;
use crate::series::opened::{channels_of, fits, lengths, missing, of_set, on_scale, told, waves};
use crate::series::raw::Raw;
use crate::series::sample::SeriesSample;
use crate::series::statistics::{by_itself, moments, standardised};
use crate::series::stretches::Stretch;
use crate::series::windowed::{Windows, of_table, windows_of};
use crate::series::{files, generated};
use crate::{DataError, Image, Normalise, Part};

/// Numbers of a channel in the baseline, at most.
const BASELINE: usize = 512;
/// Height and width of a picture in pixels.
const PICTURE: (usize, usize) = (96, 192);

/// Series, their labels and their split.
#[derive(Debug)]
pub struct Series {
    pub(super) config: SeriesConfig,
    pub(super) from: From,
    pub(super) factors: Vec<Factor>,
    pub(super) format: String,
    pub(super) split: String,
    pub(super) facts: Vec<(String, String)>,
    pub(super) numbers: BTreeMap<String, Value>,
    pub(super) notes: Vec<String>,
}

#[derive(Debug)]
pub(super) enum From {
    Waves,
    Listed { series: Vec<Listed>, parts: [Vec<u32>; 2] },
    Windows(Windows),
}

#[derive(Debug)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) sample: SeriesSample,
    pub(super) label: Option<u32>,
}

fn of_part(part: Part) -> usize {
    usize::from(part == Part::HeldOut)
}

impl Series {
    /// The resolved configuration.
    pub fn config(&self) -> &SeriesConfig {
        &self.config
    }

    /// How many samples a part has.
    fn count(&self, part: Part) -> usize {
        match &self.from {
            From::Waves if part == Part::Train => self.config.waves.train,
            From::Waves => self.config.waves.held_out,
            From::Listed { parts, .. } => parts[of_part(part)].len(),
            From::Windows(windows) => windows.starts[of_part(part)].len(),
        }
    }

    /// A sample on the config's scale, without noise.
    fn plain(&self, part: Part, index: usize) -> SeriesSample {
        match &self.from {
            From::Waves => scaled(&generated::generate(&self.config.waves, part, index), &self.config),
            From::Listed { series, parts } => series[parts[of_part(part)][index] as usize].sample.clone(),
            From::Windows(windows) => {
                let (column, start) = windows.starts[of_part(part)][index];
                windows.cut(column as usize, start as usize..start as usize + windows.window)
            }
        }
    }

    /// The series of the training part as wholes, at most so many: what statistics of their own are taken from. Of a recording they are its
    /// training rows, column by column where those are separate.
    pub fn training(&self, most: usize) -> Vec<SeriesSample> {
        match &self.from {
            From::Windows(windows) => {
                (0..windows.taken().min(most)).map(|column| windows.cut(column, windows.rows[0].clone())).collect()
            }
            _ => (0..self.count(Part::Train).min(most)).map(|index| self.plain(Part::Train, index)).collect(),
        }
    }

    /// At most so many stretches of a part, evenly spread, of up to `history` steps that are seen and `horizon` that come then; half of each
    /// piece is known at least. None crosses the split.
    pub fn stretches(&self, part: Part, history: usize, horizon: usize, most: usize) -> Vec<Stretch> {
        let both = |whole: SeriesSample, column: usize, start: usize| {
            let seen = whole.steps() - horizon;
            let (mut history, mut future) = (whole.cut(0..seen), whole.cut(seen..whole.steps()));
            if self.config.standardise == Standardise::Each {
                // What comes then is on the scale of what is seen.
                let of: Vec<_> = (0..history.channels).map(|channel| moments(history.channel(channel))).collect();
                let scale = |sample: &SeriesSample| {
                    let values =
                        sample.values.iter().enumerate().map(|(i, v)| standardised(*v, of[i % sample.channels]));
                    SeriesSample::new(sample.channels, values.collect())
                };
                (history, future) = (scale(&history), scale(&future));
            }
            let known = |sample: &SeriesSample| 2 * sample.count() >= sample.values.len();
            (known(&history) && known(&future)).then_some(Stretch { history, future, column, start })
        };
        if let From::Windows(windows) = &self.from {
            let rows = &windows.rows[of_part(part)];
            let Some(last) = rows.len().checked_sub(history + horizon) else { return Vec::new() };
            let all = windows.taken() * (last + 1);
            let places = crate::spread(Some(all), most);
            let of = |place: usize| {
                let (column, start) = (place / (last + 1), rows.start + place % (last + 1));
                both(windows.cut(column, start..start + history + horizon), column, start)
            };
            places.filter_map(of).collect()
        } else {
            let of = |index: usize| {
                let sample = match &self.from {
                    // By the moments of the whole nothing would be foretold.
                    From::Listed { series, parts } => series[parts[of_part(part)][index] as usize].sample.clone(),
                    _ => self.plain(part, index),
                };
                let seen = sample.steps().checked_sub(horizon)?.min(history);
                (seen >= 4).then(|| both(sample.cut(sample.steps() - seen - horizon..sample.steps()), 0, index))?
            };
            crate::spread(Some(self.count(part)), most).filter_map(of).collect()
        }
    }

    /// What is added to the values of a sample, in deviations.
    fn noisy(&self, sample: SeriesSample, part: Part, index: usize) -> SeriesSample {
        let sample = if self.config.standardise == Standardise::Each {
            SeriesSample::new(sample.channels, by_itself(&sample))
        } else {
            sample
        };
        if self.config.noise > 0.0 {
            with_noise(&sample, self.config.noise, 0, (part as u64, index as u64))
        } else {
            sample
        }
    }
}

/// A sample with normal noise of this deviation at each known value.
pub(crate) fn with_noise(sample: &SeriesSample, deviation: f64, seed: u64, (step, index): (u64, u64)) -> SeriesSample {
    let mut rng = rng(seed, Stream::Noise, step, index);
    let values = sample.values.iter().map(|value| {
        let noise: f64 = StandardNormal.sample(&mut rng);
        value + (noise * deviation) as f32
    });
    SeriesSample::new(sample.channels, values.collect())
}

impl SeriesSample {
    /// The same with normal noise of this deviation at each known value: a function of the three numbers.
    pub fn with_noise(&self, deviation: f64, seed: u64, place: (u64, u64)) -> Self {
        with_noise(self, deviation, seed, place)
    }
}

/// A sample on the scale of a resolved config.
fn scaled(sample: &SeriesSample, config: &SeriesConfig) -> SeriesSample {
    let Normalise { mean, std } = &config.normalise;
    let of = |i: usize| (mean[i % mean.len()], std[i % std.len()]);
    let values = sample.values.iter().enumerate().map(|(i, value)| standardised(*value, of(i % sample.channels)));
    SeriesSample::new(sample.channels, values.collect())
}

impl Modality for Series {
    type Config = SeriesConfig;
    type Sample = SeriesSample;
    const UNIT: Unit = Unit { one: "series", many: "series" };
    const BASELINE: &'static str = "raw series";
    const MEASURED: &'static [&'static str] = &["measured", "normalise", "steps", "fingerprint"];

    fn open(config: &mut SeriesConfig, opening: &mut Opening<'_>) -> Result<Self, DataError> {
        config.check()?;
        if config.path.is_empty() {
            return Ok(waves(config));
        }
        let path = PathBuf::from(&config.path);
        let mut raw = files::read(&path)?;
        missing(&mut raw, config);
        match raw {
            Raw::Set(set) => of_set(config, set, &path, opening.decisions),
            Raw::Table(table) => of_table(config, table, &path, opening.decisions),
        }
    }

    fn of_paths(config: &SeriesConfig, paths: &[PathBuf]) -> Result<Self, DataError> {
        if paths.is_empty() {
            return Err(DataError::NoInputs);
        }
        let mut config = SeriesConfig { fingerprint: String::new(), ..config.clone() };
        if config.normalise.mean.is_empty() {
            config.standardise =
                if config.standardise == Standardise::None { Standardise::None } else { Standardise::Each };
        }
        let mut series = Vec::new();
        for path in paths {
            let mut raw = if path.is_dir() { files::read(path)? } else { files::read_alone(path)? };
            missing(&mut raw, &config);
            let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            match raw {
                Raw::Set(set) => {
                    fits(&config, set.channels, path)?;
                    let all = set.train.into_iter().chain(set.held_out.into_iter().flatten());
                    let samples = all.map(|raw| SeriesSample::new(set.channels, raw.values)).collect::<Vec<_>>();
                    for (place, sample) in samples.iter().flat_map(|s| channels_of(s, &config)).enumerate() {
                        let sample = on_scale(&sample, place, &config);
                        series.push(Listed { name: format!("{name}/{place}"), sample, label: None });
                    }
                }
                Raw::Table(table) => series.extend(windows_of(&config, table, path, &name)?),
            }
        }
        if let Some(empty) = series.iter().find(|listed| listed.sample.count() == 0) {
            return Err(DataError::Setting(format!("nothing is known of the series `{}`: leave it out", empty.name)));
        }
        let parts = [(0..series.len() as u32).collect(), Vec::new()];
        let steps = lengths(series.iter().map(|listed| listed.sample.steps()));
        let facts = vec![("steps".to_owned(), told(steps))];
        Ok(Self {
            config,
            from: From::Listed { series, parts },
            factors: Vec::new(),
            format: "series".to_owned(),
            split: "all in one part".to_owned(),
            facts,
            numbers: BTreeMap::new(),
            notes: Vec::new(),
        })
    }

    fn elsewhere(config: &SeriesConfig, path: &str) -> SeriesConfig {
        SeriesConfig {
            path: path.to_owned(),
            columns: Vec::new(),
            fingerprint: String::new(),
            steps: (0, 0),
            ..config.clone()
        }
    }

    fn source(config: &SeriesConfig) -> String {
        if config.path.is_empty() { "built-in series".to_owned() } else { config.path.clone() }
    }

    fn recognises(path: &Path) -> bool {
        files::recognises(path)
    }

    fn describe(&self) -> Description {
        Description {
            split: self.split.clone(),
            factors: self.factors.clone(),
            facts: self.facts.clone(),
            numbers: self.numbers.clone(),
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
        part.holds(index, self.count(part))?;
        Ok(match &self.from {
            From::Waves => Meta {
                name: generated::name(part, index),
                labels: generated::labels(&self.config.waves, part, index).to_vec(),
                ..Meta::default()
            },
            From::Listed { series, parts } => {
                let listed = &series[parts[of_part(part)][index] as usize];
                Meta { name: listed.name.clone(), labels: listed.label.into_iter().collect(), ..Meta::default() }
            }
            From::Windows(windows) => {
                let (column, start) = windows.starts[of_part(part)][index];
                let column = if windows.separate { &windows.columns[column as usize] } else { "row" };
                Meta { name: format!("{column}/{start}"), ..Meta::default() }
            }
        })
    }

    fn load(&self, part: Part, index: usize) -> Result<SeriesSample, DataError> {
        part.holds(index, self.count(part))?;
        Ok(self.noisy(self.plain(part, index), part, index))
    }

    /// Each channel at as many places as the longest series has steps, 512 at most.
    fn baseline(&self, sample: &SeriesSample) -> Vec<f32> {
        let len = self.config.steps.1.clamp(1, BASELINE);
        (0..sample.channels).flat_map(|channel| stretched(sample, channel, len)).collect()
    }

    fn picture(&self, sample: &SeriesSample) -> Option<Image> {
        Some(Chart::of(sample).draw(PICTURE.1, PICTURE.0))
    }
}
