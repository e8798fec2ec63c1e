//! Fine-tuning: the whole encoder learns a classification with a head on top, from the weights that it is given. Where it begins with
//! random ones, it is trained from scratch in the same way: the control.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_data::random::{Stream, rng, shuffled};
use foretell_data::{Modality, Part, for_places};
use foretell_jepa::Role;
use foretell_nn::layers::{Linear, Pass};
use foretell_nn::parameters::{Parameter, change, gradients};
use foretell_nn::pooler::AttentiveConfig;
use foretell_nn::probe::AttentiveProbe;
use foretell_nn::tune::depths;
use foretell_nn::{Encode, Init, Tokens, Tunable};
use foretell_ops as ops;

use super::settings::{AttentiveSettings, FinetuneSettings, Head};
use super::targets::{Targets, Votes};
use crate::TrainError;
use crate::optimiser::Optimiser;
use crate::schedule::Schedule;

/// What an encoder is fine-tuned with.
pub struct Finetune<'a, M: Modality> {
    /// Settings.
    pub settings: &'a FinetuneSettings,
    /// The data.
    pub data: &'a Arc<M>,
    /// Training samples to learn from.
    pub places: &'a [usize],
    /// Their labels.
    pub targets: &'a Targets,
    /// Threads that read samples.
    pub threads: usize,
    /// Of the run.
    pub seed: u64,
    /// Where the networks lie, without autodiff.
    pub device: &'a Device,
}

/// What stands on the encoder: one answer for each factor.
#[derive(Module, Debug)]
struct TunedHead {
    linear: Vec<Linear>,
    attentive: Option<AttentiveProbe>,
}

impl TunedHead {
    fn new(kind: Head, width: usize, classes: &[usize], seed: u64, device: &Device) -> Result<Self, TrainError> {
        let mut weights = rng(seed, Stream::Judge, 1, 1);
        if kind == Head::Attentive {
            let heads = AttentiveSettings::default().heads_of(width).map_err(TrainError::Setting)?;
            let config = AttentiveConfig { width, heads, hidden: 4 * width, depth: 0, eps: 1e-5, classes: 0 };
            let attentive = Some(AttentiveProbe::new(&config, classes, &mut weights, device));
            return Ok(Self { linear: Vec::new(), attentive });
        }
        let mut init = Init::new(&mut weights, device);
        let linear = classes.iter().map(|classes| Linear::vit(width, *classes, 0.02, &mut init)).collect();
        Ok(Self { linear, attentive: None })
    }

    /// Logits of each factor, `[B, C]`.
    fn forward(&self, Tokens { rows, sets, .. }: Tokens) -> Vec<Tensor<2>> {
        if let Some(attentive) = &self.attentive {
            return attentive.forward(rows, &sets);
        }
        let means = ops::segment_mean(rows, &ops::Segments::of_sets(&sets));
        self.linear.iter().map(|linear| linear.forward(means.clone())).collect()
    }
}

/// A fine-tuned encoder.
pub struct Tuned<S> {
    /// The encoder as it is now.
    pub encoder: Box<dyn Encode<S>>,
    head: TunedHead,
}

/// Samples that go through a tuned encoder at a time.
const CHUNK: usize = 64;

