//! What folders beside each other have in common: folders that hold the same folders are no classes, and folders whose files
//! have the same names may be none.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use crate::images::split::{Split, cut, first};

/// How a rule is overruled.
pub(crate) const OVERRULE: &str = " (`data.folders` overrules this: `classes`, `inner` or `ignore`)";

/// One image of so many may lie elsewhere.
const STRAYS: usize = 50;

/// First folders that hold the same folders, two or more, are no classes: folds, places, archives of one set. The folders in
/// them are, if most of them hold all of these and the others some of these; otherwise it is told.
pub(crate) fn same_folders(split: &mut Split<'_>, all: &[usize]) {
    let mut children: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut strays = 0;
    for &index in all {
        match first(&split.rest[index]).and_then(|(folder, rest)| Some((folder, first(rest)?.0))) {
            Some((folder, child)) => _ = children.entry(folder).or_default().insert(child.to_lowercase()),
            None => strays += 1,
        }
    }
    let mut alike: BTreeMap<&BTreeSet<String>, usize> = BTreeMap::new();
    for set in children.values().filter(|set| set.len() > 1) {
        *alike.entry(set).or_insert(0) += 1;
    }
    let Some((one, count)) = alike.into_iter().max_by_key(|(set, count)| (*count, set.len())) else { return };
    if count < 2 || strays > all.len() / STRAYS {
        return;
    }
    let held = listed(one.iter().map(String::as_str));
    if count * 2 > children.len() && children.values().all(|set| set.is_subset(one)) {
        let folders = listed(children.keys().copied());
        split.notes.push(format!("{folders} hold the same folders ({held}), which are the classes{OVERRULE}"));
        inner(split, all);
        return;
    }
    let those = children.iter().filter(|(_, set)| *set == one).map(|(folder, _)| *folder);
    split.notes.push(format!(
        "{} hold the same folders ({held}), and {} other folders do not: all {} are taken for classes{OVERRULE}",
        listed(those),
        children.len() - count,
        children.len()
    ));
}

/// Takes off the first folders.
pub(crate) fn inner(split: &mut Split<'_>, all: &[usize]) {
    for &index in all {
        let start = split.rest[index].find('/').map_or(0, |slash| slash + 1);
        cut(&mut split.rest[index], start);
    }
}

/// Fewer equal names may be chance.
const LEAST_EQUAL: usize = 20;

/// More classes are not compared.
const MOST_CLASSES: usize = 64;

/// Classes whose files have the same names, nine in ten or more, may be copies, masks or views of the same things: told.
pub(crate) fn same_names(split: &mut Split<'_>, all: &[usize]) {
    let mut names: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for &index in all {
        let Some((class, rest)) = first(&split.rest[index]) else { continue };
        let stem = rest.rsplit_once('.').map_or(rest, |(stem, _)| stem);
        names.entry(class).or_default().insert(xxh3_64(stem.as_bytes()));
    }
    if names.len() < 2 || names.len() > MOST_CLASSES {
        return;
    }
    let mut alike: Vec<(&str, usize)> = Vec::new();
    for (class, own) in &names {
        let equal = names.iter().filter(|(other, _)| *other != class).map(|(_, set)| {
            let both = own.intersection(set).count();
            if both * 10 >= (own.len() + set.len() - both) * 9 { both } else { 0 }
        });
        let most = equal.max().unwrap_or(0);
        if most >= LEAST_EQUAL {
            alike.push((class, most));
        }
    }
    let Some(most) = alike.iter().map(|(_, count)| *count).max() else { return };
    // Numbers behind the same letters are given by any program that counts, in each of many folders; two of them with exactly the
    // same are told.
    let sets: Vec<_> = alike.iter().filter_map(|(class, _)| names.get(class)).collect();
    let two = sets.len() == 2 && names.len() == 2 && sets[0] == sets[1];
    let lettered = |index: &&usize| {
        alike.iter().any(|(class, _)| first(&split.rest[**index]).is_some_and(|(own, _)| own == *class))
    };
    let letters: BTreeSet<&str> = all
        .iter()
        .filter(lettered)
        .filter_map(|&index| {
            let name = split.rest[index].rsplit('/').next()?;
            let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
            let letters = stem.trim_end_matches(|c: char| c.is_ascii_digit());
            Some(if letters.len() < stem.len() { letters } else { name })
        })
        .collect();
    if letters.len() == 1 && !two {
        return;
    }
    let note = format!(
        "{} hold files of the same names ({most}): they may be copies, masks or views of each other rather than classes{OVERRULE}",
        listed(alike.iter().map(|(class, _)| *class))
    );
    split.notes.push(note);
}

/// At most four names.
pub(crate) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const MOST: usize = 4;
    let names: Vec<&str> = names.collect();
    let shown: Vec<String> = names.iter().take(MOST).map(|name| format!("`{name}/`")).collect();
    let more = if names.len() > MOST { format!(" and {} more", names.len() - MOST) } else { String::new() };
    shown.join(", ") + &more
}
