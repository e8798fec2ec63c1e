//! Series in two parts: what training, evaluation and people are given.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rand_distr::{Distribution, StandardNormal};
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use crate::images::labels::Factor;
use crate::modality::{Description, Meta, Modality, Opening, Unit};
use crate::random::{Stream, rng, shuffled};
use crate::series::config::{SeriesConfig, Standardise};
use crate::series::drawing::Chart;
use crate::series::linear::stretched;
use crate::series::raw::{Raw, RawSeries, RawSet, RawTable};
use crate::series::sample::SeriesSample;
use crate::series::statistics::{by_itself, moments, standardised};
use crate::series::stretches::Stretch;
use crate::series::text::bad;
use crate::series::{files, generated};
use crate::{Auto, DataError, Decision, Image, Normalise, Part};

/// The window of TS-JEPA's paper.
const WINDOW: usize = 320;
/// Numbers of a channel in the baseline, at most.
const BASELINE: usize = 512;
/// One in so many series is held out where no file says which.
const ONE_IN: usize = 5;
/// Generated series by which their scale is measured.
const MEASURED: usize = 256;
/// Numbers that recorders write where nothing was measured.
const SENTINELS: [f32; 7] = [-9999.0, -999.0, -99999.0, 9999.0, 99999.0, -32768.0, 32767.0];
/// Height and width of a picture in pixels.
const PICTURE: (usize, usize) = (96, 192);

/// Series, their labels and their split.
#[derive(Debug)]
pub struct Series {
    config: SeriesConfig,
    from: From,
    factors: Vec<Factor>,
    format: String,
    split: String,
    facts: Vec<(String, String)>,
    numbers: BTreeMap<String, Value>,
    notes: Vec<String>,
}

#[derive(Debug)]
enum From {
    Waves,
    Listed { series: Vec<Listed>, parts: [Vec<u32>; 2] },
    Windows(Windows),
}

#[derive(Debug)]
struct Listed {
    name: String,
    sample: SeriesSample,
    label: Option<u32>,
}

/// A recording, and the windows of each part: columns and rows at which they begin.
#[derive(Debug)]
struct Windows {
    columns: Vec<String>,
    /// Of each column, `[R]`, on the scale of the config.
    values: Vec<Vec<f32>>,
    rows: [Range<usize>; 2],
    starts: [Vec<(u32, u32)>; 2],
    window: usize,
    separate: bool,
}

fn of_part(part: Part) -> usize {
    usize::from(part == Part::HeldOut)
}

impl Windows {
    /// Steps of a column, or of all where they are not separate.
    fn cut(&self, column: usize, rows: Range<usize>) -> SeriesSample {
        if self.separate {
            return SeriesSample::new(1, self.values[column][rows].to_vec());
        }
        let step = |row: usize| self.values.iter().map(move |column| column[row]);
        SeriesSample::new(self.values.len(), rows.flat_map(step).collect())
    }

    /// Columns that windows are taken of: all of them together, or each.
    fn taken(&self) -> usize {
        if self.separate { self.values.len() } else { 1 }
    }

    /// Windows within some rows of which at least half is known.
    fn windows(&self, rows: &Range<usize>, stride: usize) -> Vec<(u32, u32)> {
        let mut windows = Vec::new();
        for column in 0..self.taken() {
            let columns = if self.separate { column..column + 1 } else { 0..self.values.len() };
            let mut known = vec![0_usize; rows.len() + 1];
            for (at, row) in rows.clone().enumerate() {
                let here = columns.clone().filter(|column| !self.values[*column][row].is_nan()).count();
                known[at + 1] = known[at] + here;
            }
            let all = self.window * columns.len();
            let mut start = 0;
            while start + self.window <= rows.len() {
                if 2 * (known[start + self.window] - known[start]) >= all {
                    windows.push((column as u32, (rows.start + start) as u32));
                }
                start += stride.max(1);
            }
        }
        windows
    }
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

/// What stands for a hole becomes one.
fn missing(raw: &mut Raw, config: &SeriesConfig) {
    let stands = |value: f32| config.missing.iter().any(|missing| value == *missing as f32);
    let clear = |values: &mut Vec<f32>| values.iter_mut().filter(|v| stands(**v)).for_each(|value| *value = f32::NAN);
    if config.missing.is_empty() {
        return;
    }
    match raw {
        Raw::Set(set) => {
            set.train.iter_mut().chain(set.held_out.iter_mut().flatten()).for_each(|series| clear(&mut series.values));
        }
        Raw::Table(table) => table.values.iter_mut().for_each(clear),
    }
}

/// Numbers that look as if they stood for a hole, where other values lie elsewhere.
fn sentinels<'a>(columns: impl Iterator<Item = (String, &'a [f32])>) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, values) in columns {
        for sentinel in SENTINELS {
            let count = values.iter().filter(|value| **value == sentinel).count();
            if count == 0 {
                continue;
            }
            let others = values.iter().filter(|value| !value.is_nan() && **value != sentinel);
            let size = others.map(|value| value.abs()).fold(0.0_f32, f32::max);
            if size * 2.0 < sentinel.abs() {
                notes.push(format!(
                    "`{name}` is {sentinel} at {count} place{}, far from its other values: if that stands for a hole, set `data.missing` to [{sentinel}]",
                    if count == 1 { "" } else { "s" }
                ));
            }
        }
    }
    notes
}

