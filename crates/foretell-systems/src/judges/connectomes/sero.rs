//! What a read-out that learns which regions count finds in frozen latents (SERO, after STAGIN, arXiv 2105.13495), beside a linear probe of
//! static correlations.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::connectomes::{Connectomes, DynamicGraph};
use foretell_data::random::{Stream, rng, shuffled};
use foretell_data::{Modality, Part};
use foretell_eval::{Better, FEATURES, Factor, Figures, Finding, Linear as LinearProbe, TRAINED, UNTRAINED};
use foretell_jepa::Role;
use foretell_nn::Init;
use foretell_nn::layers::{BatchStatistics, Linear, Pass, absorb};
use foretell_nn::sero::Sero;
use foretell_ops as ops;
use foretell_train::{Optimiser, Which};

use super::super::probes::{labelled, noted};
use super::{of_windows, passed};
use crate::judging::Judging;
use crate::system::JudgeError;

/// Recordings that it learns from and is tested on at most; epochs (ST-JEMA fine-tunes for 30), batch, learning rate, weight decay.
const RECORDINGS: usize = 400;
const EPOCHS: u64 = 30;
const BATCH: usize = 32;
const RATE: f64 = 1e-3;
const DECAY: f64 = 1e-2;
/// Recordings that go through an encoder at a time.
const CHUNK: usize = 16;

/// One read-out for all factors: of each window by [`Sero`], then mean and deviation over windows, then a map for each factor.
#[derive(Module, Debug)]
struct Readout {
    sero: Sero,
    factors: Vec<Linear>,
}

/// Latents of recordings: `[W, N, D]` of each, and its labels.
struct Latents {
    windows: Vec<usize>,
    values: Vec<Vec<f32>>,
    labels: Vec<Vec<u32>>,
    shape: [usize; 2],
}

impl Latents {
    /// Windows of some recordings, `[G, N, D]`.
    fn batch(&self, places: &[usize], device: &Device) -> Tensor<3> {
        let [n, d] = self.shape;
        let values: Vec<f32> = places.iter().flat_map(|place| self.values[*place].iter().copied()).collect();
        Tensor::from_data(
            TensorData::new(values, [places.iter().map(|place| self.windows[*place]).sum(), n, d]),
            device,
        )
    }
}

impl Readout {
    /// Logits of each factor, `[B, C]`, of windows `[G, N, D]`, so many of each recording.
    fn forward(&self, latents: Tensor<3>, windows: &[usize], pass: &mut Pass<'_>) -> Vec<Tensor<2>> {
        let read = self.sero.forward(latents, pass);
        let width = read.dims()[1];
        let mut first = 0;
        let rows = windows.iter().map(|count| {
            let own = read.clone().slice([first..first + count, 0..width]);
            first += count;
            let mean = own.clone().mean_dim(0);
            // Under the root: the slope of a root at 0 is none.
            let deviation = ((own - mean.clone()).square().mean_dim(0) + 1e-6).sqrt();
            Tensor::cat(vec![mean, deviation], 1)
        });
        let rows = Tensor::cat(rows.collect(), 0);
        self.factors.iter().map(|map| map.forward(rows.clone())).collect()
    }
}

