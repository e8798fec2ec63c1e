//! Series in NumPy's arrays: an `.npy` of one recording `[T]`, of series `[N, T]` or `[N, C, T]` (aeon's order), or an `.npz` of such arrays
//! with classes beside them.

use std::path::Path;

use crate::DataError;
use crate::npy::{Array, Values};
use crate::npz::Npz;
use crate::series::raw::{Raw, RawSeries, RawSet, RawTable};
use crate::series::text::{bad, bytes};
use crate::windows::recording::{ACTIONS, OBSERVATIONS};

/// Keys of series, of the training part and of both, and of what is held out.
const TRAIN: [&str; 8] = ["x_train", "X_train", "train", "x", "X", "series", "data", "values"];
const HELD_OUT: [&str; 3] = ["x_test", "X_test", "test"];
/// Keys of their classes.
const LABELS: [&str; 5] = ["y_train", "train_labels", "y", "labels", "label"];
const HELD_OUT_LABELS: [&str; 2] = ["y_test", "test_labels"];
/// Longest file.
const LONGEST: u64 = 1 << 32;

fn floats(values: Values) -> Result<Vec<f32>, String> {
    let values = match values {
        Values::Floats(values) => values,
        Values::Bytes(values) => values.into_iter().map(f32::from).collect(),
        Values::Whole(values) => values.into_iter().map(|value| value as f32).collect(),
        Values::Text(_) => return Err("it holds text where numbers were expected".to_owned()),
    };
    match values.iter().position(|value| value.is_infinite()) {
        Some(at) => Err(format!("value {at} is no finite number in single precision; a hole is NaN")),
        None => Ok(values),
    }
}

/// Series of an array `[N, T]` or `[N, C, T]`, and C.
fn series(array: Array) -> Result<(Vec<RawSeries>, usize), String> {
    let (count, channels, steps) = match array.shape[..] {
        [count, steps] => (count, 1, steps),
        [count, channels, steps] => (count, channels, steps),
        _ => {
            return Err(format!(
                "it has the shape {:?} where [N, T] (N series of one channel) or [N, C, T] was expected",
                array.shape
            ));
        }
    };
    if count == 0 || channels == 0 || steps == 0 {
        return Err(format!("it has the shape {:?}, which holds no series", array.shape));
    }
    let values = floats(array.values)?;
    let of = |(place, one): (usize, &[f32])| {
        let channels: Vec<Vec<f32>> = one.chunks_exact(steps).map(<[f32]>::to_vec).collect();
        let series = RawSeries::of_channels(&channels, None);
        if series.values.is_empty() {
            return Err(format!("series {place} (the first is 0) has nothing that is known; remove it"));
        }
        Ok(series)
    };
    let series = values.chunks_exact(channels * steps).enumerate().map(of).collect::<Result<_, _>>()?;
    Ok((series, channels))
}

/// Reads an `.npy`.
pub(crate) fn read_npy(path: &Path) -> Result<Raw, DataError> {
    let bytes = bytes(path, LONGEST)?;
    let array = Array::parse(&bytes).map_err(|reason| bad(path, reason))?;
    if array.shape.len() == 1 && array.shape[0] > 0 {
        let values = vec![floats(array.values).map_err(|reason| bad(path, reason))?];
        let columns = vec!["value".to_owned()];
        return Ok(Raw::Table(RawTable { form: "one recording in an .npy", columns, values, ..RawTable::default() }));
    }
    let (train, channels) = series(array).map_err(|reason| bad(path, reason))?;
    Ok(Raw::Set(RawSet { form: "series in an .npy", channels, train, ..RawSet::default() }))
}

fn labels(array: Array, series: &mut [RawSeries], key: &str) -> Result<(), String> {
    if array.shape != [series.len()] {
        return Err(format!(
            "its `{key}` has the shape {:?} where a class for each of {} series was expected",
            array.shape,
            series.len()
        ));
    }
    let texts: Vec<String> = match array.values {
        Values::Text(texts) => texts,
        Values::Bytes(values) => values.iter().map(u8::to_string).collect(),
        Values::Whole(values) => values.iter().map(i64::to_string).collect(),
        Values::Floats(values) => values.iter().map(|value| crate::series::ucr::class(&value.to_string())).collect(),
    };
    series.iter_mut().zip(texts).for_each(|(series, text)| series.label = Some(text));
    Ok(())
}

/// Whether an `.npz` holds series by its keys, and the array under the first of them by its shape.
pub(crate) fn holds_series(path: &Path) -> bool {
    let Ok(mut npz) = Npz::open(path) else { return false };
    if OBSERVATIONS.iter().chain(&ACTIONS).any(|key| npz.has(key)) || npz.has("images") {
        return false;
    }
    let Some(key) = TRAIN.into_iter().find(|key| npz.has(key)) else { return false };
    npz.shape(key).is_some_and(|shape| (1..=3).contains(&shape.len()))
}

/// Reads an `.npz`.
pub(crate) fn read_npz(path: &Path) -> Result<Raw, DataError> {
    let as_series = |error| match error {
        DataError::BadArrays { reason, .. } => bad(path, reason),
        other => other,
    };
    let mut npz = Npz::open(path).map_err(as_series)?;
    if let Some(key) = TRAIN.iter().chain(&HELD_OUT).find(|key| npz.length(key) > LONGEST) {
        return Err(bad(path, format!("its `{key}` is longer than 4 GiB")));
    }
    let Some((key, array)) = npz.find(&TRAIN).map_err(as_series)? else {
        return Err(bad(
            path,
            format!(
                "expected an array `x_train` (and `y_train`, `x_test`, `y_test`) or `series` (and `labels`), found {}",
                npz.keys()
            ),
        ));
    };
    let wrong = |key: &str, reason: String| bad(path, format!("`{key}`: {reason}"));
    if array.shape.len() == 1 {
        let values = vec![floats(array.values).map_err(|reason| wrong(&key, reason))?];
        let columns = vec![key];
        return Ok(Raw::Table(RawTable { form: "one recording in an .npz", columns, values, ..RawTable::default() }));
    }
    let (mut train, channels) = series(array).map_err(|reason| wrong(&key, reason))?;
    if let Some((key, array)) = npz.find(&LABELS).map_err(as_series)? {
        labels(array, &mut train, &key).map_err(|reason| bad(path, reason))?;
    }
    let mut held_out = None;
    if let Some((key, array)) = npz.find(&HELD_OUT).map_err(as_series)? {
        let (mut others, own) = series(array).map_err(|reason| wrong(&key, reason))?;
        if own != channels {
            return Err(wrong(&key, format!("it has {own} channels where the training series have {channels}")));
        }
        if let Some((key, array)) = npz.find(&HELD_OUT_LABELS).map_err(as_series)? {
            labels(array, &mut others, &key).map_err(|reason| bad(path, reason))?;
        }
        held_out = Some(others);
    }
    Ok(Raw::Set(RawSet { form: "series in an .npz", channels, train, held_out, ..RawSet::default() }))
}
