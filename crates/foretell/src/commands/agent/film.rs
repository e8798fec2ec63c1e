//! One episode of an agent as a page: a moving picture, and what each module says beside it.

use std::path::Path;

use foretell_eval::Picture;
use foretell_train::write_whole;
use foretell_world::agent::Note;
use foretell_world::{Episode, Trail, Trial, World};

use super::Workshop;
use crate::Error;
use crate::output::{counted, print};
use crate::report::{EpisodePage, Reading, render_episode};

/// Side of the backdrop in pixels.
const SIDE: usize = 400;

/// Writes one episode as a page.
pub(super) fn show(shop: &Workshop<'_>, file: &Path) -> Result<(), Error> {
    let Workshop { args, kept, modules, task, .. } = shop;
    let world = shop.world();
    let trial = Trial { episodes: args.episode.saturating_add(1), steps: args.steps, seed: args.seed };
    let episode = trial.task(world, args.episode);
    let Some(scene) = world.scene(&episode.layout, SIDE) else {
        return Err(Error::Misuse(format!(
            "the world {} has no picture for people: leave `--film` out",
            world.spec().name
        )));
    };
    let asked = shop.asked();
    let mut agent = shop.agent(modules, asked)?;
    let outcome = trial.play(world, &[args.episode], &mut agent)?;
    let (trail, notes) = (&outcome.trails[0], &agent.notes()[0]);
    let (end, _) = task.success(world, &episode, trail);
    let ended = if end { "well" } else { "not well" };
    let mut facts = vec![
        ("model".to_owned(), format!("{}, {}", kept.session.row().title, kept.name())),
        ("task".to_owned(), task.name().to_owned()),
        ("agent".to_owned(), shop.named(asked)),
        ("horizon".to_owned(), counted(args.horizon, "step")),
        ("ended".to_owned(), format!("{ended}, {:.1} from the goal", outcome.distance[0])),
    ];
    if world.has_hazards() {
        facts.push(("harmed".to_owned(), counted(outcome.harmed[0] as usize, "step")));
    }
    let backdrop: Vec<u8> = (0..SIDE * SIDE)
        .flat_map(|i| {
            let solid = scene.solid.get(i).copied().unwrap_or(0.0);
            let harm = scene.harmful.get(i).copied().unwrap_or(0.0);
            BACKDROP.map(|[floor, wall, lava]| {
                let ground = floor + solid * (wall - floor);
                (ground + harm * (lava - ground)) as u8
            })
        })
        .collect();
    let page = EpisodePage {
        title: format!("Episode {} of {}", args.episode, world.spec().name),
        facts,
        backdrop: Picture::rgb(SIDE, SIDE, &backdrop),
        goal: world.place(&episode.goal),
        near: scene.near,
        places: trail.states.iter().map(|state| world.place(state)).collect(),
        ahead: ahead(world, &episode, (trail, notes)),
        readings: readings(world, &episode, (trail, notes)),
    };
    write_whole(file, render_episode(&page).as_bytes())?;
    print(format_args!("episode {}: ended {ended}\npage      {}\n", args.episode, file.display()))
}

/// Red, green and blue of floor, wall and lava.
const BACKDROP: [[f32; 3]; 3] = [[247.0, 61.0, 219.0], [246.0, 66.0, 69.0], [242.0, 77.0, 51.0]];

/// The turn that each moment belongs to.
fn turn(notes: &[Note], moment: usize) -> Option<&Note> {
    notes.iter().rfind(|note| note.step <= moment as u64)
}

/// Where the plan of each moment leads, as the world has it.
fn ahead(world: &dyn World, episode: &Episode, (trail, notes): (&Trail, &[Note])) -> Vec<Vec<[f32; 2]>> {
    let led = |moment: usize| {
        let Some(note) = turn(notes, moment) else { return Vec::new() };
        let mut state = trail.states[note.step as usize].clone();
        let mut places = vec![world.place(&state)];
        for action in note.actions.chunks_exact(world.spec().action) {
            world.step(&episode.layout, &mut state, action);
            places.push(world.place(&state));
        }
        places
    };
    (0..trail.states.len()).map(led).collect()
}

/// What each module says.
fn readings(world: &dyn World, episode: &Episode, (trail, notes): (&Trail, &[Note])) -> Vec<Reading> {
    let of = |module: &str, what: &str, value: &dyn Fn(&Note) -> Option<f64>| Reading {
        module: module.to_owned(),
        what: what.to_owned(),
        values: (0..trail.states.len()).map(|moment| turn(notes, moment).and_then(value)).collect(),
    };
    let mut all = vec![
        of("Configurator", "mode", &|note| Some(f64::from(note.mode.number()))),
        of("Perception", "distance from the goal", &|note| Some(f64::from(note.percept.distance))),
    ];
    if world.has_hazards() {
        all.push(of("Perception", "hazard, as it is read", &|note| Some(f64::from(note.percept.hazard))));
        let true_hazard = |state: &Vec<f32>| Some(f64::from(world.hazard(&episode.layout, state)));
        all.push(Reading {
            module: "The world".to_owned(),
            what: "hazard, as it is".to_owned(),
            values: trail.states.iter().map(true_hazard).collect(),
        });
    }
    all.extend([
        of("Intrinsic cost", "of this moment", &|note| Some(f64::from(note.cost))),
        of("Critic", "all that is to come", &|note| note.rest.map(f64::from)),
        of("Actor", "energy of the plan", &|note| note.energy.map(f64::from)),
        of("Memory", "nearest moment, how far", &|note| note.nearest.map(|(apart, _)| f64::from(apart))),
        of("Memory", "nearest moment, steps ago", &|note| note.nearest.map(|(_, time)| (note.step - time) as f64)),
    ]);
    all
}
