//! Fine-tuning of a kept predictor on a frozen encoder (IWM, arXiv 2403.00504, section 5): what it predicts of the whole sample where
//! nothing is changed, with a head on top. Beside it the same with a predictor that has learnt nothing.

use foretell_data::Modality;
use foretell_eval::{Finding, TRAINED, UNTRAINED};
use foretell_jepa::KeptPredictor;
use foretell_nn::Encode;
use foretell_train::Which;

use super::finetune::{Candidate, course, plain, tuned};
use super::ground::Ground;
use super::probes::noted;
use crate::judging::Judging;
use crate::system::JudgeError;

/// Before the names of a predictor's tensors.
const PREDICTOR: &str = "predictor.";
/// The row of a fresh predictor on the trained encoder.
const FRESH: &str = "fresh predictor";

/// Where a system keeps no predictor.
pub(crate) const KEEPS_NONE: &str = "`predictor` among the probes needs a system that keeps its predictor, and this one does not: use `linear`, `attentive` or `finetune`";

/// Predictor fine-tuning; `None` where there are no labels or nothing is held out.
pub fn predictor<D: Modality>(run: &Judging<'_, D>) -> Result<Option<Finding>, JudgeError> {
    let (trained, untrained) = (kept(run, Which::Trained)?, kept(run, Which::Untrained)?);
    let Some(ground) = Ground::new(run)? else { return Ok(None) };
    let mut fresh = kept(run, Which::Trained)?;
    let mut tensors = fresh.state();
    tensors.extend(untrained.state().into_iter().filter(|(name, _)| name.starts_with(PREDICTOR)));
    fresh.load(tensors)?;
    let rate = run.settings.finetune.predictor;
    let plain = plain(run, &ground, trained.width())?;
    let candidates = [
        Candidate { name: TRAINED, encoder: trained.as_ref(), rate: Some(rate) },
        Candidate { name: FRESH, encoder: fresh.as_ref(), rate: Some(1.0) },
        Candidate { name: UNTRAINED, encoder: untrained.as_ref(), rate: Some(1.0) },
        Candidate { name: run.data.baseline_name(), encoder: &plain, rate: None },
    ];
    let (figures, factors) = tuned(run, &ground, &candidates)?;
    let lead = format!(
        "Share of held-out samples that the predictor labels correctly after {}. It predicts every token of a sample of which it sees all, \
         with no change asked for; the encoder below it stays as it is. A trained predictor learns at {rate} of the head's rate, a fresh \
         one, on the trained encoder and on the untrained, at all of it; {} has the head alone.",
        course(run),
        run.data.baseline_name()
    );
    let finding = Finding::figures("predictor", "What the predictor learns from labels", &lead, figures);
    Ok(Some(noted(run, finding, &factors)))
}

fn kept<D: Modality>(run: &Judging<'_, D>, which: Which) -> Result<Box<dyn Encode<D::Sample>>, JudgeError> {
    let model = run.kept(which)?.model.and_then(|model| model.downcast::<KeptPredictor<D::Sample>>().ok());
    model.map(|kept| kept.0).ok_or_else(|| JudgeError::Other(KEEPS_NONE.to_owned()))
}
