//! What the loop knows of a run, whatever learns: an objective, its networks and its data behind one object-safe trait. The
//! loop itself is compiled once.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_data::{DataError, Epochs, Feed, Modality, OnBadSample, Part, feed, for_each, judged_part};
use foretell_eval::{Features, Statistics};
use foretell_jepa::{Clock, Kept, Latents, MOTION, Objective, Role, Second};
use foretell_nn::layers::absorb;
use foretell_nn::parameters::{change, look};
use foretell_nn::{NamedTensors, Tokens, weights};
use foretell_ops as ops;

use crate::TrainError;
use crate::health::Measured;
use crate::optimiser::Optimiser;

/// Which networks of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that learn.
    Trained,
    /// The same before any step: the control.
    Untrained,
}

/// What a step found.
pub struct StepOutcome {
    /// Finite.
    pub loss: f64,
    /// Its named terms, scalars `[1]`, untracked.
    pub terms: Vec<(&'static str, Tensor<1>)>,
    /// Global norm before clipping.
    pub gradient_norm: f64,
}

/// The loop's view of a run.
pub trait Learner: Send {
    /// Places of training samples that the data held when the run began and hold no more.
    fn lose(&mut self, lost: Vec<usize>);

    /// The last step has been taken: what is measured from here on passes over samples that cannot be read.
    fn ended(&mut self);

    /// Batches by step.
    fn feed(&self) -> Result<Arc<dyn Feed>, TrainError>;

    /// One optimiser step. `hyper.gradient_scale` is set here: gradients longer than `clip` (if positive) are shortened to it.
    fn step(
        &mut self,
        batch: Box<dyn Any + Send>,
        clock: &Clock,
        hyper: ops::AdamW,
        clip: f64,
    ) -> Result<StepOutcome, TrainError>;

    /// Puts a batch into the running averages of the untrained networks; whether they have any.
    fn settle(&mut self, batch: Box<dyn Any + Send>, clock: &Clock) -> Result<bool, TrainError>;

    /// Measures held-out latents, and names held-out samples that could not be read.
    fn measure(&mut self, which: Which, clock: &Clock) -> Result<(Measured, Vec<String>), TrainError>;

    /// What is predicted of the same held-out samples `[B, D]` in several draws of views or masks, the mean of a sample's
    /// predictions in each: what LiDAR tells samples apart by. An error where predictions are not as many for each sample.
    fn drawn(&self, which: Which, draws: u64) -> Result<Vec<Features>, TrainError>;

    /// Energies of held-out samples and of pairs that do not belong together, under the same masks or views; `None` where samples are of
    /// several lengths, so that a place of one is none of another, or where latents are not predictions and what each is held against.
    fn pairs(&self, which: Which) -> Result<Option<Pairs>, TrainError>;

    /// Share of the random initial teacher that is left after `steps`, where there is a teacher.
    fn initial_teacher_left(&self, steps: u64, clock: &Clock) -> Option<f64>;

    /// What learns when the rest has learnt, if anything does.
    fn second(&self) -> Option<Second>;

    /// Every tensor of the networks that a checkpoint holds, by its official name.
    fn state(&self, which: Which) -> NamedTensors;

    /// The optimiser's moments, by the names of their parameters.
    fn moments(&self) -> NamedTensors;

    /// Replaces every tensor of the networks; missing, unused and mis-shaped ones are an error.
    fn load(&mut self, which: Which, state: NamedTensors) -> Result<(), TrainError>;

    /// Replaces the optimiser's moments.
    fn load_moments(&mut self, moments: NamedTensors) -> Result<(), TrainError>;

    /// What is kept: a [`Kept`] of the kind of sample that it learns from.
    fn kept(&self, which: Which) -> Box<dyn Any>;

    /// The kept encoder's tensors by their official names.
    fn encoder_state(&self) -> NamedTensors;

    /// Numbers that learn.
    fn parameters(&self) -> usize;
}

/// The energy `E(x, y)` of a system without a latent variable: the mean squared difference between what is predicted from what is seen of x
/// and what the target encoder makes of what is hidden of y (LeCun, 2022, section 4.4). Nothing is left to minimise over, so that it is
/// the free energy `F(x, y)` too.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairs {
    /// `E(x, x)` of each sample, or of each prediction where one sample has more than another.
    pub own: Vec<f32>,
    /// `E(x, y)`, y being the sample after x, at the same places.
    pub of_another: Vec<f32>,
}

