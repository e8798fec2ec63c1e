//! The attentive probe, trained with several learning rates and weight decays in one pass over the tokens, as the released
//! evaluations of V-JEPA 2 do (arXiv 2506.09985, appendix): each pair of them has a network and an optimiser of its own.
//!
//! All begin with the same weights and see the same batches. Which of them answers for a factor is decided on a part of the training
//! samples that none of them learns from, and never on held-out data.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_data::Meta;
use foretell_data::random::{Stream, rng, shuffled};
use foretell_jepa::Role;
use foretell_nn::parameters::{change, gradients};
use foretell_nn::pooler::AttentiveConfig;
use foretell_nn::probe::{AttentiveProbe, forward_all};
use foretell_ops::{self as ops, Sets};

use super::settings::AttentiveSettings;
use super::targets::{Targets, Votes};
use super::tokens::{Batch, Packed, TokenSets};
use crate::TrainError;
use crate::optimiser::Optimiser;
use crate::schedule::Schedule;

/// What an attentive probe is trained with.
pub struct Probing<'a> {
    /// Its settings.
    pub settings: &'a AttentiveSettings,
    /// Of the run.
    pub seed: u64,
    /// Where the tokens go, without autodiff.
    pub device: &'a Device,
}

/// The learning rate and weight decay that answer for a factor.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Learning rate.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Accuracy on the validation samples.
    pub accuracy: f64,
    which: usize,
}

/// A trained attentive probe.
pub struct Fitted {
    /// Of each factor.
    pub choices: Vec<Choice>,
    /// Samples that decided.
    pub validated: usize,
    probes: Vec<AttentiveProbe>,
    device: Device,
}

/// One learning rate and decay.
struct Learner {
    lr: f64,
    weight_decay: f64,
    optimiser: Optimiser,
}

