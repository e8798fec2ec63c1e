//! A run that was killed, stopped, starved of disk or given other threads ends with the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

mod systems;

use systems::{ALL, GENERATED, LOOPS, STEPS, System};

use crate::{findings, foretell, graphs, pictures, recorded, series, stderr};

/// Data, and a run of each system that nothing disturbed.
struct World {
    root: tempfile::TempDir,
    references: BTreeMap<System, PathBuf>,
    /// The same of those whose data are generated, made when they are first asked for.
    generated: OnceLock<BTreeMap<System, PathBuf>>,
}

impl World {
    fn get() -> &'static World {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(|| {
            let root = tempfile::tempdir().unwrap();
            pictures(&root.path().join("data"), 150, 32);
            recorded::episodes(&root.path().join("play.npz"), 32, &[20; 12]);
            graphs::file(&root.path().join("graphs.txt"), 120);
            series::file(&root.path().join("waves.ts"), 100);
            let mut world = World { root, references: BTreeMap::new(), generated: OnceLock::new() };
            world.references = world.undisturbed(&ALL);
            world
        })
    }

    fn undisturbed(&self, systems: &[System]) -> BTreeMap<System, PathBuf> {
        let run = |system: &System| {
            let run = self.place(&format!("reference-{system:?}"));
            let output = self.start(*system, &run, &[], |_| ()).wait_with_output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
            (*system, run)
        };
        systems.iter().map(run).collect()
    }

    fn reference(&self, system: System) -> &Path {
        let generated = || &self.generated.get_or_init(|| self.undisturbed(&GENERATED))[&system];
        self.references.get(&system).unwrap_or_else(generated)
    }

    fn place(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.place("data")
    }

    fn command(&self, system: System, run: &Path, more: &[&str]) -> std::process::Command {
        let mut command = foretell();
        command.args(system.arguments()).args(more).arg("--out").arg(run);
        match system {
            System::EbJepa | System::LeWm | System::HJepa => command.args(["--world", "two-rooms"]),
            System::IJepa
            | System::LeJepa
            | System::SarJepa
            | System::SJea
            | System::Iwm
            | System::DmtJepa
            | System::Nepa => command.arg("--data").arg(self.data()),
            System::GraphJepa => command.arg("--data").arg(self.place("graphs.txt")),
            System::TsJepa | System::LeNepa | System::LatPfn => command.arg("--data").arg(self.place("waves.ts")),
            System::Scenes
            | System::BuiltInGraphs
            | System::VJepa21
            | System::McJepa
            | System::EbJepaVideo
            | System::SignalJepa
            | System::AJepa
            | System::StJema
            | System::CJepa
            | System::FoundSlots
            | System::ActJepa => &mut command,
            System::Recorded => command.arg("--data").arg(self.place("play.npz")),
        };
        command
    }

    fn start(&self, system: System, run: &Path, more: &[&str], change: impl Fn(&mut std::process::Command)) -> Child {
        let mut command = self.command(system, run, more);
        change(&mut command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Exactly what the undisturbed run holds.
    #[track_caller]
    fn same(&self, system: System, run: &Path) {
        let (reference, steps) = (self.reference(system), system.steps());
        for file in ["encoder.safetensors", "metrics.jsonl"] {
            same_bytes(&reference.join(file), &run.join(file));
        }
        let more =
            [System::Iwm, System::McJepa, System::EbJepaVideo, System::LatPfn, System::SignalJepa, System::StJema];
        if system.of_a_world() || more.contains(&system) {
            same_bytes(&reference.join("model.safetensors"), &run.join("model.safetensors"));
        }
        let last = format!("checkpoints/step-{steps:09}");
        for file in ["model.safetensors", "optimiser.safetensors"] {
            same_bytes(&reference.join(&last).join(file), &run.join(&last).join(file));
        }
        for step in [6, 12, 18, 24].into_iter().filter(|_| system == System::IJepa) {
            let stage = format!("stages/step-{step:09}.safetensors");
            same_bytes(&reference.join(&stage), &run.join(&stage));
        }
        let outcome = |run: &Path| {
            let mut summary: serde_json::Value =
                serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
            let summary = summary.as_object_mut().unwrap();
            for time in ["seconds", "samples_per_s", "waited_share"] {
                summary.remove(time);
            }
            summary.clone()
        };
        assert_eq!(outcome(reference), outcome(run));
        assert_eq!(findings(reference), findings(run));
        // Times are cut back too: one line a step, in order.
        let timed: Vec<u64> =
            lines(&run.join("timing.jsonl")).iter().filter_map(|line| line["step"].as_u64()).collect();
        assert_eq!(timed, (1..=steps as u64).collect::<Vec<_>>());
        assert!(
            !fs::read_dir(run.join("checkpoints")).unwrap().any(|e| e
                .unwrap()
                .file_name()
                .to_string_lossy()
                .contains("partial"))
        );
    }
}

#[track_caller]
fn same_bytes(a: &Path, b: &Path) {
    let read = |path: &Path| fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(read(a) == read(b), "{} and {} differ", a.display(), b.display());
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    fs::read_to_string(path).unwrap_or_default().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Names in the checkpoints' folder, those being written included.
fn checkpoints(run: &Path) -> Vec<String> {
    let entries = fs::read_dir(run.join("checkpoints")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Waits for a moment in the life of a run.
fn until(child: &mut Child, moment: impl Fn() -> bool) {
    let begun = Instant::now();
    while !moment() {
        assert!(begun.elapsed() < Duration::from_mins(2), "the moment never came");
        if let Some(status) = child.try_wait().unwrap() {
            // It may have come in the last instant.
            assert!(moment(), "the run ended ({status}) before the moment came");
            return;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn resume(run: &Path) -> Output {
    foretell().args(["train", "--resume"]).arg(run).output().unwrap()
}

#[track_caller]
fn resumed(run: &Path) -> String {
    let output = resume(run);
    assert!(output.status.success(), "{}", stderr(&output));
    stderr(&output)
}

#[track_caller]
fn refused(output: &Output) -> String {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.lines().last().unwrap_or_default().starts_with("error: ") && !text.contains("panicked"), "{text}");
    text
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn what_a_run_leaves() {
    let world = World::get();
    for system in ALL {
        let run = &world.references[&system];
        let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        let metrics = lines(&run.join("metrics.jsonl"));
        assert_eq!(metrics.len(), text.lines().count(), "a line is not JSON");
        let losses: Vec<u64> =
            metrics.iter().filter(|l| l.get("loss").is_some()).filter_map(|l| l["step"].as_u64()).collect();
        assert_eq!(losses, (1..=STEPS as u64).collect::<Vec<_>>());
        let judged: Vec<u64> =
            metrics.iter().filter(|l| l.get("health").is_some()).filter_map(|l| l["step"].as_u64()).collect();
        assert_eq!(judged, [0, 6, 12, 18, 24]);
        for clock in ["second", "wall", "per_s"] {
            assert!(!text.contains(clock), "metrics.jsonl holds a clock: {clock}");
        }
        // The schedules end with the last step that was taken.
        let last = metrics.iter().rfind(|l| l.get("loss").is_some()).unwrap();
        let config: toml::Table = fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap();
        let train = |key: &str| config["train"][key].as_float().unwrap();
        assert!((last["lr"].as_f64().unwrap() / (train("lr") * train("final_lr")) - 1.0).abs() < 1e-9, "{last}");
        assert!((last["weight_decay"].as_f64().unwrap() - train("final_weight_decay")).abs() < 1e-9, "{last}");
        let first = metrics.iter().filter(|l| l.get("loss").is_some());
        let peak = first.filter_map(|l| l["lr"].as_f64()).fold(0.0, f64::max);
        assert!((peak / train("lr") - 1.0).abs() < 1e-9);
        // The last two checkpoints, and the best if that is another.
        let (kept, end) = (checkpoints(run), system.steps());
        let last = [(end - 1) / 5 * 5, end].map(|step| format!("step-{step:09}"));
        assert!(kept.ends_with(&last) && kept.len() <= 3, "{kept:?}");
        // What learns when the rest has learnt has a loss of its own.
        let second: Vec<u64> =
            metrics.iter().filter(|l| l.get("actor").is_some()).filter_map(|l| l["step"].as_u64()).collect();
        assert_eq!(second, (STEPS as u64 + 1..=end as u64).collect::<Vec<_>>(), "{system:?}");
        let summary: serde_json::Value = serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
        assert_eq!(summary["steps"], STEPS);
        // The judgement is the last one of the metrics, and not the untrained network's.
        let judgements: Vec<&serde_json::Value> = metrics.iter().filter_map(|l| l.get("health")).collect();
        assert_eq!(&summary["health"], judgements[4]);
        // Known objects are given: what is predicted of them alone is learnt.
        let learnt = if system == System::CJepa { "prediction_std" } else { "rankme" };
        assert_ne!(judgements[4][learnt], judgements[0][learnt], "{system:?}");
        let verdict = verdict_by_its_rules(judgements[4]);
        assert_eq!(summary["health"]["verdict"], verdict, "{}", summary["health"]);
    }
}

/// The verdict that the rules in a judgement give: its first four are against collapse, the others against half of one.
fn verdict_by_its_rules(health: &serde_json::Value) -> &'static str {
    let rules = health["thresholds"].as_array().unwrap();
    let number = |rule: &serde_json::Value, key: &str| rule[key].as_f64().unwrap();
    let met = |rule: &serde_json::Value| {
        // `≥ 1.3 (2 % of 64)`: rounded, so that what lies within the rounding could be either.
        let limit: Vec<&str> = rule["limit"].as_str().unwrap().split(' ').collect();
        let percent = limit.get(2) == Some(&"%");
        let bound = limit[1].parse::<f64>().unwrap() / if percent { 100.0 } else { 1.0 };
        match limit[0] {
            "≥" => number(rule, "value") >= bound,
            "≤" => number(rule, "value") <= bound,
            other => panic!("{other}"),
        }
    };
    // The last one is of clips alone.
    let names = ["effective rank", "cosine", "targets", "spread", "untrained", "constant", "change over time"];
    for (rule, name) in rules.iter().zip(names) {
        assert!(rule["measure"].as_str().unwrap().contains(name), "{rule}");
        assert_eq!(rule["met"], met(rule), "{rule}");
    }
    assert!(matches!(rules.len(), 6 | 7), "{health}");
    match rules.iter().position(|rule| !met(rule)) {
        None => "healthy",
        Some(0..4) => "collapse",
        Some(_) => "partial-collapse",
    }
}

/// A run that ends as by a kill at a point that [`foretell_train::stop_here`] knows, with no luck of time in it.
#[track_caller]
fn killed(mut command: std::process::Command, point: &str) {
    let output = command.env("FORETELL_STOP_AFTER", point).output().unwrap();
    assert!(!output.status.success(), "the run never came to {point}");
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(output.status.signal(), Some(6), "{point}: {}", stderr(&output));
    }
}

/// Every system goes on to the same bytes, with one thread before the kill and several after it.
#[test]
fn every_system_goes_on_with_any_number_of_threads() {
    let world = World::get();
    for system in ALL {
        let run = world.place(&format!("any-{system:?}"));
        let mut begun = world.command(system, &run, &["--set", "train.loader_threads=1"]);
        begun.env("RAYON_NUM_THREADS", "1");
        killed(begun, "13:step");
        assert_eq!(checkpoints(&run).last().map(String::as_str), Some("step-000000010"), "{system:?}");
        let mut again = foretell();
        again.args(["train", "--resume"]).arg(&run).env("RAYON_NUM_THREADS", "4");
        let output = again.output().unwrap();
        assert!(output.status.success(), "{system:?}: {}", stderr(&output));
        world.same(system, &run);
    }
}

/// After a step, during the write of a checkpoint, right after one, after the last step, and with the evaluation done.
#[test]
fn killed_at_any_moment() {
    for system in LOOPS {
        let second = system.steps() > STEPS;
        let end: &[&str] =
            if second { &["step-000000045", "step-000000048"] } else { &["step-000000020", "step-000000024"] };
        let moments: [(&str, &[&str]); 5] = [
            ("9:step", &["step-000000005"]),
            ("10:checkpoint-half", &[".step-000000010.partial", "step-000000005"]),
            ("10:checkpoint", &["step-000000005", "step-000000010"]),
            ("24:checkpoint", &["step-000000020", "step-000000024"]),
            ("summary.json:half", end),
        ];
        // While an actor learns.
        let later: [(&str, &[&str]); 2] =
            [("33:step", &["step-000000030"]), ("35:checkpoint-half", &[".step-000000035.partial", "step-000000030"])];
        for (point, there) in moments.into_iter().chain(later.into_iter().filter(|_| second)) {
            killed_and_resumed(system, point, there, &[]);
        }
    }
}

/// The generated data too, with one thread that makes batches and with three.
#[test]
fn killed_on_generated_data_with_any_number_of_threads() {
    for (system, point, there, threads) in [
        (System::Scenes, "9:step", &["step-000000005"][..], "1"),
        (System::BuiltInGraphs, "summary.json:half", &["step-000000020", "step-000000024"], "3"),
    ] {
        let set = format!("train.loader_threads={threads}");
        killed_and_resumed(system, point, there, &["--set", &set]);
    }
}

#[track_caller]
fn killed_and_resumed(system: System, point: &str, there: &[&str], more: &[&str]) {
    let world = World::get();
    let run = world.place(&format!("killed-{system:?}-{}", point.replace(':', "-")));
    killed(world.command(system, &run, more), point);
    assert!(!run.join("summary.json").exists(), "{point}");
    // The best one may stand beside the last two.
    let found = checkpoints(&run);
    assert!(there.iter().all(|name| found.contains(&(*name).to_owned())), "{point}: {found:?}");
    resumed(&run);
    world.same(system, &run);
}

#[test]
fn killed_again_while_it_goes_on() {
    let world = World::get();
    let run = world.place("killed-twice");
    killed(world.command(System::IJepa, &run, &[]), "5:checkpoint");
    let mut again = foretell();
    again.args(["train", "--resume"]).arg(&run);
    killed(again, "15:checkpoint");
    // A kill in the middle of a write leaves a folder that is not whole and does not count.
    let half = run.join("checkpoints/.step-000000020.partial");
    fs::create_dir_all(&half).unwrap();
    fs::write(half.join("model.safetensors"), [0; 100]).unwrap();
    // And half a line, or whole lines that the checkpoint does not vouch for.
    let mut metrics = fs::read(run.join("metrics.jsonl")).unwrap();
    metrics.extend(b"{\"step\":99,\"loss\":0.1}\n{\"step\":1");
    fs::write(run.join("metrics.jsonl"), metrics).unwrap();
    resumed(&run);
    world.same(System::IJepa, &run);
}

#[test]
fn killed_before_its_first_checkpoint() {
    let world = World::get();
    for system in LOOPS {
        for point in ["config.toml", "5:checkpoint-half"] {
            let run = world.place(&format!("early-{system:?}-{}", point.replace(':', "-")));
            killed(world.command(system, &run, &[]), point);
            // What was still being written aside is not a checkpoint.
            assert!(checkpoints(&run).iter().all(|name| name.starts_with('.')), "{:?}", checkpoints(&run));
            let said = resumed(&run);
            assert!(said.contains("no checkpoint yet: starting again from its stored config"), "{said}");
            world.same(system, &run);
        }
    }
}

#[cfg(unix)]
#[test]
fn stopped_with_ctrl_c() {
    let world = World::get();
    for system in LOOPS {
        let run = world.place(&format!("stopped-{system:?}"));
        let mut child = world.start(system, &run, &[], |_| ());
        until(&mut child, || lines(&run.join("metrics.jsonl")).len() >= 9);
        assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let said = stderr(&output);
        assert!(
            said.contains("saved") && said.contains(&format!("foretell train --resume {}", run.display())),
            "{said}"
        );
        assert!(!run.join("summary.json").exists(), "stopped too late to show anything");
        // It was saved where it stopped, not where the last checkpoint happened to be.
        let stopped = lines(&run.join("metrics.jsonl")).iter().filter_map(|l| l["step"].as_u64()).max().unwrap();
        assert!(
            checkpoints(&run).contains(&format!("step-{stopped:09}")),
            "{:?} and step {stopped}",
            checkpoints(&run)
        );
        let said = resumed(&run);
        assert!(said.contains(&format!("step {stopped} of {}", system.steps())), "{said}");
        world.same(system, &run);
    }
}

/// SIGKILL at whatever moment it comes, and another number of threads afterwards.
#[cfg(unix)]
#[test]
fn killed_by_a_signal_that_cannot_be_caught() {
    use std::os::unix::process::ExitStatusExt;
    let world = World::get();
    for system in [System::SarJepa, System::GraphJepa] {
        let run = world.place(&format!("sigkill-{system:?}"));
        let mut child = world.start(system, &run, &[], |command| {
            command.env("RAYON_NUM_THREADS", "1");
        });
        let saved = || checkpoints(&run).into_iter().rfind(|name| name.starts_with("step-"));
        until(&mut child, || saved().is_some());
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "{system:?} ended before the signal came");
        for last in ["encoder.safetensors", "summary.json"] {
            assert!(!run.join(last).exists(), "{system:?} had come to {last} before the signal came");
        }
        let step: usize = saved().unwrap().trim_start_matches("step-").parse().unwrap();

        let output = foretell().args(["train", "--resume"]).arg(&run).env("RAYON_NUM_THREADS", "3").output().unwrap();
        let said = stderr(&output);
        assert!(output.status.success() && said.contains(&format!("step {step} of {STEPS}")), "{said}");
        world.same(system, &run);
    }
}

#[test]
fn a_finished_run_goes_on_to_nowhere() {
    let world = World::get();
    let run = world.place("finished");
    copy(&world.references[&System::IJepa], &run);
    fs::remove_file(run.join("encoder.safetensors")).unwrap();
    fs::remove_file(run.join("summary.json")).unwrap();
    resumed(&run);
    world.same(System::IJepa, &run);
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let world = World::get();
    for system in LOOPS {
        for (compute, loading) in [("1", "1"), ("2", "3"), ("4", "2")] {
            let run = world.place(&format!("threads-{system:?}-{compute}-{loading}"));
            let set = format!("train.loader_threads={loading}");
            let child = world.start(system, &run, &["--set", &set], |command| {
                command.env("RAYON_NUM_THREADS", compute);
            });
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
            world.same(system, &run);
            let config = |run: &Path| fs::read_to_string(run.join("config.toml")).unwrap();
            let (ours, theirs) = (config(&run), config(&world.references[&system]));
            let differ: Vec<_> = ours.lines().zip(theirs.lines()).filter(|(a, b)| a != b).collect();
            assert_eq!(ours.lines().count(), theirs.lines().count());
            assert!(differ.iter().all(|(line, _)| line.starts_with("loader_threads")), "{differ:?}");
        }
    }
}

/// Another seed is another run: the comparisons above can fail.
#[test]
fn another_seed_is_another_run() {
    let world = World::get();
    let run = world.place("another-seed");
    let output = world.start(System::LeJepa, &run, &["--set", "seed=8"], |_| ()).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    // `--seed 7` stands on the line too and wins over `--set`.
    world.same(System::LeJepa, &run);
    let changed = world.place("another-seed-changed");
    let mut command = foretell();
    let arguments = System::LeJepa.arguments().into_iter().map(|a| if a == "7" { "8" } else { a });
    let output = command.args(arguments).arg("--data").arg(world.data()).arg("--out").arg(&changed).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    for file in ["encoder.safetensors", "metrics.jsonl"] {
        assert_ne!(fs::read(run.join(file)).unwrap(), fs::read(changed.join(file)).unwrap(), "{file}");
    }
}

/// A way to damage a checkpoint's folder, by name.
type Damage<'a> = (&'a str, &'a dyn Fn(&Path));

#[test]
fn a_damaged_checkpoint_is_never_passed_over() {
    let world = World::get();
    let newest = format!("checkpoints/step-{STEPS:09}");
    let damage: [Damage<'_>; 4] = [
        ("flipped", &|folder| {
            let file = folder.join("model.safetensors");
            let mut bytes = fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(file, bytes).unwrap();
        }),
        ("cut", &|folder| {
            let file = folder.join("optimiser.safetensors");
            let bytes = fs::read(&file).unwrap();
            fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("gone", &|folder| fs::remove_file(folder.join("model.safetensors")).unwrap()),
        ("progress", &|folder| fs::write(folder.join("progress.json"), "{\"step\": 24").unwrap()),
    ];
    for (name, damage) in damage {
        let run = world.place(&format!("damaged-{name}"));
        copy(&world.references[&System::LeJepa], &run);
        // Not finished: what was written after the last checkpoint is not there yet.
        fs::remove_file(run.join("summary.json")).unwrap();
        damage(&run.join(&newest));
        let before = fs::read(run.join("metrics.jsonl")).unwrap();
        let said = refused(&resume(&run));
        assert!(said.contains(&newest) && said.contains("Remove this folder"), "{name}: {said}");
        assert_eq!(fs::read(run.join("metrics.jsonl")).unwrap(), before, "{name}: the refusal changed the run");
        // What it tells one to do works.
        fs::remove_dir_all(run.join(&newest)).unwrap();
        let said = resumed(&run);
        assert!(said.contains(&format!("step 20 of {STEPS}")), "{said}");
        world.same(System::LeJepa, &run);
    }
}

#[test]
fn metrics_that_were_cut_and_data_that_changed() {
    let world = World::get();
    let run = world.place("cut-metrics");
    copy(&world.references[&System::IJepa], &run);
    fs::remove_file(run.join("summary.json")).unwrap();
    let metrics = fs::read(run.join("metrics.jsonl")).unwrap();
    fs::write(run.join("metrics.jsonl"), &metrics[..metrics.len() / 2]).unwrap();
    let said = refused(&resume(&run));
    assert!(said.contains("metrics.jsonl") && said.contains("bytes"), "{said}");
    assert_eq!(fs::read(run.join("metrics.jsonl")).unwrap().len(), metrics.len() / 2);

    let (data, run) = (world.place("changing"), world.place("changed-data"));
    pictures(&data, 150, 32);
    let mut command = foretell();
    command.args(System::LeJepa.arguments()).arg("--data").arg(&data).arg("--out").arg(&run);
    assert!(command.output().unwrap().status.success());
    fs::write(data.join("017.png"), crate::made::png(32, 32, 3, 18)).unwrap();
    fs::remove_file(run.join("summary.json")).unwrap();
    let said = refused(&resume(&run));
    assert!(said.contains("017.png") && said.contains("changing"), "{said}");
    // One picture of 150 that is gone is passed over; of three the first is named.
    fs::remove_file(data.join("017.png")).unwrap();
    let without = world.place("changed-data-again");
    copy(&run, &without);
    assert!(resumed(&without).contains("1 image is gone from the data and passed over: 017.png"));
    for more in ["018.png", "019.png"] {
        fs::remove_file(data.join(more)).unwrap();
    }
    let said = refused(&resume(&run));
    assert!(said.contains("017.png") && said.contains("changing"), "{said}");
    for i in [18, 19] {
        fs::write(data.join(format!("{i:03}.png")), crate::made::png(32, 32, 3, i)).unwrap();
    }
    // Put back, it is the same data again.
    fs::write(data.join("017.png"), crate::made::png(32, 32, 3, 17)).unwrap();
    resumed(&run);
    world.same_tensors(System::LeJepa, &run);
}

impl World {
    /// The summary names the data's path; tensors and metrics do not.
    #[track_caller]
    fn same_tensors(&self, system: System, run: &Path) {
        for file in ["encoder.safetensors", "metrics.jsonl"] {
            same_bytes(&self.references[&system].join(file), &run.join(file));
        }
    }
}

/// A limit on the size of files fails writes in their middle, as a full disk does.
#[cfg(unix)]
#[test]
fn a_full_disk() {
    let world = World::get();
    let begun = world.place("disk");
    killed(world.command(System::IJepa, &begun, &[]), "10:checkpoint");
    let newest = || checkpoints(&begun).pop().unwrap();
    let before = newest();
    assert_eq!(before, "step-000000010");
    let limited = |blocks: u64| {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" train --resume \"$1\"");
        std::process::Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_foretell")])
            .arg(&begun)
            .output()
            .unwrap()
    };

    // Neither the next network to keep nor the next checkpoint fits (a block is 512 or 1024 bytes, as the shell has it).
    let said = refused(&limited(100));
    assert!(said.contains("cannot write") && said.contains("step-0000000"), "{said}");
    let mut stages = fs::read_dir(begun.join("stages")).into_iter().flatten().flatten();
    assert!(stages.all(|file| fs::metadata(file.path()).unwrap().len() > 100 * 1024), "nothing half-written");
    assert_eq!(newest(), before, "{said}");
    assert!(!checkpoints(&begun).iter().any(|name| name.contains("partial")), "{:?}", checkpoints(&begun));

    // Not even the metrics fit: a line is cut in its middle.
    let said = refused(&limited(2));
    assert!(said.contains(".jsonl") || said.contains("events"), "{said}");
    assert_eq!(newest(), before, "{said}");

    resumed(&begun);
    world.same(System::IJepa, &begun);
}

#[test]
fn there_must_be_a_run_to_go_on_with() {
    let world = World::get();
    let empty = world.place("empty");
    fs::create_dir_all(&empty).unwrap();
    for place in [&empty, &world.place("nowhere")] {
        let said = refused(&resume(place));
        assert!(said.contains("holds no run") && said.lines().count() == 1, "{said}");
    }
    let output =
        foretell().args(["train", "--seed", "3", "--resume"]).arg(&world.references[&System::IJepa]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "a resumed run takes no other settings");
}