/// What a learner learns from, and how.
pub struct Ground<M> {
    /// The data; `None` for networks that are only used.
    pub data: Option<Arc<M>>,
    /// Samples in a batch.
    pub batch: usize,
    /// Of the run.
    pub seed: u64,
    /// Threads that read held-out samples.
    pub threads: usize,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

/// An objective, its networks, and the data that they learn from.
pub struct Learning<O: Objective, M> {
    objective: O,
    /// Moved out for the moment of a step alone, so that tensors are changed in place.
    networks: Option<O::Networks>,
    untrained: Option<O::Networks>,
    optimiser: Optimiser,
    ground: Ground<M>,
    lost: Vec<usize>,
    ended: bool,
    /// One batch of held-out samples, made when it is first asked for.
    held_out: Option<O::Batch>,
}

/// Draws of views or masks of each sample that LiDAR is taken from.
pub const LIDAR_DRAWS: u64 = 10;
/// Held-out samples that health looks at.
const HELD_OUT: usize = 1024;
/// Held-out samples in the batch whose loss is taken.
const HELD_OUT_BATCH: usize = 128;
/// Samples that LiDAR is taken of.
pub(crate) const LIDAR_SAMPLES: usize = HELD_OUT_BATCH;
/// Samples that go through an encoder at a time.
const CHUNK: usize = 64;
/// The step whose randomness the held-out batch uses: no training step has this number.
const HELD_OUT_STEP: u64 = u64::MAX / 2;

impl<M: Modality, O: Objective<Sample = M::Sample>> Learning<O, M> {
    /// Fresh networks, on the autodiff device where they learn.
    pub fn new(objective: O, networks: O::Networks, ground: Ground<M>) -> Self {
        let untrained = Some(networks.valid());
        let optimiser = Optimiser::default();
        let networks = Some(networks);
        Self { objective, networks, untrained, optimiser, ground, lost: Vec::new(), ended: false, held_out: None }
    }

    fn networks(&self, which: Which) -> &O::Networks {
        let networks = match which {
            Which::Trained => &self.networks,
            Which::Untrained => &self.untrained,
        };
        networks.as_ref().expect("networks are away within a step alone")
    }

    fn data(&self) -> Result<&Arc<M>, TrainError> {
        self.ground.data.as_ref().ok_or_else(|| TrainError::Setting("the data of this run are not open".to_owned()))
    }

    fn batch_of(batch: Box<dyn Any + Send>) -> Result<O::Batch, TrainError> {
        let wrong = |_| TrainError::Setting("a batch is of another objective than the one that learns".to_owned());
        batch.downcast::<O::Batch>().map(|batch| *batch).map_err(wrong)
    }

    /// After the optimiser's step what follows another moves towards it.
    fn follow(&mut self, clock: &Clock) {
        let objective = &self.objective;
        let mut leaders = BTreeMap::new();
        look(self.networks(Which::Trained), &mut |parameter, _| {
            if let Role::Follows { of, .. } = objective.role(parameter.name, clock) {
                leaders.insert(of.into_owned(), None);
            }
        });
        if leaders.is_empty() {
            return;
        }
        look(self.networks(Which::Trained), &mut |parameter, values| {
            if let Some(leader) = leaders.get_mut(parameter.name) {
                *leader = Some(values);
            }
        });
        let moved = self.networks.take().map(|networks| {
            change(networks, &mut |parameter, old| {
                let Role::Follows { of, weight } = objective.role(parameter.name, clock) else { return old };
                match leaders.get(of.as_ref()) {
                    Some(Some(leader)) => ops::lerp(old, leader.clone(), weight),
                    _ => old,
                }
            })
        });
        self.networks = moved;
    }

    /// `‖θ̄ − θ‖ / ‖θ‖` over all parameters that follow another.
    fn teacher_distance(&self, which: Which, clock: &Clock) -> Option<f64> {
        let mut followers = BTreeMap::new();
        look(self.networks(which), &mut |parameter, values| {
            if let Role::Follows { of, .. } = self.objective.role(parameter.name, clock) {
                followers.insert(of.into_owned(), values);
            }
        });
        if followers.is_empty() {
            return None;
        }
        let (mut difference, mut norm) = (ops::SumOfSquares::default(), ops::SumOfSquares::default());
        look(self.networks(which), &mut |parameter, values| {
            if let Some(follower) = followers.remove(parameter.name) {
                norm.add(values.clone());
                difference.add(follower - values);
            }
        });
        Some((difference.total() / norm.total().max(f64::MIN_POSITIVE)).sqrt())
    }