fn lengths(steps: impl Iterator<Item = usize> + Clone) -> (usize, usize) {
    (steps.clone().min().unwrap_or(0), steps.max().unwrap_or(0))
}

fn told((least, most): (usize, usize)) -> String {
    if least == most { least.to_string() } else { format!("{least} to {most}") }
}

/// Each channel of a sample where they are separate, the sample itself otherwise.
fn channels_of(sample: &SeriesSample, config: &SeriesConfig) -> Vec<SeriesSample> {
    if config.separate == Auto::Value(true) && sample.channels > 1 {
        (0..sample.channels).map(|channel| SeriesSample::new(1, sample.channel(channel).collect())).collect()
    } else {
        vec![sample.clone()]
    }
}

/// A sample on the scale of a run, at its place among the channels of its series.
fn on_scale(sample: &SeriesSample, place: usize, config: &SeriesConfig) -> SeriesSample {
    let Normalise { mean, std } = &config.normalise;
    if matches!(config.standardise, Standardise::Each | Standardise::None) || mean.is_empty() {
        return sample.clone();
    }
    let of = |channel: usize| {
        let channel = if sample.channels == 1 { place } else { channel };
        (mean[channel % mean.len()], std[channel % std.len()])
    };
    let values = sample.values.iter().enumerate().map(|(i, value)| standardised(*value, of(i % sample.channels)));
    SeriesSample::new(sample.channels, values.collect())
}

/// An error unless series of so many channels are what a run learnt from.
fn fits(config: &SeriesConfig, channels: usize, path: &Path) -> Result<(), DataError> {
    let expected = config.normalise.mean.len();
    let known = expected == 0 || channels == expected;
    if known || config.separate == Auto::Value(true) && config.standardise == Standardise::Each {
        return Ok(());
    }
    Err(bad(path, format!("its series have {channels} channels, and the network was made for {expected}")))
}

/// The generated series.
fn waves(config: &mut SeriesConfig) -> Series {
    let waves = &config.waves;
    config.separate = Auto::Value(false);
    config.steps = (waves.steps, waves.steps);
    if config.normalise.mean.is_empty() {
        let measured: Vec<f32> = (0..waves.train.min(MEASURED))
            .flat_map(|index| generated::generate(waves, Part::Train, index).values.to_vec())
            .collect();
        let (mean, std) = scale_of(measured.iter().copied(), config.standardise);
        config.normalise = Normalise { mean: vec![mean], std: vec![std] };
    }
    Series {
        config: config.clone(),
        from: From::Waves,
        factors: generated::factors(),
        format: format!("generated series, seed {}", config.waves.seed),
        split: "each part is drawn for itself".to_owned(),
        facts: vec![("steps".to_owned(), config.waves.steps.to_string()), ("channels".to_owned(), "1".to_owned())],
        numbers: BTreeMap::from([("steps".to_owned(), config.waves.steps.into()), ("channels".to_owned(), 1.into())]),
        notes: Vec::new(),
    }
}

/// Mean and deviation by which values are scaled.
fn scale_of(values: impl Iterator<Item = f32> + Clone, standardise: Standardise) -> (f32, f32) {
    match standardise {
        Standardise::Training | Standardise::Official => moments(values),
        Standardise::Each | Standardise::None => (0.0, 1.0),
    }
}

fn changed(path: &Path) -> DataError {
    DataError::changed(Series::UNIT, &path.display().to_string())
}

