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
    let (trained, untrained) = (run.kept(Which::Trained)?.encoder, run.kept(Which::Untrained)?.encoder);
    let plain = plain(run, &ground, trained.width())?;
    let candidates = [
        Candidate { name: TRAINED, encoder: trained.as_ref(), rate: None },
        Candidate { name: UNTRAINED, encoder: untrained.as_ref(), rate: None },
        Candidate { name: run.data.baseline_name(), encoder: &plain, rate: None },
    ];
    let (figures, factors) = tuned(run, &ground, &candidates)?;
    let lead = format!(
        "Share of held-out samples that the whole network labels correctly after {}: \
         begun with the weights of the run, with those that it began with (from scratch), and the head alone over {}. Rates, steps \
         and order are the same; nothing is chosen by these figures.",
        course(run),
        run.data.baseline_name()
    );
    let finding = Finding::figures("finetune", "What the network learns from labels", &lead, figures);
    Ok(Some(noted(run, finding, &factors)))
}

/// What is fine-tuned under a name, all of it at this share of the head's rate where one is given.
pub(super) struct Candidate<'a, S> {
    pub(super) name: &'a str,
    pub(super) encoder: &'a dyn Encode<S>,
    pub(super) rate: Option<f64>,
}

/// The plain features that the head alone is tuned on, beside encoders of tokens so wide.
pub(super) fn plain<D: Modality>(
    run: &Judging<'_, D>,
    ground: &Ground,
    width: usize,
) -> Result<Baseline<D>, JudgeError> {
    let cut = (run.settings.finetune.head == Head::Attentive).then_some(width);
    Ok(Baseline::new(run.data, &ground.some(run)?, cut, run.on.device))
}

/// How long and with which head.
pub(super) fn course<D: Modality>(run: &Judging<'_, D>) -> String {
    let epochs = run.settings.finetune.epochs;
    let head = match run.settings.finetune.head {
        Head::Mean => "a linear head on the mean of the tokens",
        Head::Attentive => "an attentive head of one block",
    };
    format!("{epochs} epoch{} of learning the labels, with {head}", if epochs == 1 { "" } else { "s" })
}

/// The accuracy of each candidate once it is tuned, by factor.
pub(super) fn tuned<D: Modality>(
    run: &Judging<'_, D>,
    ground: &Ground,
    candidates: &[Candidate<'_, D::Sample>],
) -> Result<(Figures, Vec<Factor>), JudgeError> {
    let tuning = Finetune {
        settings: &run.settings.finetune,
        data: run.data,
        places: &ground.train,
        targets: &ground.targets,
        threads: run.on.threads,
        seed: run.on.seed,
        device: run.on.device,
    };
    let counts = ground.targets.counts();
    let votes = |candidate: &Candidate<'_, D::Sample>| -> Result<Votes, JudgeError> {
        let encoder = candidate.encoder;
        let tunable = encoder.tunable().ok_or_else(|| JudgeError::Other(CANNOT_TUNE.to_owned()))?;
        let (tuned, skipped) = tuning.tune(tunable, encoder.width(), candidate.rate)?;
        run.skip(skipped);
        let held_out = ground.test.as_slice().into();
        let (votes, skipped) = tuned.votes((run.data, Part::HeldOut), held_out, run.on.threads, counts.len())?;
        run.skip(skipped);
        Ok(votes)
    };
    let votes = candidates.iter().map(votes).collect::<Result<Vec<Votes>, JudgeError>>()?;
    let mut figures = Figures::new(&["factor", FEATURES], "accuracy", Figures::PERCENT, Better::Higher);
    let mut factors = Vec::new();
    for (at, known) in run.data.factors().iter().enumerate() {
        let train = ground.train.iter().map(|place| Ok(run.data.meta(Part::Train, *place)?.labels[at]));
        let train = train.collect::<Result<Vec<u32>, foretell_data::DataError>>()?;
        let factor = Factor::new(known.name.clone(), train, votes[0].labels(at).to_vec());
        for (candidate, votes) in candidates.iter().zip(&votes) {
            let accuracy = votes.accuracy(at, |class| ground.targets.label(at, class));
            figures.push([factor.name.as_str().into(), candidate.name.into()], accuracy);
        }
        figures.refer("chance", [Some(factor.name.as_str().into()), None], factor.chance());
        factors.push(factor);
    }
    Ok((figures.over(votes[0].count()), factors))
}

/// Where a kind of network cannot be fine-tuned.
pub(crate) const CANNOT_TUNE: &str = "`finetune` among the probes needs an encoder that can go on learning, and the one of this system cannot: use `linear` or `attentive`";
