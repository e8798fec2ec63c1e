//! The smallest run there is: points of eight numbers, an encoder with batch normalisation, a teacher that follows it, and a
//! head that learns when the rest has learnt.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Collate, DataError, Description, Meta, Modality, Opening, Part, Unit};
use foretell_jepa::{Clock, Kept, Latents, Objective, Outcome, Role, Second};
use foretell_nn::layers::{Linear, Pass};
use foretell_nn::mlp::{Activation, Projector};
use foretell_nn::{Encode, Init, NamedTensors, Tokens, WeightsError, weights};
use foretell_ops::{self as ops, Sets};
use foretell_train::{Ground, Learning};
use rand::RngExt;

/// Samples of a batch.
pub(crate) const BATCH: usize = 8;
/// Weight of the new value in the teacher.
pub(crate) const FOLLOWS: f64 = 0.25;
/// Steps of the second stage.
pub(crate) const SECOND: u64 = 4;

/// How many samples are in memory, and how many were at most.
#[derive(Default)]
pub(crate) struct Counted {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Counted {
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// Eight numbers.
pub(crate) struct Point {
    values: [f32; 8],
    counted: Arc<Counted>,
}

impl Drop for Point {
    fn drop(&mut self) {
        self.counted.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// 64 points to learn from and so many held out.
pub(crate) struct Points {
    held_out: usize,
    pub(crate) counted: Arc<Counted>,
}

impl Points {
    pub(crate) fn new(held_out: usize) -> Arc<Self> {
        Arc::new(Self { held_out, counted: Arc::default() })
    }
}

impl Modality for Points {
    type Config = usize;
    type Sample = Point;
    const UNIT: Unit = Unit { one: "point", many: "points" };
    const BASELINE: &'static str = "its numbers";

    fn open(config: &mut usize, _: &mut Opening<'_>) -> Result<Self, DataError> {
        Ok(Self { held_out: *config, counted: Arc::default() })
    }
    fn of_paths(config: &usize, _: &[PathBuf]) -> Result<Self, DataError> {
        Ok(Self { held_out: *config, counted: Arc::default() })
    }
    fn elsewhere(config: &usize, _: &str) -> usize {
        *config
    }
    fn source(_: &usize) -> String {
        "points".to_owned()
    }
    fn recognises(_: &Path) -> bool {
        false
    }
    fn describe(&self) -> Description {
        Description::of::<Self>("points", 64, self.held_out)
    }
    fn len(&self, part: Part) -> Option<usize> {
        Some(if part == Part::Train { 64 } else { self.held_out })
    }
    fn meta(&self, _: Part, index: usize) -> Result<Meta, DataError> {
        Ok(Meta { name: index.to_string(), ..Meta::default() })
    }
    fn load(&self, part: Part, index: usize) -> Result<Point, DataError> {
        let mut rng = rng(3, Stream::Play, u64::from(part == Part::HeldOut), index as u64);
        let now = self.counted.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.counted.most.fetch_max(now, Ordering::SeqCst);
        // Neither their means nor their deviations are those that fresh running averages stand for.
        Ok(Point {
            values: std::array::from_fn(|i| i as f32 + 3.0 * rng.random_range(-1.0..1.0_f32)),
            counted: Arc::clone(&self.counted),
        })
    }
    fn baseline(&self, point: &Point) -> Vec<f32> {
        point.values.to_vec()
    }
}

/// `[B, 8]` on the host.
struct Rows;

impl Collate for Rows {
    type Sample = Point;
    type Batch = Vec<f32>;

    fn collate(&self, _: u64, points: &[Point]) -> Result<Vec<f32>, DataError> {
        Ok(points.iter().flat_map(|point| point.values).collect())
    }
}

#[derive(Module, Debug)]
pub(crate) struct PointNetworks {
    encoder: Projector,
    target_encoder: Projector,
    head: Linear,
}

/// Codes of four numbers are drawn to the first four of a point and a little to the teacher's; then the head tells the others.
pub(crate) struct Codes {
    second: bool,
}

fn rows(values: &[f32]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / 8, 8]), &Device::flex())
}

impl Objective for Codes {
    type Sample = Point;
    type Batch = Vec<f32>;
    type Networks = PointNetworks;

