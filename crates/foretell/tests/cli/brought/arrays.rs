//! Arrays as recorders and scripts save them: what a training takes, what it says of it, and what it declines with the way out.
//! `inspect` says the same beforehand.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::inspected;
use crate::made::npz::{Method, bytes, floats, fortran, npy, wholes, write};
use crate::plan::{refused, succeeded};
use crate::{foretell, stderr};

/// A narrow LeWorldModel in a few steps.
const SMALL: [&str; 12] = [
    "--steps",
    "2",
    "--set",
    "model.width=16",
    "--set",
    "model.encoder.widths=[8, 8]",
    "--set",
    "model.slices=16",
    "--set",
    "model.projector=32",
    "--set",
    "model.predictor.hidden=32",
];

/// A place for recordings and runs.
struct Bench {
    root: tempfile::TempDir,
}

/// What became of a training.
struct Trained {
    /// What it said when it began.
    said: String,
    config: toml::Table,
    report: String,
}

impl Bench {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, members: &[(&str, Vec<u8>)]) -> PathBuf {
        let path = self.root.path().join(name);
        write(&path, members, Method::Deflated);
        path
    }

    fn train(&self, data: &Path, more: &[&str]) -> Trained {
        let run = self.root.path().join("run");
        let _ = fs::remove_dir_all(&run);
        let mut command = foretell();
        command.args(["train", "le-wm"]).args(SMALL).args(more).env("RAYON_NUM_THREADS", "2");
        let output = command.arg("--data").arg(data).arg("--out").arg(&run).output().unwrap();
        assert!(output.status.success(), "{}: {}", data.display(), stderr(&output));
        Trained {
            said: stderr(&output),
            config: fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap(),
            report: fs::read_to_string(run.join("report.html")).unwrap(),
        }
    }

    /// Everything that is told, at the beginning and in the report.
    #[track_caller]
    fn tells(&self, data: &Path, more: &[&str], parts: &[&str]) -> Trained {
        let trained = self.train(data, &[&["--set", "train.batch=8"], more].concat());
        for part in parts {
            assert!(trained.said.contains(part), "`{part}` is not in {}", trained.said);
            let part = part.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            assert!(trained.report.contains(&part), "`{part}` is not in the report");
        }
        trained
    }
}

/// The arguments of the command that `inspect` recommends.
fn recommended(path: &Path) -> Vec<String> {
    let told = inspected(path);
    let next = told["next"].as_str().unwrap_or_else(|| panic!("nothing is recommended: {told}"));
    next.strip_prefix("foretell ").unwrap().split(' ').map(str::to_owned).collect()
}

/// Grey pictures 16 high and wide with a bright row that moves.
fn pixels(frames: usize) -> Vec<u8> {
    (0..frames * 256).map(|i| if i / 16 % 16 == i / 256 * 5 % 16 { 240 } else { 20 }).collect()
}

fn pictures(frames: usize) -> Vec<u8> {
    bytes(&format!("({frames}, 16, 16)"), pixels(frames))
}

fn steps(count: usize) -> Vec<u8> {
    floats(&format!("({count}, 2)"), (0..2 * count).map(|i| (i * 7 % 5) as f32 - 2.0))
}

fn flags(at: &[usize], rows: usize) -> Vec<u8> {
    npy("|b1", &format!("({rows},)"), &(0..rows).map(|i| u8::from(at.contains(&i))).collect::<Vec<_>>())
}

/// Six episodes of 30 steps.
fn ends() -> Vec<usize> {
    (1..=6).map(|e| e * 30 - 1).collect()
}

