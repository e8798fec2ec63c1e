//! No command names a member of the family: adding one changes nothing in the facade.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use foretell_data::npy::write_header;
use foretell_data::zip::StoredZip;
use foretell_systems::family::{self, find};
use foretell_systems::{Entry, FAMILY};

/// Rows whose names are plain English words, which a command may say and mean no member by.
const WORDS: [&str; 2] = ["agent", "judgement"];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Whether a text has this name, and not as a part of another.
fn names(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    text.match_indices(name).any(|(at, _)| !text[..at].ends_with(part) && !text[at + name.len()..].starts_with(part))
}

/// What of a source a user can meet: no comments but those that clap prints as help, and none of the file's tests.
fn program(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or(text);
    let prints_help = text.contains("clap::");
    let kept = |line: &&str| {
        let line = line.trim_start();
        !line.starts_with("//") || (prints_help && line.starts_with("///"))
    };
    text.lines().filter(kept).flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn the_facade_names_no_member() {
    assert!(names("train(\"i-jepa\")", "i-jepa") && !names("mi-jepa i-jepa-2", "i-jepa"));
    let help =
        "#[derive(clap::Args)]\nstruct Args {\n    /// Patches of I-JEPA.\n    // le-jepa\n    patch: usize,\n}\n";
    assert!(names(&program(help), "I-JEPA") && !names(&program(help), "le-jepa"));
    assert!(!names(&program("/// Such as I-JEPA.\nstruct Page;\n"), "I-JEPA"), "nobody is shown it");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../foretell/src");
    let sources = sources(&folder);
    assert!(sources.len() > 30, "{} has {} sources", folder.display(), sources.len());
    let mut said = Vec::new();
    // Published checkpoints have names of their own: those of the members that they are of.
    let published = folder.join("released");
    for path in sources.iter().filter(|path| !path.ends_with("tests.rs") && !path.starts_with(&published)) {
        let text = std::fs::read_to_string(path).unwrap();
        let program = program(&text);
        for row in FAMILY.iter().map(Entry::row).filter(|row| !WORDS.contains(&row.name)) {
            let module = row.name.replace(['-', '.'], "_");
            let found = [row.name, &module, row.title].into_iter().find(|name| names(&program, name));
            said.extend(found.map(|name| format!("{} says `{name}`", path.display())));
        }
    }
    assert!(said.is_empty(), "{}", said.join("\n"));
}

#[test]
fn what_lies_at_a_path_is_taken_by_the_system_that_suits_it() {
    let root = tempfile::tempdir().unwrap();
    let folder = |name: &str, files: &[(&str, &[u8])]| {
        let folder = root.path().join(name);
        for (file, bytes) in files {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        folder
    };
    let npz = |name: &str, key: &str, shape: &[usize]| {
        let path = root.path().join(name);
        let mut zip = StoredZip::new(std::fs::File::create(&path).unwrap());
        let bytes = [write_header("|u1", shape), vec![7; shape.iter().product()]].concat();
        let mut member = zip.member(&format!("{key}.npy"), bytes.len() as u64).unwrap();
        member.write_all(&bytes).unwrap();
        member.end().unwrap();
        zip.finish().unwrap();
        path
    };
    let regions: &[u8] = b"a,b,c\n1,2,3\n2,3,1\n3,1,2\n";
    let participants: &[u8] = b"participant_id\tage\nsub-1\t30\nsub-2\t40\n";
    let brains = [("sub-1.csv", regions), ("sub-2.csv", regions), ("participants.tsv", participants)];
    for (path, expected) in [
        (folder("brains", &brains), "st-jema"),
        (folder("hours", &[("hours.csv", regions)]), "ts-jepa"),
        (npz("series.npz", "x_train", &[20, 60]), "ts-jepa"),
        (npz("images.npz", "x_train", &[20, 8, 8, 3]), "le-jepa"),
        (npz("play.npz", "observations", &[20, 8, 8, 3]), "eb-jepa"),
    ] {
        assert_eq!(family::usual(Some(&path), false), expected, "{}", path.display());
        let looking = family::looking(&path).unwrap();
        assert_eq!(looking.unit(), find(expected).unwrap().unit(), "{}", path.display());
    }
}
