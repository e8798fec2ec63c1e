//! LiDAR (Thilak et al., 2024, arXiv 2312.04000) of the trained network and of the same untrained: the rank of what tells
//! samples apart, beside what tells draws of one sample apart. Without labels.

use foretell_data::Modality;
use foretell_eval::{Better, Figures, Finding, LIDAR_DELTA, TRAINED, UNTRAINED, lidar_of_views};
use foretell_train::{LIDAR_DRAWS, Which};

use crate::judging::Judging;
use crate::system::JudgeError;

/// For systems whose predictions come sample by sample, as many of each.
pub fn lidar<D: Modality>(run: &Judging<'_, D>) -> Result<Finding, JudgeError> {
    let mut figures = Figures::new(&["network"], "rank", "", Better::Higher);
    let mut about = String::new();
    for (name, which) in [(TRAINED, Which::Trained), (UNTRAINED, Which::Untrained)] {
        let found = lidar_of_views(&run.learner.drawn(which, LIDAR_DRAWS)?)?;
        figures.push([name.into()], found.rank);
        about = format!("{} held-out samples, {} draws of each; at most {}", found.samples, found.views, found.most);
    }
    let lead = format!(
        "Rank of what distinguishes samples in what is predicted of them, where draws of views or masks of one sample count as \
         equal (LiDAR, δ = {LIDAR_DELTA}): {about}."
    );
    Ok(Finding::figures("lidar", "LiDAR", &lead, figures))
}
