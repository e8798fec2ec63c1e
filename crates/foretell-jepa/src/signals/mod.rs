//! The objective of Signal-JEPA (Guetschel et al., 2024, arXiv 2403.11772): all electrodes in a ball around one of them are hidden for the
//! whole of a window, and from the others the teacher's tokens of the hidden ones are predicted.
//!
//! The authors have not published their pre-training; the architecture is in `braindecode`, and what the paper says of the rest is
//! `official` in the system's settings.

mod heads;
mod kept;

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::eeg::EegSample;
use foretell_data::random::{Stream, rng};
use foretell_data::{Collate, DataError};
use foretell_nn::signal::{KERNEL, SignalEncoder, SignalPredictor, pieces, pieces_of, tokens_of};
use foretell_ops::{self as ops, Sets};
use rand::RngExt;
use serde::{Deserialize, Serialize};

pub use heads::{FILTERS, HeadKind, SignalHead, SignalHeadNetworks};
pub use kept::{HiddenSignals, SignalJepaEncoder};

use crate::clips::LatentLoss;
use crate::target::{EmaConfig, TargetTransform};
use crate::{Clock, Kept, Latents, Objective, Outcome, Role};

/// What hidden tokens are predicted as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignalTarget {
    /// Each dimension at each electrode and moment to mean 0 and variance 1 over the batch: what the place alone tells, which is the
    /// same in every window, is worth nothing. Ours.
    #[default]
    Standardise,
    /// As the teacher's last norm leaves them: the paper.
    AsTheyAre,
}

/// A ball around an electrode.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BallConfig {
    /// Its diameter as a share of the head's: 0.4, 0.6 and 0.8 in the paper.
    pub diameter: f64,
}

impl Default for BallConfig {
    fn default() -> Self {
        Self { diameter: 0.8 }
    }
}

/// Electrodes outside and inside of a ball, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Outside: at least one.
    pub seen: Vec<u32>,
    /// Inside: at least one.
    pub hidden: Vec<u32>,
}

impl BallConfig {
    /// What a ball around an electrode hides; `places` on a head of radius 1, at least two. Where it would hide all of them the one that is
    /// furthest away is left.
    pub fn around(&self, places: &[[f32; 3]], centre: usize) -> Hidden {
        let distance = |place: &[f32; 3]| -> f64 {
            let square: f32 = place.iter().zip(places[centre]).map(|(a, b)| (a - b) * (a - b)).sum();
            f64::from(square).sqrt()
        };
        // The head's diameter is 2, so that this is the radius.
        let inside = |place: &[f32; 3]| distance(place) <= self.diameter;
        let all = || places.iter().zip(0_u32..);
        let mut seen: Vec<u32> = all().filter(|(place, _)| !inside(place)).map(|(_, i)| i).collect();
        let mut hidden: Vec<u32> = all().filter(|(place, _)| inside(place)).map(|(_, i)| i).collect();
        if seen.is_empty() {
            let furthest = all().max_by(|(a, _), (b, _)| distance(a).total_cmp(&distance(b))).map_or(0, |(_, i)| i);
            hidden.retain(|i| *i != furthest);
            seen.push(furthest);
        }
        Hidden { seen, hidden }
    }
}

/// Windows and what is hidden of each, on the host.
pub struct SignalBatch {
    /// Windows, B.
    pub windows: usize,
    /// Electrodes of a window, C.
    pub electrodes: usize,
    /// Tokens of an electrode, N.
    pub tokens: usize,
    /// Pieces of all signals, `[B · C · P, 32]`.
    pub pieces: Vec<f32>,
    /// Those of the electrodes that are seen, one window after the other.
    pub seen: Vec<f32>,
    /// What is hidden of each window.
    pub hidden: Vec<Hidden>,
}

impl SignalBatch {
    /// Electrodes by a list of each window, behind each other, and the sets of their tokens.
    fn listed(&self, list: impl Fn(&Hidden) -> &[u32]) -> (Vec<u32>, Sets) {
        let ids = self.hidden.iter().flat_map(|hidden| list(hidden).iter().copied()).collect();
        let lengths: Vec<usize> = self.hidden.iter().map(|hidden| list(hidden).len() * self.tokens).collect();
        (ids, Sets::of_lengths(&lengths))
    }