    /// Features and tokens of held-out samples, read a chunk at a time.
    fn features(&self, which: Which) -> Result<(Features, Features, Vec<String>), TrainError> {
        let (data, encoder) = (self.data()?, self.objective.kept(self.networks(which)).encoder);
        let part = judged_part(data.as_ref());
        let mut features = Extracted::of(data.len(part).map_or(HELD_OUT, |held_out| held_out.min(HELD_OUT)));
        let mut chunk: Vec<M::Sample> = Vec::with_capacity(CHUNK);
        let skipped = self.for_each(data, part, HELD_OUT, |_, sample| {
            chunk.push(sample);
            if chunk.len() == CHUNK {
                features.add(&encoder.tokens(&chunk.iter().collect::<Vec<_>>()));
                chunk.clear();
            }
            Ok(())
        })?;
        if !chunk.is_empty() {
            features.add(&encoder.tokens(&chunk.iter().collect::<Vec<_>>()));
        }
        // The loader meets bad samples of the training part and counts them too.
        let skipped = if part == Part::Train && !self.ended { Vec::new() } else { skipped };
        let (pooled, tokens) = features.finish(encoder.width())?;
        Ok((pooled, tokens, skipped))
    }

    /// Reads samples of a part; those that cannot be read are an error where the data say so and training has not ended.
    fn for_each(
        &self,
        data: &Arc<M>,
        part: Part,
        limit: usize,
        keep: impl FnMut(usize, M::Sample) -> Result<(), DataError>,
    ) -> Result<Vec<String>, DataError> {
        let on_bad = if self.ended { OnBadSample::Skip } else { data.on_bad() };
        for_each(data, part, limit, self.ground.threads, on_bad, keep)
    }

    /// The held-out samples of a batch.
    fn held_out_samples(&self) -> Result<Vec<M::Sample>, TrainError> {
        let data = self.data()?;
        let mut samples = Vec::new();
        self.for_each(data, judged_part(data.as_ref()), HELD_OUT_BATCH, |_, sample| {
            samples.push(sample);
            Ok(())
        })?;
        Ok(samples)
    }

    /// One batch of held-out samples as the objective sees it.
    fn held_out(&mut self) -> Result<(), TrainError> {
        if self.held_out.is_none() {
            self.held_out = Some(self.objective.collator().collate(HELD_OUT_STEP, &self.held_out_samples()?)?);
        }
        Ok(())
    }
}

impl<M: Modality, O: Objective<Sample = M::Sample>> Learner for Learning<O, M> {
    fn lose(&mut self, lost: Vec<usize>) {
        self.lost = lost;
    }

    fn ended(&mut self) {
        self.ended = true;
    }

    fn feed(&self) -> Result<Arc<dyn Feed>, TrainError> {
        let (data, batch, seed) = (self.data()?, self.ground.batch, self.ground.seed);
        let source = match self.lost.as_slice() {
            [] => data.training(batch, seed)?,
            lost => Arc::new(Epochs::without(Arc::clone(data), batch, seed, lost)?),
        };
        Ok(feed(source, self.objective.collator()))
    }

    fn step(
        &mut self,
        batch: Box<dyn Any + Send>,
        clock: &Clock,
        hyper: ops::AdamW,
        clip: f64,
    ) -> Result<StepOutcome, TrainError> {
        let batch = Self::batch_of(batch)?;
        let outcome = self.objective.loss(self.networks(Which::Trained), &batch, clock);
        let loss = f64::from(outcome.loss.clone().into_scalar::<f32>());
        if !loss.is_finite() {
            return Err(TrainError::Diverged { step: clock.step, value: loss });
        }
        let (objective, mut gradient_norm) = (&self.objective, 0.0);
        self.networks = self.networks.take().map(|networks| {
            let backward = outcome.loss.backward();
            let (networks, norm) =
                self.optimiser.step(networks, backward, clip, hyper, &|name| objective.role(name, clock));
            gradient_norm = norm;
            absorb(networks, &outcome.seen)
        });
        self.follow(clock);
        Ok(StepOutcome { loss, terms: outcome.terms, gradient_norm })
    }

    fn settle(&mut self, batch: Box<dyn Any + Send>, clock: &Clock) -> Result<bool, TrainError> {
        let batch = Self::batch_of(batch)?;
        // Without gradients: a tape that no backward pass consumes would keep every activation.
        let outcome = self.objective.loss(self.networks(Which::Untrained), &batch, clock);
        self.untrained = self.untrained.take().map(|networks| absorb(networks, &outcome.seen));
        Ok(!outcome.seen.is_empty())
    }

