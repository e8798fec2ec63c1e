//! Recorders' arrays that do not fit: what is noted, what is declined, and in which words.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::inspected;
use crate::made::npz::{Method, bytes, floats, npy, wholes, write};
use crate::plan::refused;

/// Six episodes of 30 steps, grey pictures 16 high and wide.
const STEPS: usize = 180;

struct Bench {
    root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    /// Observations and actions with more arrays; those of the same key stand in place of the usual.
    fn file(&self, name: &str, more: &[(&str, Vec<u8>)]) -> PathBuf {
        let seen = bytes(&format!("({STEPS}, 16, 16)"), (0..STEPS * 256).map(|i| (i * 31 % 251) as u8));
        let mut members = vec![("observations", seen), ("actions", actions())];
        members.retain(|(key, _)| more.iter().all(|(other, _)| other != key));
        members.extend(more.iter().cloned());
        let path = self.root.path().join(name);
        write(&path, &members, Method::Deflated);
        path
    }
}

fn actions() -> Vec<u8> {
    floats(&format!("({STEPS}, 2)"), (0..2 * STEPS).map(|i| (i * 7 % 5) as f32 - 2.0))
}

fn flags(rows: usize, up: u8) -> Vec<u8> {
    npy("|u1", &format!("({rows},)"), &(0..rows).map(|i| if i % 30 == 29 { up } else { 0 }).collect::<Vec<_>>())
}

#[track_caller]
fn declined(path: &Path, parts: &[&str]) {
    let out = path.with_extension("never");
    let [path, out] = [path, &out].map(|path| path.to_str().unwrap());
    refused(&["train", "le-wm", "--steps", "2", "--data", path, "--out", out], parts);
    assert!(!Path::new(out).exists());
}

/// What was chosen to say where episodes end, and why.
fn ends(told: &Value) -> String {
    let chosen = told["decisions"].as_array().unwrap().iter().find(|decision| decision["what"] == "data.ends").unwrap();
    format!("{}, {}", chosen["value"].as_str().unwrap(), chosen["reason"].as_str().unwrap())
}

#[test]
fn ends_that_nothing_else_says_are_not_guessed() {
    let bench = Bench::new();
    let way = "`data.ends`";
    // Of a wrong length, not 0 or 1, no numbers at all.
    let short = bench.file("short.npz", &[("terminals", flags(170, 1))]);
    declined(&short, &["short.npz", "`terminals` has 170 rows, but there are 180 actions", way, "`none`"]);
    let twos = bench.file("twos.npz", &[("dones", flags(STEPS, 2))]);
    declined(&twos, &["`dones` holds 2 in row 29 where 0 or 1 was expected", way, "`none`"]);
    let floating = bench.file("floating.npz", &[("is_last", floats("(180,)", (0..180).map(|i| i as f32 / 9.0)))]);
    declined(&floating, &["`is_last` must be whole numbers or bool", way]);
    let ids = bench.file("ids.npz", &[("episode_index", wholes(&[0; 99]))]);
    declined(&ids, &["`episode_index` has 99 rows, but there are 180 actions", way]);
    assert!(inspected(&ids)["declined"].as_str().unwrap().contains("`none`"));
    // The way out is one.
    for path in [&short, &twos] {
        let told = super::inspected_as(path, &["--set", "data.ends=none"]);
        assert!(told["next"].as_str().unwrap().ends_with("--set 'data.ends=none'"), "{told}");
    }
    // Where another array says it, that is followed and this noted.
    let both = bench.file(
        "both.npz",
        &[
            ("terminals", flags(170, 1)),
            ("episode_index", { wholes(&(0..STEPS as i64).map(|i| i / 30).collect::<Vec<_>>()) }),
        ],
    );
    let told = inspected(&both);
    assert!(ends(&told).starts_with("episode_index, 6 episodes"), "{told}");
    assert!(told["notes"].to_string().contains("`terminals` does not say where episodes end"), "{told}");
    let beside = bench.file("beside.npz", &[("terminals", flags(STEPS, 1)), ("is_last", flags(170, 1))]);
    let told = inspected(&beside);
    assert!(told["notes"].to_string().contains("`is_last` does not say where episodes end"), "{told}");
    assert!(ends(&told).starts_with("terminals, 6 episodes"), "{told}");
    // One flag, number or name for all of a file says nothing of its rows.
    let name: Vec<u8> = "ep7".chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    for (key, value) in [
        ("terminated", npy("|b1", "()", &[1])),
        ("episode_index", wholes(&[7])),
        ("episode_id", npy("<U3", "(1,)", &name)),
    ] {
        let one = bench.file("one.npz", &[(key, value)]);
        assert!(inspected(&one)["next"].is_string(), "{key}: {}", inspected(&one));
    }
}

#[test]
fn numbers_that_do_not_add_up_are_both_said() {
    let bench = Bench::new();
    let lengths = bench.file("lengths.npz", &[("lengths", wholes(&[30, 30, 30, 30, 30, 25]))]);
    declined(&lengths, &["`lengths` adds up to 175, but there are 180 actions", "data.ends = none"]);
    let seen = bytes("(190, 16, 16)", (0..190 * 256).map(|i| (i % 251) as u8));
    let more = bench.file("more.npz", &[("observations", seen), ("ep_len", wholes(&[30; 6]))]);
    declined(&more, &["190 observations", "`ep_len` (6 episodes, 180 actions in all) asks for 180, or 186"]);
}

#[test]
fn what_is_no_number_is_called_what_it_is() {
    let bench = Bench::new();
    let text = |word: &str| word.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect::<Vec<u8>>();
    let words: Vec<u8> = (0..STEPS).flat_map(|i| text(["left ", "right"][i % 2].replace(' ', "\0").as_str())).collect();
    let texts = bench.file("texts.npz", &[("actions", npy("<U5", "(180,)", &words))]);
    declined(&texts, &["texts.npz", "`actions` holds texts (`left`) where numbers were expected", "numpy.unique("]);
    let objects = bench.file("objects.npz", &[("actions", npy("|O", "(180, 2)", &[0; 48]))]);
    declined(&objects, &["`actions`", "Python objects", "`x.astype(float)`"]);
    let middle = (0..360).map(|i| if i == 100 { f32::NAN } else { (i % 5) as f32 });
    let nan = bench.file("nan.npz", &[("actions", floats("(180, 2)", middle)), ("lengths", wholes(&[30; 6]))]);
    declined(&nan, &["`actions` holds NaN in row 50, column 0", "leave its episode out", "numpy.nan_to_num(x)"]);
    let seen = (0..STEPS * 4).map(|i| if i == 9 { f32::INFINITY } else { (i % 5) as f32 });
    let seen = bench.file("seen.npz", &[("observations", floats("(180, 4)", seen)), ("lengths", wholes(&[30; 6]))]);
    declined(&seen, &["`observations` holds inf in observation 2", "leave its episode out"]);
    // Names of episodes that are hashes are told apart, or not taken.
    let hashes: Vec<u8> = (0..STEPS as u64).flat_map(|i| (u64::MAX - i / 30).to_le_bytes()).collect();
    let hashed = bench.file("hashed.npz", &[("episode_id", npy("<u8", "(180,)", &hashes))]);
    declined(&hashed, &["`episode_id` holds numbers of 2^63 or more", "int64"]);
}
