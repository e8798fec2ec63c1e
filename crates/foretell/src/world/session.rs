//! A world opened, and the objectives that learn from play in it.

use std::sync::Arc;
use std::time::Duration;

use burn::tensor::Device;
use foretell_data::{Material, Window};
use foretell_jepa::dynamics::{Dynamics, Networks, Recurrent};
use foretell_jepa::systems::WorldSetting;
use foretell_jepa::systems::eb_jepa::{EbJepaConfig, ReachConfig};
use foretell_jepa::systems::le_wm::LeWm;
use foretell_jepa::{Decision, Objective};
use foretell_nn::{NamedTensors, weights};
use foretell_train::{RunFolder, write_whole};
use foretell_world::{Explore, Imagination, Play, World};

use super::account::write_report;
use super::judge::Judgement;
use super::recipe::{Model, OverWorld};
use crate::Error;
use crate::recipe::Recipe;
use crate::run::run;
use crate::session::{Concluded, Session, Subject};
use crate::summary::{Found, Summary};

/// A world, and play in it.
pub struct Playground {
    /// The world.
    pub world: Arc<dyn World>,
    /// Normalised as the run has it.
    pub play: Play,
}

impl Playground {
    /// The world and the play of these settings; means and deviations are measured if they are not there yet.
    pub fn open(over: &OverWorld, seed: u64) -> Result<Self, Error> {
        let world = over.world.init()?;
        let mut play = Play::new(Arc::clone(&world), over.play.config(), seed)?;
        if !over.play.normalise.mean.is_empty() {
            play = play.normalised_as(over.play.normalise.clone(), over.play.actions.clone());
        }
        Ok(Self { world, play })
    }
}

/// The objectives that the loop can be given.
pub enum AnyDynamics {
    /// EB-JEPA.
    Recurrent(Recurrent),
    /// LeWorldModel.
    LeWm(LeWm),
}

/// Runs `$body` with `$objective` bound to the objective inside.
#[macro_export]
macro_rules! with_dynamics {
    ($any:expr, |$objective:ident| $body:expr) => {
        match $any {
            $crate::world::session::AnyDynamics::Recurrent($objective) => $body,
            $crate::world::session::AnyDynamics::LeWm(foretell_jepa::systems::le_wm::LeWm::Conv($objective)) => $body,
            $crate::world::session::AnyDynamics::LeWm(foretell_jepa::systems::le_wm::LeWm::Vit($objective)) => $body,
        }
    };
}

impl AnyDynamics {
    /// The model inside, with these tensors, as a planner takes it.
    pub fn imagination(self, tensors: NamedTensors, block: usize) -> Result<Imagination, Error> {
        with_dynamics!(self, |objective| Ok(Imagination::of(&objective.with_state(tensors)?, block)))
    }
}

impl Recipe<OverWorld> {
    /// A fresh objective for this world.
    pub fn objective(&self, world: &dyn World, device: &Device) -> Result<AnyDynamics, Error> {
        let (spec, play) = (world.spec(), &self.over.play);
        let setting = WorldSetting {
            observation: spec.observation,
            action: play.frameskip * spec.action,
            normalise: play.normalise.clone(),
            actions: play.actions.clone(),
            seed: self.seed,
            device: device.clone(),
        };
        Ok(match &self.over.model {
            Model::EbJepa(config) => AnyDynamics::Recurrent(config.init(&setting)?),
            Model::LeWm(config) => AnyDynamics::LeWm(config.init(&setting)?),
        })
    }
}

impl Subject for OverWorld {
    type Data = Playground;
    type Sample = Window;
    type Objective = AnyDynamics;

    fn open(recipe: &mut Recipe<Self>, _: &mut Vec<Decision>, _cores: usize) -> Result<Playground, Error> {
        let mut playground = Playground::open(&recipe.over, recipe.seed)?;
        if let Model::EbJepa(EbJepaConfig { terms, reach: ReachConfig { layouts, episodes, places, .. }, .. }) =
            recipe.over.model
            && terms.reach > 0.0
        {
            let steps = recipe.over.play.episode;
            playground.play = playground.play.explored(Explore { layouts, episodes, steps, places })?;
        }
        recipe.over.play.normalise = playground.play.normalise().clone();
        recipe.over.play.actions = playground.play.actions().clone();
        Ok(playground)
    }

    fn resolve(session: &mut Session<Self>, steps: u64) -> Result<(), Error> {
        session.recipe.train.resolve(steps, session.cores, &mut session.decisions);
        Ok(())
    }

    fn minutes(&self) -> f64 {
        10.0
    }

    fn material(session: &Session<Self>) -> Box<dyn Material<Sample = Window> + '_> {
        Box::new(session.data.play.clone())
    }

    fn objective(session: &Session<Self>, _steps: u64) -> Result<AnyDynamics, Error> {
        session.recipe.objective(session.data.world.as_ref(), &session.device)
    }

    fn time(session: &Session<Self>, objective: AnyDynamics, limit: Duration) -> Result<f64, Error> {
        with_dynamics!(objective, |objective| session.time(objective, limit))
    }

    fn run(session: &Session<Self>, both: [AnyDynamics; 2], folder: &RunFolder) -> Result<Option<Summary>, Error> {
        match both.into() {
            (AnyDynamics::Recurrent(a), AnyDynamics::Recurrent(b)) => run(a, b, folder, session),
            (AnyDynamics::LeWm(LeWm::Conv(a)), AnyDynamics::LeWm(LeWm::Conv(b))) => run(a, b, folder, session),
            (AnyDynamics::LeWm(LeWm::Vit(a)), AnyDynamics::LeWm(LeWm::Vit(b))) => run(a, b, folder, session),
            _ => Err(Error::Failure("one recipe made two different objectives".to_owned())),
        }
    }

    fn format(_: &Session<Self>) -> String {
        "generated play".to_owned()
    }

    fn facts(session: &Session<Self>) -> Result<Vec<(&'static str, String)>, Error> {
        let (recipe, spec) = (&session.recipe, session.data.world.spec());
        let [channels, height, width] = spec.observation;
        let (steps, batch, play) = (recipe.steps()?, recipe.train.batch, &recipe.over.play);
        let mut facts = vec![
            ("seen", format!("{channels} × {height} × {width}, actions of {} numbers", spec.action)),
            ("play", format!("{} observations of episodes of {}, no episode twice", play.window, play.episode)),
            ("steps", format!("{steps} of {batch} windows")),
        ];
        if let Some(Explore { layouts, episodes, .. }) = session.data.play.explores() {
            facts.insert(2, ("explored", format!("{layouts} layouts first, {episodes} episodes in each")));
        }
        Ok(facts)
    }
}

impl<N: Networks + Sync> Concluded<OverWorld> for Dynamics<N> {
    fn conclude(
        &self,
        untrained: &Self,
        session: &Session<OverWorld>,
        folder: &RunFolder,
        rate: f64,
    ) -> Result<(Found, Vec<String>), Error> {
        write_whole(&folder.model(), &weights::to_bytes(&self.state()))?;
        let block = session.recipe.over.play.frameskip;
        let [trained, untrained] = [self, untrained].map(|objective| Imagination::of(objective, block));
        let judgement = Judgement { playground: &session.data };
        let places = judgement.places(&trained, &untrained)?;
        Ok((Found::World { windows_per_s: rate, places, forecast: judgement.forecast(&trained)? }, Vec::new()))
    }

    fn report(
        &self,
        _untrained: &Self,
        session: &Session<OverWorld>,
        folder: &RunFolder,
        summary: &Summary,
    ) -> Result<(), Error> {
        write_report(folder, session, summary)
    }
}
