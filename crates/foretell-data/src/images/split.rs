//! Which images train and which are held out: named folders where there are some, otherwise a hash of the path.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

/// One of so many is held out where no folder says so.
pub(crate) const ONE_IN: u64 = 10;

/// The two parts, as indices into the paths that were given.
#[derive(Debug, Default)]
pub(crate) struct Split {
    pub(crate) train: Vec<usize>,
    pub(crate) held_out: Vec<usize>,
    /// Where the path's own part begins, behind the folders that all share and the split's name.
    pub(crate) from: Vec<usize>,
    /// In words.
    pub(crate) how: String,
    pub(crate) notes: Vec<String>,
}

/// A first folder that names a part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Train,
    // Before `Val`: a data set that has both means its test part for judgement.
    Test,
    Val,
}

fn named(folder: &str) -> Option<Named> {
    match folder.to_ascii_lowercase().as_str() {
        "train" | "training" => Some(Named::Train),
        "test" | "testing" => Some(Named::Test),
        "val" | "valid" | "validation" => Some(Named::Val),
        _ => None,
    }
}

/// Train or held-out by the first folder's name; the name of a shard or archive counts as a folder.
pub(crate) fn part_folder(stem: &str) -> Option<&'static str> {
    let words = stem.to_ascii_lowercase();
    let mut words = words.split(|c: char| !c.is_ascii_alphabetic());
    words.find_map(named).map(|part| match part {
        Named::Train => "train",
        Named::Test => "test",
        Named::Val => "val",
    })
}

/// Splits by folder names, or by hash. `labelled` says that labels do not depend on folders.
pub(crate) fn split(paths: &[&str], labelled: bool) -> Split {
    let shared = shared_folders(paths.iter().copied());
    let mut split = Split { from: vec![shared; paths.len()], ..Split::default() };

    let mut folders: BTreeMap<Named, (&str, Vec<usize>)> = BTreeMap::new();
    let mut outside = 0;
    for (index, path) in paths.iter().enumerate() {
        match path[shared..].split_once('/').and_then(|(first, _)| Some((named(first)?, first))) {
            Some((part, first)) => folders.entry(part).or_insert((first, Vec::new())).1.push(index),
            None => outside += 1,
        }
    }
    let train = folders.remove(&Named::Train);
    let Some((train_name, train)) = train.filter(|_| !folders.is_empty()) else {
        by_hash(paths, &mut split, (0..paths.len()).collect(), "");
        return split;
    };
    let behind = |(name, indices): &(&str, Vec<usize>)| {
        let start = shared + name.len() + 1;
        (start, indices.iter().all(|&index| paths[index][start..].contains('/')))
    };
    let train = (train_name, train);
    let (train_start, train_classes) = behind(&train);
    // A held-out folder without class folders beside a training folder that has them could not be judged.
    let usable =
        folders.iter().find(|(_, folder)| labelled || !train_classes || behind(folder).1).map(|(&part, _)| part);
    let chosen = usable.and_then(|part| folders.remove(&part));
    if outside > 0 {
        split.notes.push(format!("{outside} images outside of the folders of the split are left untouched"));
    }
    for (name, indices) in folders.values() {
        let why = if labelled || !train_classes || chosen.is_some() && behind(&(name, indices.clone())).1 {
            ""
        } else {
            " because it has no class folders"
        };
        split.notes.push(format!("`{name}/` ({} images) is left untouched{why}", indices.len()));
    }

    for &index in &train.1 {
        split.from[index] = train_start;
    }
    match chosen {
        Some(held_out) => {
            let start = behind(&held_out).0;
            for &index in &held_out.1 {
                split.from[index] = start;
            }
            split.how = format!("folder `{}/` trains, folder `{}/` is held out", train.0, held_out.0);
            (split.train, split.held_out) = (train.1, held_out.1);
        }
        None => by_hash(paths, &mut split, train.1, &format!("folder `{}/` alone: ", train.0)),
    }
    // `train/images/cats`: the folder that all share says nothing.
    let kept: Vec<usize> = split.train.iter().chain(&split.held_out).copied().collect();
    let deeper = shared_folders(kept.iter().map(|&index| &paths[index][split.from[index]..]));
    for index in kept {
        split.from[index] += deeper;
    }
    split
}

/// All in one part, with the names of parts taken off the paths where every path has one.
pub(crate) fn whole(paths: &[&str]) -> Split {
    let shared = shared_folders(paths.iter().copied());
    let part = |path: &str| {
        path[shared..].split_once('/').filter(|(first, _)| named(first).is_some()).map(|(f, _)| f.len() + 1)
    };
    let mut from: Vec<usize> = match paths.iter().map(|path| part(path)).collect::<Option<Vec<_>>>() {
        Some(parts) => parts.into_iter().map(|part| shared + part).collect(),
        None => vec![shared; paths.len()],
    };
    let deeper = shared_folders(paths.iter().zip(&from).map(|(path, &from)| &path[from..]));
    for from in &mut from {
        *from += deeper;
    }
    Split { train: (0..paths.len()).collect(), from, how: "all in one part".to_owned(), ..Split::default() }
}

/// Whether the hash of this path or number holds it out.
pub(crate) fn held_out(key: &[u8]) -> bool {
    xxh3_64(key).is_multiple_of(ONE_IN)
}

/// How [`held_out`] is told to people.
pub(crate) const BY_HASH: &str = "10 % are held out by a hash of the path";

/// The same for records, which have no path.
pub(crate) const BY_INDEX: &str = "10 % are held out by a hash of the index";

fn by_hash(paths: &[&str], split: &mut Split, indices: Vec<usize>, before: &str) {
    let (held, train): (Vec<usize>, Vec<usize>) =
        indices.into_iter().partition(|&index| held_out(&paths[index].as_bytes()[split.from[index]..]));
    // With a handful of images the hash may leave nothing to train on.
    (split.train, split.held_out) = if train.is_empty() { (held, train) } else { (train, held) };
    split.how = format!("{before}{BY_HASH}");
}

/// The length of the folders that all paths begin with, the last `/` included.
pub(crate) fn shared_folders<'a>(mut paths: impl Iterator<Item = &'a str>) -> usize {
    let Some(first) = paths.next() else { return 0 };
    let mut shared = &first[..first.rfind('/').map_or(0, |slash| slash + 1)];
    for path in paths {
        let same = shared.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count();
        shared = &shared[..shared.as_bytes()[..same].iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1)];
    }
    shared.len()
}
