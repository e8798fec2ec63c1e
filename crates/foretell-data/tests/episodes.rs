//! Recorded episodes: what is read is what was written, and what cannot be is refused in a sentence.

mod made;

use std::path::{Path, PathBuf};

use foretell_data::{Auto, Episodes, EpisodesConfig, Layout, Part, Window};
use made::npz::{Method, bytes, floats, fortran, npy, wholes, write};
use tempfile::TempDir;

fn file(folder: &TempDir, name: &str, members: &[(&str, Vec<u8>)]) -> PathBuf {
    let path = folder.path().join(name);
    write(&path, members, Method::Deflated);
    path
}

/// `frames` pictures 2 high, 3 wide, in colour: the first byte of each is its number.
fn pictures(frames: usize) -> Vec<u8> {
    bytes(
        &format!("({frames}, 2, 3, 3)"),
        (0..frames * 18).map(|i| if i % 18 == 0 { (i / 18) as u8 } else { (i % 18) as u8 }),
    )
}

/// Actions of two numbers: the step and its negative.
fn steps(count: usize) -> Vec<u8> {
    floats(&format!("({count}, 2)"), (0..count).flat_map(|i| [i as f32, -(i as f32)]))
}

/// Every window of the held-out part.
fn held_out_windows(episodes: &Episodes) -> Vec<Window> {
    (0..episodes.windows(Part::HeldOut)).map(|i| episodes.cut_window(Part::HeldOut, i).unwrap()).collect()
}

fn refusal(path: &Path, config: EpisodesConfig) -> String {
    Episodes::open(path, config).err().expect("refused").to_string()
}

#[test]
fn windows_are_what_was_recorded() {
    for method in [Method::Stored, Method::Deflated] {
        let folder = tempfile::tempdir().unwrap();
        let members = [
            ("observations", pictures(25)),
            ("actions", steps(25)),
            ("states", floats("(25, 1)", (0..25).map(|i| i as f32 * 0.5))),
            ("lengths", wholes(&[10, 15])),
        ];
        let path = folder.path().join("play.npz");
        write(&path, &members, method);
        let episodes = Episodes::open(&path, EpisodesConfig { window: 3, frameskip: 2, ..Default::default() }).unwrap();
        assert_eq!((episodes.observation(), episodes.action(), episodes.frameskip()), ([3, 2, 3], 4, 2));
        assert_eq!([Part::Train, Part::HeldOut].map(|part| episodes.count(part)), [1, 1]);
        let held_out = held_out_windows(&episodes);
        // An episode of 10 or of 15 observations has 6 or 11 windows over 4 actions.
        let first = (held_out[0].observations[0] * 255.0).round();
        assert_eq!(held_out.len(), if first == 0.0 { 6 } else { 11 });
        assert!(first == 0.0 || first == 10.0, "windows never cross episodes: {first}");
        assert_eq!((episodes.window(), episodes.held_out_stretches(3, 100)), (3, held_out.clone()));
        let beyond = episodes.cut_window(Part::HeldOut, held_out.len()).unwrap_err().to_string();
        assert!(beyond.contains("does not exist"), "{beyond}");
        // Every other observation of an episode of 10 or 15 makes 5 or 8, which is the longest look ahead.
        let stretches = |observations| episodes.held_out_stretches(observations, 100);
        let longest = if first == 0.0 { 5 } else { 8 };
        for (asked, frames) in [(4, 4), (99, longest)] {
            let windows = stretches(asked);
            assert!(!windows.is_empty() && windows.iter().all(|w| w.frames == frames), "{asked} of {longest}");
            assert!(windows.iter().all(|w| w.actions.len() == (frames - 1) * 4));
            assert_eq!(windows[0].observations[..3 * 18], held_out[0].observations);
        }
        for (i, window) in held_out.iter().enumerate() {
            let at = |t: usize| first + (i + 2 * t) as f32;
            assert_eq!(window.frames, 3);
            for t in 0..3 {
                let picture = &window.observations[t * 18..][..18];
                assert!((picture[0] * 255.0 - at(t)).abs() < 1e-3, "{} at {i}, {t}", picture[0] * 255.0);
                // Channels come first: what lay at the second pixel's first byte, and at the first pixel's second.
                assert!((picture[1] * 255.0 - 3.0).abs() < 1e-3 && (picture[6] * 255.0 - 1.0).abs() < 1e-3);
                assert_eq!(window.states[t], at(t) * 0.5);
            }
            let expected: Vec<f32> = (0..4).flat_map(|k| [at(0) + k as f32, -at(0) - k as f32]).collect();
            assert_eq!(window.actions, expected);
        }
    }
}

