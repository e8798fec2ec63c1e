//! What a world model knows: where things are, read from its latents, and what comes next, by horizon; and episodes that it
//! plans.

mod by_level;
mod chance;
mod draw;
mod energy;
mod episodes;
pub mod film;
mod imitation;
mod objects;
mod silence;

pub use by_level::by_level;
pub use imitation::imitation;

use burn::tensor::{Tensor, TensorData};
use foretell_data::{Episodes, Window};
use foretell_eval::{Better, FEATURES, Features, Figures, Finding, Ridge, TRAINED, UNTRAINED};
use foretell_jepa::dynamics::{TrainedModel, pooled};
use foretell_ops as ops;
use foretell_train::Which;
use foretell_world::{Experience, ExperienceConfig, Forecast, Imagination, PlannerConfig, Playground, Split};

use crate::imaginer::Imaginer;
use crate::judging::Judging;
use crate::system::JudgeError;

pub use objects::objects;

/// Windows of play that a probe learns from, and that it is judged on.
const WINDOWS: (u64, u64) = (512, 256);
/// Every so many observations of a window: neighbours in time are nearly the same.
const STRIDE: usize = 4;
/// Windows whose continuation is foretold.
const FORETOLD: u64 = 256;
/// Steps that are foretold in recorded episodes, or fewer if none that is held out is so long.
const AHEAD: usize = 8;
/// The step whose windows probes learn from: no training step has this number.
const LEARNING: u64 = u64::MAX - 1;
/// Steps of the held-out stream: 0 is health's, 1 the trials'.
const HELD_OUT: [u64; 2] = [2, 3];
/// Observations that go through an encoder at a time.
const CHUNK: usize = 128;

/// Where things are, what comes next, and episodes that the model plans: of play the last and the first too.
pub fn usual(run: &Judging<'_, Experience>) -> Result<Vec<Finding>, JudgeError> {
    looking_ahead(run, PlannerConfig::default().horizon)
}

/// The same with plans of so many steps.
pub fn looking_ahead(run: &Judging<'_, Experience>, horizon: usize) -> Result<Vec<Finding>, JudgeError> {
    let trained = imagination(run, Which::Trained)?;
    match run.data.as_ref() {
        Experience::Play(playground) => {
            let judge = InPlay { playground };
            let untrained = imagination(run, Which::Untrained)?;
            let places = judge.places(&trained, &untrained)?;
            let windows = judge.foretold();
            let mut following = following(&trained, &untrained, &windows)?;
            following.extend(chance::chance(playground, &trained, &untrained, &windows));
            if run.settings.episodes > 0 {
                following.extend(silence::silence(playground, &trained, &untrained, run.on.seed)?);
            }
            let ExperienceConfig::Play(settings) = run.on.config else {
                return Err(JudgeError::Other("the settings of recorded episodes have opened play".to_owned()));
            };
            let imaginer = Imaginer {
                playground: Playground::open(settings, run.on.seed)?,
                imagination: trained,
                seed: run.on.seed,
            };
            let mut found = vec![places];
            found.extend(following);
            if run.settings.episodes > 0 {
                found.push(episodes::episodes(&imaginer, run.settings.episodes, horizon)?);
            }
            playground.world.intact()?;
            Ok(found)
        }
        Experience::Episodes(episodes) => recorded(episodes, &trained, &imagination(run, Which::Untrained)?),
    }
}

/// The model of a run, as a planner takes it.
fn imagination(run: &Judging<'_, Experience>, which: Which) -> Result<Imagination, JudgeError> {
    let model = run.kept(which)?.model.and_then(|model| model.downcast::<TrainedModel>().ok());
    let model = model.ok_or_else(|| JudgeError::Other("the run has kept no model of a world".to_owned()))?;
    Ok(Imagination::of(*model, run.on.config.form()?.frameskip))
}

/// What is found out in play.
pub(crate) struct InPlay<'a> {
    /// Play as the run has it.
    pub(crate) playground: &'a Playground,
}

/// Observations and the states behind them.
struct Seen {
    /// `[N, C, H, W]`, normalised.
    observations: Vec<f32>,
    /// `[N, S]`.
    states: Vec<f32>,
    count: usize,
}