    fn measure(&mut self, which: Which, clock: &Clock) -> Result<(Measured, Vec<String>), TrainError> {
        self.held_out()?;
        let (pooled, tokens, skipped) = self.features(which)?;
        let Some(batch) = &self.held_out else {
            return Err(TrainError::Setting("no held-out batch could be made".to_owned()));
        };
        // Without gradients: a tape would keep every activation of more samples than a batch has.
        let outcome = self.objective.loss(&self.networks(which).valid(), batch, clock);
        let loss = f64::from(outcome.loss.clone().inner().into_scalar::<f32>());
        let motion = outcome.terms.iter().find(|(name, _)| *name == MOTION);
        let motion = motion.map(|(_, share)| f64::from(share.clone().into_scalar::<f32>()));
        let matrix = |tensor: Tensor<2>| {
            let [rows, dim] = tensor.dims();
            Features::new(rows, dim, ops::values(tensor)).map(|features| thin(&features))
        };
        let Some(Latents { predictions, targets }) = outcome.latents else {
            return Err(TrainError::Setting("the objective gave no latents when they were due".to_owned()));
        };
        let measured = Measured {
            sample: Statistics::of(&pooled)?,
            token: Statistics::of(&thin(&tokens))?,
            prediction: Statistics::of(&matrix(predictions)?)?,
            target: Statistics::of(&matrix(targets)?)?,
            loss,
            teacher_distance: self.teacher_distance(which, clock),
            motion,
        };
        Ok((measured, skipped))
    }

    fn drawn(&self, which: Which, draws: u64) -> Result<Vec<Features>, TrainError> {
        let (samples, collator) = (self.held_out_samples()?, self.objective.collator());
        let clock = Clock { step: 1, total: 1, batch: self.ground.batch, health_due: true };
        let draw = |draw: u64| {
            // Steps of their own: no training step has these numbers.
            let batch = collator.collate(HELD_OUT_STEP + 1 + draw, &samples)?;
            let outcome = self.objective.loss(&self.networks(which).valid(), &batch, &clock);
            let Some(Latents { predictions, .. }) = outcome.latents else {
                return Err(TrainError::Setting("the objective gave no latents when they were due".to_owned()));
            };
            let ([rows, dim], count) = (predictions.dims(), samples.len());
            if count == 0 || !rows.is_multiple_of(count) {
                return Err(TrainError::Setting(format!(
                    "{rows} predictions of {count} samples are not as many of each"
                )));
            }
            let means = predictions.reshape([count, rows / count, dim]).mean_dim(1).squeeze_dim::<2>(1);
            Ok(Features::new(count, dim, ops::values(means))?)
        };
        (0..draws).map(draw).collect()
    }

    fn pairs(&self, which: Which) -> Result<Option<Pairs>, TrainError> {
        let (mut samples, collator) = (self.held_out_samples()?, self.objective.collator());
        let (count, networks) = (samples.len(), self.networks(which).valid());
        let clock = Clock { step: 1, total: 1, batch: self.ground.batch, health_due: true };
        let seen = |samples: &[M::Sample]| {
            let batch = collator.collate(HELD_OUT_STEP, samples)?;
            self.objective
                .loss(&networks, &batch, &clock)
                .latents
                .ok_or_else(|| TrainError::Setting("the objective gave no latents when they were due".to_owned()))
        };
        if count < 2 {
            return Ok(None);
        }
        let own = seen(&samples)?;
        // What is drawn goes by a sample's place in the batch: each one's follower takes its place, and so its masks.
        samples.rotate_left(1);
        let other = seen(&samples)?;
        if own.targets.dims() != other.targets.dims() || own.predictions.dims() != own.targets.dims() {
            return Ok(None);
        }
        let [rows, _] = own.predictions.dims();
        let groups = if rows.is_multiple_of(count) { count } else { rows };
        let energy = |targets: Tensor<2>| {
            let each = (own.predictions.clone() - targets).square().mean_dim(1);
            ops::values(each.reshape([groups, rows / groups]).mean_dim(1))
        };
        Ok(Some(Pairs { own: energy(own.targets.clone()), of_another: energy(other.targets) }))
    }

    fn initial_teacher_left(&self, steps: u64, clock: &Clock) -> Option<f64> {
        let mut teacher = None;
        look(self.networks(Which::Trained), &mut |parameter, _| {
            if teacher.is_none() && matches!(self.objective.role(parameter.name, clock), Role::Follows { .. }) {
                teacher = Some(parameter.name.to_owned());
            }
        });
        let teacher = teacher?;
        let kept = |step: u64| match self.objective.role(&teacher, &Clock { step, ..*clock }) {
            Role::Follows { weight, .. } => (1.0 - weight).ln(),
            _ => 0.0,
        };
        Some((1..=steps).map(kept).sum::<f64>().exp())
    }

