//! A whole part in index order, for judgement and for `embed`: read and prepared by several threads, bounded memory.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::DataError;
use crate::modality::{Meta, Modality, OnBadSample, Part};
use crate::ordered::Ordered;

/// Samples that a thread prepares at a time: enough that handing them over costs nothing, few enough for large images.
const CHUNK: usize = 32;

/// The places of `limit` samples spread over a part of `total`, since many data sets are sorted by class: one from each of as many equal
/// stretches, at a place in it that is drawn by its number, since names that repeat (`0_jackson_0`, `0_jackson_1`, …) would make an even step meet
/// the same label again and again. All where there are fewer, and the first ones where samples are generated without end (`total` is
/// `None`).
pub fn spread(total: Option<usize>, limit: usize) -> impl Iterator<Item = usize> + Clone + Send + Sync + 'static {
    let count = total.map_or(limit, |total| total.min(limit));
    (0..count).map(move |place| {
        total.map_or(place, |total| {
            let (from, to) = (place * total / count, (place + 1) * total / count);
            from + (xxh3_64(&(place as u64).to_le_bytes()) % (to - from).max(1) as u64) as usize
        })
    })
}

/// The places of at most `limit` of `total` in equal steps, from the first on: of what is shown along time.
pub fn evenly(total: usize, limit: usize) -> impl Iterator<Item = usize> + Clone + 'static {
    let count = total.min(limit);
    (0..count).map(move |place| place * total / count)
}

/// Calls `f` with each of at most `limit` samples of a part, [spread] evenly over it and [prepared](Modality::prepare), in
/// index order. Where bad samples are passed over they are left out and their names returned; it is an error if none is good.
/// `on_bad` is usually what the [data say](Modality::on_bad); a judgement passes over them, or it would lose a training that has
/// ended.
pub fn for_each<M: Modality>(
    data: &Arc<M>,
    part: Part,
    limit: usize,
    threads: usize,
    on_bad: OnBadSample,
    mut f: impl FnMut(usize, M::Sample) -> Result<(), DataError>,
) -> Result<Vec<String>, DataError> {
    let places: Arc<[usize]> = spread(data.len(part), limit).collect();
    let count = places.len();
    let mut skipped = Vec::new();
    let mut first_error = None;
    let prepare = |data: &M, sample| data.prepare(sample);
    visit(data, part, places, threads, prepare, |index, sample| -> Result<(), DataError> {
        match sample {
            Ok(sample) => f(index, sample)?,
            Err(error) => {
                let name = data.meta(part, index)?.name;
                if on_bad == OnBadSample::Fail {
                    return Err(fail(error, name));
                }
                skipped.push(name);
                first_error.get_or_insert(error);
            }
        }
        Ok(())
    })?;
    match first_error {
        Some(error) if skipped.len() == count => {
            Err(DataError::AllBad { unit: M::UNIT, tried: count, source: Box::new(error) })
        }
        _ => Ok(skipped),
    }
}

/// Calls `f` with each sample at these places, in their order and [prepared](Modality::prepare), or with why it cannot be read.
pub fn for_places<M: Modality, E: From<DataError>>(
    data: &Arc<M>,
    part: Part,
    places: Arc<[usize]>,
    threads: usize,
    f: impl FnMut(usize, Result<M::Sample, DataError>) -> Result<(), E>,
) -> Result<(), E> {
    visit(data, part, places, threads, Modality::prepare, f)
}

/// Reads the samples at these places in their order, and does the rest of the threads' work on them.
fn visit<M: Modality, T: Send + 'static, E: From<DataError>>(
    data: &Arc<M>,
    part: Part,
    places: Arc<[usize]>,
    threads: usize,
    with: impl Fn(&M, M::Sample) -> T + Send + Sync + 'static,
    mut f: impl FnMut(usize, Result<T, DataError>) -> Result<(), E>,
) -> Result<(), E> {
    let (source, threads, count) = (Arc::clone(data), threads.max(1), places.len());
    let work = move |chunk: u64| -> Vec<(usize, Result<T, DataError>)> {
        let first = chunk as usize * CHUNK;
        let chunk = &places[first..places.len().min(first + CHUNK)];
        let samples =
            source.load_many(part, chunk).into_iter().map(|sample| sample.map(|sample| with(&source, sample)));
        chunk.iter().copied().zip(samples).collect()
    };
    let mut chunks = Ordered::start(threads, 2 * threads, 0, count.div_ceil(CHUNK) as u64, work);
    while let Some(chunk) = chunks.next() {
        for (index, sample) in chunk {
            f(index, sample)?;
        }
    }
    Ok(())
}

/// A sample that cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Of which part.
    pub part: Part,
    /// Its path in the folder or archive, or its place in its file.
    pub name: String,
    /// Why.
    pub error: DataError,
}

/// Reads every sample of both parts and keeps none: those that cannot be read, in order. `at` is told how many have been
/// read so far. Samples that are generated without end cannot be bad.
pub fn unreadable<M: Modality>(
    data: &Arc<M>,
    threads: usize,
    at: &mut dyn FnMut(usize),
) -> Result<Vec<Unreadable>, DataError> {
    let (mut found, mut done) = (Vec::new(), 0);
    for part in [Part::Train, Part::HeldOut] {
        let places = (0..data.len(part).unwrap_or(0)).collect();
        visit(
            data,
            part,
            places,
            threads,
            |_, _| (),
            |index, sample| -> Result<(), DataError> {
                if let Err(error) = sample {
                    found.push(Unreadable { part, name: data.meta(part, index)?.name, error });
                }
                done += 1;
                at(done);
                Ok(())
            },
        )?;
    }
    Ok(found)
}

/// What tells a sample from all others without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Of which part.
    pub part: Part,
    /// Its path in the folder or archive, or its place in its file.
    pub name: String,
    /// Its labels.
    pub labels: Vec<u32>,
    /// The length of what is stored of it.
    pub bytes: u64,
}

/// All samples of both parts in their order; `None` where they are generated, or lie in one block of which none can be lost alone.
pub fn roll<M: Modality>(data: &M) -> Result<Option<Vec<Listed>>, DataError> {
    let mut all = Vec::new();
    for part in [Part::Train, Part::HeldOut] {
        let Some(len) = data.len(part) else { return Ok(None) };
        for index in 0..len {
            let Meta { name, labels, bytes, .. } = data.meta(part, index)?;
            let Some(bytes) = bytes else { return Ok(None) };
            all.push(Listed { part, name, labels, bytes });
        }
    }
    Ok(Some(all))
}

/// The error of a bad sample, with the way round it.
pub(crate) fn fail(error: DataError, name: String) -> DataError {
    DataError::BadSample { name, source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn labels_that_come_in_turn_are_all_met() {
        // Six speakers in turn, and as many samples as make every step a multiple of six.
        let speakers =
            |places: &mut dyn Iterator<Item = usize>| places.map(|place| place % 6).collect::<BTreeSet<_>>().len();
        assert_eq!(speakers(&mut spread(Some(1200), 50)), 6);
        assert_eq!(speakers(&mut evenly(1200, 50)), 1);
        assert_eq!(spread(Some(7), 9).collect::<Vec<_>>(), (0..7).collect::<Vec<_>>());
        assert_eq!(spread(None, 3).collect::<Vec<_>>(), [0, 1, 2]);
    }
}