/// Labelled or unlabelled series of a set.
fn of_set(
    config: &mut SeriesConfig,
    set: RawSet,
    path: &Path,
    decisions: &mut Vec<Decision>,
) -> Result<Series, DataError> {
    let RawSet { form, name, channels, train, held_out, notes } = set;
    if !config.columns.is_empty() {
        return Err(DataError::BadSetting {
            name: "data.columns".into(),
            expected: "left empty: it is a table that has columns, and this is a set of series",
            found: config.columns.join(", "),
        });
    }
    let brought = held_out.is_some();
    let of_train = train.len();
    let raw: Vec<RawSeries> = train.into_iter().chain(held_out.into_iter().flatten()).collect();
    if let Some(empty) = raw.iter().position(|series| series.values.iter().all(|value| value.is_nan())) {
        return Err(bad(path, format!("nothing is known of series {empty} (the first is 0): remove it")));
    }
    let labelled = raw.iter().all(|series| series.label.is_some());
    let classes = if labelled { classes(&raw) } else { Vec::new() };
    let label = |series: &RawSeries| {
        labelled.then(|| classes.iter().position(|class| Some(class) == series.label.as_ref())).flatten().unwrap_or(0)
            as u32
    };
    let in_part: [Vec<usize>; 2] = if brought {
        [(0..of_train).collect(), (of_train..raw.len()).collect()]
    } else {
        drawn(&raw.iter().map(label).collect::<Vec<_>>())
    };
    let fingerprint = {
        let mut hash = Xxh3::new();
        for (place, series) in raw.iter().enumerate() {
            hash.update(&(series.values.len() as u64).to_le_bytes());
            series.values.iter().for_each(|value| hash.update(&value.to_bits().to_le_bytes()));
            hash.update(series.label.as_deref().unwrap_or("").as_bytes());
            hash.update(&[u8::from(in_part[0].binary_search(&place).is_ok())]);
        }
        format!("{:016x}", hash.digest())
    };
    if !config.fingerprint.is_empty() && config.fingerprint != fingerprint {
        return Err(changed(path));
    }
    config.fingerprint = fingerprint;
    config.window = Auto::Value(WINDOW);
    config.separate.resolve("data.separate", decisions, || {
        (false, format!("each series has its {channels} channel{} together", if channels == 1 { "" } else { "s" }))
    });
    let samples: Vec<SeriesSample> =
        raw.iter().map(|series| SeriesSample::new(channels, series.values.clone())).collect();
    if config.normalise.mean.is_empty() {
        let measured: Vec<usize> =
            if config.standardise == Standardise::Official { (0..raw.len()).collect() } else { in_part[0].clone() };
        let (mean, std) = (0..channels)
            .map(|channel| {
                let values: Vec<f32> = measured.iter().flat_map(|place| samples[*place].channel(channel)).collect();
                scale_of(values.iter().copied(), config.standardise)
            })
            .unzip();
        config.normalise = Normalise { mean, std };
    }
    fits(config, channels, path)?;
    let mut notes = notes;
    let all = |channel: usize| samples.iter().flat_map(move |sample| sample.channel(channel)).collect::<Vec<f32>>();
    let columns: Vec<(String, Vec<f32>)> = (0..channels).map(|c| (format!("channel {}", c + 1), all(c))).collect();
    notes.extend(sentinels(columns.iter().map(|(name, values)| (name.clone(), &values[..]))));
    let steady = config.normalise.std.iter().filter(|std| **std == 0.0).count();
    if steady > 0 && !matches!(config.standardise, Standardise::Each | Standardise::None) {
        notes.push(format!("{steady} of {channels} channels never change over the training part: they are 0"));
    }
    let known: usize = samples.iter().map(SeriesSample::count).sum();
    let values: usize = samples.iter().map(|sample| sample.values.len()).sum();
    let (mut series, mut parts) = (Vec::new(), [Vec::new(), Vec::new()]);
    let width = if config.separate == Auto::Value(true) { channels } else { 1 };
    for (place, sample) in samples.iter().enumerate() {
        let part = usize::from(in_part[0].binary_search(&place).is_err());
        for (channel, own) in channels_of(sample, config).into_iter().enumerate() {
            if own.count() == 0 {
                continue;
            }
            parts[part].push(series.len() as u32);
            let of = if width > 1 { format!("{name}/{place}/{channel}") } else { format!("{name}/{place}") };
            let sample = on_scale(&own, channel, config);
            series.push(Listed { name: of, sample, label: labelled.then(|| label(&raw[place])) });
        }
    }
    config.steps = lengths(series.iter().map(|listed: &Listed| listed.sample.steps()));
    let holes = 1.0 - known as f64 / values.max(1) as f64;
    let mut facts = vec![("steps".to_owned(), told(config.steps)), ("channels".to_owned(), channels.to_string())];
    if holes > 0.0 {
        facts.push(("holes".to_owned(), format!("{:.1} % of all values", 100.0 * holes)));
    }
    let numbers = BTreeMap::from([
        ("steps".to_owned(), config.steps.1.into()),
        ("channels".to_owned(), channels.into()),
        ("holes".to_owned(), holes.into()),
    ]);
    let factors = if classes.len() > 1 { vec![Factor { name: "class".to_owned(), classes }] } else { Vec::new() };
    if factors.is_empty() {
        for listed in &mut series {
            listed.label = None;
        }
    }
    Ok(Series {
        config: config.clone(),
        from: From::Listed { series, parts },
        factors,
        format: form.to_owned(),
        split: if brought {
            "by its two files or arrays".to_owned()
        } else {
            format!("one in {ONE_IN} of each class is held out, drawn once for all runs")
        },
        facts,
        numbers,
        notes,
    })
}

