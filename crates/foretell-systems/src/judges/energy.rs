//! Whether what a system predicts of the hidden part of a sample is nearer to that part than to another sample's.

use foretell_data::Modality;
use foretell_eval::{Better, Figures, Finding, TRAINED, UNTRAINED, area_under_roc};
use foretell_train::{Pairs, Which};

use crate::judging::Judging;
use crate::system::JudgeError;

/// The area under the ROC curve between energies of what belongs together and of what does not: how often the first of two such is the
/// lower one. `None` where one of them is empty.
pub(super) fn told(own: &[f32], others: &[f32]) -> Option<f64> {
    let scores = own.iter().map(|energy| (-energy, true)).chain(others.iter().map(|energy| (-energy, false)));
    area_under_roc(&mut scores.collect::<Vec<_>>())
}

/// For systems that predict a part of each sample from the rest; `None` where samples cannot be put in each other's place.
pub fn energy<D: Modality>(run: &Judging<'_, D>) -> Result<Option<Finding>, JudgeError> {
    let mut figures = Figures::new(&["network"], "auroc", "", Better::Higher);
    let mut count = 0;
    for (name, which) in [(TRAINED, Which::Trained), (UNTRAINED, Which::Untrained)] {
        let Some(Pairs { own, of_another }) = run.learner.pairs(which)? else { return Ok(None) };
        let Some(told) = told(&own, &of_another) else { return Ok(None) };
        figures.push([name.into()], told);
        count = own.len();
    }
    let lead = format!(
        "The energy E(x, y) is the mean squared difference between what is predicted of x's hidden part and what the target encoder makes \
         of y's at the same places; without a latent variable it is the free energy too. Area under the ROC curve between {count} held-out \
         samples with themselves and with another one: how often the right one has less energy; 0.5 is chance."
    );
    Ok(Some(Finding::figures("energy", "What the energy tells apart", &lead, figures)))
}
