//! Probes of what the kept encoder knows of labels, beside the same encoder untrained and a baseline without a network.

use std::collections::BTreeMap;

use foretell_data::{DataError, Modality, OnBadSample, Part, for_each};
use foretell_eval::{
    Better, Budget, EvalError, FEATURES, Factor, FeatureRows, FewShot, Figures, Finding, Memory, Probed, Row, Store,
    Stored, TRAINED, UNTRAINED,
};
use foretell_nn::Encode;
use foretell_ops::{self as ops, Precision};
use foretell_train::Which;

use crate::judging::Judging;
use crate::system::JudgeError;

/// Samples that go through an encoder at a time.
const CHUNK: usize = 128;

/// Training samples from which a probe can learn.
pub const LEAST_PROBED: usize = 10;

/// One part's features by each encoder, its baseline, and its labels.
struct Seen {
    features: Vec<Stored>,
    labels: Vec<Vec<u32>>,
}

/// What the features know of each factor; `None` where there are no labels or nothing is held out.
pub fn probes<D: Modality>(run: &Judging<'_, D>) -> Result<Option<Finding>, JudgeError> {
    let Some((probed, factors)) = labelled(run)? else { return Ok(None) };
    Ok(Some(noted(run, foretell_eval::probes(probed, factors, &Budget::default())?, factors)))
}

/// The same of the trained encoder alone, without its controls; `None` likewise.
pub fn trained_alone<D: Modality>(run: &Judging<'_, D>) -> Result<Option<Finding>, JudgeError> {
    let Some((probed, factors)) = embedded(run, Beside::Nothing)? else { return Ok(None) };
    Ok(Some(noted(run, foretell_eval::probes(&probed, &factors, &Budget::default())?, &factors)))
}

/// The finding with a note of the classes that stand in one part alone.
pub(super) fn noted<D: Modality>(run: &Judging<'_, D>, mut finding: Finding, factors: &[Factor]) -> Finding {
    /// Classes that are named.
    const NAMED: usize = 8;
    finding.notes.extend(run.notes());
    for (factor, known) in factors.iter().zip(run.data.factors()) {
        let [train, test] = factor.one_sided();
        let shown = |classes: &BTreeMap<u32, usize>| {
            let name = |label: u32| known.classes.get(label as usize).cloned().unwrap_or_else(|| label.to_string());
            let named = classes.iter().take(NAMED).map(|(&label, count)| format!("`{}` ({count})", name(label)));
            let more = (classes.len() > NAMED).then(|| format!("{} more", classes.len() - NAMED));
            named.chain(more).collect::<Vec<_>>().join(", ")
        };
        let name = &factor.name;
        if !test.is_empty() {
            let (shown, samples, all) = (shown(&test), test.values().sum::<usize>(), factor.test.len());
            finding.notes.push(format!(
                "{name}: among the held-out samples alone, so that no probe can name them: {shown}; {samples} of n = {all}"
            ));
        }
        if !train.is_empty() {
            finding.notes.push(format!("{name}: among the training samples alone: {}", shown(&train)));
        }
    }
    finding
}

/// The same read by ridge regression on the classes' indicators, the penalty chosen by leave-one-out; `None` likewise.
pub fn ridge<D: Modality>(run: &Judging<'_, D>) -> Result<Option<Finding>, JudgeError> {
    let Some((probed, factors)) = labelled(run)? else { return Ok(None) };
    Ok(Some(noted(run, foretell_eval::ridge_heads(probed, factors)?, factors)))
}

/// The linear probe from few labels of each class, drawn several times; `None` likewise, or where a class has not so many.
pub fn few_shot<D: Modality>(run: &Judging<'_, D>) -> Result<Option<Finding>, JudgeError> {
    let Some((probed, factors)) = labelled(run)? else { return Ok(None) };
    let least = |factor: &Factor| {
        let mut counts = BTreeMap::new();
        factor.train.iter().for_each(|label| *counts.entry(label).or_insert(0_usize) += 1);
        counts.into_values().min().unwrap_or(0)
    };
    let settings = FewShot::default();
    let enough = factors.iter().map(least).min().unwrap_or(0);
    let shots: Vec<usize> = settings.shots.iter().copied().filter(|shots| *shots <= enough).collect();
    if shots.is_empty() {
        return Ok(None);
    }
    let settings = FewShot { shots, ..settings };
    let mut figures =
        Figures::new(&["factor", "labels", FEATURES], "accuracy", Figures::PERCENT, Better::Higher).along("labels");
    for factor in factors {
        for Probed { name, train, test } in probed {
            for fit in settings.probe(train, test, factor)? {
                let cells = vec![factor.name.as_str().into(), fit.shots.into(), name.as_str().into()];
                let samples = Some(test.rows());
                figures.rows.push(Row { cells, value: fit.mean, spread: Some(fit.deviation), samples });
            }
        }
    }
    let lead = format!(
        "Accuracy of a linear probe from so many labelled training samples of each class, on all held-out samples: the mean of {} \
         draws of the labelled ones, and its standard deviation over draws.",
        settings.draws
    );
    Ok(Some(Finding::figures("few_shot", "What few labels bring out", &lead, figures)))
}

/// Features of the same samples by each of several networks, and what the labels tell of them.
pub type Labelled = (Vec<Probed>, Vec<Factor>);

