//! What is known of electrodes that were hidden (Signal-JEPA, arXiv 2403.11772): probes that read nothing but what the decoder predicts of
//! them, and heads that show how well; and the paper's three ways of fine-tuning.

use foretell_data::eeg::{BANDS, Eeg, EegSample, Mark, draw};
use foretell_data::{DataError, Modality, OnBadSample, Part, for_each};
use foretell_eval::{
    Better, Card, FEATURES, Factor, Features, Figures, Finding, Linear, Pictures, Row, TRAINED, Tile, UNTRAINED,
};
use foretell_jepa::signals::{BallConfig, HeadKind, Hidden, HiddenSignals, SignalHead};
use foretell_nn::signal::{SignalEncoder, tokens_of};
use foretell_ops as ops;
use foretell_train::Which;

use super::finetune::{CANNOT_TUNE, Candidate, course, plain, tuned};
use super::ground::Ground;
use super::probes::can_probe;
use super::{originals, rgb};
use crate::judging::Judging;
use crate::system::JudgeError;

/// Windows that a probe learns from at most.
const LEARNT: usize = 2_000;
/// Windows that go through the networks at a time.
const CHUNK: usize = 64;
/// Heads that are drawn for each ball, and their side in pixels.
const DRAWN: usize = 3;
const SIDE: usize = 150;
/// The directions in which balls are hidden, as the report calls them.
const DIRECTIONS: [(&str, [f32; 3]); 3] =
    [("front", [0.0, 0.7, 0.7]), ("left", [-0.7, 0.0, 0.7]), ("back", [0.0, -0.9, 0.3])];

/// A ball that is hidden in all windows, and what it is called.
struct Ball {
    name: String,
    hidden: Hidden,
}

/// Balls around the electrodes that are nearest to the [`DIRECTIONS`].
fn balls(run: &Judging<'_, Eeg>, ball: BallConfig) -> Vec<Ball> {
    let (places, names) = (run.data.config().places(), &run.data.config().channels);
    let mut all: Vec<Ball> = Vec::new();
    for (direction, wanted) in DIRECTIONS {
        let square = |place: &[f32; 3]| place.iter().zip(wanted).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        let Some(centre) = (0..places.len()).min_by(|a, b| square(&places[*a]).total_cmp(&square(&places[*b]))) else {
            continue;
        };
        let hidden = ball.around(&places, centre);
        let name = format!("{direction}: {} and {} others", names[centre], hidden.hidden.len() - 1);
        if !all.iter().any(|known| known.hidden == hidden) {
            all.push(Ball { name, hidden });
        }
    }
    all
}

fn predictor(run: &Judging<'_, Eeg>, which: Which) -> Result<HiddenSignals, JudgeError> {
    let model = run.kept(which)?.model.and_then(|model| model.downcast::<HiddenSignals>().ok());
    model
        .map(|model| *model)
        .ok_or_else(|| JudgeError::Other("the run has kept nothing that predicts electrodes".to_owned()))
}

/// Rows of one kind of features, and the labels of their windows.
struct Seen {
    /// Of each ball: trained, untrained, plain.
    rows: Vec<[Vec<f32>; 3]>,
    labels: Vec<Vec<u32>>,
    windows: usize,
}

fn see(
    run: &Judging<'_, Eeg>,
    part: Part,
    limit: usize,
    networks: &[HiddenSignals; 2],
    balls: &[Ball],
) -> Result<Seen, JudgeError> {
    let data = run.data;
    let mut seen = Seen {
        rows: balls.iter().map(|_| <[Vec<f32>; 3]>::default()).collect(),
        labels: vec![Vec::new(); data.factors().len()],
        windows: 0,
    };
    let mut chunk: Vec<EegSample> = Vec::new();
    let flush = |chunk: &mut Vec<EegSample>, rows: &mut [[Vec<f32>; 3]]| {
        let samples: Vec<&EegSample> = chunk.iter().collect();
        if samples.is_empty() {
            return;
        }
        for (ball, [trained, untrained, plain]) in balls.iter().zip(rows) {
            for (network, rows) in networks.iter().zip([trained, untrained]) {
                rows.extend(ops::values(network.features(&samples, &ball.hidden)));
            }
            // The same windows as a network is shown: without the hidden electrodes.
            for sample in &samples {
                let powers = data.baseline(sample);
                let of = |electrode: &u32| &powers[*electrode as usize * BANDS.len()..][..BANDS.len()];
                plain.extend(ball.hidden.seen.iter().flat_map(of));
            }
        }
        chunk.clear();
    };
    let skipped =
        for_each(data, part, limit, run.on.threads, OnBadSample::Skip, |index, sample| -> Result<(), DataError> {
            for (column, label) in seen.labels.iter_mut().zip(data.meta(part, index)?.labels) {
                column.push(label);
            }
            seen.windows += 1;
            chunk.push(sample);
            if chunk.len() == CHUNK {
                flush(&mut chunk, &mut seen.rows);
            }
            Ok(())
        })?;
    flush(&mut chunk, &mut seen.rows);
    run.skip(skipped);
    Ok(seen)
}

