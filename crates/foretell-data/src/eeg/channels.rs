//! Which signals of each recording are the electrodes of a set, and what their numbers mean.

use std::collections::BTreeMap;

use crate::eeg::config::EegConfig;
use crate::eeg::filter::Filter;
use crate::eeg::found::Found;
use crate::eeg::montage::{Named, electrode};
use crate::eeg::recording::{Recording, Signal, bad};
use crate::eeg::units::{PLAUSIBLE, POSSIBLE, Volts};
use crate::eeg::windows::Place;
use crate::{Auto, DataError};

/// Rates of signals that are taken.
const RATES: std::ops::RangeInclusive<f64> = 16.0..=100_000.0;
/// Windows of a recording that are measured at most.
const MEASURED: usize = 4;
/// Names that a sentence lists.
const LISTED: usize = 12;

/// The electrodes of one recording.
#[derive(Debug)]
pub(crate) struct Electrodes {
    /// For each of the set's electrodes the signal.
    pub(crate) signals: Vec<usize>,
    /// For each of them µV in one of its unit.
    pub(crate) micro: Vec<f64>,
    /// For each of them the filter, in [`Prepared::filters`].
    pub(crate) filters: Vec<usize>,
    /// Median deviation of a window, in µV; `None` where no window was measured.
    pub(crate) deviation: Option<f64>,
}

/// The electrodes of all recordings.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) of: Vec<Electrodes>,
    /// One for each rate.
    pub(crate) filters: Vec<Filter>,
}

/// A list of names for a sentence.
pub(crate) fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(LISTED);
    let shown = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn names(signal: &Signal) -> Option<&str> {
    match &signal.named {
        Named::Electrode(name) if signal.volts().is_ok() && signal.fault.is_none() && RATES.contains(&signal.rate) => {
            Some(name)
        }
        _ => None,
    }
}

/// The electrodes that a recording has, each once.
fn of_recording(recording: &Recording) -> Result<BTreeMap<&str, usize>, DataError> {
    let mut all = BTreeMap::new();
    for (place, signal) in recording.signals.iter().enumerate() {
        let Some(name) = names(signal) else { continue };
        if let Some(first) = all.insert(name, place) {
            return Err(bad(
                &recording.path,
                format!(
                    "its signals `{}` and `{}` are both the electrode {name}: leave one of them out",
                    recording.signals[first].label, signal.label
                ),
            ));
        }
    }
    Ok(all)
}

/// Why a recording has no electrode, in words.
fn why_none(recording: &Recording) -> String {
    let labels = |keep: &dyn Fn(&Signal) -> bool| -> Vec<String> {
        recording.signals.iter().filter(|signal| keep(signal)).map(|signal| signal.label.clone()).collect()
    };
    let pairs = labels(&|signal| signal.named == Named::Pair);
    if !pairs.is_empty() {
        return format!(
            "its signals are differences of two electrodes ({}), which lie at no place: give recordings against a common reference",
            listed(&pairs)
        );
    }
    let faulty = recording.signals.iter().find_map(|signal| {
        let fault = signal.fault.clone().filter(|_| matches!(signal.named, Named::Electrode(_)))?;
        Some(format!("signal `{}` cannot be scaled: {fault}", signal.label))
    });
    faulty.unwrap_or_else(|| {
        format!(
            "none of its signals has a voltage and the name of an electrode of the 10–10 system ({}): name them so, such as Fp1 or `EEG Cz-REF`",
            listed(&labels(&|_| true))
        )
    })
}