/// Features of labelled samples by the trained encoder, the untrained one and the baseline; `None` where there are none. They
/// are computed once for all judges of a run.
pub fn labelled<'a, D: Modality>(run: &'a Judging<'_, D>) -> Result<Option<&'a Labelled>, JudgeError> {
    if run.labelled.get().is_none() {
        // Nobody else can have set it meanwhile: a judgement has one thread.
        let _ = run.labelled.set(embedded(run, Beside::Controls)?);
    }
    Ok(run.labelled.get().and_then(Option::as_ref))
}

/// Whether there are labels, samples to learn from and held-out ones.
pub(super) fn can_probe<D: Modality>(run: &Judging<'_, D>) -> bool {
    let data = run.data;
    let few = data.len(Part::Train).is_some_and(|train| train < LEAST_PROBED);
    !few && !data.factors().is_empty() && data.len(Part::HeldOut).is_some_and(|held_out| held_out > 0)
}

/// What the trained encoder's features stand beside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// The same network untrained, what its kind of data adds, and the baseline.
    Controls,
    Nothing,
}

fn embedded<D: Modality>(run: &Judging<'_, D>, beside: Beside) -> Result<Option<Labelled>, JudgeError> {
    let (data, factors) = (run.data, run.data.factors());
    if !can_probe(run) {
        return Ok(None);
    }
    let (mut trained, mut untrained) = (run.kept(Which::Trained)?.encoder, run.kept(Which::Untrained)?.encoder);
    let precision = run.settings.precision;
    if precision != Precision::F32 {
        let held = [&mut trained, &mut untrained].into_iter().all(|encoder| encoder.prepare(precision));
        run.note(if held {
            format!("features computed with the encoders' maps in {precision}")
        } else {
            format!("features computed in f32: this encoder has no maps that could be held in {precision} here")
        });
    }
    let both = [trained.as_ref(), untrained.as_ref()];
    let encoders = if beside == Beside::Controls { &both[..] } else { &both[..1] };
    let memory = Memory::of(run.settings.memory.saturating_mul(1 << 20));
    let train = see(run, Part::Train, (encoders, beside), run.train_samples(), &memory)?;
    let test = see(run, Part::HeldOut, (encoders, beside), usize::MAX, &memory)?;
    let columns = train.labels.into_iter().zip(test.labels);
    let factors: Vec<Factor> =
        factors.iter().zip(columns).map(|(f, (train, test))| Factor::new(f.name.clone(), train, test)).collect();
    let names = [TRAINED, UNTRAINED].into_iter().chain(D::CONTROL).chain([data.baseline_name()]);
    let probed: Vec<Probed> = names
        .zip(train.features.into_iter().zip(test.features))
        .map(|(name, (train, test))| Probed { name: name.to_owned(), train, test })
        .collect();
    Ok(Some((probed, factors)))
}

fn see<D: Modality>(
    run: &Judging<'_, D>,
    part: Part,
    (encoders, beside): (&[&dyn Encode<D::Sample>], Beside),
    limit: usize,
    memory: &Memory,
) -> Result<Seen, JudgeError> {
    let data = run.data;
    let expected = data.len(part).map_or(0, |samples| samples.min(limit));
    // Of the trained network also what it makes of samples without what their kind is about, where there are such.
    let control = D::CONTROL.filter(|_| beside == Beside::Controls);
    let baseline = (beside == Beside::Controls).then_some(encoders.len() + usize::from(control.is_some()));
    let stores = baseline.map_or(encoders.len(), |at| at + 1);
    let mut stores: Vec<Store<'_>> = (0..stores).map(|_| Store::new(expected, memory)).collect();
    let mut labels: Vec<Vec<u32>> = vec![Vec::new(); data.factors().len()];
    let mut chunk = Vec::<D::Sample>::new();
    let failed = |error: EvalError| DataError::Setting(error.to_string());
    let flush = |chunk: &mut Vec<D::Sample>, stores: &mut [Store<'_>]| -> Result<(), DataError> {
        let samples: Vec<&D::Sample> = chunk.iter().collect();
        let controlled = samples.iter().filter(|_| control.is_some());
        let controls: Vec<D::Sample> = controlled.filter_map(|sample| data.control(sample)).collect();
        let controls: Vec<&D::Sample> = controls.iter().collect();
        let seen = encoders.iter().map(|encoder| (encoder, &samples));
        let seen = seen.chain(encoders.first().filter(|_| control.is_some()).map(|trained| (trained, &controls)));
        for ((encoder, samples), store) in seen.zip(stores).filter(|((_, samples), _)| !samples.is_empty()) {
            let values = ops::values(encoder.probed(samples));
            let width = values.len() / samples.len();
            values.chunks_exact(width.max(1)).try_for_each(|row| store.push(row)).map_err(failed)?;
        }
        chunk.clear();
        Ok(())
    };
    let skipped =
        for_each(data, part, limit, run.on.threads, OnBadSample::Skip, |index, sample| -> Result<(), DataError> {
            if let Some(at) = baseline {
                stores[at].push(&data.baseline(&sample)).map_err(failed)?;
            }
            for (column, label) in labels.iter_mut().zip(data.meta(part, index)?.labels) {
                column.push(label);
            }
            chunk.push(sample);
            if chunk.len() == CHUNK {
                flush(&mut chunk, &mut stores)?;
            }
            Ok(())
        })?;
    flush(&mut chunk, &mut stores)?;
    run.skip(skipped);
    let features = stores.into_iter().map(Store::finish).collect::<Result<_, _>>()?;
    Ok(Seen { features, labels })
}