impl<M: Modality> Finetune<'_, M> {
    /// Fine-tunes an encoder whose tokens are so wide; and names samples that could not be read. All of it learns at `rate` times the
    /// head's learning rate where that is given, and otherwise the slower, the deeper a block lies.
    pub fn tune(
        &self,
        tunable: Box<dyn Tunable<M::Sample>>,
        width: usize,
        rate: Option<f64>,
    ) -> Result<(Tuned<M::Sample>, Vec<String>), TrainError> {
        let FinetuneSettings { epochs, batch, lr, warmup, .. } = *self.settings;
        let steps = (epochs * self.places.len().div_ceil(batch)) as u64;
        let warmup = (warmup * steps as f64).round() as u64;
        let schedule = Schedule::WarmupCosine { warmup, peak: lr, last: 0.0, steps };
        let device = self.device.clone().autodiff();
        let head = TunedHead::new(self.settings.head, width, &self.targets.counts(), self.seed, &device)?;
        let mut tuning = Tuning { tunable: Some(tunable), head, optimiser: Optimiser::default() };
        let (mut step, mut skipped) = (0, Vec::new());
        for epoch in 0..epochs as u64 {
            let order = shuffled(self.places.len(), &mut rng(self.seed, Stream::Judge, 2 + epoch, 1));
            let places: Arc<[usize]> = order.iter().map(|place| self.places[*place as usize]).collect();
            let (all, mut met) = (places.len(), 0_usize);
            let (mut samples, mut read) = (Vec::new(), Vec::new());
            for_places(self.data, Part::Train, places, self.threads, |place, sample| -> Result<(), TrainError> {
                met += 1;
                match sample {
                    Ok(sample) => {
                        samples.push(sample);
                        read.push(place);
                    }
                    Err(_) => skipped.push(self.data.meta(Part::Train, place)?.name),
                }
                // Batches lie where they would lie if all could be read: the number of steps is known before.
                if met.is_multiple_of(batch) || met == all {
                    step += 1;
                    if !samples.is_empty() {
                        let lr = schedule.at(step);
                        let seen: Vec<&M::Sample> = samples.iter().collect();
                        self.step(&mut tuning, &seen, &read, (step, lr, rate))?;
                        samples.clear();
                        read.clear();
                    }
                }
                Ok(())
            })?;
        }
        let Tuning { tunable, head, .. } = tuning;
        let encoder = tunable.map(|tunable| tunable.tuned()).ok_or_else(gone)?;
        Ok((Tuned { encoder, head: head.valid() }, skipped))
    }

    fn step(
        &self,
        tuning: &mut Tuning<M::Sample>,
        samples: &[&M::Sample],
        places: &[usize],
        (step, lr, rate): (u64, f64, Option<f64>),
    ) -> Result<(), TrainError> {
        let FinetuneSettings { weight_decay, layer_decay, clip, ref freeze, .. } = *self.settings;
        let tunable = tuning.tunable.take().ok_or_else(gone)?;
        let mut seen = Vec::new();
        let logits = tuning.head.forward(tunable.learned(samples, &mut Pass::Training(&mut seen)));
        let losses = logits.into_iter().enumerate();
        let losses = losses.map(|(f, logits)| ops::cross_entropy(logits, &self.targets.classes(f, places.iter())));
        let Some(loss) = losses.reduce(|sum, loss| sum + loss) else { return Err(gone()) };
        let value = f64::from(loss.clone().into_scalar::<f32>());
        if !value.is_finite() {
            return Err(TrainError::Setting(format!(
                "fine-tuning has diverged: the loss became {value} at step {step}; set a smaller `judge.finetune.lr`"
            )));
        }
        let mut all = loss.backward();
        let mut found = Vec::new();
        tunable.gradients(&mut all, &mut |parameter, gradient| found.push((parameter.name.to_owned(), gradient)));
        freeze_parts(&mut found, freeze)?;
        let learning: Vec<String> = found.iter().map(|(name, _)| name.clone()).collect();
        let (depths, top) = depths(learning.iter().map(String::as_str));
        gradients(&tuning.head, &mut all, &mut |parameter, gradient| {
            found.push((format!("{HEAD}{}", parameter.name), gradient));
        });
        let hyper = ops::AdamW { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay, step, gradient_scale: 1.0 };
        let mut moving = tuning.optimiser.begin(found, clip, hyper);
        let tunable = tunable.change(&mut |parameter, old| {
            let depth = learning.iter().position(|name| name == parameter.name).map_or(top, |at| depths[at]);
            let below = (top - depth) as i32;
            let lr = rate.unwrap_or_else(|| layer_decay.powi(below));
            moving.of(&parameter, old, &Role::Learns { lr, decays: None })
        });
        tuning.head = change(tuning.head.clone(), &mut |parameter, old| {
            let name = format!("{HEAD}{}", parameter.name);
            moving.of(&Parameter { name: &name, ..parameter }, old, &Role::LEARNS)
        });
        tuning.tunable = Some(tunable.absorb(&seen));
        Ok(())
    }
}

