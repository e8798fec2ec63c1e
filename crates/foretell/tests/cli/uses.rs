//! What a user does with a run once it is there, and the other ways to begin one.

use std::path::{Path, PathBuf};

use foretell_systems::family::members;
use serde_json::Value;

use crate::plan::refused;
use crate::{controlled, foretell, pictures, stderr};

/// Labelled pictures: two class folders.
pub(crate) fn labelled(root: &Path) -> PathBuf {
    let data = root.join("data");
    pictures(&data.join("first"), 40, 16);
    pictures(&data.join("second"), 40, 16);
    data
}

/// What a command that must succeed prints to standard output.
#[track_caller]
pub(crate) fn printed(arguments: &[&str]) -> String {
    let output = foretell().args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
pub(crate) fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(arguments)).unwrap()
}

/// A transformer of two narrow blocks, trained for two steps.
pub(crate) fn small_run(data: &Path, run: &Path) -> Value {
    let mut arguments = vec!["train", "i-jepa", "--steps", "2", "--json"];
    for setting in [
        "train.batch=8",
        "model.width=24",
        "model.heads=2",
        "model.depth=2",
        "model.predictor_width=8",
        "model.predictor_depth=1",
        "model.ema.initial_teacher_limit=1.0",
    ] {
        arguments.extend(["--set", setting]);
    }
    let (data, run) = (data.to_str().unwrap(), run.to_str().unwrap());
    arguments.extend(["--data", data, "--out", run]);
    json(&arguments)
}

#[test]
fn a_run_is_probed_embedded_and_inspected() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (labelled(root.path()), root.path().join("run"));
    let summary = small_run(&data, &run);
    let (data, run) = (data.to_str().unwrap(), run.to_str().unwrap());
    assert_eq!(summary["probes"].as_array().map(Vec::len), Some(6), "three features, two probes");
    // Two of the seven held-out images are of the class that most training images have.
    assert_eq!(summary["chance"], serde_json::json!([{ "factor": "class", "accuracy": 2.0 / 7.0 }]));
    assert_eq!(controlled(Path::new(run)), ["probes", "features", "neighbours", "alike", "masks", "lidar", "energy"]);

    let again = json(&["probe", run, "--json"]);
    assert_eq!(again["probes"], summary["probes"], "the same encoder on the same images");
    let elsewhere = json(&["probe", run, "--data", data, "--json"]);
    assert_eq!(elsewhere["probes"], summary["probes"]);

    let newest = json(&["probe", run, "--checkpoint", "newest", "--json"]);
    assert_eq!(newest["probes"], summary["probes"], "the last checkpoint is of the last step");
    assert_eq!(json(&["probe", run, "--checkpoint", "2", "--json"]), newest);
    refused(&["probe", run, "--checkpoint", "7"], &[run, "no checkpoint of step 7", "steps 1, 2"]);

    for (more, width) in [(&[][..], 24), (&["--probed"][..], 48), (&["--tokens"][..], 24)] {
        for end in ["npz", "safetensors"] {
            let out = root.path().join(format!("x.{end}"));
            let mut arguments = vec!["embed", run, data, "--json", "--out", out.to_str().unwrap()];
            arguments.extend(more);
            let embedded = json(&arguments);
            assert_eq!((&embedded["rows"], &embedded["width"]), (&80.into(), &width.into()), "{more:?}");
            let tokens = embedded["tokens"].as_u64().unwrap_or(1);
            let bytes = std::fs::metadata(&out).unwrap().len();
            assert!(bytes > 4 * 80 * width * tokens, "{more:?}: {bytes} bytes");
        }
    }
    for thing in [run, data] {
        let text = printed(&["inspect", thing]);
        assert!(text.lines().count() > 3, "{text}");
    }
    assert!(printed(&["inspect", run]).contains("I-JEPA"));

    // As while it goes on.
    std::fs::remove_file(Path::new(run).join("encoder.safetensors")).unwrap();
    refused(&["probe", run], &[run, "not finished", "--resume", "--checkpoint newest"]);
    assert_eq!(json(&["probe", run, "--checkpoint", "newest", "--json"]), newest);
}