impl Probing<'_> {
    /// Fresh probes for tokens of this width, the same for each rate and decay.
    fn fresh(&self, width: usize, classes: &[usize]) -> Result<(Vec<Learner>, Vec<AttentiveProbe>), TrainError> {
        let settings = self.settings;
        let heads = settings.heads_of(width).map_err(TrainError::Setting)?;
        let depth = settings.blocks - 1;
        let config = AttentiveConfig { width, heads, hidden: 4 * width, depth, eps: 1e-5, classes: 0 };
        let device = self.device.clone().autodiff();
        let pairs = settings.lr.iter().flat_map(|lr| settings.weight_decay.iter().map(move |decay| (*lr, *decay)));
        let fresh = |(lr, weight_decay)| {
            let mut weights = rng(self.seed, Stream::Judge, 1, 0);
            let learner = Learner { lr, weight_decay, optimiser: Optimiser::default() };
            (learner, AttentiveProbe::new(&config, classes, &mut weights, &device))
        };
        Ok(pairs.map(fresh).unzip())
    }

    /// Trains on the tokens of `fit` (`samples` of them, `block` in a block) and chooses on those of `validation`.
    ///
    /// # Errors
    /// Nothing to learn from, heads that do not divide the width, samples that can no longer be read.
    pub fn fit(
        &self,
        (fit, samples, block): (&dyn TokenSets, usize, usize),
        validation: &dyn TokenSets,
        width: usize,
        targets: &Targets,
    ) -> Result<Fitted, TrainError> {
        if fit.blocks() == 0 {
            return Err(TrainError::Setting(
                "no sample that an attentive probe would learn from can be read".to_owned(),
            ));
        }
        let (mut learners, mut probes) = self.fresh(width, &targets.counts())?;
        let epochs = self.settings.epochs_of(samples);
        let in_batch = (self.settings.batch / block.max(1)).max(1);
        let each = fit.blocks().div_ceil(in_batch);
        let (steps, mut step) = ((each * epochs) as u64, 0);
        for epoch in 0..epochs as u64 {
            let order = shuffled(fit.blocks(), &mut rng(self.seed, Stream::Judge, 2 + epoch, 0));
            let order: Vec<usize> = order.into_iter().map(|block| block as usize).collect();
            // Batches are whole blocks.
            let (mut batch, mut met) = (Batch::default(), 0);
            fit.each(&order, &mut |packed| {
                met += 1;
                batch.add(packed);
                if batch.blocks == in_batch || met == order.len() {
                    step += 1;
                    self.step(&mut learners, &mut probes, std::mem::take(&mut batch), (step, steps), targets);
                }
                Ok(())
            })?;
        }
        self.choose(&learners, &probes, validation, targets)
    }

    /// One optimiser step of each probe on the same batch.
    fn step(
        &self,
        learners: &mut [Learner],
        probes: &mut [AttentiveProbe],
        mut batch: Batch,
        (step, steps): (u64, u64),
        targets: &Targets,
    ) {
        // Blocks of self-attention share nothing with those of another probe, and their tapes are long.
        let together = if self.settings.blocks == 1 { probes.len() } else { 1 };
        let classes: Vec<Vec<u32>> =
            (0..targets.counts().len()).map(|factor| targets.classes(factor, batch.places.iter())).collect();
        let (rows, sets) = batch.rows(self.device);
        for (learners, probes) in learners.chunks_mut(together).zip(probes.chunks_mut(together)) {
            let logits = forward_all(probes, rows.clone(), &sets);
            let losses = logits.into_iter().flat_map(|of_probe| {
                of_probe.into_iter().zip(&classes).map(|(logits, classes)| ops::cross_entropy(logits, classes))
            });
            let Some(loss) = losses.reduce(|sum, loss| sum + loss) else { continue };
            let mut all = loss.backward();
            for (learner, probe) in learners.iter_mut().zip(probes) {
                let Learner { lr, weight_decay, optimiser } = learner;
                let schedule = Schedule::WarmupCosine { warmup: 0, peak: *lr, last: 0.0, steps };
                let (lr, weight_decay) = (schedule.at(step), *weight_decay);
                let hyper =
                    ops::AdamW { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay, step, gradient_scale: 1.0 };
                let mut found = Vec::new();
                gradients(probe, &mut all, &mut |parameter, gradient| {
                    found.push((parameter.name.to_owned(), gradient));
                });
                let mut moving = optimiser.begin(found, 0.0, hyper);
                let moved = change(probe.clone(), &mut |parameter, old| moving.of(&parameter, old, &Role::LEARNS));
                *probe = moved;
            }
        }
    }

    fn choose(
        &self,
        learners: &[Learner],
        probes: &[AttentiveProbe],
        validation: &dyn TokenSets,
        targets: &Targets,
    ) -> Result<Fitted, TrainError> {
        let probes: Vec<AttentiveProbe> = probes.iter().map(Module::valid).collect();
        let factors = targets.counts().len();
        let mut right = vec![vec![0_usize; probes.len()]; factors];
        let mut validated = 0;
        validation.each(&(0..validation.blocks()).collect::<Vec<_>>(), &mut |packed| {
            validated += packed.places().len();
            let (rows, sets) = Batch::of(packed).rows(self.device);
            for (which, of_probe) in answers(&probes, rows, &sets).into_iter().enumerate() {
                for (factor, probabilities) in of_probe.iter().enumerate() {
                    let classes = targets.classes(factor, packed.places().iter());
                    let rows = probabilities.chunks_exact(targets.counts()[factor].max(1)).zip(classes);
                    right[factor][which] += rows.filter(|(row, class)| best(row) == Some(*class as usize)).count();
                }
            }
            Ok(())
        })?;
        let choice = |right: &Vec<usize>| {
            // The first of equals: learning rates and decays are tried in the order in which they are listed.
            let which = (0..right.len()).reduce(|best, which| if right[which] > right[best] { which } else { best });
            let which = which.unwrap_or(0);
            let Learner { lr, weight_decay, .. } = learners[which];
            Choice { lr, weight_decay, accuracy: right[which] as f64 / validated.max(1) as f64, which }
        };
        let choices = right.iter().map(choice).collect();
        Ok(Fitted { choices, validated, probes, device: self.device.clone() })
    }
}

/// The most probable class, the lowest of equals; none of what is not a number.
fn best(row: &[f32]) -> Option<usize> {
    let best = (0..row.len()).reduce(|best, class| if row[class] > row[best] { class } else { best })?;
    row[best].is_finite().then_some(best)
}

/// Class probabilities of each probe by factor, `[B, C]` row-major.
fn answers(probes: &[AttentiveProbe], rows: Tensor<2>, sets: &Sets) -> Vec<Vec<Vec<f32>>> {
    let of = |logits: Tensor<2>| ops::values(ops::softmax(logits));
    let all = forward_all(probes, rows, sets).into_iter();
    all.map(|of_probe| of_probe.into_iter().map(of).collect()).collect()
}