/// Takes the gradients of what stays as it is out of those of an encoder. One without parameters, a baseline, has nothing to freeze.
fn freeze_parts(found: &mut Vec<(String, Tensor<1>)>, parts: &[String]) -> Result<(), TrainError> {
    let within =
        |name: &str, part: &str| name.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let unknown = parts.iter().find(|part| !found.iter().any(|(name, _)| within(name, part)));
    if let Some(part) = unknown.filter(|_| !found.is_empty()) {
        let mut known: Vec<&str> = found.iter().map(|(name, _)| name.split('.').next().unwrap_or(name)).collect();
        known.dedup();
        return Err(TrainError::Setting(format!(
            "`judge.finetune.freeze` names `{part}`, and no parameter of this encoder that learns is called so or lies in it: its parts are {}",
            known.join(", ")
        )));
    }
    found.retain(|(name, _)| !parts.iter().any(|part| within(name, part)));
    Ok(())
}

/// Before the names of the head's parameters.
const HEAD: &str = "head.";

/// An encoder on its way.
struct Tuning<S> {
    /// Away within a step alone, so that tensors are changed in place.
    tunable: Option<Box<dyn Tunable<S>>>,
    head: TunedHead,
    optimiser: Optimiser,
}

fn gone() -> TrainError {
    TrainError::Setting("there is nothing to fine-tune".to_owned())
}

impl<S: Send + Sync + 'static> Tuned<S> {
    /// What it says of the samples of a part that can be read, and the names of those that cannot.
    pub fn votes<M: Modality<Sample = S>>(
        &self,
        (data, part): (&Arc<M>, Part),
        places: Arc<[usize]>,
        threads: usize,
        factors: usize,
    ) -> Result<(Votes, Vec<String>), TrainError> {
        let (mut votes, mut skipped) = (Votes::new(factors), Vec::new());
        let (all, mut met) = (places.len(), 0);
        let (mut samples, mut read) = (Vec::new(), Vec::new());
        for_places(data, part, places, threads, |place, sample| -> Result<(), TrainError> {
            met += 1;
            match sample {
                Ok(sample) => {
                    samples.push(sample);
                    read.push(data.meta(part, place)?);
                }
                Err(_) => skipped.push(data.meta(part, place)?.name),
            }
            if (samples.len() == CHUNK || met == all) && !samples.is_empty() {
                let tokens = self.encoder.tokens(&samples.iter().collect::<Vec<_>>());
                let logits = self.head.forward(tokens).into_iter();
                let said: Vec<Vec<f32>> = logits.map(|logits| ops::values(ops::softmax(logits))).collect();
                for (row, meta) in read.iter().enumerate() {
                    let rows = said.iter().map(|said| {
                        let classes = said.len() / read.len();
                        &said[row * classes..(row + 1) * classes]
                    });
                    votes.add(meta.whole(), &meta.labels, rows);
                }
                samples.clear();
                read.clear();
            }
            Ok(())
        })?;
        Ok((votes, skipped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_frozen_takes_no_gradient() {
        let names = ["patch_embed.proj.weight", "patch_embedding", "blocks.0.attn.bias", "blocks.01", "norm"];
        let left = |parts: &[&str]| -> Result<Vec<String>, TrainError> {
            let gradient = || Tensor::<1>::zeros([1], &Device::flex());
            let mut found = names.iter().map(|name| ((*name).to_owned(), gradient())).collect();
            freeze_parts(&mut found, &parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>())?;
            Ok(found.into_iter().map(|(name, _)| name).collect())
        };
        assert_eq!(left(&[]).unwrap(), names);
        assert_eq!(left(&["patch_embed", "norm"]).unwrap(), names[1..4]);
        assert_eq!(left(&["blocks.0"]).unwrap(), [names[0], names[1], names[3], names[4]]);
        let said = left(&["norm", "heads"]).unwrap_err().to_string();
        assert!(said.contains("`heads`") && said.ends_with("patch_embed, patch_embedding, blocks, norm"), "{said}");
        assert!(freeze_parts(&mut Vec::new(), &["norm".to_owned()]).is_ok(), "a head alone has no such part");
    }
}