    /// The rows of hidden tokens among those of all electrodes.
    fn hidden_rows(&self) -> Vec<u32> {
        let of_window = |(window, hidden): (usize, &Hidden)| {
            let rows = |electrode: &u32| {
                let first = (window * self.electrodes + *electrode as usize) * self.tokens;
                first as u32..(first + self.tokens) as u32
            };
            hidden.hidden.iter().flat_map(rows).collect::<Vec<u32>>()
        };
        self.hidden.iter().enumerate().flat_map(of_window).collect()
    }
}

/// Makes [`SignalBatch`]es: one ball for each window, around an electrode that is drawn uniformly.
pub struct SignalCollator {
    /// Of the run.
    pub seed: u64,
    /// Where the electrodes lie.
    pub places: Vec<[f32; 3]>,
    /// What is hidden.
    pub ball: BallConfig,
}

impl Collate for SignalCollator {
    type Sample = EegSample;
    type Batch = SignalBatch;

    fn collate(&self, step: u64, samples: &[EegSample]) -> Result<SignalBatch, DataError> {
        let electrodes = self.places.len();
        let length = samples.first().map_or(0, |sample| sample.samples);
        let mut batch = SignalBatch {
            windows: samples.len(),
            electrodes,
            tokens: tokens_of(length),
            pieces: Vec::new(),
            seen: Vec::new(),
            hidden: Vec::new(),
        };
        for (i, sample) in samples.iter().enumerate() {
            if sample.samples != length || sample.channels() != electrodes {
                return Err(DataError::Collate(format!(
                    "window {i} of the batch of step {step} has {} electrodes of {} samples, and {electrodes} of {length} were expected",
                    sample.channels(),
                    sample.samples
                )));
            }
            let centre = rng(self.seed, Stream::Mask, step, i as u64).random_range(0..electrodes);
            let hidden = self.ball.around(&self.places, centre);
            let cut = pieces(&sample.values, length);
            let each = pieces_of(length) * KERNEL;
            batch.seen.extend(hidden.seen.iter().flat_map(|electrode| &cut[*electrode as usize * each..][..each]));
            batch.pieces.extend(cut);
            batch.hidden.push(hidden);
        }
        Ok(batch)
    }
}

/// All networks of a run.
#[derive(Module, Debug)]
pub struct SignalNetworks {
    /// The context encoder.
    pub encoder: SignalEncoder,
    /// The decoder.
    pub predictor: SignalPredictor,
    /// The moving average, on the plain device.
    pub target_encoder: SignalEncoder,
}

/// Signal-JEPA's objective.
pub struct SignalJepa {
    /// What hidden tokens are predicted as.
    pub target: SignalTarget,
    /// How predictions are held against targets: L1 in the paper.
    pub loss: LatentLoss,
    /// The clock of the average.
    pub ema: EmaConfig,
    /// Makes batches.
    pub collator: Arc<SignalCollator>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

/// Host values as rows of so many numbers.
fn rows(values: &[f32], width: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / width, width]), device)
}

impl SignalJepa {
    /// Predictions of the hidden tokens and what they are held against, `[Q, D]` each.
    pub fn predict(&self, networks: &SignalNetworks, batch: &SignalBatch) -> (Tensor<2>, Tensor<2>) {
        let (ids, seen) = batch.listed(|hidden| &hidden.seen);
        let (asked_ids, asked) = batch.listed(|hidden| &hidden.hidden);
        let context = networks.encoder.forward(rows(&batch.seen, KERNEL, &self.device), &ids, &seen);
        let codes = networks.encoder.codes(&asked_ids, batch.tokens);
        let predictions = networks.predictor.forward(codes, &asked, &context, &seen);

        let all: Vec<u32> = (0..batch.windows).flat_map(|_| 0..batch.electrodes as u32).collect();
        let each = batch.electrodes * batch.tokens;
        let sets = Sets::uniform(batch.windows, each);
        let targets = networks.target_encoder.forward(rows(&batch.pieces, KERNEL, &self.device), &all, &sets);
        let [_, width] = targets.dims();
        let targets = match self.target {
            SignalTarget::AsTheyAre => targets,
            SignalTarget::Standardise => {
                let tokens = targets.reshape([batch.windows, each, width]);
                TargetTransform::Standardise.apply(tokens).reshape([batch.windows * each, width])
            }
        };
        (predictions, ops::gather(targets, &batch.hidden_rows()))
    }
}