/// Accuracy of the read-out; `None` where there are no labels, nothing is held out, or latents do not fit into memory.
pub fn sero(run: &Judging<'_, Connectomes>) -> Result<Option<Finding>, JudgeError> {
    let Some((probed, factors)) = labelled(run)? else { return Ok(None) };
    let Some(baseline) = probed.last() else { return Ok(None) };
    let baseline_fits = LinearProbe::default().probe(&baseline.train, &baseline.test, factors)?;
    let classes: Vec<usize> = run.data.factors().iter().map(|factor| factor.classes.len()).collect();
    let mut accuracies = Vec::new();
    let mut count = 0;
    for which in [Which::Trained, Which::Untrained] {
        let Some(train) = latents(run, which, Part::Train)? else { return Ok(None) };
        let Some(test) = latents(run, which, Part::HeldOut)? else { return Ok(None) };
        let readout = fitted(run, &train, &classes)?;
        count = test.values.len();
        accuracies.push(judged(run, &readout, &test));
    }
    let mut figures = Figures::new(&["factor", FEATURES], "accuracy", Figures::PERCENT, Better::Higher);
    for (at, factor) in factors.iter().enumerate() {
        let rows = [
            (TRAINED, accuracies[0][at]),
            (UNTRAINED, accuracies[1][at]),
            (baseline.name.as_str(), baseline_fits[at].accuracy),
        ];
        for (name, accuracy) in rows {
            figures.push([factor.name.as_str().into(), name.into()], accuracy);
        }
        figures.refer("chance", [Some(factor.name.as_str().into()), None], Factor::chance(factor));
    }
    let lead = format!(
        "Share of held-out recordings that a read-out of frozen latents labels correctly after {EPOCHS} epochs over at most {RECORDINGS} labelled \
         recordings: it learns how much each region counts in each window (SERO), and reads the mean and the deviation over windows. {} have no \
         latents and a linear probe.",
        capital(run.data.baseline_name())
    );
    let finding = Finding::figures("sero", "What a read-out that weighs regions finds", &lead, figures.over(count));
    Ok(Some(noted(run, finding, factors)))
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Of recordings of a part, those that fit; `None` where too few do.
fn latents(run: &Judging<'_, Connectomes>, which: Which, part: Part) -> Result<Option<Latents>, JudgeError> {
    let kept = run.kept(which)?.encoder;
    let encoder = of_windows(kept.as_ref())?;
    let (n, d) = (run.on.config.regions, kept.width());
    // Two parts, one network at a time.
    let room = run.settings.memory.saturating_mul(1 << 20) / 2 / (4 * n * d * run.data.fewest_windows().max(1)).max(1);
    let wanted = if part == Part::Train { run.train_samples().min(RECORDINGS) } else { RECORDINGS };
    let limit = wanted.min(room);
    if limit < super::super::LEAST_PROBED {
        return Ok(None);
    }
    let mut all = Latents { windows: Vec::new(), values: Vec::new(), labels: Vec::new(), shape: [n, d] };
    passed(run, part, (limit, CHUNK), |places, samples| {
        let samples: Vec<&DynamicGraph> = samples.iter().collect();
        let values = ops::values(encoder.placed(&samples));
        let mut first = 0;
        for (place, sample) in places.iter().zip(&samples) {
            let end = first + sample.windows() * n * d;
            all.values.push(values[first..end].to_vec());
            first = end;
            all.windows.push(sample.windows());
            all.labels.push(run.data.meta(part, *place)?.labels);
        }
        Ok(())
    })?;
    Ok((!all.values.is_empty()).then_some(all))
}

fn fitted(run: &Judging<'_, Connectomes>, train: &Latents, classes: &[usize]) -> Result<Readout, JudgeError> {
    let device = run.on.device.clone().autodiff();
    let [n, d] = train.shape;
    let sero = Sero::new(n, d, &mut rng(run.on.seed, Stream::Judge, 1, 0), &device);
    let mut weights = rng(run.on.seed, Stream::Judge, 1, 1);
    let mut init = Init::new(&mut weights, &device);
    let factors = classes.iter().map(|classes| Linear::uniform(2 * d, *classes, &mut init)).collect();
    let (mut readout, mut optimiser) = (Readout { sero, factors }, Optimiser::default());
    let mut step = 0;
    for epoch in 0..EPOCHS {
        let order = shuffled(train.values.len(), &mut rng(run.on.seed, Stream::Judge, 2 + epoch, 2));
        let order: Vec<usize> = order.into_iter().map(|place| place as usize).collect();
        for places in order.chunks(BATCH) {
            step += 1;
            let windows: Vec<usize> = places.iter().map(|place| train.windows[*place]).collect();
            let mut seen: Vec<BatchStatistics> = Vec::new();
            let latents = train.batch(places, run.on.device).autodiff();
            let logits = readout.forward(latents, &windows, &mut Pass::Training(&mut seen));
            let loss = logits.into_iter().enumerate().map(|(factor, logits)| {
                let labels: Vec<u32> = places.iter().map(|place| train.labels[*place][factor]).collect();
                ops::cross_entropy(logits, &labels)
            });
            let Some(loss) = loss.reduce(|sum, loss| sum + loss) else {
                return Err(JudgeError::Other("there is no label to read".to_owned()));
            };
            let hyper = ops::AdamW {
                lr: RATE,
                beta1: 0.9,
                beta2: 0.999,
                eps: 1e-8,
                weight_decay: DECAY,
                step,
                gradient_scale: 1.0,
            };
            let (moved, _) = optimiser.step(readout, loss.backward(), 1.0, hyper, &|_| Role::LEARNS);
            readout = absorb(moved, &seen);
        }
    }
    Ok(readout.valid())
}

/// Accuracies of each factor.
fn judged(run: &Judging<'_, Connectomes>, readout: &Readout, test: &Latents) -> Vec<f64> {
    let mut right = vec![0_usize; readout.factors.len()];
    let all: Vec<usize> = (0..test.values.len()).collect();
    for places in all.chunks(BATCH) {
        let windows: Vec<usize> = places.iter().map(|place| test.windows[*place]).collect();
        let logits = readout.forward(test.batch(places, run.on.device), &windows, &mut Pass::Evaluation);
        for (factor, logits) in logits.into_iter().enumerate() {
            let classes = logits.dims()[1];
            for (row, place) in ops::values(logits).chunks_exact(classes).zip(places) {
                let said = (0..classes).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0);
                right[factor] += usize::from(said as u32 == test.labels[*place][factor]);
            }
        }
    }
    right.into_iter().map(|right| right as f64 / test.values.len().max(1) as f64).collect()
}