/// Classes in the order of their numbers, where all are numbers.
fn classes(raw: &[RawSeries]) -> Vec<String> {
    let mut classes: Vec<String> = raw.iter().filter_map(|series| series.label.clone()).collect();
    classes.sort();
    classes.dedup();
    let numbers: Option<Vec<f64>> = classes.iter().map(|class| class.parse().ok()).collect();
    if numbers.is_some() {
        let number = |class: &String| class.parse::<f64>().unwrap_or(0.0);
        classes.sort_by(|a, b| number(a).total_cmp(&number(b)));
    }
    classes
}

/// A fifth of each class is held out.
fn drawn(labels: &[u32]) -> [Vec<usize>; 2] {
    let mut parts = [Vec::new(), Vec::new()];
    let classes = labels.iter().max().map_or(0, |most| most + 1);
    for class in 0..classes {
        let own: Vec<usize> = (0..labels.len()).filter(|place| labels[*place] == class).collect();
        let order = shuffled(own.len(), &mut rng(0, Stream::Judge, 0, u64::from(class)));
        for (at, place) in order.into_iter().enumerate() {
            parts[usize::from(at < own.len() / ONE_IN)].push(own[place as usize]);
        }
    }
    for part in &mut parts {
        part.sort_unstable();
    }
    parts
}

/// The columns that are used, in the config's order.
fn chosen(config: &SeriesConfig, table: RawTable, path: &Path) -> Result<RawTable, DataError> {
    if config.columns.is_empty() {
        return Ok(table);
    }
    let place = |name: &String| {
        table.columns.iter().position(|column| column == name).ok_or_else(|| {
            bad(
                path,
                format!("it has no column `{name}`, which `data.columns` names: it has {}", table.columns.join(", ")),
            )
        })
    };
    let places = config.columns.iter().map(place).collect::<Result<Vec<usize>, _>>()?;
    let values = places.iter().map(|place| table.values[*place].clone()).collect();
    Ok(RawTable { columns: config.columns.clone(), values, ..table })
}

