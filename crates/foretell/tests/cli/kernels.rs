//! The instruction set that operations use: what names it, and what a run says that goes on with another.

use std::fs;
use std::path::Path;
use std::process::Output;

use foretell_ops::InstructionSet;

use crate::resume::copy as copy_folder;
use crate::{foretell, pictures, stderr};

/// A small run of twelve steps, beside whose folder its pictures lie.
fn train(kernel: &str, threads: &str, out: &Path, stop: Option<&str>) -> Output {
    let data = out.with_file_name("data");
    if !data.exists() {
        pictures(&data, 80, 16);
    }
    let sets =
        ["model.width=32", "model.heads=2", "model.depth=1", "model.predictor_width=16", "model.predictor_depth=1"];
    let mut command = foretell();
    command.args(["train", "i-jepa", "--steps", "12", "--checkpoint-every", "5", "--image-size", "16"]);
    command.args(["--set", "train.batch=16", "--set", "model.patch=4"]);
    command.args(sets.iter().flat_map(|set| ["--set", set])).arg("--data").arg(data).arg("--out").arg(out);
    command.env("FORETELL_KERNEL", kernel).env("RAYON_NUM_THREADS", threads);
    if let Some(stop) = stop {
        command.env("FORETELL_STOP_AFTER", stop);
    }
    command.output().unwrap()
}

#[test]
fn a_name_that_is_none_is_declined_before_anything_is_done() {
    let output = foretell().args(["systems"]).env("FORETELL_KERNEL", "fastest").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let said = stderr(&output);
    assert!(said.starts_with("error: FORETELL_KERNEL is \"fastest\", and this machine has portable"), "{said}");
}

#[test]
fn a_run_goes_on_with_another_set_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let widest = InstructionSet::current().unwrap();
    let run = folder.path().join("run");
    assert!(!train("portable", "2", &run, Some("10:checkpoint")).status.success());
    let resume = |run: &Path, kernel: &str| {
        let output = foretell().args(["train", "--resume"]).arg(run).env("FORETELL_KERNEL", kernel).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    let copy = folder.path().join("copy");
    copy_folder(&run, &copy);
    let said = resume(&run, widest.name());
    let differs = format!("the steps before were computed with portable, these are with {widest}: the run goes on");
    assert_eq!(said.contains(&differs), widest != InstructionSet::Portable, "{said}");
    // With the same set nothing is to be said.
    let said = resume(&copy, "portable");
    assert!(said.contains("going on from step 10") && !said.contains("computed with"), "{said}");
}

#[test]
fn with_each_set_threads_change_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
        let weights = ["1", "3"].map(|threads| {
            let run = folder.path().join(format!("{set}-{threads}"));
            let output = train(set.name(), threads, &run, None);
            assert!(output.status.success(), "{set}, {threads} threads: {}", stderr(&output));
            fs::read(run.join("encoder.safetensors")).unwrap()
        });
        assert!(weights[1..].iter().all(|other| *other == weights[0]), "{set}: threads changed the weights");
    }
}
