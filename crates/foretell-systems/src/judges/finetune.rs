//! Fine-tuning of the kept encoder beside the same from scratch: the untrained network, tuned in the same way for as many steps. The
//! baseline is the head alone, over plain features. The run's own files are left as they are.

use foretell_data::{Modality, Part};
use foretell_eval::{Better, FEATURES, Factor, Figures, Finding, TRAINED, UNTRAINED};
use foretell_nn::Encode;
use foretell_train::Which;
use foretell_train::probing::{Finetune, Head, Votes};

use super::baseline::Baseline;
use super::ground::Ground;
use super::probes::noted;
use crate::judging::Judging;
use crate::system::JudgeError;

/// Fine-tuning; `None` where there are no labels or nothing is held out.
pub fn finetune<D: Modality>(run: &Judging<'_, D>) -> Result<Option<Finding>, JudgeError> {
    let Some(ground) = Ground::new(run)? else { return Ok(None) };
    let settings = &run.settings.finetune;
    let tuning = Finetune {
        settings,
        data: run.data,
        places: &ground.train,
        targets: &ground.targets,
        threads: run.on.threads,
        seed: run.on.seed,
        device: run.on.device,
    };
    let (trained, untrained) = (run.kept(Which::Trained)?.encoder, run.kept(Which::Untrained)?.encoder);
    let cut = (settings.head == Head::Attentive).then(|| trained.width());
    let plain = Baseline::new(run.data, &ground.some(run)?, cut, run.on.device);
    let counts = ground.targets.counts();
    let tuned = |encoder: &dyn Encode<D::Sample>| -> Result<Votes, JudgeError> {
        let tunable = encoder.tunable().ok_or_else(|| JudgeError::Other(CANNOT_TUNE.to_owned()))?;
        let (tuned, skipped) = tuning.tune(tunable, encoder.width())?;
        run.skip(skipped);
        let held_out = ground.test.as_slice().into();
        let (votes, skipped) = tuned.votes((run.data, Part::HeldOut), held_out, run.on.threads, counts.len())?;
        run.skip(skipped);
        Ok(votes)
    };
    let votes = [tuned(trained.as_ref())?, tuned(untrained.as_ref())?, tuned(&plain)?];
    let names = [TRAINED, UNTRAINED, run.data.baseline_name()];
    let mut figures = Figures::new(&["factor", FEATURES], "accuracy", Figures::PERCENT, Better::Higher);
    let mut factors = Vec::new();
    for (at, known) in run.data.factors().iter().enumerate() {
        let train = ground.train.iter().map(|place| Ok(run.data.meta(Part::Train, *place)?.labels[at]));
        let train = train.collect::<Result<Vec<u32>, foretell_data::DataError>>()?;
        let factor = Factor::new(known.name.clone(), train, votes[0].labels(at).to_vec());
        for (name, votes) in names.iter().zip(&votes) {
            let accuracy = votes.accuracy(at, |class| ground.targets.label(at, class));
            figures.push([factor.name.as_str().into(), (*name).into()], accuracy);
        }
        figures.refer("chance", [Some(factor.name.as_str().into()), None], factor.chance());
        factors.push(factor);
    }
    let epochs = settings.epochs;
    let lead = format!(
        "Share of held-out samples that the whole network labels correctly after {epochs} epoch{} of learning the labels, with {}: \
         begun with the weights of the run, with those that it began with (from scratch), and the head alone over {}. Rates, steps \
         and order are the same; nothing is chosen by these figures.",
        if epochs == 1 { "" } else { "s" },
        match settings.head {
            Head::Mean => "a linear head on the mean of the tokens",
            Head::Attentive => "an attentive head of one block",
        },
        run.data.baseline_name()
    );
    let finding =
        Finding::figures("finetune", "What the network learns from labels", &lead, figures.over(votes[0].count()));
    Ok(Some(noted(run, finding, &factors)))
}

/// Where a kind of network cannot be fine-tuned.
pub(crate) const CANNOT_TUNE: &str = "`finetune` among the probes needs an encoder that can go on learning, and the one of this system cannot: use `linear` or `attentive`";
