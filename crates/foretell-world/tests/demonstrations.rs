//! Demonstrations: a function of seed and number, and windows of them that end where they end.

use std::sync::Arc;

use foretell_data::{Modality, Opening, Part};
use foretell_world::{
    DemonstrationSettings, Experience, ExperienceConfig, ExploreSettings, Play, PlayConfig, PlaySettings, Split, World,
    WorldConfig,
};

const EPISODE: usize = 60;

fn world() -> Arc<dyn World> {
    WorldConfig::two_rooms(16).init().unwrap()
}

fn shown(episodes: usize, noise: f64, padded: bool, seed: u64) -> Play {
    let config = PlayConfig { episode: EPISODE, window: 5, frameskip: 2 };
    let settings = DemonstrationSettings { episodes, noise, hold: 3 };
    Play::new(world(), config, seed).unwrap().demonstrated(settings, padded).unwrap()
}

#[test]
fn they_are_a_function_of_seed_and_number_and_experts_get_there() {
    let (few, many) = (shown(6, 0.1, true, 3), shown(20, 0.1, true, 3));
    let (few, many) = (few.demonstrations().unwrap(), many.demonstrations().unwrap());
    let count = few.windows(Split::Training);
    assert!(count > 30 && many.windows(Split::Training) > count, "{count}");
    // The first six of twenty are the six.
    assert!((0..count).all(|i| few.window(Split::Training, i) == many.window(Split::Training, i)));
    let other = shown(6, 0.1, true, 4);
    assert_ne!(other.demonstrations().unwrap().window(Split::Training, 0), few.window(Split::Training, 0));
    assert_ne!(few.window(Split::HeldOut, 0), few.window(Split::Training, 0));
    let [all, reached, held_out] = many.counts();
    assert!(all == 20 && reached >= 18 && held_out == 10, "{reached} of {all}");
    // Another noise is another way from the same start.
    let quiet = shown(6, 0.0, true, 3);
    let quiet = quiet.demonstrations().unwrap().window(Split::Training, 0);
    let loud = few.window(Split::Training, 0);
    assert_eq!((&quiet.states[..2], &quiet.goal), (&loud.states[..2], &loud.goal));
    assert_ne!(quiet.actions, loud.actions);
}

#[test]
fn padded_windows_begin_at_every_step_and_end_with_their_demonstration() {
    let (world, play) = (world(), shown(4, 0.0, true, 3));
    let demonstrations = play.demonstrations().unwrap();
    let windows: Vec<_> =
        (0..demonstrations.windows(Split::Training)).map(|i| demonstrations.window(Split::Training, i)).collect();
    let pixels = world.spec().pixels();
    for window in &windows {
        let there = window.frames - window.padded;
        assert_eq!((window.frames, window.goal.len(), window.padded < 4), (5, pixels, true));
        // Two actions lead from one observation to the next; the walls are no part of a state, so only the plain ones are tried again.
        assert!(window.actions[(there - 1) * 4..].iter().all(|x| *x == 0.0));
        assert!(window.observations[there * pixels..].iter().all(|x| *x == 0.0));
        assert!(window.observations[(there - 1) * pixels..there * pixels].iter().any(|x| *x != 0.0));
    }
    let padded: Vec<usize> = windows.iter().map(|window| window.padded).collect();
    // Of each demonstration the last windows have ever fewer observations: two steps a block.
    assert_eq!(padded.iter().filter(|padded| **padded == 3).count(), 2 * 4, "{padded:?}");
    // Within demonstrations alone there are fewer windows, none is padded, and nobody asks for anything.
    let within = shown(4, 0.0, false, 3);
    let within = within.demonstrations().unwrap();
    assert_eq!(within.windows(Split::Training), padded.iter().filter(|padded| **padded == 0).count());
    let first = within.window(Split::Training, 0);
    assert_eq!((first.padded, first.goal.len(), &first.observations), (0, 0, &windows[0].observations));
    let moment = within_moment(&shown(4, 0.0, false, 3));
    assert_eq!(moment, within_moment(&shown(4, 0.0, true, 3)), "moments are of whole demonstrations");
}

fn within_moment(play: &Play) -> foretell_world::Moment {
    play.moment(Split::Training, (3, 5), 10)
}

#[test]
fn a_run_learns_from_all_of_them_and_what_cannot_be_is_refused_in_a_sentence() {
    let open = |settings: PlaySettings| {
        let mut config = ExperienceConfig::Play(settings);
        let mut opening = Opening { seed: 3, batch: 4, threads: 1, decisions: &mut Vec::new() };
        Experience::open(&mut config, &mut opening).map(|data| (data, config))
    };
    let settings = PlaySettings {
        world: WorldConfig::two_rooms(16),
        episode: EPISODE,
        window: 5,
        demonstrations: DemonstrationSettings { episodes: 6, ..DemonstrationSettings::default() },
        padded: true,
        ..PlaySettings::default()
    };
    let (data, config) = open(settings.clone()).unwrap();
    let count = data.len(Part::Train).unwrap();
    assert!(count > 30 && data.len(Part::HeldOut).unwrap() > count, "six to learn from, ten held out");
    assert!(data.load(Part::Train, count).unwrap_err().to_string().contains(&count.to_string()));
    assert_eq!((data.describe().train, data.describe().endless), (count, false));
    assert!(data.describe().to_string().contains("6 to learn from"), "{}", data.describe());
    // Each window once in an epoch.
    let data = Arc::new(data);
    let batches = data.training(4, 3).unwrap();
    let mut seen: Vec<Vec<f32>> = Vec::new();
    for step in 1..=(count / 4) as u64 {
        seen.extend(batches.batch(step).unwrap().into_iter().map(|window| window.states));
    }
    let met = seen.len();
    seen.sort_by(|a, b| a.partial_cmp(b).unwrap());
    seen.dedup();
    assert!(seen.len() + 2 >= met, "{} of {met} are different: two may stand still", seen.len());
    // Means of what was seen and done, without the zeros beyond the end.
    let ExperienceConfig::Play(measured) = config else { panic!("it is played") };
    assert_eq!((measured.normalise.mean.len(), measured.actions.mean.len()), (2, 2));
    let (again, _) =
        open(PlaySettings { normalise: measured.normalise, actions: measured.actions, ..settings.clone() }).unwrap();
    assert_eq!(again.load(Part::Train, 7).unwrap(), data.load(Part::Train, 7).unwrap());

    let explore = ExploreSettings { layouts: 3, ..ExploreSettings::default() };
    let loud = DemonstrationSettings { noise: 2.0, ..settings.demonstrations };
    for (settings, words) in [
        (
            PlaySettings { explore, ..settings.clone() },
            ["`data.demonstrations.episodes` is 6", "`data.explore.layouts` is 3"],
        ),
        (PlaySettings { demonstrations: loud, ..settings.clone() }, ["`noise` of 0 to 1", "found 6 and 2"]),
        (
            PlaySettings { window: 59, padded: false, ..settings },
            ["window of 59 observations", "`data.window` shorter"],
        ),
    ] {
        let said = open(settings).err().unwrap().to_string();
        assert!(words.iter().all(|word| said.contains(word)) && said.lines().count() == 1, "{said}");
    }
}
