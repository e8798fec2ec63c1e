//! What people bring, each as its kind: small inputs made in the test.

mod arrays;
mod disk;
mod folders;
mod gone;
mod images;
mod lost;
mod models;
mod recorders;
mod sets;
mod taken;
mod video;
mod words;

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::{foretell, made, stderr};

/// A program of a test's own, written by another process: a file that this one has open for writing cannot be run while a child
/// that another test began meanwhile still holds it.
fn executable(path: &Path, script: &str) {
    let mut write = std::process::Command::new("sh");
    write.args(["-c", r#"printf %s "$1" > "$0" && chmod 755 "$0""#]).arg(path).arg(script);
    assert!(write.status().unwrap().success());
}

/// What `inspect` says of a path.
#[track_caller]
fn inspected(path: &Path) -> Value {
    inspected_as(path, &[])
}

/// The same with more options.
#[track_caller]
fn inspected_as(path: &Path, more: &[&str]) -> Value {
    let output = foretell().args(["inspect", "--json"]).arg(path).args(more).output().unwrap();
    assert!(output.status.success(), "{}: {}", path.display(), stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn notes(found: &Value) -> String {
    found["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect::<Vec<_>>().join("; ")
}

/// The classes of all labels.
fn classes(found: &Value) -> Vec<String> {
    let factors = found["factors"].as_array().unwrap();
    let names = factors.iter().flat_map(|factor| factor["classes"].as_array().unwrap());
    names.map(|class| class.as_str().unwrap().to_owned()).collect()
}

/// Images that train, and those that are held out.
fn parts(found: &Value) -> (u64, u64) {
    (found["train"].as_u64().unwrap(), found["held_out"].as_u64().unwrap())
}

/// The notes have these words.
#[track_caller]
fn says(found: &Value, words: &[&str]) {
    let notes = notes(found);
    for words in words {
        assert!(notes.contains(words), "`{words}` is not in: {notes}");
    }
}

/// Small pictures, `{}` of their names from 0 on.
fn files(root: &Path, pattern: &str, count: usize, from: usize) {
    for i in 0..count {
        let path = root.join(pattern.replace("{}", &i.to_string()));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, made::png(8, 8, 3, from + i)).unwrap();
    }
}

/// One step on these data with more options; what is said.
#[track_caller]
fn trained(data: &Path, run: &Path, more: &[&str]) -> String {
    let mut command = foretell();
    command.args(["train", "i-jepa", "--steps", "1", "--image-size", "16", "--set", "train.batch=8", "--data"]);
    let output = command.arg(data).arg("--out").arg(run).args(more).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    stderr(&output)
}