#[test]
fn episodes_end_where_flags_say_and_that_is_told() {
    let bench = Bench::new();
    let (early, late) = (&ends()[..3], &ends()[3..]);
    let d4rl = bench.file(
        "d4rl.npz",
        &[
            ("observations", pictures(180)),
            ("actions", steps(180)),
            ("rewards", floats("(180,)", [0.0; 180])),
            ("terminals", flags(early, 180)),
            ("timeouts", flags(late, 180)),
            // Never read, so no harm.
            ("infos", npy("|O", "(180,)", &[0; 40])),
        ],
    );
    let said = "data.ends = terminals | timeouts: 6 episodes";
    let trained = bench.tells(&d4rl, &[], &[]);
    assert!(trained.said.contains(said), "{}", trained.said);
    assert!(trained.report.contains("terminals | timeouts") && trained.report.contains("5 to learn from, 1 held out"));
    let told = inspected(&d4rl);
    let decided = told["decisions"].to_string();
    assert!(decided.contains("terminals | timeouts") && told["arrays"]["infos"]["unreadable"].is_string(), "{told}");
    // Overruled: one long episode, held out by its tail.
    let trained = bench.tells(&d4rl, &["--set", "data.ends=none"], &["the last 18 are held out"]);
    assert_eq!(trained.config["data"]["ends"].as_str(), Some("none"));
    let dones = bench
        .file("dones.npz", &[("observations", pictures(180)), ("actions", steps(180)), ("dones", flags(&ends(), 180))]);
    assert!(bench.tells(&dones, &[], &[]).said.contains("data.ends = dones: 6 episodes"));
    let path = dones.to_str().unwrap();
    refused(
        &["train", "le-wm", "--data", path, "--set", "data.ends=over"],
        &["names `over`", "observations, actions, dones"],
    );
}

#[test]
fn one_long_episode_is_trained_on_resumed_and_held_out_by_its_tail() {
    let bench = Bench::new();
    let long = bench.file("long.npz", &[("observations", pictures(400)), ("actions", steps(400))]);
    let trained = bench.tells(&long, &[], &["of its 400 observations the last 40 are held out"]);
    assert_eq!(trained.config["data"]["tail"].as_str(), Some("auto"));
    // What was told holds for the run that goes on.
    let run = bench.root.path().join("run");
    fs::remove_file(run.join("summary.json")).unwrap();
    succeeded(&["train", "--resume", run.to_str().unwrap()], "2");
    let trained = bench.tells(&long, &["--set", "data.tail=100"], &["the last 100 are held out"]);
    assert!(trained.said.contains("297 to train, 97 held out"), "{}", trained.said);
    let path = long.to_str().unwrap();
    refused(&["train", "le-wm", "--data", path, "--set", "data.tail=399"], &["data.tail", "399 of 400"]);
}

#[test]
fn axes_are_what_is_possible_and_what_is_not_told_is_asked() {
    let bench = Bench::new();
    let of = |name: &str, shape: [usize; 4]| {
        let count: usize = shape.iter().product();
        let text = format!("{shape:?}").replace('[', "(").replace(']', ")");
        let seen = bytes(&text, (0..count).map(|i| (i * 31 % 251) as u8));
        bench.file(name, &[("observations", seen), ("actions", steps(shape[0])), ("lengths", wholes(&[40; 6]))])
    };
    for (name, shape, seen) in [
        ("torch.npz", [240, 3, 16, 16], "3 × 16 × 16"),
        ("stack.npz", [240, 4, 16, 16], "4 × 16 × 16"),
        ("last.npz", [240, 16, 16, 3], "3 × 16 × 16"),
    ] {
        let data = of(name, shape);
        let layout = if name == "last.npz" { "channels-last" } else { "channels-first" };
        let trained = bench.tells(&data, &[], &[seen, layout]);
        assert!(trained.said.contains(&format!("data.layout = {layout}")), "{}", trained.said);
        assert_eq!(
            trained.config["data"]["observation"][0].as_integer().map(|c| c as usize),
            Some(if name == "stack.npz" { 4 } else { 3 })
        );
        assert!(inspected(&data)["decisions"].to_string().contains(layout));
    }
    let unclear = of("unclear.npz", [240, 3, 16, 3]);
    let path = unclear.to_str().unwrap();
    let parts = ["unclear.npz", "[240, 3, 16, 3]", "`data.layout`", "x.transpose(0, 2, 3, 1)"];
    refused(&["train", "le-wm", "--data", path], &parts);
    let told = inspected(&unclear);
    assert!(told.get("next").is_none(), "{told}");
    assert!(told["declined"].as_str().unwrap().contains("`data.layout`"), "{told}");
}

