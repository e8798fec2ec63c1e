//! What an `.npz` holds: recorded episodes, features. What can be trained on is told by opening it as training does, so that
//! nothing is recommended that `train` declines.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use foretell_data::npy::{Header, NpyFile};
use foretell_data::npz::contents;
use foretell_data::{DataError, Decision, Description};
use foretell_systems::{Member, family};
use serde_json::{Map, json};
use toml::Table;

use super::Account;
use crate::output::word;
use crate::{DeviceChoice, Error};

/// Whether a path is an `.npz`, or a folder of such files that training would take for what they are; then its first file,
/// and how many there are.
pub(super) fn first(path: &Path) -> Option<(PathBuf, usize)> {
    let is = |path: &Path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz"));
    if !path.is_dir() {
        return is(path).then(|| (path.to_owned(), 1));
    }
    let all: Vec<PathBuf> =
        path.read_dir().ok()?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>().ok()?;
    let files: Vec<&PathBuf> = all.iter().filter(|file| is(file)).collect();
    let first = (*files.iter().min()?).clone();
    let alone = || files.len() == all.len();
    let usual = || family::find(family::usual(Some(path), false)).is_ok_and(|member| member.recognises(&first));
    (alone() || usual()).then_some((first, files.len()))
}

/// NumPy's name of a type.
fn type_name(Header { kind, size, .. }: &Header) -> String {
    let name = match kind.trim_start_matches(['<', '>', '|', '=']).chars().next() {
        Some('u') => "uint",
        Some('i') => "int",
        Some('f') => "float",
        Some('b') => return "bool".to_owned(),
        _ => return kind.clone(),
    };
    format!("{name}{}", 8 * size)
}

/// The account of the first of so many files, with these settings of the data, some of which were set.
pub(super) fn account(
    path: &Path,
    (first, files): (PathBuf, usize),
    (data, set): (&Table, &[String]),
) -> Result<Account, Error> {
    let arrays = contents(&first)?;
    let mut text = format!("arrays    {}\n", first.display());
    if files > 1 {
        let _ = writeln!(text, "          the first of {files} files");
    }
    let longest = arrays.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let mut told = Map::new();
    for (key, found) in &arrays {
        match found {
            Ok(header) => {
                let _ = writeln!(text, "  {key:longest$}  {} {:?}", type_name(header), header.shape);
                told.insert(key.clone(), json!({ "type": type_name(header), "shape": header.shape }));
            }
            Err(why) => {
                let _ = writeln!(text, "  {key:longest$}  cannot be read: {why}");
                told.insert(key.clone(), json!({ "unreadable": why }));
            }
        }
    }
    let holds = |keys: [&str; 2]| arrays.iter().any(|(key, _)| keys.contains(&key.as_str()));
    let mut json = json!({ "kind": "arrays", "files": files, "arrays": told });
    let place = word(path);
    // Actions may lie in a file of their own.
    if holds(["observations", "frames"]) && (holds(["actions", "action"]) || data.contains_key("actions")) {
        match trained(path, data, set) {
            Ok(Trained { command, description, decisions }) => {
                let Description { train, held_out, unit, facts, numbers, notes, .. } = description;
                let _ = writeln!(text, "{:10}{train} to train, {held_out} held out", unit.many);
                for (label, fact) in &facts {
                    let _ = writeln!(text, "{label:10}{fact}");
                }
                for Decision { what, value, reason } in &decisions {
                    let _ = writeln!(text, "chosen    {what} = {value}: {reason}");
                }
                for note in &notes {
                    let _ = writeln!(text, "note      {note}");
                }
                let _ = writeln!(text, "next      {command}   a model of the world they are from");
                super::extend(&mut json, json!(numbers));
                super::extend(
                    &mut json,
                    json!({ "train": train, "held_out": held_out, "decisions": decisions, "notes": notes, "next": command }),
                );
            }
            Err(error) => {
                let _ = writeln!(text, "note      `foretell train --data {place}` declines it: {error}");
                super::extend(&mut json, json!({ "declined": error.to_string() }));
            }
        }
    } else if holds(["observations", "frames"]) {
        let _ = writeln!(
            text,
            "next      foretell train --data {place} --set data.actions=FILE   a model of the world they are from"
        );
    }
    Ok(Account::of(text, json))
}

/// Of a `.npy` that is rows of features and no clip.
pub(super) fn features(path: &Path) -> Option<Account> {
    let file = NpyFile::open(path).ok().filter(|_| path.is_file())?;
    let header = file.header();
    let [rows, width] = *header.shape.as_slice() else { return None };
    if !header.is_floating() || rows == 0 || width == 0 {
        return None;
    }
    let place = word(path);
    let next = format!("foretell search {place} --row 0");
    let text = format!(
        "features  {0}, {1} {2:?}\nrows      {rows}\nwidth     {width}\nnext      {next}   the rows nearest to its first one\n          \
         foretell train {3} --data {place}   where each row is a series\n",
        path.display(),
        type_name(header),
        header.shape,
        family::usual(Some(path), false)
    );
    let json = json!({ "kind": "features", "type": type_name(header), "rows": rows, "width": width, "next": next });
    Some(Account::of(text, json))
}

/// What training would begin with.
struct Trained {
    command: String,
    description: Description,
    /// Of the data.
    decisions: Vec<Decision>,
}

/// By the first system that takes what lies at a path, the usual one before others.
fn trained(path: &Path, data: &Table, set: &[String]) -> Result<Trained, Error> {
    let usual = family::find(family::usual(Some(path), false)).map_err(Error::Misuse)?;
    let name = usual.row().name;
    let others = family::members().filter(|member| member.row().name != name && member.recognises(path));
    let mut declined = None;
    for member in [usual].into_iter().chain(others) {
        match begun(member, data, None) {
            Ok(mut trained) => {
                let system = if member.row().name == name { String::new() } else { format!("{} ", member.row().name) };
                let set = set.iter().map(|entry| format!(" --set '{entry}'")).collect::<Vec<_>>().concat();
                trained.command = format!("foretell train {system}--data {}{}{set}", word(path), trained.command);
                return Ok(trained);
            }
            Err(error) => {
                declined.get_or_insert(error);
            }
        }
    }
    Err(declined.unwrap_or_else(|| DataError::NoInputs.into()))
}

/// A run of a system up to its first step, with batches as usual or, where there are too few samples for those, of fewer; what
/// must be set for that is the command.
fn begun(member: &dyn Member, data: &Table, batch: Option<usize>) -> Result<Trained, Error> {
    let mut asked = Table::new();
    asked.insert("system".to_owned(), member.row().name.into());
    asked.insert("data".to_owned(), data.clone().into());
    if let Some(batch) = batch {
        asked.insert("train".to_owned(), Table::from_iter([("batch".to_owned(), (batch as i64).into())]).into());
    }
    let recipe = member.recipe(&asked, "the usual recipe")?;
    let mut session = match member.open(recipe, &DeviceChoice::default().open()?, true).map_err(Error::from) {
        Err(Error::Data(DataError::TooFew { found, .. })) if batch.is_none() && found >= 4 => {
            return begun(member, data, Some(1 << (found / 2).ilog2()));
        }
        session => session?,
    };
    session.trial()?;
    let description = session.description().ok_or(DataError::NoInputs)?;
    let mut decisions = std::mem::take(session.decisions());
    decisions.retain(|decision| decision.what.starts_with("data."));
    let command = batch.map_or(String::new(), |batch| format!(" --set train.batch={batch}"));
    Ok(Trained { command, description, decisions })
}
