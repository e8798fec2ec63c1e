//! A whole part in index order, for judgement and for `embed`: read and prepared by several threads, bounded memory.

use std::sync::Arc;

use crate::DataError;
use crate::modality::{Modality, OnBadSample, Part};
use crate::ordered::Ordered;

/// Samples that a thread prepares at a time: enough that handing them over costs nothing, few enough for large images.
const CHUNK: usize = 32;

/// The places of `limit` samples evenly spread over a part of `total`, since many data sets are sorted by class; of all
/// where there are fewer, and the first ones where samples are generated without end (`total` is `None`).
pub fn spread(total: Option<usize>, limit: usize) -> impl Iterator<Item = usize> + Clone + Send + Sync + 'static {
    let count = total.map_or(limit, |total| total.min(limit));
    (0..count).map(move |place| total.map_or(place, |total| place * total / count))
}

/// Calls `f` with each of at most `limit` samples of a part, [spread] evenly over it and [prepared](Modality::prepare), in
/// index order. Where bad samples are passed over they are left out and their names returned; it is an error if none is good.
pub fn for_each<M: Modality>(
    data: &Arc<M>,
    part: Part,
    limit: usize,
    threads: usize,
    mut f: impl FnMut(usize, M::Sample) -> Result<(), DataError>,
) -> Result<Vec<String>, DataError> {
    let places: Arc<[usize]> = spread(data.len(part), limit).collect();
    let count = places.len();
    let (source, threads) = (Arc::clone(data), threads.max(1));
    let work = move |chunk: u64| -> Vec<(usize, Result<M::Sample, DataError>)> {
        let first = chunk as usize * CHUNK;
        let chunk = &places[first..places.len().min(first + CHUNK)];
        chunk.iter().map(|index| (*index, source.load(part, *index).map(|sample| source.prepare(sample)))).collect()
    };
    let mut chunks = Ordered::start(threads, 2 * threads, 0, count.div_ceil(CHUNK) as u64, work);
    let mut skipped = Vec::new();
    let mut first_error = None;
    while let Some(chunk) = chunks.next() {
        for (index, sample) in chunk {
            match sample {
                Ok(sample) => f(index, sample)?,
                Err(error) if data.on_bad() == OnBadSample::Fail => return Err(fail(error)),
                Err(error) => {
                    skipped.push(data.meta(part, index)?.name);
                    first_error.get_or_insert(error);
                }
            }
        }
    }
    match first_error {
        Some(error) if skipped.len() == count => {
            Err(DataError::AllBad { unit: M::UNIT, tried: count, source: Box::new(error) })
        }
        _ => Ok(skipped),
    }
}

/// The error of a bad sample, with the way round it.
pub(crate) fn fail(error: DataError) -> DataError {
    DataError::BadSample { source: Box::new(error) }
}

/// Nothing, or the error, as it was asked for.
pub(crate) fn pass_over(error: DataError, on_bad: OnBadSample) -> Result<(), DataError> {
    match on_bad {
        OnBadSample::Skip => Ok(()),
        OnBadSample::Fail => Err(fail(error)),
    }
}