#[test]
fn episodes_as_they_are_recorded() {
    let bench = Bench::new();
    let lengths = [29_u8, 29, 0, 29, 29, 29, 29];
    // N + 1 observations each, of one type or another, actions as a column of whole numbers, any lengths.
    let actions = npy("<i4", "(174,)", &(0..174).flat_map(|i| (i % 3_i32).to_le_bytes()).collect::<Vec<_>>());
    let depth: Vec<u8> = pixels(181).iter().flat_map(|x| (u16::from(*x) * 16).to_le_bytes()).collect();
    let more = bench.file(
        "more.npz",
        &[
            ("observations", fortran("<u2", &[181, 16, 16], 2, &depth)),
            ("actions", actions),
            ("episode_len", npy("|u1", "(7,)", &lengths)),
        ],
    );
    let parts =
        ["1 episode of a single observation or none left out", "one whole number each", "5 to learn from, 1 held out"];
    let trained = bench.tells(&more, &[], &parts);
    assert_eq!(trained.config["data"]["normalise_actions"]["mean"].as_array().unwrap().len(), 1);
    let trained = bench.tells(&more, &["--set", "data.one_hot=true"], &["actions of 3 numbers"]);
    assert_eq!(trained.config["data"]["normalise_actions"]["mean"].as_array().unwrap().len(), 3);
    let notes = inspected(&more)["notes"].to_string();
    assert!(notes.contains("left out") && notes.contains("one_hot"), "{notes}");

    // Half precision, a flag for an action, and nothing behind the last observation.
    let halves: Vec<u8> = pixels(180).iter().flat_map(|x| [0, if *x > 100 { 0x3C } else { 0x30 }]).collect();
    let last = (0..360).map(|i| if i / 2 % 30 == 29 { f32::NAN } else { (i % 7) as f32 });
    let nan = bench.file(
        "nan.npz",
        &[
            ("observations", npy("<f2", "(180, 16, 16)", &halves)),
            ("actions", floats("(180, 2)", last)),
            ("dones", flags(&ends(), 180)),
        ],
    );
    bench.tells(&nan, &[], &["6 episodes with a last action that is no number"]);
    let buttons = npy("|b1", "(180, 4)", &(0..720).map(|i| u8::from(i * i % 7 == 1)).collect::<Vec<_>>());
    let pressed = bench.file(
        "pressed.npz",
        &[("frames", pictures(180)), ("action", buttons), ("is_first", flags(&[0, 30, 60, 90, 120, 150], 180))],
    );
    bench.tells(&pressed, &[], &["actions of 4 numbers"]);

    let ragged = bench.file("ragged.npz", &[("observations", npy("|O", "(6,)", &[0; 48])), ("actions", steps(180))]);
    let parts = ["ragged.npz", "`observations`", "Python objects", "numpy.concatenate", "lengths"];
    refused(&["train", "le-wm", "--data", ragged.to_str().unwrap()], &parts);
    let told = inspected(&ragged);
    assert!(told["declined"].as_str().unwrap().contains("numpy.concatenate") && told.get("next").is_none(), "{told}");
}