    fn second(&self) -> Option<Second> {
        self.objective.second()
    }

    fn state(&self, which: Which) -> NamedTensors {
        let mut state = weights::read(self.networks(which), "");
        let clock = Clock { step: 1, total: 1, batch: self.ground.batch, health_due: false };
        state.retain(|name, _| self.objective.role(name, &clock) != Role::Given);
        state
    }

    fn moments(&self) -> NamedTensors {
        self.optimiser.state()
    }

    fn load(&mut self, which: Which, mut state: NamedTensors) -> Result<(), TrainError> {
        let clock = Clock { step: 1, total: 1, batch: self.ground.batch, health_due: false };
        for (name, given) in weights::read(self.networks(which), "") {
            if self.objective.role(&name, &clock) == Role::Given {
                state.insert(name, given);
            }
        }
        let networks = match which {
            Which::Trained => &mut self.networks,
            Which::Untrained => &mut self.untrained,
        };
        // A clone stays if the tensors do not fit.
        let loaded = networks.clone().map(|networks| weights::load_whole(networks, state)).transpose()?;
        *networks = loaded;
        Ok(())
    }

    fn load_moments(&mut self, moments: NamedTensors) -> Result<(), TrainError> {
        self.optimiser = Optimiser::with_state(self.networks(Which::Trained), moments)?;
        Ok(())
    }

    fn kept(&self, which: Which) -> Box<dyn Any> {
        let kept: Kept<M::Sample> = self.objective.kept(self.networks(which));
        Box::new(kept)
    }

    fn encoder_state(&self) -> NamedTensors {
        self.objective.kept(self.networks(Which::Trained)).encoder.state()
    }

    fn parameters(&self) -> usize {
        let mut parameters = 0;
        look(self.networks(Which::Trained), &mut |parameter, _| {
            if parameter.learns {
                parameters += parameter.shape.iter().product::<usize>();
            }
        });
        parameters
    }
}

/// Features of chunks of samples, on their way to the host: one for each sample, and some of the tokens, evenly spread.
struct Extracted {
    /// Samples that are expected.
    samples: usize,
    /// Samples, and tokens, that have come.
    rows: usize,
    seen: usize,
    /// Tokens that are expected, going by the first chunk.
    expected: usize,
    pooled: Vec<f32>,
    tokens: Vec<f32>,
}

impl Extracted {
    fn of(samples: usize) -> Self {
        Self { samples, rows: 0, seen: 0, expected: 0, pooled: Vec::new(), tokens: Vec::new() }
    }

    fn add(&mut self, tokens: &Tokens) {
        let (count, [rows, width]) = (tokens.sets.count(), tokens.rows.dims());
        if self.expected == 0 {
            self.expected = rows * self.samples / count.max(1);
        }
        self.rows += count;
        self.pooled.extend(ops::values(tokens.mean()));
        let values = ops::values(tokens.rows.clone());
        for (place, token) in (self.seen..).zip(values.chunks_exact(width.max(1))) {
            if is_spread(place, self.expected) {
                self.tokens.extend_from_slice(token);
            }
        }
        self.seen += rows;
    }

    /// One row for each sample, and one for each kept token of this width.
    fn finish(self, width: usize) -> Result<(Features, Features), TrainError> {
        let dim = self.pooled.len() / self.rows.max(1);
        let tokens = self.tokens.len() / width.max(1);
        Ok((Features::new(self.rows, dim, self.pooled)?, Features::new(tokens, width, self.tokens)?))
    }
}

/// Rows that are enough for a spectrum, and cheap enough to look often.
const SPREAD: usize = 2048;

/// Whether a row is one of those that [`thin`] keeps of so many.
fn is_spread(row: usize, rows: usize) -> bool {
    rows <= SPREAD || (row * SPREAD).div_ceil(rows) * rows / SPREAD == row
}

/// At most [`SPREAD`] rows, evenly spread.
fn thin(features: &Features) -> Features {
    if features.rows <= SPREAD {
        return features.clone();
    }
    features.select(&(0..SPREAD).map(|i| i * features.rows / SPREAD).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::{SPREAD, is_spread};

    #[test]
    fn rows_are_chosen_as_they_come_like_those_of_all() {
        for rows in [1, 2047, 2048, 2049, 4096, 5000, 65_536, 100_003] {
            let whole: Vec<usize> =
                if rows <= SPREAD { (0..rows).collect() } else { (0..SPREAD).map(|i| i * rows / SPREAD).collect() };
            assert_eq!((0..rows).filter(|row| is_spread(*row, rows)).collect::<Vec<_>>(), whole, "{rows}");
        }
    }
}
