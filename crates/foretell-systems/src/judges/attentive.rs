//! The attentive probe of the trained network, of the same untrained, and of the baseline cut into tokens; beside it a linear probe of
//! the mean of the same tokens.

use std::collections::BTreeMap;

use foretell_data::{Modality, Part, for_places};
use foretell_eval::{
    Better, EvalError, FEATURES, Factor, Figures, Finding, Linear, Memory, Store, Stored, TRAINED, UNTRAINED,
};
use foretell_nn::Encode;
use foretell_train::probing::{Encoding, Packed, Probing, TokenBlocks, Votes};
use foretell_train::{TrainError, Which};

use super::baseline::Baseline;
use super::ground::Ground;
use super::probes::noted;
use crate::judging::Judging;
use crate::system::JudgeError;

/// Samples that go through an encoder at a time, at most.
const BLOCK: usize = 32;

/// What one kind of features told.
struct Told {
    /// Of each factor, by the linear probe of the mean and by the attentive one.
    accuracies: Vec<[f64; 2]>,
    /// Held-out samples, or wholes of several windows.
    samples: usize,
    factors: Vec<Factor>,
    notes: Vec<String>,
}

/// The attentive probe; `None` where there are no labels or nothing is held out.
pub fn attentive<D: Modality>(run: &Judging<'_, D>) -> Result<Option<Finding>, JudgeError> {
    let Some(ground) = Ground::new(run)? else { return Ok(None) };
    let (trained, untrained) = (run.kept(Which::Trained)?.encoder, run.kept(Which::Untrained)?.encoder);
    let (some, device) = (ground.some(run)?, run.on.device);
    let cut = Baseline::new(run.data, &some, Some(trained.width()), device);
    let names = [TRAINED, UNTRAINED, run.data.baseline_name()];
    let told = [
        Reading { run, ground: &ground, name: names[0], encoder: trained.as_ref(), flat: false }.told()?,
        Reading { run, ground: &ground, name: names[1], encoder: untrained.as_ref(), flat: false }.told()?,
        Reading { run, ground: &ground, name: names[2], encoder: &cut, flat: true }.told()?,
    ];
    let mut figures = Figures::new(&["factor", "probe", FEATURES], "accuracy", Figures::PERCENT, Better::Higher);
    let [Told { factors, samples, .. }, ..] = &told;
    for (at, factor) in factors.iter().enumerate() {
        for (probe, name) in ["mean", "attentive"].into_iter().enumerate() {
            for (features, told) in names.iter().zip(&told) {
                let cells = [factor.name.as_str().into(), name.into(), (*features).into()];
                figures.push(cells, told.accuracies[at][probe]);
            }
        }
        figures.refer("chance", [Some(factor.name.as_str().into()), None, None], factor.chance());
    }
    let blocks = run.settings.attentive.blocks;
    let lead = format!(
        "Share of held-out samples that a probe over the tokens of the last layer labels correctly: an attentive one of {blocks} \
         block{}, which learns what to look at, or a linear one of their mean. The learning rate and the weight decay of the former \
         are chosen on a tenth of the training samples, which it does not learn from.",
        if blocks == 1 { "" } else { "s" }
    );
    let mut finding =
        Finding::figures("attentive", "What attention finds in the tokens", &lead, figures.over(*samples));
    finding.notes = told.iter().flat_map(|told| told.notes.clone()).collect();
    Ok(Some(noted(run, finding, factors)))
}

/// How one kind of features is read.
struct Reading<'a, 'b, D: Modality> {
    run: &'a Judging<'b, D>,
    ground: &'a Ground,
    name: &'a str,
    encoder: &'a dyn Encode<D::Sample>,
    /// Whether the linear probe reads the baseline as it is, and not the mean of the tokens.
    flat: bool,
}

/// Rows for the linear probe: of a sample's own, of a whole the mean of its windows.
struct Rows<'m> {
    store: Store<'m>,
    labels: Vec<Vec<u32>>,
    wholes: BTreeMap<(u32, String), Whole>,
}

/// Windows of one whole so far.
struct Whole {
    sum: Vec<f32>,
    windows: usize,
    labels: Vec<u32>,
}

impl<'m> Rows<'m> {
    fn new(expected: usize, factors: usize, memory: &'m Memory) -> Self {
        Self { store: Store::new(expected, memory), labels: vec![Vec::new(); factors], wholes: BTreeMap::new() }
    }

    fn add(&mut self, row: &[f32], whole: Option<(u32, &str)>, labels: &[u32]) -> Result<(), EvalError> {
        if let Some((group, name)) = whole {
            let fresh = || Whole { sum: vec![0.0; row.len()], windows: 0, labels: labels.to_vec() };
            let whole = self.wholes.entry((group, name.to_owned())).or_insert_with(fresh);
            whole.sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            whole.windows += 1;
            return Ok(());
        }
        self.push(row, labels)
    }

    fn push(&mut self, row: &[f32], labels: &[u32]) -> Result<(), EvalError> {
        self.labels.iter_mut().zip(labels).for_each(|(column, label)| column.push(*label));
        self.store.push(row)
    }

