//! How runs are judged: each judge is a function of a run and gives findings, with their controls where they are figures.

mod attentive;
mod baseline;
mod features;
mod finetune;
mod ground;
mod lidar;
mod neighbours;
mod probes;
pub mod world;

use foretell_data::{Image, Modality, Part, judged_part, spread};
use foretell_eval::{Finding, Picture};

use crate::judging::Judging;
use crate::recipe::ProbeKind;
use crate::system::JudgeError;

pub use attentive::attentive;
pub use features::features;
pub(crate) use finetune::CANNOT_TUNE;
pub use finetune::finetune;
pub use lidar::lidar;
pub use neighbours::neighbours;
pub use probes::{LEAST_PROBED, Labelled, few_shot, labelled, probes, ridge};

/// The probes that `judge.probes` names where there are labels, what the features see where tokens lie on a grid, and nearest
/// neighbours where samples can be shown.
pub fn usual<D: Modality>(run: &Judging<'_, D>) -> Result<Vec<Finding>, JudgeError> {
    let mut findings = probed(run, &run.settings.probes)?;
    findings.extend([features(run)?, neighbours(run)?].into_iter().flatten());
    Ok(findings)
}

/// These probes, each once; none where there are no labels or nothing is held out.
pub fn probed<D: Modality>(run: &Judging<'_, D>, kinds: &[ProbeKind]) -> Result<Vec<Finding>, JudgeError> {
    let mut findings = Vec::new();
    for (at, kind) in kinds.iter().enumerate() {
        if !kinds[..at].contains(kind) {
            findings.extend(match kind {
                ProbeKind::Linear => probes(run)?,
                ProbeKind::Attentive => attentive(run)?,
                ProbeKind::Finetune => finetune(run)?,
            });
        }
    }
    Ok(findings)
}

/// Held-out samples as they are read, at most so many and evenly spread. One that cannot be read is missing.
pub fn originals<D: Modality>(run: &Judging<'_, D>, count: usize) -> Vec<D::Sample> {
    let part: Part = judged_part(run.data.as_ref());
    let places = spread(run.data.len(part), count);
    places.filter_map(|index| run.data.load(part, index).ok()).collect()
}

/// An image as a report shows it.
pub fn rgb(image: &Image) -> Option<Picture> {
    let colour = if image.channels == 3 { image.clone() } else { image.clone().with_channels(3) };
    Picture::rgb(colour.width, colour.height, &colour.pixels)
}