impl InPlay<'_> {
    fn see(&self, split: Split, step: u64, windows: u64) -> Seen {
        let spec = self.playground.world.spec();
        let (pixels, width) = (spec.pixels(), spec.state);
        let (mut observations, mut states) = (Vec::new(), Vec::new());
        // Whoever only looks does not wait for layouts to be explored.
        let play = self.playground.play.unexplored();
        for i in 0..windows {
            let window = play.window(split, step, i);
            for t in (0..window.frames).step_by(STRIDE) {
                observations.extend(&window.observations[t * pixels..][..pixels]);
                states.extend(&window.states[t * width..][..width]);
            }
        }
        let [_, height, width_of_picture] = spec.observation;
        self.playground.play.normalise().scale(&mut observations, height * width_of_picture);
        Seen { observations, count: states.len() / width.max(1), states }
    }

    /// Latents of what was seen.
    fn latents(&self, imagination: &Imagination, seen: &Seen) -> Result<Features, JudgeError> {
        let spec = self.playground.world.spec();
        let ([c, h, w], pixels) = (spec.observation, spec.pixels());
        let encoded = |chunk: &[f32]| {
            let seen = TensorData::new(chunk.to_vec(), [chunk.len() / pixels, c, h, w]);
            ops::values(pooled(imagination.model.encode(Tensor::from_data(seen, &imagination.device))))
        };
        let values: Vec<f32> = seen.observations.chunks(CHUNK * pixels).flat_map(encoded).collect();
        Ok(Features::new(seen.count, values.len() / seen.count.max(1), values)?)
    }

    /// A linear map from latents to states, fitted on play.
    pub(crate) fn reader(&self, imagination: &Imagination) -> Result<Ridge, JudgeError> {
        let seen = self.see(Split::Training, LEARNING, WINDOWS.0);
        Ok(Ridge::fit(&self.latents(imagination, &seen)?, &seen.states)?)
    }

    /// How far off the states are that a linear map reads from latents of held-out play, beside the same of the untrained
    /// network, and of always answering the mean state.
    fn places(&self, trained: &Imagination, untrained: &Imagination) -> Result<Finding, JudgeError> {
        let learnt = self.see(Split::Training, LEARNING, WINDOWS.0);
        let judged = self.see(Split::HeldOut, HELD_OUT[0], WINDOWS.1);
        let (world, width) = (&self.playground.world, self.playground.world.spec().state);
        let error = |read: &[f32]| {
            let pairs = read.chunks_exact(width).zip(judged.states.chunks_exact(width));
            pairs.map(|(read, there)| f64::from(world.distance(read, there))).sum::<f64>() / judged.count.max(1) as f64
        };
        let mut figures = Figures::new(&[FEATURES], "error", "world units", Better::Lower);
        for (features, imagination) in [(TRAINED, trained), (UNTRAINED, untrained)] {
            let reader = Ridge::fit(&self.latents(imagination, &learnt)?, &learnt.states)?;
            let read = reader.predict(&self.latents(imagination, &judged)?.values);
            figures.push([features.into()], error(&read));
        }
        let mean = |k: usize| learnt.states.iter().skip(k).step_by(width).sum::<f32>() / learnt.count.max(1) as f32;
        let mean: Vec<f32> = (0..width).map(mean).collect();
        figures.push(["mean".into()], error(&mean.repeat(judged.count)));
        Ok(Finding::figures(
            "places",
            "Where things are",
            "Mean distance between the true state and the one that a linear map reads from latents of held-out play. Only \
             the map sees states; the network is trained without them, or not at all. `mean` always answers the mean state.",
            figures,
        ))
    }

    /// Held-out windows whose continuation is foretold.
    fn foretold(&self) -> Vec<Window> {
        (0..FORETOLD).map(|i| self.playground.play.window(Split::HeldOut, HELD_OUT[1], i)).collect()
    }
}

/// What comes next in recorded episodes, and what the energy tells apart.
fn recorded(episodes: &Episodes, trained: &Imagination, untrained: &Imagination) -> Result<Vec<Finding>, JudgeError> {
    let windows = episodes.held_out_stretches(trained.model.history() + AHEAD, FORETOLD as usize);
    following(trained, untrained, &windows)
}

/// What comes next in these windows, and what the energy tells apart.
fn following(trained: &Imagination, untrained: &Imagination, windows: &[Window]) -> Result<Vec<Finding>, JudgeError> {
    let mut found = vec![forecast(trained, untrained, windows)?];
    found.extend(energy::energy(trained, untrained, windows));
    Ok(found)
}

/// Errors by horizon, beside copying and the mean. The untrained predictor's errors stand beside them where its latents are the same, so that
/// they can be compared.
fn forecast(trained: &Imagination, untrained: &Imagination, windows: &[Window]) -> Result<Finding, JudgeError> {
    let forecast = Forecast::of(trained, windows)?;
    let mut figures = Figures::new(&["ahead", "of"], "error", "", Better::Lower).along("ahead");
    let mut all = vec![("model", &forecast.model), ("last observation", &forecast.copy_last), ("mean", &forecast.mean)];
    let fresh = trained.model.latents_are_given().then(|| Forecast::of(untrained, windows)).transpose()?;
    all.extend(fresh.as_ref().map(|fresh| ("untrained", &fresh.model)));
    for ahead in 0..forecast.model.len() {
        for (of, errors) in &all {
            figures.push([(ahead + 1).into(), (*of).into()], errors[ahead]);
        }
    }
    let beside = if fresh.is_some() { ", and what the untrained predictor says" } else { "" };
    let lead = format!(
        "{} of predicted latents, by steps ahead, over {} held-out windows. The model is given the actions \
         and sees nothing on the way. Beside it: the latent of the last observation, and the mean of all latents{beside}.",
        trained.model.energy_name(),
        forecast.windows
    );
    Ok(Finding::figures("forecast", "What comes next", &lead, figures))
}