#[test]
fn how_episodes_end_and_how_far_actions_range_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let lengths = [10, 6, 9, 5];
    // Nothing follows the last action of an episode, so it does not count: 99.
    let action = |row: usize| [if [9, 15, 24, 29].contains(&row) { 99.0 } else { row as f32 }, -1.5, (row % 4) as f32];
    let actions = || floats("(30, 3)", (0..30).flat_map(action));
    let flags = |rows: usize, up: &[usize]| {
        bytes(&format!("({rows},)"), (0..rows).map(|row| u8::from(up.contains(&row))).collect::<Vec<_>>())
    };
    let opened = |name: &str, frames: usize, more: &[(&str, Vec<u8>)]| {
        let mut members = vec![("observations", pictures(frames)), ("actions", actions())];
        members.extend(more.iter().cloned());
        Episodes::open(&file(&folder, name, &members), EpisodesConfig { window: 3, ..Default::default() }).unwrap()
    };
    // The third episode is over when its time is up; the recording stops in the last.
    let each = opened("each.npz", 30, &[("terminals", flags(30, &[9, 24])), ("timeouts", flags(30, &[15, 24]))]);
    let survey = each.survey();
    assert_eq!((survey.ends, survey.unsaid), ([2, 1, 1], 0));
    assert_eq!(survey.ranges, [[0.0, 28.0], [-1.5, -1.5], [0.0, 3.0]]);
    assert_eq!(survey.endings(), "2 terminal, 1 timeout, 1 without a flag");
    assert_eq!(survey.told_ranges(), ["0 from 0 to 28, 1 always -1.5, 2 from 0 to 3"]);
    // Flags of observations, of which each episode has one more; then its last action counts.
    let more = [("lengths", wholes(&lengths)), ("truncations", flags(34, &[10, 27]))];
    let observed = opened("observed.npz", 34, &more);
    assert_eq!((observed.survey().ends, observed.survey().ranges[0]), ([0, 2, 2], [0.0, 99.0]));
    let silent = opened("silent.npz", 30, &[("lengths", wholes(&lengths))]);
    assert_eq!((silent.survey().ends, silent.survey().endings()), ([0; 3], "4 not said".to_owned()));
}

#[test]
fn what_states_change_by_may_be_the_actions() {
    let folder = tempfile::tempdir().unwrap();
    // Squares of the row: its changes are 2 i + 1. One state for each action, of which two lie between observations.
    let states = |rows: usize| floats(&format!("({rows}, 1)"), (0..rows).map(|i| (i * i) as f32));
    let differences = EpisodesConfig { window: 3, every: 2, differences: true, ..Default::default() };
    for rows in [23, 24] {
        let members = [("observations", pictures(12)), ("actions", steps(rows)), ("states", states(rows))];
        let episodes = Episodes::open(&file(&folder, "play.npz", &members), differences.clone()).unwrap();
        assert_eq!(episodes.action(), 2, "two changes of one number");
        let window = episodes.cut_window(Part::Train, 1).unwrap();
        let first = 2 * (window.observations[0] * 255.0).round() as usize;
        let expected: Vec<f32> = (first..first + 4).map(|i| (2 * i + 1) as f32).collect();
        assert_eq!(
            (window.actions, window.states),
            (expected, [0, 2, 4].map(|i| ((first + i) * (first + i)) as f32).to_vec())
        );
    }
    let members = [("observations", pictures(12)), ("actions", steps(24))];
    let said = refusal(&file(&folder, "none.npz", &members), differences);
    assert!(said.contains("`data.differences`") && said.contains("no `states`"), "{said}");
}

#[test]
fn actions_may_lie_apart_and_observations_be_fewer() {
    let folder = tempfile::tempdir().unwrap();
    let frames = folder.path().join("frames");
    std::fs::create_dir(&frames).unwrap();
    for (number, count) in [(0, 4), (2, 5)] {
        let path = frames.join(format!("episode_{number:06}_64x64.npz"));
        write(&path, &[("frames", pictures(count))], Method::Deflated);
    }
    // Episodes of 10, 3 and 15 steps; one observation in three.
    let actions = file(&folder, "actions.npz", &[("action", steps(28)), ("episode_len", wholes(&[10, 3, 15]))]);
    let config = EpisodesConfig { actions: Some(actions), every: 3, window: 3, ..Default::default() };
    let episodes = Episodes::open(&frames, config.clone()).unwrap();
    assert_eq!((episodes.action(), episodes.frameskip()), (6, 3));
    let held_out = held_out_windows(&episodes);
    assert!(!held_out.is_empty());
    for window in &held_out {
        let frame = (window.observations[0] * 255.0).round();
        let number = if held_out.len() == 2 { 0.0 } else { 13.0 };
        assert_eq!(window.actions[0], number + 3.0 * frame, "the actions of its own episode");
        assert_eq!(window.actions.len(), 12);
    }
    let wrong = refusal(&frames, EpisodesConfig { every: 1, ..config.clone() });
    assert!(wrong.contains("4 observations and 10 actions") && wrong.contains("`data.every = 3`"), "{wrong}");
    std::fs::rename(frames.join("episode_000002_64x64.npz"), frames.join("episode_7.npz")).unwrap();
    let wrong = refusal(&frames, config);
    assert!(wrong.contains("number 7") && wrong.contains("3 episodes"), "{wrong}");
}

