//! Samples that belong together (of one patient, video or speaker), told by a pattern of their names: all of a group stand on
//! one side of the split.

use std::collections::{BTreeMap, BTreeSet};

use regex::bytes::{Regex, RegexBuilder};
use xxhash_rust::xxh3::xxh3_64;

use crate::DataError;
use crate::images::records::{Contents, Entry};
use crate::images::split::{BY_HASH, BY_INDEX, held_out};

/// Splits by groups where nothing else said what is held out; otherwise tells which groups stand on both sides.
pub(crate) fn apart(contents: &mut Contents, pattern: &str) -> Result<(), DataError> {
    let regex = read(pattern)?;
    let group = |entry: &Entry| -> Option<Vec<u8>> {
        let found = regex.captures(entry.name.as_bytes())?;
        found.get(1).map(|part| part.as_bytes().to_vec())
    };
    let of = |entries: &[Entry]| entries.iter().filter_map(group).collect::<BTreeSet<_>>();
    let (train, held) = (of(&contents.train), of(&contents.held_out));
    let both = || contents.train.iter().chain(&contents.held_out);
    if train.is_empty() && held.is_empty() {
        let first = both().next().map_or("", |entry| entry.name.as_str());
        return Err(DataError::Setting(format!(
            "`data.group`: the pattern `{pattern}` is found in none of the names, such as `{first}`"
        )));
    }
    let without = both().filter(|entry| group(entry).is_none()).count();
    if without > 0 {
        let all = both().count();
        contents.notes.push(format!(
            "`data.group` is not found in the names of {without} of {all} images: each is a group of its own"
        ));
    }
    if !contents.split.ends_with(BY_HASH) && !contents.split.ends_with(BY_INDEX) {
        let shared: Vec<String> =
            held.intersection(&train).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
        if let Some(first) = shared.first() {
            contents.notes.push(format!(
                "{} of the {} groups that are held out also train, the first `{first}`: what is measured is no measure of new groups",
                shared.len(),
                held.len()
            ));
        } else {
            contents.notes.push(format!("{} groups train, {} others are held out", train.len(), held.len()));
        }
        return Ok(());
    }
    let groups = |entry: &Entry| group(entry).unwrap_or_else(|| entry.name.clone().into_bytes());
    // Told before anything is learnt: one group cannot be split.
    if let [only] = both().map(groups).collect::<BTreeSet<_>>().iter().collect::<Vec<_>>()[..] {
        return Err(DataError::Setting(format!(
            "`data.group`: by the pattern `{pattern}` all images are of one group (`{}`), and a group is held out whole or not at all",
            String::from_utf8_lossy(only)
        )));
    }
    // At least one group, and not all of them, whatever the hash says: there may be few.
    let mut sides: BTreeMap<Vec<u8>, bool> = both().map(groups).map(|key| (key.clone(), held_out(&key))).collect();
    let sure = |sides: &mut BTreeMap<Vec<u8>, bool>, side: bool| {
        if sides.len() > 1 && sides.values().all(|held| *held != side) {
            let first = sides.keys().min_by_key(|key| xxh3_64(key)).cloned();
            first.and_then(|key| sides.insert(key, side));
        }
    };
    sure(&mut sides, true);
    sure(&mut sides, false);
    let all = std::mem::take(&mut contents.train).into_iter().chain(std::mem::take(&mut contents.held_out));
    let (held, train): (Vec<Entry>, Vec<Entry>) = all.partition(|entry| sides.len() > 1 && sides[&groups(entry)]);
    (contents.train, contents.held_out) = (train, held);
    let count = sides.values().filter(|held| **held).count();
    let before = contents.split.trim_end_matches(BY_HASH).trim_end_matches(BY_INDEX);
    contents.split =
        format!("{before}{count} of {} groups are held out by a hash of their names (`data.group`)", sides.len());
    Ok(())
}

/// A regular expression with one group of parentheses.
fn read(pattern: &str) -> Result<Regex, DataError> {
    let wrong = |found: String| DataError::BadSetting {
        name: "data.group".into(),
        expected: "a regular expression with one part in parentheses, such as `(patient[0-9]+)_`",
        found,
    };
    let regex = RegexBuilder::new(pattern).unicode(false).build();
    let regex =
        regex.map_err(|error| wrong(format!("`{pattern}` ({})", error.to_string().lines().last().unwrap_or(""))))?;
    if regex.captures_len() != 2 {
        return Err(wrong(format!(
            "`{pattern}`, which has {} (`(?:…)` are parentheses that only bracket)",
            regex.captures_len() - 1
        )));
    }
    Ok(regex)
}