#[test]
fn a_finished_run_tells_what_it_found_without_its_data_and_its_networks() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (labelled(root.path()), root.path().join("run"));
    small_run(&data, &run);
    let (report, name) = (run.join("report.html"), run.to_str().unwrap());
    let before = std::fs::read_to_string(&report).unwrap();
    for shown in ["What the features know", "chance", "What was hidden", "target 1", "Nearest neighbours", "Underlined"]
    {
        assert!(before.contains(shown), "{shown}");
    }
    let table = |said: &str| {
        let lines = said.lines().skip_while(|line| !line.starts_with("What the features know")).take(4);
        lines.map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let inspected = table(&printed(&["inspect", name]));
    assert!(inspected.len() == 4 && inspected[1].ends_with("trained  untrained  pixels  chance  n"), "{inspected:?}");
    // What `train` said at the end, and says again of a run that is finished.
    assert_eq!(table(&printed(&["train", "--resume", name])), inspected);
    assert_eq!(table(&printed(&["probe", name])), inspected);

    std::fs::remove_dir_all(&data).unwrap();
    std::fs::remove_dir_all(run.join("checkpoints")).unwrap();
    std::fs::remove_file(run.join("encoder.safetensors")).unwrap();
    std::fs::remove_file(&report).unwrap();
    assert_eq!(printed(&["report", name]).trim(), report.to_str().unwrap());
    assert_eq!(std::fs::read_to_string(&report).unwrap(), before);
    assert_eq!(table(&printed(&["inspect", name])), inspected);

    // A run that was moved speaks of where it is now.
    let moved = root.path().join("moved");
    std::fs::rename(&run, &moved).unwrap();
    let (run, name) = (moved.as_path(), moved.to_str().unwrap());
    printed(&["report", name]);
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains(&format!("foretell embed {name} IMAGES")) && !page.contains("{run}"));

    let file = run.join("findings.json");
    let whole = std::fs::read_to_string(&file).unwrap();
    for (damaged, part) in [
        (whole[..whole.len() / 2].to_owned(), "is not what a run writes"),
        (whole.replacen("[\"class\",\"knn\",\"trained\"]", "[\"class\"]", 1), "3 dimensions"),
    ] {
        assert_ne!(damaged, whole);
        std::fs::write(&file, damaged).unwrap();
        refused(&["report", name], &["findings.json", part]);
        refused(&["inspect", name], &["findings.json", part]);
    }
    std::fs::remove_file(&file).unwrap();
    refused(&["report", name], &["findings.json", "is missing", "foretell train"]);
    assert!(printed(&["inspect", name]).contains("I-JEPA"));
    std::fs::remove_file(run.join("summary.json")).unwrap();
    refused(&["report", name], &[name, "is not finished", "--resume"]);
}