#[test]
fn training_and_held_out_episodes_are_different_ones_and_batches_are_functions_of_their_step() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..12_u8 {
        let marked = bytes("(6, 2, 2)", vec![i; 24]);
        file(&folder, &format!("{i:02}.npz"), &[("observations", marked), ("actions", steps(6))]);
    }
    let episodes = Episodes::open(folder.path(), EpisodesConfig { window: 2, ..Default::default() }).unwrap();
    let source = episodes.training(64, 3);
    let (one, again, other) = (source.batch(1).unwrap(), source.batch(1).unwrap(), source.batch(2).unwrap());
    assert_eq!(one, again);
    assert_ne!(one, other);
    let marks = |windows: &[Window]| -> std::collections::BTreeSet<u32> {
        windows.iter().map(|w| (w.observations[0] * 255.0).round() as u32).collect()
    };
    let (train, held) = (
        marks(&(1..20).flat_map(|s| source.batch(s).unwrap()).collect::<Vec<_>>()),
        marks(&held_out_windows(&episodes)),
    );
    assert!(train.is_disjoint(&held) && train.len() == 11 && held.len() == 1, "{train:?} {held:?}");
    // Actions 0 to 5 and their negatives.
    let deviation = (35.0_f32 / 12.0).sqrt();
    assert!((episodes.actions().std[0] - deviation).abs() < 1e-5 && (episodes.actions().mean[1] + 2.5).abs() < 1e-6);
}

#[test]
fn a_fingerprint_changes_with_names_observations_and_actions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("play.npz");
    let of = |path: &Path, frames: Vec<u8>, actions: Vec<u8>, lengths: &[i64]| {
        write(path, &[("observations", frames), ("actions", actions), ("lengths", wholes(lengths))], Method::Stored);
        Episodes::open(path, EpisodesConfig { window: 3, ..Default::default() }).unwrap().fingerprint()
    };
    let first = of(&path, pictures(16), steps(16), &[8, 8]);
    assert_eq!(first, of(&path, pictures(16), steps(16), &[8, 8]));
    let other = bytes("(16, 2, 3, 3)", (0..16 * 18).map(|i| if i == 200 { 99 } else { (i % 18) as u8 }));
    let longer = floats("(16, 2)", (0..32).map(|i| i as f32));
    let all = [
        first,
        of(&path, other, steps(16), &[8, 8]),
        of(&path, pictures(16), longer, &[8, 8]),
        of(&path, pictures(16), steps(16), &[7, 9]),
        of(&folder.path().join("other.npz"), pictures(16), steps(16), &[8, 8]),
    ];
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len(), "{all:?}");
}

#[test]
fn what_does_not_fit_is_refused_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let good = || ("observations", pictures(8));
    let say =
        |name: &str, members: &[(&str, Vec<u8>)]| refusal(&file(&folder, name, members), EpisodesConfig::default());
    let cases = [
        (say("a.npz", &[good()]), "has no `actions`: it holds observations"),
        (say("b.npz", &[("actions", steps(8))]), "neither `observations` nor `frames`"),
        (say("c.npz", &[good(), ("actions", steps(11))]), "8 observations and 11 actions do not belong together"),
        (say("d.npz", &[good(), ("actions", steps(6))]), "8 observations and 6 actions do not belong together"),
        (
            say("e.npz", &[good(), ("actions", steps(8)), ("lengths", wholes(&[3, 4]))]),
            "adds up to 7, but there are 8 actions",
        ),
        (say("f.npz", &[good(), ("actions", steps(8)), ("lengths", wholes(&[-1, 9]))]), "positive numbers"),
        (say("g.npz", &[good(), ("actions", floats("(8, 1, 1)", [1.0; 8]))]), "numbers in rows, [N] or [N, A]"),
        (say("h.npz", &[good(), ("actions", npy("<c8", "(8, 1)", &[0; 64]))]), "type `<c8`"),
        (
            say("i.npz", &[good(), ("actions", steps(8)), ("states", floats("(3, 1)", [0.0; 3]))]),
            "8 actions and 3 states",
        ),
        (
            say("j.npz", &[good(), ("actions", floats("(8, 1)", [0.0, f32::NAN, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]))]),
            "NaN in row 1",
        ),
        (say("k.npz", &[("observations", bytes("(8,)", [0; 8])), ("actions", steps(8))]), "[T, H, W, C]"),
        // A header that claims more than any machine holds, and one whose product does not fit a word.
        (
            say("l.npz", &[("observations", bytes("(99999999999, 64, 64, 3)", [0; 4])), ("actions", steps(8))]),
            "does not fit the",
        ),
        (
            say("m.npz", &[("observations", bytes("(9223372036854775807, 9, 9, 9)", [0; 4])), ("actions", steps(8))]),
            "does not fit the",
        ),
        (say("n.npz", &[("observations", bytes("(2, 2, 2)", [0; 9])), ("actions", steps(2))]), "does not fit the"),
        (say("o.npz", &[("observations", b"nothing of the kind".to_vec()), ("actions", steps(2))]), "it is no `.npy`"),
        (say("p.npz", &[good(), ("actions", steps(8)), ("lengths", wholes(&[8]))]), "0 training episodes (of 1)"),
    ];
    for (said, expected) in cases {
        assert!(said.contains(expected), "expected `{expected}` in: {said}");
    }
    let whole = file(&folder, "whole.npz", &[good(), ("actions", steps(8))]);
    let content = std::fs::read(&whole).unwrap();
    for length in [0, 10, content.len() / 2, content.len() - 1] {
        std::fs::write(&whole, &content[..length]).unwrap();
        let said = refusal(&whole, EpisodesConfig::default());
        assert!(said.contains("whole.npz") && said.contains("zip"), "{said}");
    }
    let mut damaged = content;
    damaged[120] ^= 0xFF;
    std::fs::write(&whole, damaged).unwrap();
    let said = refusal(&whole, EpisodesConfig::default());
    assert!(said.contains("damaged"), "{said}");
    let said = refusal(folder.path(), EpisodesConfig { every: 2, frameskip: 3, ..Default::default() });
    assert!(said.contains("multiple of `data.every`"), "{said}");
    assert!(refusal(&folder.path().join("none.npz"), EpisodesConfig::default()).contains("nothing at"));
}

