//! A set of series as it is opened: holes, channels, the scale, classes and what is held out.

use std::collections::BTreeMap;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::set::{From, Listed, Series};
use crate::images::labels::Factor;
use crate::modality::Modality;
use crate::random::{Stream, rng, shuffled};
use crate::series::config::{SeriesConfig, Standardise};
use crate::series::generated;
use crate::series::raw::{Raw, RawSeries, RawSet};
use crate::series::sample::SeriesSample;
use crate::series::statistics::{moments, standardised};
use crate::series::text::bad;
use crate::{Auto, DataError, Decision, Normalise, Part};

/// The window of TS-JEPA's paper.
pub(super) const WINDOW: usize = 320;
/// One in so many series is held out where no file says which.
const ONE_IN: usize = 5;
/// Generated series by which their scale is measured.
const MEASURED: usize = 256;
/// Numbers that recorders write where nothing was measured.
const SENTINELS: [f32; 7] = [-9999.0, -999.0, -99999.0, 9999.0, 99999.0, -32768.0, 32767.0];

/// What stands for a hole becomes one.
pub(super) fn missing(raw: &mut Raw, config: &SeriesConfig) {
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
pub(super) fn sentinels<'a>(columns: impl Iterator<Item = (String, &'a [f32])>) -> Vec<String> {
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

pub(super) fn lengths(steps: impl Iterator<Item = usize> + Clone) -> (usize, usize) {
    (steps.clone().min().unwrap_or(0), steps.max().unwrap_or(0))
}

pub(super) fn told((least, most): (usize, usize)) -> String {
    if least == most { least.to_string() } else { format!("{least} to {most}") }
}

/// Each channel of a sample where they are separate, the sample itself otherwise.
pub(super) fn channels_of(sample: &SeriesSample, config: &SeriesConfig) -> Vec<SeriesSample> {
    if config.separate == Auto::Value(true) && sample.channels > 1 {
        (0..sample.channels).map(|channel| SeriesSample::new(1, sample.channel(channel).collect())).collect()
    } else {
        vec![sample.clone()]
    }
}

/// A sample on the scale of a run, at its place among the channels of its series.
pub(super) fn on_scale(sample: &SeriesSample, place: usize, config: &SeriesConfig) -> SeriesSample {
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
pub(super) fn fits(config: &SeriesConfig, channels: usize, path: &Path) -> Result<(), DataError> {
    let expected = config.normalise.mean.len();
    let known = expected == 0 || channels == expected;
    if known || config.separate == Auto::Value(true) && config.standardise == Standardise::Each {
        return Ok(());
    }
    Err(bad(path, format!("its series have {channels} channels, and the network was made for {expected}")))
}

/// The generated series.
pub(super) fn waves(config: &mut SeriesConfig) -> Series {
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
pub(super) fn scale_of(values: impl Iterator<Item = f32> + Clone, standardise: Standardise) -> (f32, f32) {
    match standardise {
        Standardise::Training | Standardise::Official => moments(values),
        Standardise::Each | Standardise::None => (0.0, 1.0),
    }
}

pub(super) fn changed(path: &Path) -> DataError {
    DataError::changed(Series::UNIT, &path.display().to_string())
}

/// Labelled or unlabelled series of a set.
pub(super) fn of_set(
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
pub(super) fn classes(raw: &[RawSeries]) -> Vec<String> {
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
pub(super) fn drawn(labels: &[u32]) -> [Vec<usize>; 2] {
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
