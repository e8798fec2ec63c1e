//! What an `.npz` holds: recorded episodes, features.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use foretell_data::npy::Header;
use foretell_data::npz::contents;
use serde_json::{Map, json};

use super::Account;
use crate::Error;

/// Whether a path is an `.npz`, or a folder of such files alone; then its first file, and how many there are.
pub(super) fn first(path: &Path) -> Option<(PathBuf, usize)> {
    let is = |path: &Path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz"));
    if !path.is_dir() {
        return is(path).then(|| (path.to_owned(), 1));
    }
    let files: Vec<PathBuf> =
        path.read_dir().ok()?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>().ok()?;
    let first = files.iter().min()?.clone();
    files.iter().all(|file| is(file)).then_some((first, files.len()))
}

/// NumPy's name of a type.
fn word(Header { kind, size, .. }: &Header) -> String {
    let name = match kind.trim_start_matches(['<', '|', '=']).chars().next() {
        Some('u') => "uint",
        Some('i') => "int",
        Some('f') => "float",
        _ => return kind.clone(),
    };
    format!("{name}{}", 8 * size)
}

/// The account of the first of so many files.
pub(super) fn account(path: &Path, (first, files): (PathBuf, usize)) -> Result<Account, Error> {
    let arrays = contents(&first)?;
    let mut text = format!("arrays    {}\n", first.display());
    if files > 1 {
        let _ = writeln!(text, "          the first of {files} files");
    }
    let longest = arrays.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let mut told = Map::new();
    for (key, header) in &arrays {
        let _ = writeln!(text, "  {key:longest$}  {} {:?}", word(header), header.shape);
        told.insert(key.clone(), json!({ "type": word(header), "shape": header.shape }));
    }
    let holds = |keys: [&str; 2]| arrays.iter().any(|(key, _)| keys.contains(&key.as_str()));
    if holds(["observations", "frames"]) {
        let apart = if holds(["actions", "action"]) { "" } else { " --set data.actions=FILE" };
        let _ = writeln!(
            text,
            "next      foretell train --data {}{apart}   a model of the world they are from",
            path.display()
        );
    }
    Ok(Account { text, json: json!({ "kind": "arrays", "files": files, "arrays": told }) })
}