#[test]
fn padded_windows_begin_at_every_observation_that_another_follows_and_end_with_their_episode() {
    let folder = tempfile::tempdir().unwrap();
    let members = [("observations", pictures(25)), ("actions", steps(25)), ("lengths", wholes(&[10, 15]))];
    let path = file(&folder, "play.npz", &members);
    let asked = |padded| EpisodesConfig { window: 4, frameskip: 2, padded, ..Default::default() };
    let [within, beyond] = [false, true].map(|padded| Episodes::open(&path, asked(padded)).unwrap());
    let windows = held_out_windows(&beyond);
    let length = if windows[0].observations[0] == 0.0 { 10 } else { 15 };
    assert_eq!((held_out_windows(&within).len(), windows.len()), (length - 6, length - 2));
    assert!(held_out_windows(&within) == windows[..length - 6]);
    for (first, window) in windows.iter().enumerate() {
        // Every other observation up to the last.
        let there = 4.min((length - 1 - first) / 2 + 1);
        assert_eq!((window.frames, window.padded), (4, 4 - there), "{first}");
        assert!(window.observations[..there * 18].chunks(18).all(|seen| seen[1] != 0.0));
        assert!(window.observations[there * 18..].iter().all(|x| *x == 0.0));
        let done = window.actions.chunks(2).position(|action| action == [0.0; 2]);
        assert_eq!(
            done.filter(|_| window.padded > 0 && first > 0),
            (window.padded > 0 && first > 0).then_some((there - 1) * 2)
        );
    }
    // So short an episode holds no whole window, and a padded one.
    let short = file(
        &folder,
        "short.npz",
        &[("observations", pictures(6)), ("actions", steps(6)), ("lengths", wholes(&[3, 3]))],
    );
    assert!(refusal(&short, asked(false)).contains("hold no window of 4"));
    assert_eq!(Episodes::open(&short, asked(true)).unwrap().windows(Part::Train), 1);
}

/// Windows of three.
fn opened(path: &Path, more: EpisodesConfig) -> Episodes {
    Episodes::open(path, EpisodesConfig { window: 3, ..more }).unwrap()
}

fn marks(window: &Window) -> Vec<f32> {
    let each = window.observations.len() / window.frames;
    window.observations.iter().step_by(each).map(|x| (x * 255.0).round()).collect()
}

/// First marks of all windows, of both parts, in order.
fn starts(episodes: &Episodes) -> Vec<u32> {
    let part = |part| (0..episodes.windows(part)).map(move |i| (part, i));
    let all = part(Part::Train).chain(part(Part::HeldOut));
    let mut starts: Vec<u32> = all.map(|(p, i)| marks(&episodes.cut_window(p, i).unwrap())[0] as u32).collect();
    starts.sort_unstable();
    starts
}

fn chosen(episodes: &Episodes, key: &str) -> String {
    let decision = episodes.decisions().iter().find(|decision| decision.what == key);
    decision.map_or(String::new(), |decision| format!("{}: {}", decision.value, decision.reason))
}

fn flags(at: &[usize], rows: usize) -> Vec<u8> {
    npy("|b1", &format!("({rows},)"), &(0..rows).map(|i| u8::from(at.contains(&i))).collect::<Vec<_>>())
}

