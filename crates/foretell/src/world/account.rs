//! The report of a run of a world model: what it foretells, episodes where there is a world, and how to go on.

use std::path::Path;

use foretell_train::RunFolder;
use foretell_world::{Planner, Trial};

use super::OverWorld;
use super::experience::Experience;
use super::film::record;
use super::imagine::{Imaginer, Manner};
use crate::Error;
use crate::account::{report_of, write_page};
use crate::recipe::Over;
use crate::report::{Curve, Moving, Reading, Report};
use crate::session::Session;
use crate::summary::{Found, Summary};

/// Held-out episodes in a report.
const EPISODES: u64 = 3;
/// Side of their pictures in pixels, and the steps from one frame to the next.
const SIDE: usize = 260;
const STRIDE: usize = 2;
/// Steps of an episode.
const STEPS: u64 = 200;

/// Writes `report.html` of a finished run.
pub(crate) fn write_report(folder: &RunFolder, session: &Session<OverWorld>, summary: &Summary) -> Result<(), Error> {
    let (places, forecast, episodes) = match &summary.found {
        Found::World { places, forecast, .. } => (places.as_slice(), forecast, episodes(folder.path(), session)?),
        Found::Recorded { forecast, .. } => (&[][..], forecast, Vec::new()),
        Found::Images { .. } => {
            return Err(Error::Failure("the summary of a run of a world model is one over images".to_owned()));
        }
    };
    let readings =
        places.iter().map(|place| Reading { features: place.features.clone(), error: place.error }).collect();
    let points = |errors: &[f64]| errors.iter().zip(1..).map(|(error, k)| (f64::from(k), *error)).collect();
    let forecast = Curve {
        title: "error of the latent foretold".to_owned(),
        unit: "mean squared difference".to_owned(),
        series: vec![
            ("foretold".to_owned(), points(&forecast.model)),
            ("what was seen last".to_owned(), points(&forecast.copy_last)),
            ("the mean".to_owned(), points(&forecast.mean)),
        ],
        log_y: false,
    };
    let page = Report {
        readings,
        forecast: vec![forecast],
        episodes,
        commands: commands(folder, &session.data),
        ..report_of(folder, session, summary, &session.recipe.over.short_source())?
    };
    write_page(folder, &page)
}

/// The first held-out episodes, planned as `foretell plan` does if nothing is said.
fn episodes(run: &Path, session: &Session<OverWorld>) -> Result<Vec<Moving>, Error> {
    let imaginer = Imaginer::open(run, session.device.clone())?;
    let trial = Trial { episodes: EPISODES, steps: STEPS, seed: session.recipe.seed };
    let numbers: Vec<u64> = (0..EPISODES).collect();
    let Some(planner) = Planner::named(imaginer.planner()) else { return Ok(Vec::new()) };
    let films = record(&imaginer, &Manner::of(planner), &trial, &numbers)?.unwrap_or_default();
    let world = imaginer.playground.world.as_ref();
    films
        .iter()
        .map(|film| {
            Ok(Moving {
                title: format!("episode {}", film.number),
                note: film.ending(),
                side: SIDE as u32,
                gif: film.gif(world, SIDE, STRIDE)?,
            })
        })
        .collect()
}

fn commands(folder: &RunFolder, experience: &Experience) -> Vec<(String, String)> {
    let run = folder.path().display();
    let entry = |label: &str, command: String| (label.to_owned(), command);
    let mut commands = match experience {
        Experience::Play(_) => vec![
            entry("Held-out episodes with its plans", format!("foretell plan {run} --episodes 100")),
            entry("One episode as a moving picture", format!("foretell play {run} --episode 3")),
        ],
        // There is no world to plan in.
        Experience::Recorded(_) => Vec::new(),
    };
    commands.extend([
        entry("What this run holds", format!("foretell inspect {run}")),
        entry("The same run again", format!("foretell train {run}/config.toml")),
    ]);
    commands
}
