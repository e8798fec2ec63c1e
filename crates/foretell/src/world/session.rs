//! The objectives of world models, and how they are run and judged.

use std::time::Duration;

use foretell_data::{Material, Window};
use foretell_jepa::dynamics::{Dynamics, Networks, Recurrent};
use foretell_jepa::systems::WorldSetting;
use foretell_jepa::systems::eb_jepa::ActorConfig;
use foretell_jepa::systems::le_wm::LeWm;
use foretell_jepa::{Decision, Objective};
use foretell_nn::{NamedTensors, weights};
use foretell_train::{RunFolder, write_whole};
use foretell_world::{Imagination, learn_actor};

use super::episodes::episodes;
use super::experience::Experience;
use super::judge::{self, Judgement};
use super::recipe::{Model, OverWorld};
use crate::Error;
use crate::findings::RUN;
use crate::interrupt::STOP;
use crate::progress::Progress;
use crate::recipe::{Over, Recipe};
use crate::run::run;
use crate::session::{Concluded, Evaluated, Session, Subject};
use crate::summary::Summary;

/// The objectives that the loop can be given.
#[expect(clippy::large_enum_variant, reason = "a run holds two of them, and moves them a few times")]
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
    /// A fresh objective for these numbers.
    pub fn objective(&self, setting: &WorldSetting) -> Result<AnyDynamics, Error> {
        Ok(match &self.over.model {
            Model::EbJepa(config) => AnyDynamics::Recurrent(config.init(setting)?),
            Model::LeWm(config) => AnyDynamics::LeWm(config.init(setting)?),
        })
    }
}

impl Subject for OverWorld {
    type Data = Experience;
    type Sample = Window;
    type Objective = AnyDynamics;

    fn open(recipe: &mut Recipe<Self>, decisions: &mut Vec<Decision>, _cores: usize) -> Result<Experience, Error> {
        let Self { experience, model } = &mut recipe.over;
        experience.open(model, recipe.seed, decisions)
    }

    fn resolve(session: &mut Session<Self>, steps: u64) -> Result<(), Error> {
        session.recipe.train.resolve(steps, session.cores, &mut session.decisions);
        Ok(())
    }

    fn minutes(&self) -> f64 {
        10.0
    }

    fn material(session: &Session<Self>) -> Box<dyn Material<Sample = Window> + '_> {
        session.data.material()
    }

    fn objective(session: &Session<Self>, _steps: u64) -> Result<AnyDynamics, Error> {
        session.recipe.objective(&session.data.setting(session.recipe.seed, &session.device))
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

    fn format(session: &Session<Self>) -> String {
        session.data.kind().to_owned()
    }

    fn facts(session: &Session<Self>) -> Result<Vec<(&'static str, String)>, Error> {
        let (steps, batch) = (session.recipe.steps()?, session.recipe.train.batch);
        let mut facts = session.data.facts();
        facts.push(("steps", format!("{steps} of {batch} windows")));
        Ok(facts)
    }

    fn next(session: &Session<Self>) -> Vec<(String, String)> {
        let entry = |label: &str, command: String| (label.to_owned(), command);
        let same = entry("The same with another seed", format!("foretell train {RUN}/config.toml --seed 1"));
        let held = entry("What this run holds", format!("foretell inspect {RUN}"));
        match &session.data {
            Experience::Play(_) => vec![
                entry(
                    "Held-out episodes with its plans, beside controls",
                    format!("foretell plan {RUN} --episodes 100"),
                ),
                entry("One episode as a moving picture", format!("foretell play {RUN} --episode 3")),
                held,
                same,
            ],
            // There is no world to plan in.
            Experience::Recorded(_) => {
                let system = session.recipe.over.system();
                let world = format!("foretell train {system} --world two-rooms");
                vec![held, same, entry("A model of a world, where it can plan", world)]
            }
        }
    }
}

/// The networks in evaluation mode, with an actor that has learnt if they are to have one. `None` if it was stopped.
fn with_actor<N: Networks>(objective: &Dynamics<N>, session: &Session<OverWorld>) -> Result<Option<N>, Error> {
    let recipe = &session.recipe;
    let Some(config) = recipe.over.model.actor() else { return Ok(Some(objective.model())) };
    let config = ActorConfig { steps: config.steps.min(recipe.steps()?), ..config };
    let (material, mut progress) = (session.data.material(), Progress::new(config.steps, "actor", ""));
    let mut done = |step| progress.at(step, String::new);
    let size = (recipe.train.batch, recipe.seed);
    Ok(learn_actor(objective, material.as_ref(), &config, size, &STOP, &mut done)?)
}

impl<N: Networks + Sync> Concluded<OverWorld> for Dynamics<N> {
    fn conclude(
        &self,
        untrained: &Self,
        session: &Session<OverWorld>,
        folder: &RunFolder,
    ) -> Result<Option<Evaluated>, Error> {
        let Some(networks) = with_actor(self, session)? else { return Ok(None) };
        write_whole(&folder.model(), &weights::to_bytes(&weights::read(&networks, "")))?;
        let block = session.data.frameskip();
        let trained = Imagination::with(networks, &self.collator, block, &self.device);
        let untrained = Imagination::of(untrained, block);
        let findings = match &session.data {
            Experience::Play(playground) => {
                let judgement = Judgement { playground };
                vec![
                    judgement.places(&trained, &untrained)?,
                    judgement.forecast(&trained)?,
                    episodes(folder.path(), session)?,
                ]
            }
            Experience::Recorded(episodes) => vec![judge::recorded(episodes, &trained)?],
        };
        Ok(Some(Evaluated { findings, skipped: Vec::new() }))
    }
}