/// Windows of three of episodes of 8, 5 and 9 observations, one after the other: none crosses.
const APART: [u32; 16] = [0, 1, 2, 3, 4, 5, 8, 9, 10, 13, 14, 15, 16, 17, 18, 19];

#[test]
fn episodes_end_where_recorders_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, more: &[(&str, Vec<u8>)]| {
        let good = [("observations", pictures(22)), ("actions", steps(22))];
        file(&folder, name, &[&good, more].concat())
    };
    let ids = (0..22).map(|i| i64::from(i >= 8) + i64::from(i >= 13)).collect::<Vec<_>>();
    for (key, name, more) in [
        // D4RL: one of the two at each end; the last episode's end is not marked.
        ("terminals | timeouts", "a", vec![("terminals", flags(&[7], 22)), ("timeouts", flags(&[12], 22))]),
        (
            "dones",
            "b",
            vec![("dones", floats("(22, 1)", (0..22).map(|i| f32::from(u8::from(i == 7 || i == 12 || i == 21)))))],
        ),
        (
            "terminations | truncations",
            "c",
            vec![("truncations", flags(&[7, 21], 22)), ("terminations", flags(&[12], 22))],
        ),
        ("episode_ends", "d", vec![("episode_ends", wholes(&[8, 13, 22]))]),
        // The last rows themselves.
        ("episode_ends", "e", vec![("episode_ends", wholes(&[7, 12, 21]))]),
        ("is_first", "f", vec![("is_first", flags(&[0, 8, 13], 22)), ("is_last", flags(&[7, 12, 21], 22))]),
        ("is_last", "g", vec![("is_last", flags(&[7, 12, 21], 22)), ("is_terminal", flags(&[21], 22))]),
        ("episode_index", "h", vec![("episode_index", wholes(&ids)), ("done", flags(&[21], 22))]),
        ("ep_len", "i", vec![("ep_len", npy("<u2", "(3, 1)", &[8, 0, 5, 0, 9, 0]))]),
        ("lengths", "j", vec![("lengths", npy("|u1", "(3,)", &[8, 5, 9])), ("terminals", flags(&[7, 12, 21], 22))]),
        ("lengths", "k", vec![("lengths", floats("(3,)", [8.0, 5.0, 9.0]))]),
        // Lengths that say nothing of some episodes.
        ("lengths", "l", vec![("lengths", wholes(&[8, 0, 5, 9]))]),
    ] {
        let episodes = opened(&of(&format!("{name}.npz"), &more), EpisodesConfig::default());
        assert_eq!(starts(&episodes), APART, "{name}");
        let said = chosen(&episodes, "data.ends");
        assert!(said.starts_with(&format!("{key}: ")), "{name}: {said}");
        assert_eq!(episodes.count(Part::Train) + episodes.count(Part::HeldOut), 3, "{name}");
    }
    // Where two sources differ, that is told, and a key says which is meant.
    let both = of("m.npz", &[("lengths", wholes(&[8, 5, 9])), ("terminals", flags(&[9], 22))]);
    let episodes = opened(&both, EpisodesConfig::default());
    assert_eq!(starts(&episodes), APART);
    let told = episodes.notes().join("; ");
    assert!(told.contains("`lengths` tells 3 episodes and `terminals` 2"), "{told}");
    let asked = |ends: &str| opened(&both, EpisodesConfig { ends: ends.to_owned(), ..Default::default() });
    assert_eq!(starts(&asked("terminals")), [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    assert_eq!(asked("none").count(Part::Train), 1, "the head of the only episode");
    let wrong = refusal(&both, EpisodesConfig { ends: "endings".to_owned(), ..Default::default() });
    assert!(
        wrong.contains("names `endings`") && wrong.contains("observations, actions, lengths, terminals"),
        "{wrong}"
    );
    let terminal = of("o.npz", &[("is_first", flags(&[0, 8, 13], 22)), ("is_terminal", flags(&[7], 22))]);
    assert_eq!(opened(&terminal, EpisodesConfig::default()).notes(), [""; 0], "two episodes were cut off");
    // What cannot say it is told where another array does, and declined where none does.
    let cannot = [("done", floats("(3,)", [0.0; 3])), ("episode_id", npy("|O", "(22,)", &[]))];
    let other = of("n.npz", &[&cannot[..], &[("lengths", wholes(&[8, 5, 9]))]].concat());
    let told = opened(&other, EpisodesConfig::default()).notes().join("; ");
    assert!(told.contains("`done` does not say") && told.contains("`episode_id` does not say"), "{told}");
    let wrong = refusal(&of("p.npz", &cannot), EpisodesConfig::default());
    assert!(wrong.contains("`episode_id` does not say") && wrong.contains("`none`"), "{wrong}");
}

#[test]
fn one_long_episode_is_held_out_by_its_tail() {
    let folder = tempfile::tempdir().unwrap();
    let states = floats("(100, 1)", (0..100).map(|i| i as f32));
    let members = [("observations", pictures(100)), ("actions", steps(100)), ("states", states)];
    let path = file(&folder, "long.npz", &members);
    let episodes = opened(&path, EpisodesConfig::default());
    assert_eq!((episodes.windows(Part::Train), episodes.windows(Part::HeldOut)), (88, 8));
    let held_out = held_out_windows(&episodes);
    for (i, window) in held_out.iter().enumerate() {
        let first = (90 + i) as f32;
        assert_eq!(marks(window), [first, first + 1.0, first + 2.0]);
        assert_eq!(window.actions, [first, -first, first + 1.0, -first - 1.0]);
        assert_eq!(window.states, [first, first + 1.0, first + 2.0]);
    }
    let last = episodes.cut_window(Part::Train, 87).unwrap();
    assert_eq!(marks(&last), [87.0, 88.0, 89.0], "no window has both");
    assert!(chosen(&episodes, "data.tail").contains("of its 100 observations the last 10"));
    let more = EpisodesConfig { tail: Auto::Value(40), ..Default::default() };
    assert_eq!(opened(&path, more.clone()).windows(Part::HeldOut), 38);
    assert_eq!(opened(&path, more).fingerprint(), episodes.fingerprint(), "the data are the same");
    let wrong = refusal(&path, EpisodesConfig { tail: Auto::Value(2), ..Default::default() });
    assert!(wrong.contains("data.tail") && wrong.contains("2 of 100"), "{wrong}");
    // Two of three observations for the last of a hundred steps.
    let path = file(&folder, "sparse.npz", &[("observations", pictures(34)), ("actions", steps(100))]);
    let episodes = opened(&path, EpisodesConfig { every: 3, ..Default::default() });
    let window = episodes.cut_window(Part::HeldOut, 0).unwrap();
    assert_eq!((marks(&window)[0], window.actions[0]), (31.0, 93.0));
}

#[test]
fn channels_lie_where_they_are_possible() {
    let folder = tempfile::tempdir().unwrap();
    let at = |shape: [usize; 4], i: usize| -> [usize; 4] {
        let [_, b, c, d] = shape;
        [i / (b * c * d), i / (c * d) % b, i / d % c, i % d]
    };
    let open = |name: &str, shape: [usize; 4], more: EpisodesConfig| {
        let count: usize = shape.iter().product();
        let members = [
            (
                "observations",
                bytes(
                    &format!("{shape:?}").replace('[', "(").replace(']', ")"),
                    (0..count).map(|i| at(shape, i)[1] as u8),
                ),
            ),
            ("actions", steps(shape[0])),
        ];
        Episodes::open(&file(&folder, name, &members), EpisodesConfig { window: 3, ..more })
    };
    for (name, shape, observation, layout) in [
        ("a.npz", [40, 3, 8, 8], [3, 8, 8], "channels-first"),
        ("b.npz", [40, 4, 12, 12], [4, 12, 12], "channels-first"),
        ("c.npz", [40, 8, 8, 3], [3, 8, 8], "channels-last"),
        ("d.npz", [40, 9, 12, 12], [9, 12, 12], "channels-first"),
        ("e.npz", [40, 3, 6, 8], [3, 6, 8], "channels-first"),
    ] {
        let episodes = open(name, shape, EpisodesConfig::default()).unwrap();
        assert_eq!(episodes.observation(), observation);
        let said = chosen(&episodes, "data.layout");
        assert!(said.starts_with(layout), "{said}");
        // The second axis' number, wherever that is now.
        let [channels, height, width] = observation;
        let window = episodes.cut_window(Part::Train, 0).unwrap();
        for (i, x) in window.observations.iter().enumerate() {
            let (channel, row) = (i / (height * width) % channels, i / width % height);
            let expected = if layout == "channels-first" { channel } else { row };
            assert_eq!((x * 255.0).round() as usize, expected, "{name} at {i}");
        }
    }
    let wrong = open("f.npz", [40, 3, 64, 3], EpisodesConfig::default()).err().unwrap().to_string();
    for part in ["[40, 3, 64, 3]", "`data.layout`", "x.transpose(0, 2, 3, 1)"] {
        assert!(wrong.contains(part), "{wrong}");
    }
    for (layout, observation) in [(Layout::ChannelsLast, [3, 3, 64]), (Layout::ChannelsFirst, [3, 64, 3])] {
        let asked = EpisodesConfig { layout: Auto::Value(layout), ..Default::default() };
        assert_eq!(open("f.npz", [40, 3, 64, 3], asked).unwrap().observation(), observation);
    }
    // What a run began with stays, whatever is told today.
    let known = EpisodesConfig { observation: Some([8, 3, 8]), ..Default::default() };
    assert_eq!(open("a.npz", [40, 3, 8, 8], known).unwrap().observation(), [8, 3, 8]);
}

#[test]
fn episodes_may_have_an_observation_behind_the_last_action() {
    let folder = tempfile::tempdir().unwrap();
    // Three episodes of 7, 4 and 8 actions.
    let of = |name: &str, ends: (&str, Vec<u8>), states: usize| {
        let states = floats(&format!("({states}, 1)"), (0..states).map(|i| i as f32));
        let members = [("observations", pictures(22)), ("actions", steps(19)), ("states", states), ends];
        opened(&file(&folder, name, &members), EpisodesConfig::default())
    };
    let ends = |action: f32| {
        if action < 7.0 {
            0.0
        } else if action < 11.0 {
            1.0
        } else {
            2.0
        }
    };
    for (name, ends_said) in [
        ("a.npz", ("lengths", wholes(&[7, 4, 8]))),
        // Lengths and flags that count observations.
        ("b.npz", ("lengths", wholes(&[8, 5, 9]))),
        ("c.npz", ("is_first", flags(&[0, 8, 13], 22))),
        ("d.npz", ("dones", flags(&[6, 10, 18], 19))),
    ] {
        for states in [19, 22] {
            let episodes = of(name, ends_said.clone(), states);
            assert_eq!(starts(&episodes), APART, "{name}");
            for window in held_out_windows(&episodes) {
                let (frame, action) = (marks(&window)[0], window.actions[0]);
                assert_eq!(action, frame - ends(action), "{name}: the action taken at what was seen");
                assert_eq!(window.states[0], if states == 22 { frame } else { action });
            }
        }
    }
    let wrong = file(
        &folder,
        "e.npz",
        &[("observations", pictures(21)), ("actions", steps(19)), ("lengths", wholes(&[7, 4, 8]))],
    );
    let said = refusal(&wrong, EpisodesConfig::default());
    assert!(said.contains("21 observations") && said.contains("19") && said.contains("22"), "{said}");
}

#[test]
fn a_last_action_that_is_no_number_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let with = |name: &str, nan: &[usize]| {
        let nan = nan.to_vec();
        let actions = floats("(30, 1)", (0..30).map(|i| if nan.contains(&i) { f32::NAN } else { i as f32 }));
        let members = [("observations", pictures(30)), ("actions", actions), ("lengths", wholes(&[10, 8, 12]))];
        file(&folder, name, &members)
    };
    let episodes = opened(&with("a.npz", &[9, 17, 29]), EpisodesConfig::default());
    assert!(episodes.actions().mean[0].is_finite() && episodes.actions().std[0].is_finite());
    assert_eq!(starts(&episodes).len(), 8 + 6 + 10);
    let told = episodes.notes().join("; ");
    assert!(told.contains("3 episodes with a last action that is no number"), "{told}");
    let said = refusal(&with("b.npz", &[8, 9]), EpisodesConfig::default());
    assert!(said.contains("NaN in row 8"), "{said}");
    let said = refusal(&with("c.npz", &[0, 10, 18]), EpisodesConfig::default());
    assert!(said.contains("NaN in row 0") && said.contains("first of its episode"), "{said}");
}