/// What probes read of each factor from electrodes that were hidden; `None` where there are no labels or nothing is held out.
pub fn hidden_electrodes(run: &Judging<'_, Eeg>, ball: BallConfig) -> Result<Option<Finding>, JudgeError> {
    if !can_probe(run) {
        return Ok(None);
    }
    let balls = balls(run, ball);
    let networks = [predictor(run, Which::Trained)?, predictor(run, Which::Untrained)?];
    let train = see(run, Part::Train, LEARNT.min(run.train_samples()), &networks, &balls)?;
    let test = see(run, Part::HeldOut, usize::MAX, &networks, &balls)?;
    let factors: Vec<Factor> = run
        .data
        .factors()
        .iter()
        .zip(train.labels.iter().zip(&test.labels))
        .map(|(factor, (train, test))| Factor::new(factor.name.clone(), train.clone(), test.clone()))
        .collect();
    let mut figures = Figures::new(&["factor", "hidden", FEATURES], "accuracy", Figures::PERCENT, Better::Higher);
    let names = [TRAINED, UNTRAINED, Eeg::BASELINE];
    let mut accuracies = Vec::new();
    let features =
        |values: &[f32], windows: usize| Features::new(windows, values.len() / windows.max(1), values.to_vec());
    for (train_rows, test_rows) in train.rows.iter().zip(&test.rows) {
        let one = |place: usize| -> Result<Vec<f64>, JudgeError> {
            let train = features(&train_rows[place], train.windows)?;
            let test = features(&test_rows[place], test.windows)?;
            Ok(Linear::default().probe(&train, &test, &factors)?.into_iter().map(|fit| fit.accuracy).collect())
        };
        accuracies.push((0..names.len()).map(one).collect::<Result<Vec<_>, _>>()?);
    }
    for (at, factor) in factors.iter().enumerate() {
        for (ball, accuracies) in balls.iter().zip(&accuracies) {
            for (name, accuracies) in names.iter().zip(accuracies) {
                figures.push([factor.name.as_str().into(), ball.name.as_str().into(), (*name).into()], accuracies[at]);
            }
        }
        figures.refer("chance", [Some(factor.name.as_str().into()), None, None], factor.chance());
    }
    let lead = format!(
        "Share of held-out windows that a linear probe labels correctly from what the decoder predicts of the electrodes in a ball, which no \
         network was shown: the mean over time of each one's predicted tokens. Beside it the same of the untrained networks, and the band \
         powers of the electrodes that were shown. The probe learns from {} training windows.",
        train.windows
    );
    let finding = Finding::figures("hidden", "What is known of hidden electrodes", &lead, figures.over(test.windows));
    Ok(Some(finding))
}

