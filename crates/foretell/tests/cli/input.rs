//! Input and settings that cannot be used: exit code 2, one sentence, and nothing half-written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::made::{folder, gzip, idx, png, tar, tar_of_name};
use crate::{foretell, pictures, stderr};

/// A place for data and one for the run.
struct Bench {
    root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn run(&self) -> PathBuf {
        self.root.path().join("run")
    }

    /// Enough good pictures for a run.
    fn good(&self) -> PathBuf {
        pictures(&self.data(), 60, 16);
        self.data()
    }

    fn train_on(&self, data: &Path, more: &[&str]) -> Output {
        let mut command = foretell();
        command.args(["train", "le-jepa", "--steps", "2", "--set", "train.batch=8"]);
        command.args([
            "--set",
            "model.backbone.widths=[8, 16]",
            "--set",
            "model.projector=[16]",
            "--set",
            "model.code_width=8",
        ]);
        command.args(more).arg("--data").arg(data).arg("--out").arg(self.run()).output().unwrap()
    }

    /// One sentence that holds `parts`, exit code 2, and no run folder.
    #[track_caller]
    fn refuses(&self, output: &Output, parts: &[&str]) {
        one_sentence(output, parts);
        assert!(
            !self.run().exists(),
            "something was left at --out: {:?}",
            fs::read_dir(self.run()).map(|d| d.flatten().map(|e| e.path()).collect::<Vec<_>>())
        );
    }

    #[track_caller]
    fn refuses_data(&self, data: &Path, parts: &[&str]) {
        self.refuses(&self.train_on(data, &[]), parts);
    }

    #[track_caller]
    fn refuses_setting(&self, more: &[&str], parts: &[&str]) {
        self.refuses(&self.train_on(&self.good(), more), parts);
    }
}