    fn collator(&self) -> Arc<dyn Collate<Sample = Point, Batch = Vec<f32>>> {
        Arc::new(Rows)
    }

    fn loss(&self, networks: &PointNetworks, batch: &Vec<f32>, clock: &Clock) -> Outcome {
        let (x, samples) = (rows(batch), batch.len() / 8);
        if clock.step > clock.total {
            let codes = networks.encoder.valid().forward(x.clone(), &mut Pass::Evaluation);
            let loss = ops::l2(networks.head.forward(codes), x.narrow(1, 4, 4));
            return Outcome { loss, terms: Vec::new(), latents: None, seen: Vec::new() };
        }
        let mut seen = Vec::new();
        let codes = networks.encoder.forward(x.clone(), &mut Pass::Training(&mut seen));
        let target = networks.target_encoder.valid().forward(x.clone(), &mut Pass::Evaluation);
        let latents = clock.health_due.then(|| Latents { predictions: codes.clone().inner(), targets: target.clone() });
        let away = ops::l2(codes.clone(), target);
        assert_eq!(codes.dims(), [samples, 4]);
        let terms = vec![("away", away.clone().inner())];
        Outcome { loss: ops::l2(codes, x.narrow(1, 0, 4)) + away * 0.1, terms, latents, seen }
    }

    fn role<'a>(&self, name: &'a str, _: &Clock) -> Role<'a> {
        match name.strip_prefix("target_encoder.") {
            Some(rest) => Role::Follows { of: format!("encoder.{rest}").into(), weight: FOLLOWS },
            None => Role::LEARNS,
        }
    }

    fn kept(&self, networks: &PointNetworks) -> Kept<Point> {
        Kept { encoder: Box::new(Coder(networks.encoder.valid())), model: None }
    }

    fn second(&self) -> Option<Second> {
        self.second.then_some(Second { name: "head", steps: SECOND, lr: 1e-2, weight_decay: 0.0, clip: 2.0 })
    }
}

/// What is kept.
struct Coder(Projector);

impl Encode<Point> for Coder {
    fn tokens(&self, points: &[&Point]) -> Tokens {
        let values: Vec<f32> = points.iter().flat_map(|point| point.values).collect();
        let rows = self.0.forward(rows(&values), &mut Pass::Evaluation);
        Tokens { rows, sets: Sets::uniform(points.len(), 1), grid: None }
    }
    fn width(&self) -> usize {
        4
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

/// What fresh networks predict of points `[B, 8]`, row-major, with a batch's own statistics, and what it is held against, `[B, 4]` each.
pub(crate) fn predicted(values: &[f32]) -> [Vec<f32>; 2] {
    let PointNetworks { encoder, target_encoder, .. } = networks();
    let codes = encoder.valid().forward(rows(values), &mut Pass::Training(&mut Vec::new()));
    [codes, target_encoder.forward(rows(values), &mut Pass::Evaluation)].map(ops::values)
}

/// A fresh run over these points, or over none; with a second stage or without.
pub(crate) fn learning(data: Option<Arc<Points>>, second: bool) -> Learning<Codes, Points> {
    let ground = Ground { data, batch: BATCH, seed: 5, threads: 1, device: Device::flex() };
    Learning::new(Codes { second }, networks(), ground)
}

fn networks() -> PointNetworks {
    let (device, mut weights) = (Device::flex().autodiff(), rng(2, Stream::Init, 0, 0));
    let encoder = Projector::new(&[8, 16, 4], Activation::Relu, &mut weights, &device);
    // The same values, in parameters of its own.
    let target = Projector::new(&[8, 16, 4], Activation::Relu, &mut rng(2, Stream::Init, 0, 0), &device);
    let head = Linear::uniform(4, 4, &mut Init::new(&mut weights, &device));
    PointNetworks { target_encoder: target.valid(), encoder, head }
}
