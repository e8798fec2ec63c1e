//! Whether links among hidden regions of held-out windows are told by the regions that are seen, and by two other moments.

use foretell_data::Part;
use foretell_data::connectomes::Connectomes;
use foretell_eval::{Better, Figures, Finding, TRAINED, UNTRAINED, area_under_roc};
use foretell_jepa::spatio_temporal::KeptLinks;
use foretell_train::Which;

use super::passed;
use crate::judging::Judging;
use crate::system::JudgeError;

/// Recordings that are asked, and so many at a time.
const RECORDINGS: usize = 200;
const CHUNK: usize = 16;
/// The steps whose masks hide them: no training step has these numbers.
const STEPS: u64 = 1 << 40;

/// The area under the curve of links asked for; `None` where the run asks for none.
pub fn links(run: &Judging<'_, Connectomes>) -> Result<Option<Finding>, JudgeError> {
    let part = foretell_data::judged_part(run.data.as_ref());
    let mut figures = Figures::new(&["told by", "network"], "auc", "", Better::Higher);
    let (mut fixed, mut pairs) = (Vec::new(), 0);
    for (name, which) in [(TRAINED, Which::Trained), (UNTRAINED, Which::Untrained)] {
        let kept = run.kept(which)?.model.and_then(|model| model.downcast::<KeptLinks>().ok());
        let Some(kept) = kept else { return Ok(None) };
        let (mut space, mut time, mut step) = (Vec::new(), Vec::new(), STEPS);
        fixed.clear();
        passed(run, part, (RECORDINGS, CHUNK), |_, samples| {
            let n = samples[0].regions();
            let whole: Vec<Vec<f32>> = samples.iter().map(foretell_data::connectomes::DynamicGraph::fixed).collect();
            for link in kept.asked(samples, step)? {
                let (u, v) = (link.pair.0 as usize, link.pair.1 as usize);
                // The upper triangle, row by row.
                let place = u * n - u * (u + 1) / 2 + v - u - 1;
                space.push((link.space, link.joined));
                time.push((link.time, link.joined));
                fixed.push((whole[link.sample][place], link.joined));
            }
            step += 1;
            Ok(())
        })?;
        pairs = space.len();
        let (Some(space), Some(time)) = (area_under_roc(&mut space), area_under_roc(&mut time)) else {
            return Ok(None);
        };
        figures.push(["the same moment".into(), name.into()], space);
        figures.push(["two moments around it".into(), name.into()], time);
    }
    let Some(fixed) = area_under_roc(&mut fixed) else { return Ok(None) };
    figures.push(["static correlations".into(), "none".into()], fixed);
    figures.refer("chance", [None, None], 0.5);
    let lead = "Area under the ROC curve of links among hidden regions of held-out windows: told by the regions of the same window that are \
                seen, by two windows around it that share no time point with it (unless `model.gap` says so), and by the correlations of the whole \
                recording, which the window that is asked for is a part of.";
    let mut finding = Finding::figures("links", "Whether hidden links are known", lead, figures.over(pairs));
    if part == Part::Train {
        finding.notes.push("nothing is held out: of recordings that were learnt from".to_owned());
    }
    Ok(Some(finding))
}
