//! What is found out about encoders of recordings whose graphs change.

mod links;
mod over_time;
mod sero;
mod states;

use foretell_data::connectomes::{Connectomes, DynamicGraph};
use foretell_data::{DataError, OnBadSample, Part, for_each};
use foretell_jepa::spatio_temporal::ConnectomeEncoder;
use foretell_nn::Encode;

use crate::judging::Judging;
use crate::system::JudgeError;

pub use links::links;
pub use over_time::over_time;
pub use sero::sero;
pub use states::states;

/// The encoder itself, which knows windows.
fn of_windows(encoder: &dyn Encode<DynamicGraph>) -> Result<&ConnectomeEncoder, JudgeError> {
    let missing = || JudgeError::Other("the kept network encodes no windows of recordings".to_owned());
    encoder.network().downcast_ref().ok_or_else(missing)
}

/// Calls `take` with some recordings of a part, a few at a time, and their places.
fn passed(
    run: &Judging<'_, Connectomes>,
    part: Part,
    (limit, together): (usize, usize),
    mut take: impl FnMut(&[usize], &[DynamicGraph]) -> Result<(), JudgeError>,
) -> Result<(), JudgeError> {
    let (mut places, mut chunk, mut failed) = (Vec::new(), Vec::new(), Ok(()));
    let skipped = for_each(run.data, part, limit, run.on.threads, OnBadSample::Skip, |place, sample| {
        places.push(place);
        chunk.push(sample);
        if chunk.len() == together && failed.is_ok() {
            failed = take(&places, &chunk);
            places.clear();
            chunk.clear();
        }
        Ok::<_, DataError>(())
    })?;
    failed?;
    if !chunk.is_empty() {
        take(&places, &chunk)?;
    }
    run.skip(skipped);
    Ok(())
}
