//! `foretell play`: one held-out episode as a moving picture.

use std::path::{Path, PathBuf};

use foretell_systems::Learnt;
use foretell_systems::judges::world::film::{record, record_policy};
use foretell_train::write_whole;

use super::planning::PlanningArgs;
use crate::Error;
use crate::output::print;

/// What `play` was asked.
#[derive(Debug, clap::Args)]
pub struct PlayArgs {
    #[command(flatten)]
    planning: PlanningArgs,
    /// Which held-out episode to render, from 0.
    #[arg(long, default_value_t = 0)]
    episode: u64,
    /// Where to write the GIF; by default the run's folder, or here for the built-in model.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Side of the picture in pixels.
const SIDE: usize = 390;

/// Runs the command.
pub fn play(args: &PlayArgs) -> Result<(), Error> {
    let kept = args.planning.model()?;
    let trial = args.planning.trial(args.episode.saturating_add(1));
    let (films, imagines) = match &kept.learnt {
        Learnt::Model(imaginer) => {
            let manner = args.planning.manner(imaginer)?;
            let imagines = ", orange where the model imagines that it leads";
            (record(imaginer, &manner, &trial, &[args.episode])?, imagines)
        }
        Learnt::Policy(imitator) => {
            let execution = args.planning.execution(imitator, kept.whose())?;
            (record_policy(imitator, execution, &trial, &[args.episode])?, "")
        }
    };
    let world = kept.learnt.playground().world.as_ref();
    let Some(film) = films.and_then(|mut films| films.pop()) else {
        return Err(Error::Misuse(format!(
            "the world {} has no picture for people: `foretell plan` plays in it without one",
            world.spec().name
        )));
    };
    let folder = args.out.as_deref().or(args.planning.run()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .map_err(|e| Error::Misuse(format!("cannot make the folder {}: {e}", folder.display())))?;
    let file = folder.join(format!("{}-episode-{}.gif", world.spec().name, args.episode));
    write_whole(&file, &film.gif(world, SIDE, 1)?)?;
    print(format_args!(
        "episode {}: {}\n\
         picture   {}\n\
         \x20         teal the dot and its way, green the goal, grey where the plan leads{imagines}\n",
        args.episode,
        film.ending(),
        file.display(),
    ))
}
