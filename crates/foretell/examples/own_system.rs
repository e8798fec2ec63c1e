//! A system of one's own over images, VICReg (arXiv 2105.04906), trained, evaluated and embedded as every member is:
//! `cargo run --release --example own_system -- RUN IMAGES…`

use std::{path::PathBuf, sync::Arc};

use burn::{module::Module, tensor::Device};
use foretell::data::{Augment, Collate, Decision, Images, Sample};
use foretell::jepa::views::{ViewsBatch, ViewsCollator, ViewsNetworks};
use foretell::jepa::{Clock, Kept, Latents, Objective, Outcome, vicreg};
use foretell::nn::{Backbone, Frames, layers::Pass, mlp::Activation, mlp::Projector, vit::Vit, vit::VitConfig};
use foretell::systems::{Of, On, Row, State, System, SystemError};
use foretell::{Error, Steps, eval::Pool, train::Learner};
use serde::{Deserialize, Serialize};

/// Weights of the three terms: `[model]` of its recipe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Weights {
    invariance: f64,
    variance: f64,
    covariance: f64,
}

struct VicReg(Weights, Arc<ViewsCollator>, Device);

impl Objective for VicReg {
    type Sample = Sample;
    type Batch = ViewsBatch;
    type Networks = ViewsNetworks<Vit>;
    fn collator(&self) -> Arc<dyn Collate<Sample = Sample, Batch = ViewsBatch>> {
        self.1.clone()
    }
    fn loss(&self, networks: &ViewsNetworks<Vit>, batch: &ViewsBatch, clock: &Clock) -> Outcome {
        let (Self(w, collator, device), mut seen) = (self, Vec::new());
        let features = networks.encoder.view(collator.images(batch, device), &mut Pass::Training(&mut seen));
        let codes = networks.projector.forward(features, &mut Pass::Training(&mut seen));
        let [a, b] = [0, 1].map(|view| codes.clone().narrow(0, view * batch.samples, batch.samples));
        let invariance = (a.clone() - b.clone()).square().mean();
        let variance = vicreg::variance(a.clone()) + vicreg::variance(b.clone());
        let covariance = vicreg::covariance(a.clone()) + vicreg::covariance(b.clone());
        let latents = clock.health_due.then(|| Latents { predictions: a.inner(), targets: b.inner() });
        let loss = invariance * w.invariance + variance * w.variance + covariance * w.covariance;
        Outcome { loss, terms: Vec::new(), latents, seen }
    }
    fn kept(&self, networks: &ViewsNetworks<Vit>) -> Kept<Sample> {
        let encoder = Frames::new(networks.encoder.valid(), self.1.normalise.clone(), &self.2);
        Kept { encoder: Box::new(encoder), model: None }
    }
}

impl System for Weights {
    type Data = Images;
    const ROW: &'static Row = &Row {
        number: 0,
        name: "vicreg",
        title: "VICReg",
        one_line: "codes of two views drawn together, varied and decorrelated",
        papers: &["arXiv:2105.04906"],
        state: State::Trains,
    };
    fn init(&mut self, on: &On<'_, Images>, _: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let (size, channels) = on.config.form()?;
        let vit = VitConfig { image: (size, size), patch: 4, channels, width: 96, depth: 3, heads: 3, hidden: 384 };
        let encoder = vit.init(&mut on.weights(0), &on.learning());
        let projector = Projector::new(&[96, 256, 64], Activation::Relu, &mut on.weights(1), &on.learning());
        let augment = Augment { crop_scale: (0.3, 1.0), jitter: 0.8, contrast: 0.4, ..Augment::default() };
        let views = ViewsCollator::pairs(on.seed, size, augment, on.config.normalise.clone());
        Ok(on.learner(VicReg(self.clone(), Arc::new(views), on.device.clone()), ViewsNetworks { encoder, projector }))
    }
}

fn main() -> Result<(), Error> {
    let (member, mut arguments) = (Of::<Weights>::new(), std::env::args_os().skip(1).map(PathBuf::from));
    let folder = arguments.next().unwrap_or_else(|| "runs/vicreg".into());
    let settings = ["model.invariance=25.0", "model.variance=25.0", "model.covariance=1.0", "judge.train_samples=1000"];
    let run = foretell::open_member(&member, &settings)?.train(folder, Steps::Count(40))?;
    run.findings().iter().for_each(|finding| print!("{finding}"));
    let features = run.encoder()?.open(&arguments.collect::<Vec<_>>())?.features(0..1, Pool::Sample);
    println!("{} numbers", features.into_iter().flatten().flatten().count());
    Ok(())
}
