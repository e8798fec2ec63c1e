//! A whole part in index order, for judgement and for `embed`: decoded and fitted by several threads, bounded memory.

use std::sync::Arc;

use crate::DataError;
use crate::dataset::{Dataset, Part, Sample};
use crate::images::OnBadSample;
use crate::ordered::Ordered;
use crate::transform::fit;

/// Samples that a thread prepares at a time: enough that handing them over costs nothing, few enough for large images.
const CHUNK: usize = 32;

/// Calls `f` with each sample of a part, fitted to `size`, in index order; with `limit` samples evenly spread over the
/// part if there is a limit, since many data sets are sorted by class. With [`OnBadSample::Skip`] bad samples are left out (their indices are missing) and their names returned; it
/// is an error if none is good.
pub fn for_each_fitted(
    dataset: &Dataset,
    part: Part,
    size: usize,
    threads: usize,
    limit: Option<usize>,
    on_bad: OnBadSample,
    mut f: impl FnMut(Sample),
) -> Result<Vec<String>, DataError> {
    let total = dataset.len(part);
    let count = limit.unwrap_or(usize::MAX).min(total);
    let source = dataset.clone();
    let work = move |chunk: u64| -> Vec<Result<Sample, (usize, DataError)>> {
        let first = chunk as usize * CHUNK;
        (first..count.min(first + CHUNK))
            .map(|place| {
                let index = place * total / count;
                match source.load(part, index) {
                    Ok(sample) => Ok(Sample { image: Arc::new(fit(&sample.image, size)), ..sample }),
                    Err(error) => Err((index, error)),
                }
            })
            .collect()
    };
    let mut chunks = Ordered::start(threads, 2 * threads.max(1), 0, count.div_ceil(CHUNK) as u64, work);
    let mut skipped = Vec::new();
    let mut first_error = None;
    while let Some(chunk) = chunks.next() {
        for sample in chunk {
            match sample {
                Ok(sample) => f(sample),
                Err((_, error)) if on_bad == OnBadSample::Fail => return Err(fail(error)),
                Err((index, error)) => {
                    skipped.push(dataset.name(part, index)?);
                    first_error.get_or_insert(error);
                }
            }
        }
    }
    match first_error {
        Some(error) if skipped.len() == count => Err(DataError::AllBad { tried: count, source: Box::new(error) }),
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
