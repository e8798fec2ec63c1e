//! What noise on the held-out series leaves of the probes, which learn from clean ones: the argument for predicting in latent space that
//! TS-JEPA's paper makes (arXiv 2509.25449).

use foretell_data::series::{Series, SeriesSample};
use foretell_data::{Modality, Part, spread};
use foretell_eval::{Better, FEATURES, Factor, FeatureRows, Features, Figures, Finding, Linear, TRAINED, UNTRAINED};
use foretell_ops as ops;
use foretell_train::Which;

use super::convolved::{Bar, CONVOLUTIONS};
use crate::judges::labelled;
use crate::judging::Judging;
use crate::system::JudgeError;

/// Deviations of the noise, in those of the training series.
const NOISES: [f64; 4] = [0.0, 0.25, 0.5, 1.0];
/// Series that probes learn from and are tested on, at most.
const TRAIN: usize = 2000;
const TEST: usize = 1000;
/// Series that go through an encoder at a time.
const CHUNK: usize = 128;
/// No other noise is drawn at these places.
const DRAWN: u64 = 1 << 33;

/// Accuracies of a linear probe along the noise; `None` where there are no labels or nothing is held out.
pub(super) fn noise(run: &Judging<'_, Series>, bar: Option<&Bar>) -> Result<Option<Finding>, JudgeError> {
    let (Some((probed, factors)), Some(bar)) = (labelled(run)?, bar) else { return Ok(None) };
    let data = run.data.as_ref();
    let samples: Vec<(usize, SeriesSample)> = spread(data.len(Part::HeldOut), TEST)
        .filter_map(|index| Some((index, data.load(Part::HeldOut, index).ok()?)))
        .collect();
    let labels = samples.iter().map(|(index, _)| Ok(data.meta(Part::HeldOut, *index)?.labels));
    let labels = labels.collect::<Result<Vec<_>, foretell_data::DataError>>()?;
    let encoders = [run.kept(Which::Trained)?.encoder, run.kept(Which::Untrained)?.encoder];
    let mut figures =
        Figures::new(&["factor", "noise", FEATURES], "accuracy", Figures::PERCENT, Better::Higher).along("noise");
    let rows = factors.first().map_or(0, |factor| factor.train.len());
    let kept: Vec<usize> = spread(Some(rows), TRAIN).collect();
    let factors: Vec<Factor> = factors
        .iter()
        .enumerate()
        .map(|(at, factor)| {
            let train = kept.iter().map(|row| factor.train[*row]).collect();
            Factor::new(factor.name.clone(), train, labels.iter().map(|labels| labels[at]).collect())
        })
        .collect();
    let mut train: Vec<(String, Features)> = Vec::new();
    for one in probed {
        train.push((one.name.clone(), one.train.select(&kept)?));
    }
    train.push((CONVOLUTIONS.to_owned(), FeatureRows::select(&bar.train, &kept)?));
    let mut found = Vec::new();
    for (level, noise) in NOISES.into_iter().enumerate() {
        let noisy = |(index, sample): &(usize, SeriesSample)| {
            sample.with_noise(noise, run.on.seed, (DRAWN + level as u64, *index as u64))
        };
        let noisy: Vec<SeriesSample> = samples.iter().map(noisy).collect();
        for (name, train) in &train {
            let values: Vec<f32> = match name.as_str() {
                TRAINED | UNTRAINED => {
                    let encoder = &encoders[usize::from(name == UNTRAINED)];
                    let of = |chunk: &[SeriesSample]| {
                        ops::values(encoder.probed(&chunk.iter().collect::<Vec<&SeriesSample>>()))
                    };
                    noisy.chunks(CHUNK).flat_map(of).collect()
                }
                CONVOLUTIONS => noisy.iter().flat_map(|s| bar.convolutions.features(&data.baseline(s))).collect(),
                _ => noisy.iter().flat_map(|sample| data.baseline(sample)).collect(),
            };
            let test = Features::new(noisy.len(), values.len() / noisy.len().max(1), values)?;
            for (factor, fit) in factors.iter().zip(Linear::default().probe(train, &test, &factors)?) {
                found.push((factor.name.clone(), noise, name.clone(), fit.accuracy));
            }
        }
    }
    for factor in &factors {
        for (_, noise, name, accuracy) in found.iter().filter(|(of, ..)| *of == factor.name) {
            figures.push([factor.name.as_str().into(), (*noise).into(), name.as_str().into()], *accuracy);
        }
        figures.refer("chance", [Some(factor.name.as_str().into()), None, None], factor.chance());
    }
    let lead = format!(
        "Accuracy of a linear probe that learnt from {} clean training series, on held-out series with normal noise of this deviation, in \
         deviations of the training series. Only the test is noisy.",
        kept.len()
    );
    Ok(Some(Finding::figures("noise", "What noise leaves", &lead, figures.over(samples.len()))))
}