#[test]
fn episodes_of_one_observation_are_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let members = [("observations", pictures(22)), ("actions", steps(22)), ("lengths", wholes(&[8, 1, 5, 1, 1, 6]))];
    let episodes = opened(&file(&folder, "one.npz", &members), EpisodesConfig::default());
    assert_eq!(episodes.count(Part::Train) + episodes.count(Part::HeldOut), 3);
    assert_eq!(starts(&episodes), [0, 1, 2, 3, 4, 5, 9, 10, 11, 16, 17, 18, 19]);
    assert!(episodes.notes().join("; ").contains("3 episodes of a single observation or none left out"));
    // A file each.
    let many = tempfile::tempdir().unwrap();
    for (i, frames) in [8, 1, 6, 1].into_iter().enumerate() {
        file(&many, &format!("{i}.npz"), &[("observations", pictures(frames)), ("actions", steps(frames))]);
    }
    let episodes = opened(many.path(), EpisodesConfig::default());
    assert_eq!(episodes.count(Part::Train) + episodes.count(Part::HeldOut), 2);
    let alone = file(
        &folder,
        "alone.npz",
        &[("observations", pictures(3)), ("actions", steps(3)), ("lengths", wholes(&[1, 1, 1]))],
    );
    let said = refusal(&alone, EpisodesConfig::default());
    assert!(said.contains("3 episodes have a single observation"), "{said}");
}