/// A file of `crates/foretell-nn/tests/pth`.
fn pth(name: &str) -> String {
    format!("{}/../foretell-nn/tests/pth/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn weights_and_clips_are_inspected() {
    let file = pth("i-jepa.pth.tar");
    let found = json(&["inspect", &file, "--json"]);
    assert_eq!((&found["kind"], &found["parameters"]), (&"weights".into(), &132.into()));
    assert_eq!(found["tensors"].as_array().map(Vec::len), Some(39));
    assert_eq!(found["groups"]["target_encoder"]["tensors"], 7);
    assert_eq!(found["metadata"]["epoch"], "300");
    let text = printed(&["inspect", &file]);
    for part in ["PyTorch file", "39 (39 F32)", "encoder: 7 tensors, 30 numbers", "target_encoder.module.norm.bias"] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    let clip = format!("{}/../foretell-data/tests/clips/420.y4m", env!("CARGO_MANIFEST_DIR"));
    assert_eq!(json(&["inspect", &clip, "--json"])["frames"], 3);
    for (name, part) in [("foreign.pth", "experiment.state.Meter"), ("legacy.pth", "before 1.6")] {
        let output = crate::foretell().args(["inspect", &pth(name)]).output().unwrap();
        let text = crate::stderr(&output);
        assert_eq!((output.status.code(), text.trim_end().lines().count()), (Some(2), 1), "{text}");
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn minutes_become_steps_in_the_stored_config() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (labelled(root.path()), root.path().join("run"));
    let (data, out) = (data.to_str().unwrap(), run.to_str().unwrap());
    let mut arguments = vec!["train", "le-jepa", "--minutes", "0.01", "--json", "--data", data, "--out", out];
    for setting in ["train.batch=8", "model.backbone.widths=[8]", "model.projector=[16]", "model.code_width=8"] {
        arguments.extend(["--set", setting]);
    }
    let summary = json(&arguments);
    let config: toml::Table = std::fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap();
    assert_eq!(config["train"]["steps"].as_integer(), summary["steps"].as_i64());
    assert_eq!(config["minutes"].as_float(), Some(0.01));
}

#[test]
fn the_size_is_one_dial_for_either_backbone() {
    let root = tempfile::tempdir().unwrap();
    let data = labelled(root.path());
    for (kind, expected) in [("resnet", Some("[96, 192, 384]")), ("vit", None)] {
        let run = root.path().join(kind);
        let kind = format!("model.backbone.kind={kind}");
        let mut arguments = vec!["train", "le-jepa", "--size", "small", "--steps", "1", "--json"];
        for setting in [kind.as_str(), "train.batch=4", "model.projector=[16]", "model.code_width=8"] {
            arguments.extend(["--set", setting]);
        }
        if kind.ends_with("resnet") {
            let rest = ["model.backbone.blocks=1", "model.backbone.stem_kernel=3", "model.backbone.stem_stride=2"];
            for setting in rest {
                arguments.extend(["--set", setting]);
            }
        }
        arguments.extend(["--data", data.to_str().unwrap(), "--out", run.to_str().unwrap()]);
        json(&arguments);
        let config: toml::Table = std::fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap();
        assert_eq!(config["model"]["size"].as_str(), Some("small"));
        let widths = config["model"]["backbone"].get("widths").map(ToString::to_string);
        assert_eq!(widths.as_deref(), expected);
        // Of a transformer the kept tensors tell the width: 384 numbers in the last norm.
        let norm = json(&["inspect", run.join("encoder.safetensors").to_str().unwrap(), "--json"])["tensors"]
            .as_array()
            .and_then(|tensors| tensors.iter().find(|t| t["name"] == "norm.weight").map(|t| t["shape"].clone()));
        assert_eq!(norm, expected.is_none().then(|| serde_json::json!([384])));
    }
}

/// Operations of `rows` through a matrix: a multiplication and an addition for each of its numbers.
fn map(rows: f64, inputs: f64, outputs: f64) -> f64 {
    2.0 * rows * inputs * outputs
}

/// Operations of a transformer block, its hidden width four times its own, forward over `sets` sets of `len` tokens.
fn block(sets: f64, len: f64, width: f64) -> f64 {
    let rows = sets * len;
    let maps = map(rows, width, 3.0 * width) + map(rows, width, width) + 2.0 * map(rows, width, 4.0 * width);
    maps + 2.0 * map(rows, width, len)
}

/// An error unless so many operations were counted in the time that is told, but for the rounding of both.
#[track_caller]
fn counted(report: &serde_json::Value, time: &str, expected: f64) {
    let number = |key: &str| report[key].as_f64().unwrap();
    let (ms, rate) = (number(time), number("gflops"));
    let rounding = 1e6 * 0.0051 * (ms + rate);
    assert!((1e6 * ms * rate - expected).abs() <= rounding, "{expected} operations were expected: {report}");
    assert!(rounding < 0.1 * expected, "too few operations to tell: {report}");
    assert!((number("ceiling_share") - rate / number("gemm_ceiling_gflops")).abs() <= 0.011, "{report}");
}

#[test]
fn benchmarks_count_what_they_time() {
    let sizes = "--set model.width=48 --set model.heads=2 --set model.depth=2 --set model.predictor_width=24 --set \
                 model.predictor_depth=1 --set model.patch=4 --set model.sigreg=0 --set data.image_size=32 --batch 64 --warmup 1 --steps 1";
    let step = json(&["bench", "step", "i-jepa", "--json"].into_iter().chain(sizes.split(' ')).collect::<Vec<_>>());
    assert_eq!(step["system"], "i-jepa");
    let number = |key: &str| step[key].as_f64().unwrap();
    let (context, target) = (number("context_tokens"), number("target_tokens"));
    assert!(target < context && context <= 64.0, "{step}");
    // The teacher sees all 64 tokens and takes no gradient; backward is twice forward, but the pixels take no gradient either.
    let (batch, pixels) = (64.0, 48.0);
    let teacher = map(64.0 * batch, pixels, 48.0) + 2.0 * block(batch, 64.0, 48.0);
    let student = 2.0 * map(context * batch, pixels, 48.0) + 3.0 * 2.0 * block(batch, context, 48.0);
    // Four targets, each with the whole context.
    let ends = map(context * batch, 48.0, 24.0) + map(4.0 * target * batch, 24.0, 48.0);
    let predictor = 3.0 * (ends + block(4.0 * batch, context + target, 24.0));
    counted(&step, "step_ms", teacher + student + predictor);
    let rate = 64e3 / number("step_ms");
    assert!((number("samples_per_s") / rate - 1.0).abs() < 0.01, "{step}");

    let masks = json(&["bench", "masks", "--grid", "4", "--batch", "3", "--steps", "2", "--masks", "blocks", "--json"]);
    assert!(masks["masks_per_s"].as_f64() > Some(0.0));
    let sizes = "--image 64 --patch 8 --width 48 --heads 2 --depth 2 --batch 64 --steps 1";
    let embed = json(&["bench", "embed", "--json"].into_iter().chain(sizes.split(' ')).collect::<Vec<_>>());
    assert_eq!(embed["tokens"], 64);
    counted(&embed, "batch_ms", map(64.0 * 64.0, 192.0, 48.0) + 2.0 * block(64.0, 64.0, 48.0));
}

/// Convolutions of LeJEPA's residual network, its projector and SIGReg's projections. Norms, rectifiers and means are left out
/// on both sides: they are no matrix products.
#[test]
fn benchmarks_count_convolutions() {
    let sizes = "--set data.image_size=32 --set model.local_size=16 --set model.global_views=2 --set model.local_views=2 --set \
                 model.backbone.widths=[16,32] --set model.projector=[64] --set model.code_width=16 --set model.slices=1024 \
                 --batch 32 --warmup 1 --steps 1";
    let step = json(&["bench", "step", "le-jepa", "--json"].into_iter().chain(sizes.split(' ')).collect::<Vec<_>>());
    // A number of the output is a sum over the k² · inputs numbers under the kernel.
    let conv = |places: f64, k: f64, inputs: f64, outputs: f64| map(places, k * k * inputs, outputs);
    let samples = 32.0;
    let (mut stem, mut blocks) = (0.0, 0.0);
    // Global and local views, two of each sample. The stem halves their sides, and so does the second stage.
    for side in [32.0, 16.0] {
        let places = |side: f64| 2.0 * samples * side * side;
        let (first, second) = (places(side / 2.0), places(side / 4.0));
        stem += conv(first, 3.0, 3.0, 16.0);
        blocks += 2.0 * conv(first, 3.0, 16.0, 16.0);
        blocks += conv(second, 3.0, 16.0, 32.0) + conv(second, 3.0, 32.0, 32.0) + conv(second, 1.0, 16.0, 32.0);
    }
    let codes = 4.0 * samples;
    let projector = map(codes, 32.0, 64.0) + map(codes, 64.0, 16.0);
    let sigreg = map(codes, 16.0, 1024.0);
    // Backward is twice forward; but the pixels take no gradient, and SIGReg's directions do not learn.
    counted(&step, "step_ms", 2.0 * stem + 3.0 * (blocks + projector) + 2.0 * sigreg);
}

/// Graph-JEPA over rings of ten nodes, of which each node is a part and holds its two neighbours as well. The sums over
/// neighbours and over parts are left out on both sides, as are norms: they are no matrix products.
#[test]
fn benchmarks_count_what_graphs_cost() {
    const NODES: usize = 10;
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("rings.txt");
    let node = |v: usize| format!("{} 2 {} {}\n", v % 3, (v + 1) % NODES, (v + NODES - 1) % NODES);
    let ring = |class: usize| format!("{NODES} {class}\n") + &(0..NODES).map(node).collect::<String>();
    let rings: String = (0..200).map(|graph| ring(graph % 2)).collect();
    std::fs::write(&file, format!("200\n{rings}")).unwrap();
    let data = format!("data.path={}", file.display());
    let sizes = "--set model.width=64 --set model.heads=2 --set model.depth=2 --set model.layers=2 --set model.targets=3 --set \
                 model.parts.count=10 --set model.parts.hops=1 --set data.walk=5 --batch 64 --warmup 1 --steps 1";
    let mut arguments = vec!["bench", "step", "graph-jepa", "--json", "--set", &data];
    arguments.extend(sizes.split(' '));
    let step = json(&arguments);

    let (graphs, width) = (64.0, 64.0);
    let nodes = 10.0 * graphs;
    let (copies, parts, targets) = (3.0 * nodes, nodes, 3.0 * graphs);
    let square = |rows: f64| map(rows, width, width);
    // Three tags, the one kind of edge, and walks of five steps: data, which take no gradient.
    let inputs = map(nodes, 3.0, width) + map(1.0, 1.0, width) + map(parts, 5.0, width);
    // Each layer has two maps of the copies. Behind the first one its means by part and by node are mapped, and what parts tell
    // their copies; behind the second its means by part alone.
    let network = 2.0 * 2.0 * square(copies) + 2.0 * square(parts) + square(nodes) + square(parts);
    // The hidden width is twice the width.
    let block = |rows: f64, len: f64| {
        map(rows, width, 3.0 * width) + square(rows) + 2.0 * map(rows, width, 2.0 * width) + 2.0 * map(rows, width, len)
    };
    // The context encoder sees one part of each graph, the target encoder three and takes no gradient.
    let (context, target) = (2.0 * block(graphs, 1.0), 2.0 * block(targets, 3.0));
    let predictor = 2.0 * square(targets) + map(targets, width, 2.0);
    counted(&step, "step_ms", 2.0 * inputs + 3.0 * (network + context + predictor) + target);
}

/// A file of the repository.
fn of_the_repository(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_readme_says_what_the_program_and_ci_do() {
    let readme = of_the_repository("README.md");
    let table = printed(&["systems", "--markdown"]);
    assert_eq!(table.lines().count(), 2 + 36);
    assert!(
        readme.contains(&table),
        "the table of README.md is not what `foretell systems --markdown` prints:\n{table}"
    );
    // The two commands that README begins with.
    let (_, opening) = readme.split_once("```sh\n").unwrap();
    let commands: Vec<&str> =
        opening.split("```").next().unwrap().lines().map(|line| line.split(" #").next().unwrap().trim()).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    let ci = of_the_repository(".ci/run");
    // CI runs the first with the features that its other steps have.
    assert_eq!(commands[0], "cargo run --release -- train");
    assert!(ci.contains("cargo run --release \"${with[@]}\" --quiet -- train --out"));
    assert!(commands[1].starts_with("cargo test ") && ci.contains(commands[1]), "`{}` is not in .ci/run", commands[1]);
}

/// Each member that trains has a page, and no page is of another.
#[test]
fn the_pages_of_systems_begin_with_their_titles() {
    for member in members() {
        let row = member.row();
        let page = of_the_repository(&format!("docs/systems/{}.md", row.name));
        let heading = page.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
        // Which of its kinds it is may follow.
        let title = heading.split(", ").next().unwrap_or_default();
        assert_eq!(title, row.title, "the page of {} begins with `# {heading}`", row.name);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/systems");
    let pages = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut pages: Vec<String> = pages.collect();
    let mut names: Vec<String> = members().map(|member| format!("{}.md", member.row().name)).collect();
    pages.sort();
    names.sort();
    assert_eq!(pages, names);
}

#[test]
fn a_run_of_an_earlier_version_is_refused_in_a_sentence() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let world = "system = \"eb-jepa\"\nseed = 0\n\n[world]\nkind = \"two-rooms\"\n\n[play]\nwindow = 17\n";
    let recorded =
        "system = \"le-wm\"\nseed = 0\n\n[data]\npath = \"episodes.npz\"\nwindow = 4\n\n[train]\nsteps = 40\n";
    for (config, summary) in [(world, false), (world, true), (recorded, false), (recorded, true)] {
        std::fs::write(run.join("config.toml"), config).unwrap();
        if summary {
            std::fs::write(run.join("summary.json"), "{\"images_per_s\": 3.0}").unwrap();
        }
        refused_as_old(run.to_str().unwrap());
    }
}

fn refused_as_old(run: &str) {
    for arguments in [
        &["train", "--resume", run][..],
        &["report", run],
        &["plan", run],
        &["play", run],
        &["probe", run],
        &["inspect", run],
        &["embed", run, run, "--out", "x.npz"],
        &["export", run, "--format", "onnx", "--out", "x.onnx"],
    ] {
        refused(arguments, &[run, "an earlier version", "train again"]);
    }
}