/// What `inspect` recommends trains, as it stands, and with a few steps.
#[test]
fn inspect_recommends_what_trains_and_refuses_nothing_of_it() {
    let bench = Bench::new();
    let long = [("observations", pictures(300)), ("actions", steps(300))];
    let short: Vec<i64> = vec![6; 50];
    let folder = bench.root.path().join("folder");
    fs::create_dir(&folder).unwrap();
    for e in 0..4 {
        write(
            &folder.join(format!("{e}.npz")),
            &[("observations", pictures(60)), ("actions", steps(60))],
            Method::Stored,
        );
    }
    // What lies beside them is nothing to train on.
    fs::write(folder.join("README.md"), "recorded on a Tuesday").unwrap();
    for path in [
        bench.file("long.npz", &long),
        // Too short for EB-JEPA's windows of nine, and few.
        bench.file("short.npz", &[&long[..], &[("lengths", wholes(&short))]].concat()),
        bench.file("capital.NPZ", &long),
        folder,
    ] {
        let mut arguments = recommended(&path);
        let run = bench.root.path().join("recommended");
        let _ = fs::remove_dir_all(&run);
        arguments.extend(["--steps", "1", "--out", run.to_str().unwrap()].map(str::to_owned));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        succeeded(&arguments, "2");
    }
    let few = bench.file("few.npz", &[("observations", pictures(5)), ("actions", steps(5))]);
    let told = inspected(&few);
    assert!(told.get("next").is_none() && told["declined"].is_string(), "{told}");
    let said = succeeded(&["inspect", few.to_str().unwrap()], "2");
    assert!(said.contains("declines it") && !said.contains("next "), "{said}");
}

#[test]
fn a_clip_says_how_its_axes_and_its_range_were_taken() {
    let bench = Bench::new();
    let place = |name: &str, content: Vec<u8>| {
        let path = bench.root.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let picture = place("picture.npy", bytes("(32, 32, 3)", (0..3072).map(|i| (i % 251) as u8)));
    let told = inspected(&picture);
    assert_eq!((&told["frames"], &told["width"]), (&1.into(), &32.into()));
    assert!(told["notes"].to_string().contains("taken as one picture"), "{told}");
    let values = (0..4 * 8 * 8 * 3).map(|i| if i == 77 { 1.003 } else { (i % 50) as f32 / 49.0 });
    let bright = place("bright.npy", floats("(4, 8, 8, 3)", values));
    let told = inspected(&bright);
    assert!(told["notes"].to_string().contains("1 of 768 numbers lie outside of 0 to 1"), "{told}");
    let said = succeeded(&["inspect", bright.to_str().unwrap()], "2");
    assert!(said.contains("note      1 of 768"), "{said}");
    let planes = place("planes.npy", bytes("(3, 32, 32)", vec![9; 3072]));
    refused(&["inspect", planes.to_str().unwrap()], &["planes.npy", "[3, 32, 32]", "x[None]", "x[..., None]"]);
}

#[test]
fn ends_that_do_not_fit_are_declined_and_can_be_left_out_of_account() {
    let bench = Bench::new();
    let data = bench.file(
        "ends.npz",
        &[
            ("observations", bytes("(200, 8, 8, 3)", (0..200 * 192).map(|i| (i * 7 % 251) as u8))),
            ("actions", floats("(200, 2)", (0..400).map(|i| (i as f32 / 9.0).sin()))),
            ("episode_ends", wholes(&[10, 20, 30])),
        ],
    );
    let out = bench.root.path().join("never");
    let arguments =
        ["train", "le-wm", "--steps", "2", "--data", data.to_str().unwrap(), "--out", out.to_str().unwrap()];
    refused(&arguments, &["ends.npz", "`episode_ends` ends at row 30", "200 actions", "data.ends = none"]);
    assert!(!out.exists());
    bench.train(&data, &["--set", "data.ends=none"]);
}

#[test]
fn boxes_beside_images_are_no_classes() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    fs::create_dir_all(&set).unwrap();
    for i in 0..20 {
        fs::write(set.join(format!("{i}.png")), crate::made::png(8, 8, 3, i)).unwrap();
        fs::write(set.join(format!("{i}.txt")), format!("{} 0.5 0.5 0.25 0.25\n", i % 2)).unwrap();
    }
    let output = foretell().args(["inspect", "--json"]).arg(&set).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["factors"].as_array().map_or(0, Vec::len), 0, "{told:#}");
    assert!(told["notes"].to_string().contains("hold no label"), "{told:#}");
}