#[track_caller]
pub(crate) fn one_sentence(output: &Output, parts: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.starts_with("error: ") && text.trim_end().lines().count() == 1, "not one sentence: {text}");
    assert!(!text.contains("panicked") && !text.contains("RUST_BACKTRACE"), "{text}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn the_bench_itself_trains() {
    let bench = Bench::new();
    let output = bench.train_on(&bench.good(), &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(bench.run().join("summary.json").is_file());
}

#[test]
fn folders_that_are_missing_or_empty() {
    let bench = Bench::new();
    bench.refuses_data(&bench.root.path().join("nowhere"), &["nowhere", "there is nothing at"]);
    fs::create_dir(bench.data()).unwrap();
    bench.refuses_data(&bench.data(), &["holds no images"]);
    folder(&bench.data(), [("notes.txt", b"hello".to_vec())]);
    bench.refuses_data(&bench.data(), &["holds no images"]);
}

#[test]
fn a_file_that_is_no_data_set() {
    let bench = Bench::new();
    for bytes in [b"hello world".to_vec(), Vec::new(), png(4, 4, 3, 1)] {
        fs::write(bench.data(), bytes).unwrap();
        bench.refuses_data(&bench.data(), &["is not a data set", "expected a folder of images"]);
    }
}

#[test]
fn truncated_gzip_and_headers_that_lie() {
    let bench = Bench::new();
    let images = idx(&[40, 16, 16], &[100; 40 * 256]);
    fs::write(bench.data(), {
        let whole = gzip(&(0..40 * 256).map(|i| (i * 7 % 251) as u8).fold(idx(&[40, 16, 16], &[]), |mut all, x| {
            all.push(x);
            all
        }));
        whole[..whole.len() / 2].to_vec()
    })
    .unwrap();
    bench.refuses_data(&bench.data(), &["gzip", "truncated or damaged"]);
    fs::write(bench.data(), &images[..images.len() - 1]).unwrap();
    bench.refuses_data(&bench.data(), &["header says [40, 16, 16]", "10256 bytes were expected, but found 10255"]);
    // 4 GiB of pixels in a file of a few bytes.
    fs::write(bench.data(), idx(&[1 << 16, 256, 256], &[0; 50])).unwrap();
    bench.refuses_data(&bench.data(), &["4294967312 bytes were expected, but found 66"]);
    fs::write(bench.data(), gzip(&idx(&[1 << 16, 256, 256], &[0; 50]))).unwrap();
    bench.refuses_data(&bench.data(), &["is not usable"]);
}

#[test]
fn labels_that_do_not_match() {
    let bench = Bench::new();
    folder(
        &bench.data(),
        [
            ("train-images-idx3-ubyte", idx(&[40, 16, 16], &[100; 40 * 256])),
            ("train-labels-idx1-ubyte", idx(&[39], &[1; 39])),
        ],
    );
    bench.refuses_data(&bench.data(), &["holds 40 images", "holds 39 labels"]);
}

#[test]
fn tars_that_are_cut_or_climb_out() {
    let bench = Bench::new();
    let names: Vec<String> = (0..40).map(|i| format!("pictures/{i:02}.png")).collect();
    let path = tar(&bench.data(), names.iter().enumerate().map(|(i, name)| (name.as_str(), png(16, 16, 3, i))));
    let output = bench.train_on(&path, &[]);
    assert!(output.status.success(), "a good tar: {}", stderr(&output));
    fs::remove_dir_all(bench.run()).unwrap();
    let bytes = fs::read(&path).unwrap();
    let last = bytes.windows(15).rposition(|window| window == b"pictures/39.png").unwrap();
    fs::write(&path, &bytes[..last + 512 + 50]).unwrap();
    bench.refuses_data(&path, &["is truncated", "pictures/39.png"]);
    for name in ["/etc/evil.png", "../evil.png", "a/../../evil.png"] {
        tar_of_name(&path, name.as_bytes());
        bench.refuses_data(&path, &[name, "absolute or climbs out"]);
    }
    assert!(!bench.root.path().join("evil.png").exists());
}

/// In the middle of a folder, in the part that is learnt from and in the part that is held out.
#[test]
fn a_corrupt_image_in_the_middle() {
    let bench = Bench::new();
    let whole = png(16, 16, 3, 30);
    for (part, name) in [("train", "train/x/030.png"), ("test", "test/x/007.png")] {
        let _ = fs::remove_dir_all(bench.data());
        for i in 0..50 {
            folder(&bench.data(), [(format!("train/x/{i:03}.png").as_str(), png(16, 16, 3, i))]);
        }
        for i in 0..20 {
            folder(&bench.data(), [(format!("test/x/{i:03}.png").as_str(), png(16, 16, 3, 100 + i))]);
        }
        folder(&bench.data(), [(name, whole[..whole.len() / 2].to_vec())]);
        // Found on the way, so the run has introduced itself by then: the sentence is the last line.
        let output = bench.train_on(&bench.data(), &["--set", "train.steps=8"]);
        let text = stderr(&output);
        let last = text.trim_end().lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(2), "{text}");
        for part in ["error: ", name, "cannot be decoded", "set `data.on_bad_sample` to `skip`"] {
            assert!(last.contains(part), "`{part}` is not in: {text}");
        }
        assert!(!bench.run().exists(), "a run folder was left behind");

        let output = bench.train_on(&bench.data(), &["--on-bad-sample", "skip", "--set", "train.steps=8"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let summary: serde_json::Value =
            serde_json::from_slice(&fs::read(bench.run().join("summary.json")).unwrap()).unwrap();
        assert_eq!(summary["skipped"], serde_json::json!([name]), "{part}");
        assert!(stderr(&output).contains(name), "{}", stderr(&output));
        fs::remove_dir_all(bench.run()).unwrap();
    }
}

#[test]
fn nothing_but_corrupt_images() {
    let bench = Bench::new();
    let whole = png(16, 16, 3, 1);
    for i in 0..40 {
        folder(&bench.data(), [(format!("{i}.png").as_str(), whole[..40].to_vec())]);
    }
    for more in [&[][..], &["--on-bad-sample", "skip"]] {
        bench.refuses(&bench.train_on(&bench.data(), more), &[".png"]);
    }
}

/// The remedy that is named must work.
#[test]
fn too_few_images() {
    let bench = Bench::new();
    pictures(&bench.data(), 20, 16);
    let output = bench.train_on(&bench.data(), &["--set", "train.batch=64"]);
    bench.refuses(&output, &["fewer than two batches of 64"]);
    let text = stderr(&output);
    let (_, remedy) = text.split_once("set `train.batch` to ").expect("a remedy to set");
    let remedy = format!("train.batch={}", remedy.split(',').next().unwrap());
    let output = bench.train_on(&bench.data(), &["--set", &remedy]);
    assert!(output.status.success(), "{remedy}: {}", stderr(&output));
}

#[test]
fn a_patch_that_does_not_divide_the_image() {
    let bench = Bench::new();
    let data = bench.good();
    let train = |more: &[&str]| {
        let mut command = foretell();
        command.args(["train", "i-jepa", "--steps", "2", "--set", "train.batch=8"]).args(more);
        command.arg("--data").arg(&data).arg("--out").arg(bench.run()).output().unwrap()
    };
    let output = train(&["--image-size", "16", "--set", "model.patch=5"]);
    bench.refuses(&output, &["16 × 16", "patches of 5 × 5", "set `data.image_size` to 15"]);
    bench.refuses(&train(&["--set", "model.patch=0"]), &["model.patch"]);
    bench.refuses(&train(&["--image-size", "16", "--set", "model.patch=16"]), &["at least two a side"]);
    bench.refuses(&train(&["--set", "model.heads=5"]), &["heads"]);
    // A teacher that would be half random at the end.
    bench.refuses(&train(&["--set", "model.ema.schedule.samples=16"]), &["50.0 %", "initial_teacher_limit"]);
    let vit = ["--set", "model.backbone.kind=vit", "--set", "model.backbone.patch=5", "--image-size", "16"];
    let mut command = foretell();
    command.args(["train", "le-jepa", "--steps", "2", "--set", "train.batch=8"]).args(vit);
    bench.refuses(
        &command.arg("--data").arg(&data).arg("--out").arg(bench.run()).output().unwrap(),
        &["16 × 16", "patches of 5 × 5"],
    );
}

#[test]
fn settings_of_a_wrong_type_or_name() {
    let bench = Bench::new();
    for (set, parts) in [
        ("train.bach=3", &["train.bach", "did you mean `train.batch`"][..]),
        ("modle.lambda=0.1", &["modle", "did you mean `model`"]),
        ("model.lamda=0.1", &["model.lamda", "did you mean `model.lambda`"]),
        ("train.lr=fast", &["lr", "fast"]),
        ("train.batch=-1", &["batch"]),
        ("train.batch=1", &["train.batch", "at least 2"]),
        ("train.lr=0", &["train.lr", "positive"]),
        ("train.lr=nan", &["train.lr", "finite"]),
        ("model.lambda=2", &["model.lambda", "between 0 and 1"]),
        ("model.global.flip=3", &["flip", "0 to 1"]),
        ("model.backbone=7", &["backbone"]),
        ("train.batch", &["key=value"]),
        ("train.batch.size=3", &["train.batch.size"]),
        ("data.on_bad_sample=maybe", &["maybe"]),
    ] {
        bench.refuses_setting(&["--set", set], parts);
    }
}

#[test]
fn steps_epochs_and_minutes_must_be_positive() {
    let bench = Bench::new();
    let data = bench.good();
    let train = |more: &[&str]| {
        foretell()
            .args(["train", "le-jepa", "--set", "train.batch=8"])
            .args(more)
            .arg("--data")
            .arg(&data)
            .arg("--out")
            .arg(bench.run())
            .output()
            .unwrap()
    };
    bench.refuses(&train(&["--steps", "0"]), &["train.steps", "at least 1", "0"]);
    bench.refuses(&train(&["--epochs", "0"]), &["--epochs", "positive"]);
    bench.refuses(&train(&["--minutes", "0"]), &["--minutes", "positive"]);
    bench.refuses(&train(&["--minutes", "nan"]), &["--minutes", "positive"]);
    bench.refuses(&train(&["--steps", "2", "--checkpoint-every", "0"]), &["checkpoint_every", "at least 1"]);
    bench.refuses(&train(&["--steps", "2", "--image-size", "0"]), &["`data.image_size` is 0", "4 to 4096 pixels"]);
    for text in ["-1", "many", "1.5"] {
        let output = train(&["--steps", text]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).starts_with("error: ") && !bench.run().exists(), "{}", stderr(&output));
    }
}

#[test]
fn systems_and_recipes_that_do_not_exist_or_do_not_parse() {
    let bench = Bench::new();
    let data = bench.good();
    let train = |system: &str| {
        foretell()
            .args(["train", system, "--steps", "2"])
            .arg("--data")
            .arg(&data)
            .arg("--out")
            .arg(bench.run())
            .output()
            .unwrap()
    };
    bench.refuses(&train("i-jep"), &["i-jep", "did you mean `i-jepa`"]);
    bench.refuses(&train("nowhere/recipe.toml"), &["nowhere/recipe.toml", "cannot read"]);
    let recipe = bench.root.path().join("recipe.toml");
    for (text, parts) in [
        ("system = ", &["recipe.toml"][..]),
        ("seed = 3\n", &["names no `system`", "i-jepa"]),
        ("system = 7\n", &["`system`"]),
        ("system = \"le-jepa\"\n[train]\nbatch = \"many\"\n", &["recipe.toml", "many"]),
        ("system = \"le-jepa\"\n[train]\nbacth = 8\n", &["train.bacth", "did you mean `train.batch`"]),
        ("system = \"le-jepa\"\n[[train]]\nbatch = 8\n", &["recipe.toml"]),
    ] {
        fs::write(&recipe, text).unwrap();
        bench.refuses(&train(recipe.to_str().unwrap()), parts);
    }
}

#[test]
fn a_folder_that_cannot_hold_the_run() {
    let bench = Bench::new();
    let data = bench.good();
    let file = bench.root.path().join("file");
    fs::write(&file, "precious").unwrap();
    let train = |out: &Path| {
        let mut command = foretell();
        command.args(["train", "le-jepa", "--steps", "2", "--set", "train.batch=8"]);
        command.arg("--data").arg(&data).arg("--out").arg(out).output().unwrap()
    };
    // Permissions do not bind root; that a file is no folder binds all.
    one_sentence(&train(&file.join("run")), &["file"]);
    one_sentence(&train(&file), &["file"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    if cfg!(target_os = "linux") {
        one_sentence(&train(Path::new("/proc/foretell/run")), &["/proc"]);
    }

    // Something else's folder is left alone.
    let taken = bench.root.path().join("taken");
    folder(&taken, [("thesis.tex", b"precious".to_vec())]);
    one_sentence(&train(&taken), &["taken", "is not empty", "choose another folder"]);
    assert_eq!(fs::read_dir(&taken).unwrap().count(), 1);

    // So is a run.
    let output = train(&bench.run());
    assert!(output.status.success(), "{}", stderr(&output));
    let before = fs::read(bench.run().join("metrics.jsonl")).unwrap();
    one_sentence(&train(&bench.run()), &["already holds a run", "resume it", "choose another folder"]);
    assert_eq!(fs::read(bench.run().join("metrics.jsonl")).unwrap(), before);
}
