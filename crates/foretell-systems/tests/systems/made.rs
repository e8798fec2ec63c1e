//! What systems are built for in these tests: scenes, play and episodes of small sizes.

use std::sync::Arc;

use burn::tensor::Device;
use foretell_data::{Auto, Dataset, Images, ImagesConfig, Modality, Normalise, OnBadSample, ScenesConfig};
use foretell_jepa::Kept;
use foretell_jepa::dynamics::TrainedModel;
use foretell_systems::{On, System};
use foretell_train::{Learner, Which};
use foretell_world::{EpisodesSettings, ExperienceConfig, Imagination};

/// Generated scenes, and settings as a run that opened them would have resolved them.
pub(crate) fn scenes(size: usize, train: usize, held_out: usize) -> (Arc<Images>, ImagesConfig) {
    let dataset = Dataset::scenes(&ScenesConfig { size, train, held_out, seed: 0 });
    let normalise = Normalise::measure(&dataset, size, 1, OnBadSample::Fail).unwrap();
    let config = ImagesConfig { image_size: Auto::Value(size), normalise, ..ImagesConfig::default() };
    (Arc::new(Images::of(dataset, &config).unwrap()), config)
}

/// Settings of recorded episodes that nobody opens: observations `[3, side, side]`, so many numbers in an action block.
pub(crate) fn recorded(side: usize, action: usize) -> ExperienceConfig {
    ExperienceConfig::Episodes(EpisodesSettings {
        observation: vec![3, side, side],
        frameskip: Auto::Value(1),
        normalise: Normalise::nothing(3),
        normalise_actions: Normalise { mean: vec![1.0; action], std: vec![2.0; action] },
        ..EpisodesSettings::default()
    })
}

/// A run of so many steps as a system is built for it.
pub(crate) struct Bench<D: Modality> {
    pub(crate) data: Option<Arc<D>>,
    pub(crate) config: D::Config,
    pub(crate) seed: u64,
    pub(crate) steps: u64,
    pub(crate) batch: usize,
    pub(crate) device: Device,
}

impl<D: Modality> Bench<D> {
    pub(crate) fn new(data: Option<Arc<D>>, config: D::Config, (steps, batch): (u64, usize)) -> Self {
        Self { data, config, seed: 3, steps, batch, device: Device::flex() }
    }

    pub(crate) fn on(&self) -> On<'_, D> {
        let Self { data, config, seed, steps, batch, device } = self;
        On { data: data.as_ref(), config, seed: *seed, steps: *steps, batch: *batch, threads: 1, device }
    }

    /// A learner of the system.
    pub(crate) fn learner<S: System<Data = D>>(&self, system: &S) -> Box<dyn Learner> {
        system.clone().init(&self.on(), &mut Vec::new()).unwrap()
    }

    /// Why the system cannot be built.
    pub(crate) fn refusal<S: System<Data = D>>(&self, system: &S) -> String {
        let error = system.clone().init(&self.on(), &mut Vec::new()).err().expect("refused").to_string();
        assert_eq!(error.lines().count(), 1, "one sentence: {error}");
        error
    }
}

/// What was learnt of a world, as a planner takes it.
pub(crate) fn imagination(learner: &dyn Learner, which: Which, block: usize) -> Imagination {
    let kept: Kept<foretell_data::Window> = *learner.kept(which).downcast().expect("it learns from windows");
    let model = kept.model.expect("a model of a world is kept").downcast::<TrainedModel>();
    Imagination::of(*model.expect("to plan with"), block)
}
