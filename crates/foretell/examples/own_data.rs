//! A kind of data of one's own, signals, with a system over it: from one half of a signal predict the code of the other.
//! `cargo run --release --example own_data -- RUN`

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell::data::random::{Stream, rng};
use foretell::data::{
    Collate, DataError, Decision, Description, Factor, Meta, Modality, Opening, Part, Unit, check_batch,
};
use foretell::eval::Pool;
use foretell::jepa::sigreg::{directions, sigreg};
use foretell::jepa::{Clock, Kept, Latents, Objective, Outcome};
use foretell::nn::layers::Linear;
use foretell::nn::{Encode, Init, NamedTensors, Tokens, WeightsError, weights};
use foretell::ops::{self, Sets};
use foretell::systems::{Of, On, Row, State, System, SystemError};
use foretell::train::Learner;
use foretell::{Error, Steps};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Values of half a signal, L.
const HALF: usize = 32;
/// Width of a code, D.
const WIDTH: usize = 32;
/// What a signal is called, by its label.
const FORMS: [&str; 3] = ["sine", "square", "saw"];

// ---- The kind of data: what lies in files, what is generated, what a sample is.

/// Signals of 2 L values.
struct Signals {
    /// Those of a file; none where they are generated.
    read: Vec<Vec<f32>>,
    generated: [usize; 2],
    factors: Vec<Factor>,
}

/// `[data]` of a recipe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct SignalsConfig {
    /// A text file with a signal on each line; empty for generated signals.
    path: String,
}

impl Signals {
    fn read(path: &Path) -> Result<Vec<Vec<f32>>, DataError> {
        let wrong = |what: String| DataError::Setting(format!("the signals in `{}`: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let line = |(number, line): (usize, &str)| {
            let values: Option<Vec<f32>> = line.split_whitespace().map(|value| value.parse().ok()).collect();
            values
                .filter(|values| values.len() == 2 * HALF)
                .ok_or_else(|| wrong(format!("line {} holds no signal: expected {} numbers", number + 1, 2 * HALF)))
        };
        text.lines().enumerate().map(line).collect()
    }

    /// The form of a generated signal.
    fn form(index: usize) -> usize {
        index % FORMS.len()
    }

    /// A generated signal: a wave of some length, phase and noise.
    fn generate(part: Part, index: usize) -> Vec<f32> {
        let mut rng = rng(0, Stream::Scene, u64::from(part == Part::HeldOut), index as u64);
        let (length, phase) = (rng.random_range(8.0..24.0_f32), rng.random::<f32>());
        let value = |t: usize| {
            let turn = (t as f32 / length + phase).fract();
            let clean = match Self::form(index) {
                0 => (turn * std::f32::consts::TAU).sin(),
                1 => (turn - 0.5).signum(),
                _ => 2.0 * turn - 1.0,
            };
            clean + 0.3 * (rng.random::<f32>() - 0.5)
        };
        (0..2 * HALF).map(value).collect()
    }
}

impl Modality for Signals {
    type Config = SignalsConfig;
    type Sample = Vec<f32>;
    const UNIT: Unit = Unit { one: "signal", many: "signals" };
    const BASELINE: &'static str = "values";

    fn open(config: &mut SignalsConfig, opening: &mut Opening<'_>) -> Result<Self, DataError> {
        if !config.path.is_empty() {
            return Self::of_paths(config, &[PathBuf::from(&config.path)]);
        }
        check_batch::<Self>(2000, opening.batch)?;
        let forms = FORMS.iter().map(ToString::to_string).collect();
        let factors = vec![Factor { name: "form".to_owned(), classes: forms }];
        Ok(Self { read: Vec::new(), generated: [2000, 500], factors })
    }

    fn of_paths(_: &SignalsConfig, paths: &[PathBuf]) -> Result<Self, DataError> {
        let read = paths.iter().map(|path| Self::read(path)).collect::<Result<Vec<_>, _>>()?.concat();
        Ok(Self { read, generated: [0, 0], factors: Vec::new() })
    }

    fn elsewhere(_: &SignalsConfig, path: &str) -> SignalsConfig {
        SignalsConfig { path: path.to_owned() }
    }

    fn source(config: &SignalsConfig) -> String {
        if config.path.is_empty() { "generated signals".to_owned() } else { config.path.clone() }
    }

    fn recognises(path: &Path) -> bool {
        path.extension().is_some_and(|end| end == "signals")
    }

    fn describe(&self) -> Description {
        let [train, held_out] = [Part::Train, Part::HeldOut].map(|part| self.len(part).unwrap_or(0));
        Description { factors: self.factors.clone(), ..Description::of::<Self>("waves", train, held_out) }
    }

    fn factors(&self) -> &[Factor] {
        &self.factors
    }

    fn len(&self, part: Part) -> Option<usize> {
        Some(match part {
            Part::Train => self.read.len() + self.generated[0],
            Part::HeldOut => self.generated[1],
        })
    }

    fn meta(&self, _: Part, index: usize) -> Result<Meta, DataError> {
        let labels = if self.factors.is_empty() { Vec::new() } else { vec![Self::form(index) as u32] };
        Ok(Meta { name: format!("signal {index}"), labels, ..Meta::default() })
    }

    fn load(&self, part: Part, index: usize) -> Result<Vec<f32>, DataError> {
        Ok(self.read.get(index).cloned().unwrap_or_else(|| Self::generate(part, index)))
    }

    fn baseline(&self, sample: &Vec<f32>) -> Vec<f32> {
        sample.clone()
    }
}

// ---- The networks, and the one that is kept.

#[derive(Module, Debug)]
struct Coder {
    inner: Linear,
    outer: Linear,
}

impl Coder {
    fn new(inputs: usize, init: &mut Init<'_>) -> Self {
        Self { inner: Linear::uniform(inputs, 128, init), outer: Linear::uniform(128, WIDTH, init) }
    }