#[test]
fn numbers_of_any_kind_and_order_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let halves = |x: &[u16]| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let expected = |i: usize| (i % 4) as f32;
    for (name, actions) in [
        ("a.npz", npy("<i4", "(30,)", &(0..30).flat_map(|i| (i % 4_i32).to_le_bytes()).collect::<Vec<_>>())),
        ("b.npz", npy("|u1", "(30, 1)", &(0..30).map(|i| i % 4).collect::<Vec<u8>>())),
        (
            "c.npz",
            npy("<f2", "(30,)", &halves(&(0..30).map(|i| [0, 0x3C00, 0x4000, 0x4200][i % 4]).collect::<Vec<_>>())),
        ),
        ("d.npz", npy(">i2", "(30,)", &(0..30).flat_map(|i| (i % 4_i16).to_be_bytes()).collect::<Vec<_>>())),
        ("e.npz", npy("<u8", "(30,)", &(0..30).flat_map(|i| (i % 4_u64).to_le_bytes()).collect::<Vec<_>>())),
    ] {
        let path = file(&folder, name, &[("observations", pictures(30)), ("actions", actions)]);
        let episodes = opened(&path, EpisodesConfig::default());
        assert_eq!((episodes.action(), episodes.count(Part::Train)), (1, 1), "{name}");
        let window = episodes.cut_window(Part::HeldOut, 0).unwrap();
        let first = marks(&window)[0] as usize;
        assert_eq!(window.actions, [expected(first), expected(first + 1)], "{name}");
        let whole = name != "c.npz";
        assert_eq!(episodes.notes().join("; ").contains("`data.one_hot`"), whole, "{name}");
        let one_hot = EpisodesConfig { one_hot: true, ..Default::default() };
        let window = opened(&path, one_hot).cut_window(Part::HeldOut, 0).unwrap();
        let columns: Vec<f32> = (0..8).map(|k| f32::from(u8::from(k % 4 == (first + k / 4) % 4))).collect();
        assert_eq!(window.actions, columns, "{name}");
    }
    let flags = npy("|b1", "(30, 2)", &(0..60).map(|i| u8::from(i % 3 == 0)).collect::<Vec<_>>());
    let path = file(&folder, "f.npz", &[("observations", pictures(30)), ("actions", flags)]);
    let window = opened(&path, EpisodesConfig::default()).cut_window(Part::Train, 0).unwrap();
    assert_eq!(window.actions, [1.0, 0.0, 0.0, 1.0]);
    let wrong = refusal(&path, EpisodesConfig { one_hot: true, ..Default::default() });
    assert!(wrong.contains("`data.one_hot`") && wrong.contains("2 numbers"), "{wrong}");

    // The same observations in each way to save them.
    let all: Vec<u16> = (0..30 * 12).map(|i| (i * 7 % 500) as u16).collect();
    let shape = [30, 2, 2, 3];
    let plain = all.iter().flat_map(|x| f32::from(*x).to_le_bytes()).collect::<Vec<u8>>();
    let ways = [
        npy("<f4", "(30, 2, 2, 3)", &plain),
        npy("<u2", "(30, 2, 2, 3)", &halves(&all)),
        fortran("<u2", &shape, 2, &halves(&all)),
        fortran("<f4", &shape, 4, &plain),
        npy("<i8", "(30, 2, 2, 3)", &all.iter().flat_map(|x| i64::from(*x).to_le_bytes()).collect::<Vec<u8>>()),
    ];
    let seen = ways.map(|observations| {
        let actions = fortran("<f4", &[30, 2], 4, &(0..60).flat_map(|i| (i as f32).to_le_bytes()).collect::<Vec<_>>());
        let episodes = opened(
            &file(&folder, "g.npz", &[("observations", observations), ("actions", actions)]),
            EpisodesConfig::default(),
        );
        let window = episodes.cut_window(Part::Train, 1).unwrap();
        assert_eq!(window.actions, [2.0, 3.0, 4.0, 5.0]);
        window.observations
    });
    assert!(seen.iter().all(|other| *other == seen[0]) && seen[0][..2] == [84.0, 105.0], "{:?}", &seen[0][..4]);
    let objects = file(&folder, "h.npz", &[("observations", npy("|O", "(3,)", &[0; 24])), ("actions", steps(30))]);
    let said = refusal(&objects, EpisodesConfig::default());
    assert!(
        said.contains("Python objects") && said.contains("numpy.concatenate") && said.contains("lengths"),
        "{said}"
    );
}

/// The episode that the hash of its name would hold out has no window; another one has.
#[test]
fn what_is_held_out_holds_a_window() {
    let folder = tempfile::tempdir().unwrap();
    for short in 0..4 {
        let lengths = (0..4).map(|i| if i == short { 2 } else { 9 }).collect::<Vec<i64>>();
        let members = [("observations", pictures(29)), ("actions", steps(29)), ("lengths", wholes(&lengths))];
        let episodes = opened(&file(&folder, "some.npz", &members), EpisodesConfig::default());
        assert_eq!((episodes.windows(Part::Train), episodes.windows(Part::HeldOut)), (14, 7), "{short}");
    }
}
