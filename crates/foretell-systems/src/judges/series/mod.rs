//! How runs over series are judged, beside what is usual: random convolutions as the honest bar, noise, and forecasts.

mod convolved;
mod forecasts;
mod hidden;
mod noise;
mod scale;
mod zero_shot;

use foretell_data::series::Series;
use foretell_eval::Finding;

use crate::judging::Judging;
use crate::system::JudgeError;

pub use hidden::hidden;
pub use zero_shot::zero_shot;

/// The usual findings with random convolutions beside the probes: for encoders whose forecasts are their own matter.
pub fn described(run: &Judging<'_, Series>) -> Result<Vec<Finding>, JudgeError> {
    let mut findings = super::usual(run)?;
    if let Some(bar) = convolved::bar(run)? {
        convolved::beside(run, &bar, &mut findings)?;
    }
    Ok(findings)
}

/// The usual findings with random convolutions beside them, what noise leaves of the probes, and forecasts from frozen features.
pub fn series(run: &Judging<'_, Series>) -> Result<Vec<Finding>, JudgeError> {
    let mut findings = super::usual(run)?;
    let bar = convolved::bar(run)?;
    if let Some(bar) = &bar {
        convolved::beside(run, bar, &mut findings)?;
    }
    findings.extend(noise::noise(run, bar.as_ref())?);
    findings.extend(forecasts::forecasts(run)?);
    Ok(findings)
}