    /// `[N, L]` → `[N, D]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.outer.forward(ops::gelu(self.inner.forward(x)))
    }
}

#[derive(Module, Debug)]
struct Networks {
    encoder: Coder,
    predictor: Coder,
}

/// Two tokens a signal: the codes of its halves.
struct Halves(Coder, Device);

/// `[2 B, L]`: the halves of one signal after those of another.
fn halves(signals: &[&Vec<f32>], device: &Device) -> Tensor<2> {
    let values: Vec<f32> = signals.iter().flat_map(|signal| signal.iter().copied()).collect();
    Tensor::from_data(TensorData::new(values, [2 * signals.len(), HALF]), device)
}

impl Encode<Vec<f32>> for Halves {
    fn tokens(&self, samples: &[&Vec<f32>]) -> Tokens {
        let rows = self.0.forward(halves(samples, &self.1));
        Tokens { rows, sets: Sets::uniform(samples.len(), 2), grid: None }
    }
    fn width(&self) -> usize {
        WIDTH
    }
    fn state(&self) -> NamedTensors {
        weights::read(&self.0, "")
    }
    fn load(&mut self, tensors: NamedTensors) -> Result<(), WeightsError> {
        self.0 = weights::load_whole(self.0.clone(), tensors)?;
        Ok(())
    }
    fn network(&self) -> &dyn Any {
        &self.0
    }
}

// ---- The objective: ‖p(f(first half)) − f(second half)‖², and SIGReg, so that codes do not shrink to a point.

struct WhatFollows {
    config: WhatFollowsConfig,
    seed: u64,
    device: Device,
}

/// A batch is its signals: there is nothing to draw.
struct AsTheyAre;

impl Collate for AsTheyAre {
    type Sample = Vec<f32>;
    type Batch = Vec<Vec<f32>>;
    fn collate(&self, _: u64, samples: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, DataError> {
        Ok(samples.to_vec())
    }
}

impl Objective for WhatFollows {
    type Sample = Vec<f32>;
    type Batch = Vec<Vec<f32>>;
    type Networks = Networks;

    fn collator(&self) -> Arc<dyn Collate<Sample = Vec<f32>, Batch = Vec<Vec<f32>>>> {
        Arc::new(AsTheyAre)
    }

    fn loss(&self, networks: &Networks, batch: &Vec<Vec<f32>>, clock: &Clock) -> Outcome {
        let signals: Vec<&Vec<f32>> = batch.iter().collect();
        let codes = networks.encoder.forward(halves(&signals, &self.device)).reshape([batch.len(), 2, WIDTH]);
        let [first, second] = [0, 1].map(|half| codes.clone().narrow(1, half, 1).squeeze_dim::<2>(1));
        let predicted = networks.predictor.forward(first);
        let error = (predicted.clone() - second.clone()).square().mean();
        let spread = sigreg(codes.swap_dims(0, 1), &directions(self.seed, clock.step, WIDTH, 64));
        let terms = vec![("error", error.clone().inner()), ("sigreg", spread.clone().inner())];
        let latents = || Latents { predictions: predicted.inner(), targets: second.inner() };
        let loss = error + spread * self.config.sigreg;
        Outcome { loss, terms, latents: clock.health_due.then(latents), seen: Vec::new() }
    }

    fn kept(&self, networks: &Networks) -> Kept<Vec<f32>> {
        Kept { encoder: Box::new(Halves(networks.encoder.valid(), self.device.clone())), model: None }
    }
}

// ---- The system: its settings, its row, what it builds.

/// `[model]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct WhatFollowsConfig {
    /// Weight of SIGReg; 0 collapses.
    sigreg: f64,
}

impl Default for WhatFollowsConfig {
    fn default() -> Self {
        Self { sigreg: 0.1 }
    }
}

static ROW: Row = Row {
    number: 0,
    name: "what-follows",
    title: "What follows",
    one_line: "the code of a signal's second half predicted from its first",
    papers: &[],
    state: State::Trains,
};

impl System for WhatFollowsConfig {
    type Data = Signals;
    const ROW: &'static Row = &ROW;

    fn init(&mut self, on: &On<'_, Signals>, _: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let device = on.learning();
        let coder = |inputs: usize, place: u64| Coder::new(inputs, &mut Init::new(&mut on.weights(place), &device));
        let networks = Networks { encoder: coder(HALF, 0), predictor: coder(WIDTH, 1) };
        let objective = WhatFollows { config: self.clone(), seed: on.seed, device: on.device.clone() };
        Ok(on.learner(objective, networks))
    }
}

fn main() -> Result<(), Error> {
    let folder = std::env::args_os().nth(1).map_or_else(|| "runs/signals".into(), PathBuf::from);
    let member = Of::<WhatFollowsConfig>::new();
    let run =
        foretell::open_member(&member, &["train.batch=64", "train.lr=0.01"])?.train(folder, Steps::Count(1000))?;
    run.findings().iter().for_each(|finding| print!("{finding}"));

    // Features of signals that lie in a file.
    let file = run.folder().join("own.signals");
    let line = |index| Signals::generate(Part::HeldOut, index).iter().map(f32::to_string).collect::<Vec<_>>().join(" ");
    let text = (0..FORMS.len()).map(line).collect::<Vec<_>>().join("\n");
    std::fs::write(&file, text).map_err(|error| Error::Failure(error.to_string()))?;
    let encoder = run.encoder()?;
    let samples = encoder.open(&[file])?;
    for (form, features) in FORMS.iter().zip(samples.features(0..samples.len(), Pool::Sample)) {
        println!("{form}: {:.3?} …", &features?[..4]);
    }
    Ok(())
}
