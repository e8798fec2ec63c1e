//! Recorded episodes: what is read is what was written, and what cannot be is refused in a sentence.

mod made;

use std::path::{Path, PathBuf};

use foretell_data::{Episodes, EpisodesConfig, Part, Window};
use made::npz::{Method, bytes, floats, npy, wholes, write};
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
    let config = EpisodesConfig { actions: Some(actions), every: 3, window: 3, frameskip: 0 };
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
        (say("g.npz", &[good(), ("actions", wholes(&[1; 8]))]), "float32 or float64 in rows"),
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