/// Heads with what was hidden, and how well it was predicted; `None` where no window can be read.
pub fn heads(run: &Judging<'_, Eeg>, ball: BallConfig) -> Result<Option<Finding>, JudgeError> {
    let samples = originals(run, CHUNK);
    if samples.len() < 2 {
        return Ok(None);
    }
    let (places, all) = (run.data.config().places(), samples.iter().collect::<Vec<&EegSample>>());
    let mut cards = Vec::new();
    let of =
        |which| -> Result<_, JudgeError> { Ok((predictor(run, which)?, run.kept(which)?.encoder.tokens(&all).rows)) };
    let networks = [of(Which::Trained)?, of(Which::Untrained)?];
    for Ball { name, hidden } in balls(run, ball) {
        let agree: Vec<Vec<f32>> =
            networks.iter().map(|(network, teacher)| network.agreement(&all, &hidden, teacher)).collect();
        for window in (0..samples.len()).step_by(samples.len().div_ceil(DRAWN)) {
            let powers = run.data.baseline(&samples[window]);
            let alpha: Vec<f32> = powers.iter().skip(2).step_by(BANDS.len()).copied().collect();
            let mean = alpha.iter().sum::<f32>() / alpha.len().max(1) as f32;
            let marks = |hides: bool| -> Vec<Mark> {
                let mark = |(i, x): (u32, &f32)| Mark {
                    value: 0.5 + (x - mean) / 4.0,
                    hidden: hides && hidden.hidden.contains(&i),
                };
                (0_u32..).zip(&alpha).map(mark).collect()
            };
            let agreement = |agree: &[f32]| -> Vec<Mark> {
                let each = hidden.hidden.len();
                let mark = |i: u32| match hidden.hidden.iter().position(|known| *known == i) {
                    Some(at) => Mark { value: 0.5 + agree[window * each + at] / 2.0, hidden: false },
                    None => Mark { value: 0.5, hidden: false },
                };
                (0..places.len() as u32).map(mark).collect()
            };
            let tile = |marks: &[Mark], caption: &str| Tile::new(rgb(&draw(&places, marks, SIDE)), caption);
            let tiles = vec![
                tile(&marks(false), "alpha"),
                tile(&marks(true), &name),
                tile(&agreement(&agree[0]), "agreement, trained"),
                tile(&agreement(&agree[1]), "agreement, untrained"),
            ];
            cards.push(Card { tiles, strips: Vec::new() });
        }
    }
    Ok(Some(Finding::pictures(
        "heads",
        "Heads with hidden electrodes",
        "From above, the nose at the top. The power of alpha at each electrode beside the mean of all (red more, blue less); what the encoder is \
         shown (hidden electrodes are crossed out); and how far the prediction of each hidden electrode agrees with what the teacher \
         makes of it (cosine without the mean of windows: red 1, white 0, blue −1).",
        Pictures { legend: Vec::new(), cards },
    )))
}

/// The paper's three heads, each tuned with the parts of the encoder that it keeps; `None` where there are no labels or nothing is held out.
pub fn signal_heads(run: &Judging<'_, Eeg>) -> Result<Option<Finding>, JudgeError> {
    let Some(ground) = Ground::new(run)? else { return Ok(None) };
    let tokens = tokens_of(run.data.config().samples());
    let head = |which: Which, kind: HeadKind| -> Result<SignalHead, JudgeError> {
        let kept = run.kept(which)?.encoder;
        let encoder = kept.network().downcast_ref::<SignalEncoder>().cloned();
        let encoder = encoder.ok_or_else(|| JudgeError::Other(CANNOT_TUNE.to_owned()))?;
        // The same starting weights for both.
        Ok(SignalHead::new(encoder, kind, tokens, run.on.seed, run.on.device))
    };
    let plain = plain(run, &ground, 1)?;
    let mut figures = Figures::new(&["factor", "head", FEATURES], "accuracy", Figures::PERCENT, Better::Higher);
    let mut samples = 0;
    for kind in HeadKind::ALL {
        let (trained, untrained) = (head(Which::Trained, kind)?, head(Which::Untrained, kind)?);
        let candidates = [
            Candidate { name: TRAINED, encoder: &trained, rate: None },
            Candidate { name: UNTRAINED, encoder: &untrained, rate: None },
            Candidate { name: Eeg::BASELINE, encoder: &plain, rate: None },
        ];
        let (found, _) = tuned(run, &ground, &candidates)?;
        for Row { cells, value, samples: count, .. } in found.rows {
            let [factor, features] = &cells[..] else { continue };
            samples = count.unwrap_or(samples);
            figures.push([factor.clone(), kind.name().into(), features.clone()], value);
        }
        for level in found.references {
            let factor = level.cells.first().cloned().flatten();
            if !figures.references.iter().any(|known| known.cells.first() == Some(&factor)) {
                figures.refer(&level.name, [factor, None, None], level.value);
            }
        }
    }
    let lead = format!(
        "Share of held-out windows that each of the paper's heads labels correctly after {}: four learnt mixtures of the electrodes before the \
         convolutions (pre-local), behind them (post-local) or behind the transformer (contextual), and a linear map. The parts of \
         the encoder below learn too, begun with the run's weights or with those that it began with; band powers have the linear map alone.",
        course(run)
    );
    Ok(Some(Finding::figures("signal_heads", "What the paper's heads learn from labels", &lead, figures.over(samples))))
}