/// Chooses the electrodes that all recordings have, where a config names none, and says what is left out.
pub(crate) fn choose(found: &[Found], config: &mut EegConfig, notes: &mut Vec<String>) -> Result<(), DataError> {
    if !config.channels.is_empty() {
        // As the system spells them, in the order that was asked for.
        config.channels = config.channels.iter().map(|name| electrode(name).unwrap_or_else(|| name.clone())).collect();
        return found.iter().try_for_each(|found| signals(&found.recording, &config.channels).map(|_| ()));
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for Found { recording, .. } in found {
        let there = of_recording(recording)?;
        if there.is_empty() {
            return Err(bad(&recording.path, why_none(recording)));
        }
        for name in there.keys() {
            *counts.entry(name).or_default() += 1;
        }
    }
    // In the order of the first recording, which is the recorder's.
    let first = &found[0].recording.signals;
    config.channels = first
        .iter()
        .filter_map(names)
        .filter(|name| counts.get(name) == Some(&found.len()))
        .map(str::to_owned)
        .collect();
    if config.channels.len() < 2 {
        let fewest = found.iter().min_by_key(|found| found.recording.signals.iter().filter_map(names).count());
        let path = fewest.map_or_else(|| found[0].recording.path.clone(), |found| found.recording.path.clone());
        return Err(bad(
            &path,
            format!(
                "{} of the electrodes is in all {} recordings, and at least 2 are needed: leave out recordings with other electrodes, or name common ones in `data.channels`",
                config.channels.len(),
                found.len()
            ),
        ));
    }
    let some: Vec<String> =
        counts.iter().filter(|(_, count)| **count < found.len()).map(|(name, _)| (*name).to_owned()).collect();
    if !some.is_empty() {
        notes.push(format!("electrodes that not all recordings have are left out: {}", listed(&some)));
    }
    let mut others: Vec<String> = found
        .iter()
        .flat_map(|found| &found.recording.signals)
        .filter(|signal| names(signal).is_none())
        .map(|s| s.label.clone())
        .collect();
    others.sort();
    others.dedup();
    if !others.is_empty() {
        notes.push(format!(
            "signals that are no single electrode of the 10–10 system, or no voltage, are left out: {}",
            listed(&others)
        ));
    }
    Ok(())
}

/// The signals that are these electrodes.
fn signals(recording: &Recording, channels: &[String]) -> Result<Vec<usize>, DataError> {
    let there = of_recording(recording)?;
    let of = |name: &String| {
        there.get(name.as_str()).copied().ok_or_else(|| {
            let has: Vec<String> = there.keys().map(|name| (*name).to_owned()).collect();
            let has = if has.is_empty() { why_none(recording) } else { format!("it has {}", listed(&has)) };
            let count = channels.len();
            bad(
                &recording.path,
                format!("it has no electrode {name}, which is one of the {count} that are used: {has}"),
            )
        })
    };
    channels.iter().map(of).collect()
}

/// Finds the electrodes of a config in each recording, and the unit of each.
pub(crate) fn prepare(
    found: &[Found],
    places: &[Place],
    config: &EegConfig,
    notes: &mut Vec<String>,
) -> Result<Prepared, DataError> {
    let mut filters: Vec<(f64, Filter)> = Vec::new();
    let mut all = Vec::new();
    for (number, Found { recording, .. }) in found.iter().enumerate() {
        let mut electrodes =
            Electrodes { signals: Vec::new(), micro: Vec::new(), filters: Vec::new(), deviation: None };
        for place in &signals(recording, &config.channels)? {
            let rate = recording.signals[*place].rate;
            let filter =
                filters.iter().position(|(known, _)| (known - rate).abs() < 1e-9 * rate).unwrap_or_else(|| {
                    filters.push((rate, Filter::new(rate, config.rate as f64, config.band)));
                    filters.len() - 1
                });
            electrodes.signals.push(*place);
            electrodes.filters.push(filter);
        }
        all.push((number, electrodes));
    }
    let mut slow: Vec<f64> = filters.iter().map(|(rate, _)| *rate).filter(|rate| 0.45 * rate < config.band.1).collect();
    slow.sort_by(f64::total_cmp);
    if let Some(rate) = slow.first() {
        notes.push(format!(
            "a rate of {rate} Hz holds nothing above {:.1} Hz, and `data.band` goes to {}",
            0.45 * rate,
            config.band.1
        ));
    }
    let mut prepared = Prepared { of: Vec::new(), filters: filters.into_iter().map(|(_, filter)| filter).collect() };
    let mut odd: Vec<(f64, String)> = Vec::new();
    let mut guesses: BTreeMap<String, (usize, f64)> = BTreeMap::new();
    for (number, mut electrodes) in all {
        let recording = &found[number].recording;
        let deviations = measure(recording, number, &electrodes, places, &prepared.filters, config)?;
        let (signals, path) = (&recording.signals, &recording.path);
        let of = |place: usize| &signals[electrodes.signals[place]];
        // Signals without a unit are of one recorder: what fits most of them is meant.
        let unitless: Vec<f64> = (0..deviations.len())
            .filter(|i| of(*i).volts() == Ok(None))
            .filter_map(|i| deviations[i])
            .filter(|x| *x > 0.0)
            .collect();
        let guessed = match (config.unit, median(&unitless)) {
            (Auto::Value(unit), _) => Some(unit),
            (Auto::Auto, None) => Some(Volts::Micro),
            (Auto::Auto, Some(deviation)) => {
                let Some(unit) = Volts::guessed(deviation) else {
                    return Err(bad(
                        path,
                        format!(
                            "its signals have no unit, and a deviation of {deviation:.3e} is that of a head in none of uV, V, mV and nV ({} to {} uV): set `data.unit`",
                            PLAUSIBLE.start(),
                            PLAUSIBLE.end()
                        ),
                    ));
                };
                let entry = guesses.entry(unit.to_string()).or_insert((0, deviation));
                entry.0 += 1;
                Some(unit)
            }
        };
        electrodes.micro = (0..deviations.len())
            .map(|i| {
                let own = of(i).volts().ok().flatten();
                match config.unit {
                    Auto::Value(unit) => unit,
                    Auto::Auto => own.or(guessed).unwrap_or(Volts::Micro),
                }
                .micro()
            })
            .collect();
        let micro: Vec<f64> =
            deviations.iter().zip(&electrodes.micro).filter_map(|(x, micro)| Some((*x)? * micro)).collect();
        let flat: Vec<String> =
            (0..deviations.len()).filter(|i| deviations[*i] == Some(0.0)).map(|i| of(i).label.clone()).collect();
        if !flat.is_empty() && !micro.is_empty() {
            notes.push(format!("`{}`: silent where it was looked at: {}", found[number].name, listed(&flat)));
        }
        electrodes.deviation = median(&micro.iter().copied().filter(|x| *x > 0.0).collect::<Vec<_>>());
        if let Some(deviation) = electrodes.deviation {
            if !POSSIBLE.contains(&deviation) {
                let unit = &of(0).unit;
                let hint = Volts::better(deviation / electrodes.micro[0].max(1e-12))
                    .map_or_else(String::new, |unit| format!(" (in {unit} it would be one)"));
                return Err(bad(
                    path,
                    format!(
                        "its electrodes have a usual deviation of {deviation:.3e} uV by the unit `{unit}` that it names, which is none of a head{hint}: set `data.unit` to the right unit"
                    ),
                ));
            }
            if !PLAUSIBLE.contains(&deviation) {
                odd.push((deviation, found[number].name.clone()));
            }
        }
        prepared.of.push(electrodes);
    }
    for (unit, (count, deviation)) in guesses {
        notes.push(format!("{count} of {} recordings name no unit for their electrodes: taken as {unit}, since a deviation is {deviation:.3} there", found.len()));
    }
    if let Some((deviation, name)) = odd.first() {
        notes.push(format!(
            "in {} of {} recordings the usual deviation is not what heads have ({} to {} uV), such as {deviation:.3} uV in `{name}`: check the unit, or set `data.unit`",
            odd.len(),
            found.len(),
            PLAUSIBLE.start(),
            PLAUSIBLE.end()
        ));
    }
    Ok(prepared)
}

/// Each electrode's median deviation over some windows, in its own unit.
fn measure(
    recording: &Recording,
    number: usize,
    electrodes: &Electrodes,
    places: &[Place],
    filters: &[Filter],
    config: &EegConfig,
) -> Result<Vec<Option<f64>>, DataError> {
    let begin = places.partition_point(|place| (place.recording as usize) < number);
    let end = places.partition_point(|place| place.recording as usize <= number);
    let own = &places[begin..end];
    let mut deviations: Vec<Vec<f64>> = vec![Vec::new(); electrodes.signals.len()];
    for place in (0..own.len().min(MEASURED)).map(|i| own[i * own.len() / own.len().min(MEASURED)]) {
        let window = window(recording, electrodes, &place, filters, config)?;
        for (all, values) in deviations.iter_mut().zip(window) {
            all.push(deviation(&values));
        }
    }
    Ok(deviations.iter().map(|all| median(all)).collect())
}

/// One window's electrodes in their own units, filtered.
pub(crate) fn window(
    recording: &Recording,
    electrodes: &Electrodes,
    place: &Place,
    filters: &[Filter],
    config: &EegConfig,
) -> Result<Vec<Vec<f32>>, DataError> {
    let segment = place.segment as usize;
    let (mut ranges, mut firsts) = (Vec::new(), Vec::new());
    for (signal, filter) in electrodes.signals.iter().zip(&electrodes.filters) {
        let rate = recording.signals[*signal].rate;
        let (first, margin) = ((place.start * rate).round() as u64, filters[*filter].margin() as u64);
        let begin = first.saturating_sub(margin);
        let end = (first + (config.seconds * rate).ceil() as u64 + margin + 1).min(recording.count(*signal, segment));
        ranges.push(begin.min(end)..end);
        firsts.push((first - begin.min(first)) as usize);
    }
    let samples = recording.read(&electrodes.signals, segment, &ranges)?;
    let all = samples.iter().zip(&electrodes.filters).zip(firsts);
    Ok(all.map(|((samples, filter), first)| filters[*filter].apply(samples, first, config.samples())).collect())
}

fn deviation(values: &[f32]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let variance = values.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
    // What a filter leaves of a constant is rounding.
    let rounding = values.iter().fold(0.0_f64, |most, x| most.max(f64::from(x.abs()))) * 1e-6;
    if variance.sqrt() <= rounding { 0.0 } else { variance.sqrt() }
}

pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