impl Fitted {
    /// Adds what the chosen probes say of some samples to `votes`; `about` gives what is known of the sample at a place.
    pub fn vote(
        &self,
        packed: &Packed,
        votes: &mut Votes,
        about: &mut dyn FnMut(usize) -> Result<Meta, TrainError>,
    ) -> Result<(), TrainError> {
        let (rows, sets) = Batch::of(packed).rows(&self.device);
        // A probe that answers for several factors is asked once.
        let mut asked: Vec<usize> = self.choices.iter().map(|choice| choice.which).collect();
        asked.sort_unstable();
        asked.dedup();
        let probes: Vec<AttentiveProbe> = asked.iter().map(|which| self.probes[*which].clone()).collect();
        let said = answers(&probes, rows, &sets);
        let of_factor = |(factor, choice): (usize, &Choice)| {
            let at = asked.iter().position(|which| *which == choice.which).unwrap_or(0);
            said[at][factor].as_slice()
        };
        let by_factor: Vec<&[f32]> = self.choices.iter().enumerate().map(of_factor).collect();
        let count = packed.places().len();
        for (row, place) in packed.places().iter().enumerate() {
            let meta = about(*place)?;
            let rows = by_factor.iter().map(|all| {
                let classes = all.len() / count;
                &all[row * classes..(row + 1) * classes]
            });
            votes.add(meta.whole(), &meta.labels, rows);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use foretell_eval::{Factor, Features, Linear};
    use foretell_jepa::Auto;
    use foretell_nn::{Tokens, weights};
    use rand::RngExt;

    use super::*;

    const WIDTH: usize = 12;
    const CLASSES: u32 = 4;
    const BLOCK: usize = 16;

    /// Sets of 8, 12 or 16 tokens. Each holds a class, every class as often; the marked one alone tells the label, so that the mean of
    /// the tokens knows nothing of it. A second factor is how many tokens there are.
    struct Marked(Vec<Packed>);

    fn marked(blocks: usize, first: usize) -> (Marked, Vec<(usize, Vec<u32>)>) {
        let mut labels = Vec::new();
        let block = |block: usize| {
            let (mut values, mut lengths, mut places) = (Vec::new(), Vec::new(), Vec::new());
            for i in 0..BLOCK {
                let place = first + block * BLOCK + i;
                let mut random = rng(5, Stream::Scene, 0, place as u64);
                let times = random.random_range(2..5_u32);
                let order = shuffled((times * CLASSES) as usize, &mut random);
                let (at, size) = (random.random_range(0..order.len()), order.len());
                for (token, class) in order.iter().enumerate() {
                    let mut row: Vec<f32> = (0..WIDTH).map(|_| random.random_range(-0.2..0.2)).collect();
                    row[(class % CLASSES) as usize] += 1.0;
                    row[WIDTH - 1] += if token == at { 1.0 } else { -1.0 };
                    values.extend(row);
                }
                lengths.push(size);
                labels.push((place, vec![order[at] % CLASSES, times]));
                places.push(place);
            }
            let rows = TensorData::new(values, [lengths.iter().sum(), WIDTH]);
            let rows = Tensor::from_data(rows, &Device::flex());
            Packed::of(&Tokens { rows, sets: Sets::of_lengths(&lengths), grid: None }, places).unwrap()
        };
        let blocks = (0..blocks).map(block).collect();
        (Marked(blocks), labels)
    }

    impl TokenSets for Marked {
        fn blocks(&self) -> usize {
            self.0.len()
        }
        fn each(
            &self,
            order: &[usize],
            take: &mut dyn FnMut(&Packed) -> Result<(), TrainError>,
        ) -> Result<(), TrainError> {
            order.iter().try_for_each(|block| take(&self.0[*block]))
        }
    }

    /// Blocks to learn from, to decide and to test on, and all labels.
    struct Bench {
        fit: Marked,
        decide: Marked,
        test: Marked,
        targets: Targets,
        labels: std::collections::BTreeMap<usize, Vec<u32>>,
    }

    fn bench(blocks: usize) -> Bench {
        let (fit, a) = marked(blocks, 0);
        let (decide, b) = marked(4, 1_000_000);
        let (test, c) = marked(20, 2_000_000);
        let learnt = a.iter().chain(&b).cloned().collect();
        let labels = a.into_iter().chain(b).chain(c).collect();
        Bench { fit, decide, test, targets: Targets::of(learnt), labels }
    }

    fn fitted(bench: &Bench, settings: &AttentiveSettings, seed: u64) -> Fitted {
        let device = Device::flex();
        let probing = Probing { settings, seed, device: &device };
        let samples = bench.fit.blocks() * BLOCK;
        probing.fit((&bench.fit, samples, BLOCK), &bench.decide, WIDTH, &bench.targets).unwrap()
    }

    fn accuracy(bench: &Bench, fitted: &Fitted) -> [f64; 2] {
        let mut votes = Votes::new(2);
        for packed in &bench.test.0 {
            let about = |place| Meta { labels: bench.labels[&place].clone(), ..Meta::default() };
            fitted.vote(packed, &mut votes, &mut |place| Ok(about(place))).unwrap();
        }
        assert_eq!(votes.count(), 20 * BLOCK);
        [0, 1].map(|factor| votes.accuracy(factor, |class| bench.targets.label(factor, class)))
    }

    fn settings(lr: &[f64], weight_decay: &[f64], epochs: usize) -> AttentiveSettings {
        let (lr, weight_decay) = (lr.to_vec(), weight_decay.to_vec());
        AttentiveSettings {
            epochs: Auto::Value(epochs),
            batch: 2 * BLOCK,
            lr,
            weight_decay,
            ..AttentiveSettings::default()
        }
    }

    /// Of the marked token the probe knows nearly all; the mean, by the same blocks, is at chance.
    #[test]
    fn attention_finds_the_one_token_that_tells() {
        let bench = bench(60);
        let found = fitted(&bench, &settings(&[3e-3, 1e-4], &[0.01], 30), 1);
        let [class, times] = accuracy(&bench, &found);
        assert!(class > 0.9 && times > 0.6, "{class} and {times}; {:?}", found.choices);
        // The smaller rate has not got there: the choice is one.
        assert_eq!((found.choices.len(), found.choices[0].lr, found.validated), (2, 3e-3, 4 * BLOCK));
        assert!(found.choices[0].accuracy > 0.8);

        let rows = |sets: &[&Marked]| {
            let blocks = || sets.iter().flat_map(|set| &set.0);
            let means: Vec<f32> = blocks().flat_map(Packed::means).flatten().collect();
            let labels = blocks().flat_map(Packed::places).map(|place| bench.labels[place][0]).collect();
            (Features::new(means.len() / WIDTH, WIDTH, means).unwrap(), labels)
        };
        let ((train, train_labels), (test, test_labels)) = (rows(&[&bench.fit, &bench.decide]), rows(&[&bench.test]));
        let factor = Factor::new("marked", train_labels, test_labels);
        let mean = Linear::default().probe(&train, &test, &[factor]).unwrap()[0].accuracy;
        assert!((mean - 0.25).abs() < 0.08, "{mean}");
    }

    #[test]
    fn several_blocks_find_it_too() {
        let bench = bench(30);
        let four = AttentiveSettings { blocks: 4, ..settings(&[2e-3], &[0.01], 25) };
        let [class, _] = accuracy(&bench, &fitted(&bench, &four, 1));
        // Chance is 0.25; 0.49 was found.
        assert!(class > 0.4, "{class}");
    }

    /// What one pass trains is what a pass of each alone trains.
    #[test]
    fn several_rates_in_one_pass_are_each_alone() {
        let bench = bench(6);
        for blocks in [1, 2] {
            let of =
                |lr: &[f64], decay: &[f64]| fitted(&bench, &AttentiveSettings { blocks, ..settings(lr, decay, 2) }, 7);
            let (rates, decays) = ([1e-3, 3e-4, 1e-4], [0.4, 0.0]);
            let together = of(&rates, &decays);
            assert_eq!(together.probes.len(), 6);
            for (which, probe) in together.probes.iter().enumerate() {
                let alone = of(&[rates[which / 2]], &[decays[which % 2]]);
                let (a, b) = (weights::read(probe, ""), weights::read(&alone.probes[0], ""));
                for (name, a) in a {
                    let b = &b[&name];
                    let worst = a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(worst <= 1e-6, "{blocks} blocks, {which}: {name} is off by {worst}");
                }
            }
        }
    }

    #[test]
    fn a_fit_is_a_function_of_its_seed_whatever_the_threads() {
        let bench = bench(4);
        let all = |seed: u64, threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let fitted = pool.install(|| fitted(&bench, &settings(&[1e-3, 1e-4], &[0.01], 2), seed));
            let states = fitted.probes.iter().map(|probe| weights::to_bytes(&weights::read(probe, "")));
            (states.collect::<Vec<_>>(), format!("{:?}", fitted.choices))
        };
        let once = all(3, 1);
        assert_eq!(once, all(3, 1));
        assert_eq!(once, all(3, 4));
        assert_ne!(once.0, all(4, 1).0);
    }

    /// A rate at which a probe breaks down takes nothing from the others.
    #[test]
    fn a_rate_that_diverges_is_not_chosen() {
        let bench = bench(6);
        let found = fitted(&bench, &settings(&[1e30, 1e-3], &[0.01], 2), 1);
        assert_eq!(found.choices.iter().map(|choice| choice.lr).collect::<Vec<_>>(), [1e-3, 1e-3]);
        let alone = fitted(&bench, &settings(&[1e-3], &[0.01], 2), 1);
        assert_eq!(accuracy(&bench, &found), accuracy(&bench, &alone));
    }
}