/// Windows of a recording.
fn of_table(
    config: &mut SeriesConfig,
    table: RawTable,
    path: &Path,
    decisions: &mut Vec<Decision>,
) -> Result<Series, DataError> {
    let table = chosen(config, table, path)?;
    let rows = table.values.first().map_or(0, Vec::len);
    let train = (rows as f64 * config.train) as usize;
    let test = ((rows as f64 * (config.train + config.validation)).ceil() as usize).min(rows);
    let parts = [0..train, test..rows];
    let smaller = train.min(rows - test);
    let window = config.window.resolve("data.window", decisions, || {
        let window = WINDOW.min(smaller / 2);
        let why = if window == WINDOW {
            "the paper's".to_owned()
        } else {
            format!("half of the smaller part, which has {smaller} rows")
        };
        (window, why)
    });
    if window < 4 || window > smaller {
        return Err(bad(
            path,
            format!(
                "its {rows} rows give {train} to train on and {} to hold out, and a window has {window} steps: give a longer recording, or a shorter `data.window` of 4 steps or more",
                rows - test
            ),
        ));
    }
    let columns = table.columns.len();
    let separate = config.separate.resolve("data.separate", decisions, || match columns {
        1 => (false, "there is one channel".to_owned()),
        _ => (true, format!("{columns} columns of their own kinds: each is a series of its own")),
    });
    let mut hash = Xxh3::new();
    for (name, values) in table.columns.iter().zip(&table.values) {
        hash.update(name.as_bytes());
        for value in values {
            hash.update(&value.to_bits().to_le_bytes());
        }
    }
    for word in &[train, test, window] {
        hash.update(&(*word as u64).to_le_bytes());
    }
    let fingerprint = format!("{:016x}", hash.digest());
    if !config.fingerprint.is_empty() && config.fingerprint != fingerprint {
        return Err(changed(path));
    }
    config.fingerprint = fingerprint;
    let known = config.normalise.mean.len();
    if known > 0 && known != columns && !separate {
        return Err(bad(path, format!("it has {columns} columns, and the network was made for {known}")));
    }
    if known != columns {
        // Other columns than a run learnt from have a scale of their own.
        let measured = if config.standardise == Standardise::Official { 0..rows } else { 0..train };
        let of = |values: &Vec<f32>| scale_of(values[measured.clone()].iter().copied(), config.standardise);
        let (mean, std) = table.values.iter().map(of).unzip();
        config.normalise = Normalise { mean, std };
    }
    let mut notes = table.notes.clone();
    notes.extend(sentinels(table.columns.iter().zip(&table.values).map(|(name, values)| (name.clone(), &values[..]))));
    for (name, std) in table.columns.iter().zip(&config.normalise.std) {
        if *std == 0.0 {
            notes.push(format!("`{name}` never changes over the training part: it is 0"));
        }
    }
    let holes = table.values.iter().flatten().filter(|value| value.is_nan()).count();
    let scales = config.normalise.mean.iter().copied().zip(config.normalise.std.iter().copied());
    let values = table
        .values
        .into_iter()
        .zip(scales)
        .map(|(column, scale)| column.into_iter().map(|value| standardised(value, scale)).collect())
        .collect();
    let mut recording =
        Windows { columns: table.columns, values, rows: parts, starts: [Vec::new(), Vec::new()], window, separate };
    let strides = [config.stride, (window / 2).max(1)];
    recording.starts = [0, 1].map(|part| recording.windows(&recording.rows[part], strides[part]));
    if recording.starts[0].is_empty() {
        return Err(bad(
            path,
            format!("no window of {window} steps of its training part is known by half: there are too many holes"),
        ));
    }
    config.steps = (window, window);
    let mut facts = vec![
        ("channels".to_owned(), names(&recording.columns, separate)),
        ("rows".to_owned(), rows.to_string()),
        ("window".to_owned(), format!("{window} steps")),
    ];
    facts.extend(table.step.map(|step| ("time step".to_owned(), step)));
    let share = holes as f64 / (rows * columns).max(1) as f64;
    if holes > 0 {
        facts.push(("holes".to_owned(), format!("{:.2} % of all values", 100.0 * share)));
    }
    let numbers = BTreeMap::from([
        ("rows".to_owned(), rows.into()),
        ("channels".to_owned(), columns.into()),
        ("window".to_owned(), window.into()),
        ("holes".to_owned(), share.into()),
    ]);
    Ok(Series {
        config: config.clone(),
        split: format!(
            "by time: rows 0 to {} to train on, {test} to {} held out, no window across",
            train - 1,
            rows - 1
        ),
        from: From::Windows(recording),
        factors: Vec::new(),
        format: table.form.to_owned(),
        facts,
        numbers,
        notes,
    })
}

fn names(columns: &[String], separate: bool) -> String {
    const SHOWN: usize = 8;
    let more = if columns.len() > SHOWN { ", …" } else { "" };
    let how = match (columns.len(), separate) {
        (1, _) => "",
        (_, true) => ", each a series of its own",
        (_, false) => ", together",
    };
    format!("{} ({}{more}){how}", columns.len(), columns.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", "))
}

/// Windows of a recording beside each other, for `embed`.
fn windows_of(config: &SeriesConfig, table: RawTable, path: &Path, name: &str) -> Result<Vec<Listed>, DataError> {
    let table = chosen(config, table, path)?;
    fits(config, table.columns.len(), path)?;
    let window = if let Auto::Value(window) = config.window { window } else { WINDOW };
    let rows = table.values.first().map_or(0, Vec::len);
    let step = |row: usize| table.values.iter().map(move |column| column[row]);
    let mut listed = Vec::new();
    let mut start = 0;
    while start < rows && (start + window <= rows || start == 0) {
        let whole = (start..(start + window).min(rows)).flat_map(step).collect();
        let sample = SeriesSample::new(table.columns.len(), whole);
        for (place, own) in channels_of(&sample, config).into_iter().enumerate() {
            if own.count() > 0 {
                let of = if own.channels < sample.channels {
                    format!("{name}/{}/{start}", table.columns[place])
                } else {
                    format!("{name}/{start}")
                };
                listed.push(Listed { name: of, sample: on_scale(&own, place, config), label: None });
            }
        }
        start += window;
    }
    if listed.is_empty() {
        return Err(bad(path, "nothing in it is known: all of it is holes"));
    }
    Ok(listed)
}