impl Objective for SignalJepa {
    type Sample = EegSample;
    type Batch = SignalBatch;
    type Networks = SignalNetworks;

    fn collator(&self) -> Arc<dyn Collate<Sample = EegSample, Batch = SignalBatch>> {
        self.collator.clone()
    }

    fn loss(&self, networks: &SignalNetworks, batch: &SignalBatch, clock: &Clock) -> Outcome {
        let (predictions, targets) = self.predict(networks, batch);
        let latents =
            clock.health_due.then(|| Latents { predictions: predictions.clone().inner(), targets: targets.clone() });
        Outcome { loss: self.loss.of(predictions, targets), terms: Vec::new(), latents, seen: Vec::new() }
    }

    fn role<'a>(&self, name: &'a str, clock: &Clock) -> Role<'a> {
        self.ema.role(name, ("target_encoder.", "encoder."), clock)
    }

    fn kept(&self, networks: &SignalNetworks) -> Kept<EegSample> {
        let hidden = HiddenSignals {
            encoder: networks.encoder.valid(),
            predictor: networks.predictor.valid(),
            device: self.device.clone(),
        };
        Kept {
            encoder: Box::new(SignalJepaEncoder::new(networks.target_encoder.valid(), &self.device)),
            model: Some(Box::new(hidden)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ball_has_the_diameter_that_it_says_and_something_stays_outside() {
        // On a circle, a step of 30 degrees: chords of 0.518, 1.0 and 1.414.
        let places: Vec<[f32; 3]> =
            (0..12).map(|i| (i as f32 * 30.0).to_radians().sin_cos()).map(|(x, y)| [x, y, 0.0]).collect();
        let hidden = |diameter: f64| BallConfig { diameter }.around(&places, 3).hidden;
        assert_eq!(hidden(0.4), [3]);
        assert_eq!(hidden(0.6), [2, 3, 4]);
        assert_eq!(hidden(1.01), [1, 2, 3, 4, 5]);
        let all = BallConfig { diameter: 9.0 }.around(&places, 3);
        assert_eq!((all.seen, all.hidden.len()), (vec![9], 11));
        let two = BallConfig { diameter: 9.0 }.around(&places[..2], 1);
        assert_eq!((two.seen, two.hidden), (vec![0], vec![1]));
    }

    #[test]
    fn hidden_rows_are_those_of_the_hidden_electrodes_of_their_window() {
        let values: Vec<f32> = (0..3 * 280).map(|i| i as f32).collect();
        let sample = EegSample { values: values.into(), samples: 280 };
        let places = vec![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let collator = SignalCollator { seed: 0, places, ball: BallConfig { diameter: 0.5 } };
        let batch = collator.collate(4, &[sample.clone(), sample.clone()]).unwrap();
        assert_eq!((batch.tokens, batch.windows, batch.electrodes), (2, 2, 3));
        let each = batch.pieces.len() / 6;
        for (window, hidden) in batch.hidden.iter().enumerate() {
            assert_eq!((hidden.seen.len(), hidden.hidden.len()), (2, 1));
            let row = (window as u32 * 3 + hidden.hidden[0]) * 2;
            assert_eq!(batch.hidden_rows()[2 * window..][..2], [row, row + 1]);
            // What is seen holds nothing of what is hidden.
            for (place, electrode) in hidden.seen.iter().enumerate() {
                let seen = &batch.seen[(2 * window + place) * each..][..each];
                assert_eq!(seen, &batch.pieces[(3 * window + *electrode as usize) * each..][..each]);
            }
        }
        let short = EegSample { samples: 140, ..sample };
        assert!(collator.collate(0, &[short]).is_err());
    }
}