    fn finish(mut self) -> Result<(Stored, Vec<Vec<u32>>), EvalError> {
        for Whole { sum, windows, labels } in std::mem::take(&mut self.wholes).into_values() {
            let mean: Vec<f32> = sum.into_iter().map(|sum| sum / windows as f32).collect();
            self.push(&mean, &labels)?;
        }
        Ok((self.store.finish()?, self.labels))
    }
}

impl<D: Modality> Reading<'_, '_, D> {
    fn told(&self) -> Result<Told, JudgeError> {
        let Self { run, ground, encoder, .. } = self;
        let settings = &run.settings.attentive;
        // The rest is for the rows of the linear probe.
        let bytes = run.settings.memory.saturating_mul(1 << 20);
        let (mut for_tokens, memory) = (bytes / 4 * 3, Memory::of(bytes / 4));
        let block =
            (1..=BLOCK.min(settings.batch)).rev().find(|block| settings.batch.is_multiple_of(*block)).unwrap_or(1);
        let counts = ground.targets.counts();
        let mut train = Rows::new(ground.train.len(), counts.len(), &memory);
        let mut test = Rows::new(ground.test.len(), counts.len(), &memory);

        let encode = |samples: &[&D::Sample]| encoder.tokens(samples);
        let encoding = Encoding { data: run.data, threads: run.on.threads, encode: &encode };
        let mut failed = Ok(());
        let mut look = |packed: &Packed| {
            if failed.is_ok() && !self.flat {
                failed = self.means(Part::Train, packed, &mut train);
            }
        };
        let (fit, decide) = ground.split();
        let (fit, skipped) = TokenBlocks::open(&encoding, fit, block, &mut for_tokens, &mut look)?;
        run.skip(skipped);
        let (decide, skipped) = TokenBlocks::open(&encoding, decide, block, &mut for_tokens, &mut look)?;
        run.skip(skipped);
        failed?;
        let probing = Probing { settings, seed: run.on.seed, device: run.on.device };
        let fitted = probing.fit((&fit, fit.samples(), block), &decide, encoder.width(), &ground.targets)?;

        let mut votes = Votes::new(counts.len());
        let blocks: Vec<&[usize]> = ground.test.chunks(block).collect();
        run.skip(encoding.stream(Part::HeldOut, &blocks, &mut |packed| {
            fitted.vote(&packed, &mut votes, &mut |place| Ok(run.data.meta(Part::HeldOut, place)?))?;
            if !self.flat {
                self.means(Part::HeldOut, &packed, &mut test)?;
            }
            Ok(())
        })?);
        if self.flat {
            self.baseline(&mut train, &mut test)?;
        }
        let ((train, train_labels), (test, test_labels)) = (train.finish()?, test.finish()?);
        let columns = train_labels.into_iter().zip(test_labels);
        let factors: Vec<Factor> = run
            .data
            .factors()
            .iter()
            .zip(columns)
            .map(|(factor, (train, test))| Factor::new(factor.name.clone(), train, test))
            .collect();
        let linear = Linear::default();
        let means = linear.probe(&train, &test, &factors)?;
        let attentive = |factor| votes.accuracy(factor, |class| ground.targets.label(factor, class));
        let accuracies = means.iter().enumerate().map(|(at, mean)| [mean.accuracy, attentive(at)]).collect();
        let mut notes = Vec::new();
        for ((factor, choice), mean) in factors.iter().zip(&fitted.choices).zip(&means) {
            notes.push(format!(
                "{}: attentive probe of {} features: learning rate {}, weight decay {} ({:.1} % of the {} samples that decide)",
                factor.name,
                self.name,
                choice.lr,
                choice.weight_decay,
                100.0 * choice.accuracy,
                fitted.validated
            ));
            if !mean.converged {
                notes.push(format!(
                    "{}: a fit of the linear probe of {} features ended before it converged (at most {} steps); its figure may change",
                    factor.name, self.name, linear.iterations
                ));
            }
        }
        Ok(Told { accuracies, samples: votes.count(), factors, notes })
    }

    /// The means of a block's tokens.
    fn means(&self, part: Part, packed: &Packed, rows: &mut Rows<'_>) -> Result<(), TrainError> {
        for (mean, place) in packed.means().iter().zip(packed.places()) {
            self.row(part, *place, mean, rows)?;
        }
        Ok(())
    }

    /// Of the training part every window is a row.
    fn row(&self, part: Part, place: usize, row: &[f32], rows: &mut Rows<'_>) -> Result<(), TrainError> {
        let meta = self.run.data.meta(part, place)?;
        let whole = if part == Part::HeldOut { meta.whole() } else { None };
        Ok(rows.add(row, whole, &meta.labels)?)
    }

    /// The baseline as it is.
    fn baseline<'m>(&self, train: &mut Rows<'m>, test: &mut Rows<'m>) -> Result<(), JudgeError> {
        let Self { run, ground, .. } = self;
        for (part, places, rows) in [(Part::Train, &ground.train, train), (Part::HeldOut, &ground.test, test)] {
            let mut places = places.clone();
            // As they are read best; the linear probe divides them by itself.
            places.sort_unstable();
            for_places(run.data, part, places.into(), run.on.threads, |place, sample| -> Result<(), TrainError> {
                match sample {
                    Ok(sample) => self.row(part, place, &run.data.baseline(&sample), rows),
                    Err(_) => Ok(()),
                }
            })?;
        }
        Ok(())
    }
}
