//! Which images train and which are held out: named folders where there are some, otherwise a hash of the path.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::images::siblings::{OVERRULE, inner, same_folders, same_names};

/// One of so many is held out where no folder says so.
pub(crate) const ONE_IN: u64 = 10;

/// Whose word is taken where folders could mean one thing or another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Folders {
    /// Names of parts split, folders beside the images that hold masks are left out, folders that hold the same folders are no
    /// classes, and what is left are classes.
    #[default]
    Auto,
    /// The first folders are classes, whatever they are called.
    Classes,
    /// The folders in the first folders are classes.
    Inner,
    /// They say nothing.
    Ignore,
}

/// The two parts, as indices into the paths that were given.
#[derive(Debug, Default)]
pub(crate) struct Split<'a> {
    pub(crate) train: Vec<usize>,
    pub(crate) held_out: Vec<usize>,
    /// Each path without the folders that all share and without the part's name: what is left begins with the class, if there
    /// is one.
    pub(crate) rest: Vec<Cow<'a, str>>,
    /// Whether folders may be classes at all.
    pub(crate) classes: bool,
    /// In words.
    pub(crate) how: String,
    pub(crate) notes: Vec<String>,
}

/// A folder that names a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Train,
    // Before `Val`: a data set that has both means its test part for judgement.
    Test,
    Val,
    /// What has neither labels nor a part in judging: left untouched.
    Other,
}

impl Named {
    fn word(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Val => "val",
            Self::Other => "other",
        }
    }
}

fn named(folder: &str) -> Option<Named> {
    match folder.to_ascii_lowercase().as_str() {
        "train" | "training" => Some(Named::Train),
        "test" | "testing" | "holdout" | "heldout" => Some(Named::Test),
        "val" | "valid" | "validate" | "validation" | "dev" | "eval" | "evaluation" => Some(Named::Val),
        _ => None,
    }
}

/// The same where the name stands between separators or digits, or before a capital: `train2017`, `cars_test`, `trainA`.
fn worded(folder: &str) -> Option<Named> {
    word_of(folder).map(|(part, _)| part)
}

/// Its part, and its name without the word that says so.
fn word_of(folder: &str) -> Option<(Named, String)> {
    let word = |word: &str| match word.to_ascii_lowercase().as_str() {
        "pred" | "prediction" | "unlabeled" | "unlabelled" => Some(Named::Other),
        word => named(word),
    };
    let letters = folder.as_bytes();
    let begins = |at: usize| {
        letters[at].is_ascii_alphabetic()
            && (at == 0
                || !letters[at - 1].is_ascii_alphabetic()
                || letters[at].is_ascii_uppercase() && letters[at - 1].is_ascii_lowercase())
    };
    (0..letters.len()).filter(|&at| begins(at)).find_map(|at| {
        let ends = |end: &usize| !letters[*end].is_ascii_alphabetic() || begins(*end);
        let end = (at + 1..letters.len()).find(ends).unwrap_or(letters.len());
        Some((word(&folder[at..end])?, format!("{}{}", &folder[..at], &folder[end..])))
    })
}

/// Folders of pictures that say something about the pictures in another folder.
pub(crate) fn is_about(folder: &str) -> bool {
    const NAMES: [&str; 15] = [
        "mask",
        "masks",
        "ground_truth",
        "groundtruth",
        "gt",
        "gtfine",
        "gtcoarse",
        "annotation",
        "annotations",
        "label",
        "labels",
        "segmentation",
        "segmentationclass",
        "segmentationobject",
        "depth",
    ];
    NAMES.contains(&folder.to_ascii_lowercase().as_str())
}

/// Folders of the pictures themselves.
fn is_of_images(folder: &str) -> bool {
    const NAMES: [&str; 8] = ["image", "images", "img", "imgs", "jpegimages", "leftimg8bit", "rgb", "photos"];
    NAMES.contains(&folder.to_ascii_lowercase().as_str())
}

/// Train or held-out by the name of a shard or archive.
pub(crate) fn part_folder(stem: &str) -> Option<&'static str> {
    worded(stem).filter(|part| *part != Named::Other).map(Named::word)
}

pub(crate) fn first(path: &str) -> Option<(&str, &str)> {
    path.split_once('/')
}

/// Splits by folder names, or by hash. `labelled` says that labels do not depend on folders.
pub(crate) fn split<'a>(paths: &[&'a str], labelled: bool, folders: Folders) -> Split<'a> {
    let shared = shared_folders(paths.iter().copied());
    let rest: Vec<Cow<'a, str>> = paths.iter().map(|path| Cow::Borrowed(&path[shared..])).collect();
    let mut split = Split { rest, classes: folders != Folders::Ignore, ..Split::default() };
    let mut all: Vec<usize> = (0..paths.len()).collect();
    if folders == Folders::Inner {
        inner(&mut split, &all);
    }
    if folders != Folders::Auto {
        by_hash(&mut split, all, "");
        return split;
    }
    without_masks(&mut split, &mut all);
    let parts = outer_parts(&split, &all).or_else(|| inner_parts(&mut split, &all));
    let Some(parts) = parts else {
        same_folders(&mut split, &all);
        if !labelled {
            same_names(&mut split, &all);
        }
        by_hash(&mut split, all, "");
        return split;
    };
    by_parts(&mut split, parts, labelled);
    split
}

/// What lies in the folders of parts: the folder's name in words, and its images.
type Parts = BTreeMap<Named, (String, Vec<usize>)>;

/// Leaves out pictures that lie in a folder of masks beside a folder of images, at any of the first levels, and `ground_truth`
/// beside parts.
fn without_masks(split: &mut Split<'_>, all: &mut Vec<usize>) {
    let mut out: BTreeMap<String, usize> = BTreeMap::new();
    // Folders by the folder that they lie in.
    let mut siblings: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for &index in all.iter() {
        let path: &str = &split.rest[index];
        for (slash, _) in path.match_indices('/').take(LEVELS) {
            let start = path[..slash].rfind('/').map_or(0, |before| before + 1);
            siblings.entry(&path[..start]).or_default().insert(&path[start..slash]);
        }
    }
    let beside = |parent: &str| {
        siblings.get(parent).is_some_and(|names| {
            names.iter().any(|name| is_of_images(name)) || names.iter().filter_map(|name| named(name)).count() > 1
        })
    };
    let mask = |path: &str| {
        path.match_indices('/').take(LEVELS).find_map(|(slash, _)| {
            let start = path[..slash].rfind('/').map_or(0, |before| before + 1);
            (is_about(&path[start..slash]) && beside(&path[..start])).then(|| path[start..slash].to_owned())
        })
    };
    let masks: Vec<Option<String>> = all.iter().map(|&index| mask(&split.rest[index])).collect();
    if masks.iter().all(Option::is_some) {
        return;
    }
    let mut kept = Vec::with_capacity(all.len());
    for (&index, mask) in all.iter().zip(masks) {
        match mask {
            Some(folder) => *out.entry(folder).or_insert(0) += 1,
            None => kept.push(index),
        }
    }
    *all = kept;
    if out.is_empty() {
        return;
    }
    for (folder, count) in out {
        split.notes.push(format!(
            "`{folder}/` ({count} images) lies beside the images that it is about and is left untouched{OVERRULE}"
        ));
    }
    // `images/` alone says nothing now.
    let shared = shared_folders(all.iter().map(|&index| &*split.rest[index]));
    for &index in all.iter() {
        cut(&mut split.rest[index], shared);
    }
    // `train/images/` and `val/images/`.
    let inner = all.iter().all(|&index| {
        let below = first(&split.rest[index]).filter(|(part, _)| worded(part).is_some());
        below.and_then(|(_, rest)| first(rest)).is_some_and(|(folder, _)| is_of_images(folder))
    });
    if inner {
        for &index in all.iter() {
            let (part, rest) = first(&split.rest[index]).unwrap_or(("", ""));
            let (_, rest) = first(rest).unwrap_or(("", rest));
            split.rest[index] = Cow::Owned(format!("{part}/{rest}"));
        }
    }
}

/// How deep folders of masks are looked for.
const LEVELS: usize = 4;

/// Names of folders, and the images in them.
type Gathered<'a> = (BTreeSet<&'a str>, Vec<usize>);

/// First folders that are parts: by their whole names where one of them trains and another does not, or by words in their
/// names where every one of them has such a word.
fn outer_parts(split: &Split<'_>, all: &[usize]) -> Option<(Parts, usize)> {
    let gather = |of: &dyn Fn(&str) -> Option<Named>| {
        let (mut parts, mut outside) = (BTreeMap::<Named, Gathered<'_>>::new(), 0);
        for &index in all {
            match first(&split.rest[index]).and_then(|(folder, _)| Some((of(folder)?, folder))) {
                Some((part, folder)) => {
                    let (names, indices) = parts.entry(part).or_default();
                    names.insert(folder);
                    indices.push(index);
                }
                None => outside += 1,
            }
        }
        let named = |(part, (names, indices)): (Named, Gathered<'_>)| {
            (part, (names.into_iter().collect::<Vec<_>>().join("/`, `"), indices))
        };
        (parts.into_iter().map(named).collect::<Parts>(), outside)
    };
    let several = |parts: &Parts| parts.keys().filter(|part| **part != Named::Other).count() > 1;
    let (whole, outside) = gather(&named);
    if whole.contains_key(&Named::Train) && whole.len() > 1 || outside == 0 && several(&whole) {
        return Some((whole, outside));
    }
    let (words, outside) = gather(&worded);
    if outside == 0 {
        return several(&words).then_some((words, 0));
    }
    // Some of many: the same name with one word and with another, such as `cars_train` and `cars_test` beside `samples`.
    let folders: BTreeSet<&str> = all.iter().filter_map(|&index| Some(first(&split.rest[index])?.0)).collect();
    let rests: BTreeSet<String> = folders.iter().filter_map(|folder| Some(word_of(folder)?.1)).collect();
    (words.contains_key(&Named::Train) && several(&words) && rests.len() == 1).then_some((words, outside))
}

/// `CLASS/train`, `CLASS/test`: parts one level lower, in every first folder. The class comes first then.
fn inner_parts(split: &mut Split<'_>, all: &[usize]) -> Option<(Parts, usize)> {
    let part = |path: &str| {
        let (_, rest) = first(path)?;
        named(first(rest)?.0)
    };
    let parts: Vec<Named> = all.iter().map(|&index| part(&split.rest[index])).collect::<Option<_>>()?;
    let found: BTreeSet<Named> = parts.iter().copied().collect();
    if found.len() < 2 || !found.contains(&Named::Train) {
        return None;
    }
    // Folds and places hold the same classes: these are the classes then.
    let mut classes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (&index, part) in all.iter().zip(&parts) {
        let (outer, rest) = first(&split.rest[index])?;
        let names = classes.entry(outer).or_default();
        if let (Named::Train, Some((class, _))) = (part, first(rest).and_then(|(_, below)| first(below))) {
            names.insert(class);
        }
    }
    let same = classes.len() > 1
        && classes.values().all(|names| names.len() > 1)
        && classes.values().collect::<BTreeSet<_>>().len() == 1;
    if same {
        let names = classes.keys().copied().collect::<Vec<_>>().join("`, `");
        split.notes.push(format!("`{names}` hold the same parts and classes and are no classes themselves"));
    }
    let mut gathered = Parts::new();
    for (&index, part) in all.iter().zip(parts) {
        let path = split.rest[index].clone();
        let (class, below) = first(&path)?;
        let (folder, below) = first(below)?;
        gathered.entry(part).or_insert_with(|| (folder.to_owned(), Vec::new())).1.push(index);
        // The part in front, as elsewhere.
        let path = if same { format!("{folder}/{below}") } else { format!("{folder}/{class}/{below}") };
        split.rest[index] = Cow::Owned(path);
    }
    if !same {
        split.notes.push("each class has folders of its own for the parts".to_owned());
    }
    Some((gathered, 0))
}

/// Takes off the part's name, and the folder within that names it again for all of the part's images.
fn strip(split: &mut Split<'_>, parts: &Parts) {
    for (_, indices) in parts.values() {
        for &index in indices {
            let start = split.rest[index].find('/').map_or(0, |slash| slash + 1);
            cut(&mut split.rest[index], start);
        }
        let shared = shared_folders(indices.iter().map(|&index| &*split.rest[index]));
        let again = indices.first().and_then(|&index| first(&split.rest[index])).and_then(|(folder, _)| worded(folder));
        if shared > 0 && again.is_some() {
            for &index in indices {
                cut(&mut split.rest[index], shared);
            }
        }
    }
}

fn by_parts(split: &mut Split<'_>, (mut parts, outside): (Parts, usize), labelled: bool) {
    strip(split, &parts);
    if outside > 0 {
        split.notes.push(format!("{outside} images outside of the folders of the split are left untouched"));
    }
    let deep = |split: &Split<'_>, indices: &[usize]| indices.iter().all(|&index| split.rest[index].contains('/'));
    let mut from = Named::Train;
    if !parts.contains_key(&Named::Train) {
        from = Named::Val;
        split.notes.push("no folder is called `train`: the validation part trains".to_owned());
    }
    let Some((train_name, train)) = parts.remove(&from) else { return };
    let train_classes = deep(split, &train);
    // `train/images/cats`: the folder that all share says nothing.
    let others: Vec<usize> = parts.values().flat_map(|(_, indices)| indices).copied().collect();
    let kept: Vec<usize> = train.iter().chain(&others).copied().collect();
    let deeper = shared_folders(kept.iter().map(|&index| &*split.rest[index]));
    for &index in &kept {
        cut(&mut split.rest[index], deeper);
    }
    let classes = |split: &Split<'_>, indices: &[usize]| -> BTreeSet<String> {
        indices.iter().filter_map(|&index| Some(first(&split.rest[index])?.0.to_lowercase())).collect()
    };
    if !labelled {
        same_names(split, &train);
    }
    let (train_classes, known) = (train_classes && deep(split, &train), classes(split, &train));
    // Held-out images are judged by classes that training has.
    let why = |split: &Split<'_>, indices: &[usize]| match () {
        () if labelled || !train_classes => None,
        () if !deep(split, indices) => Some("it has no class folders"),
        () if classes(split, indices).is_disjoint(&known) => Some("it has none of the classes of training"),
        () => None,
    };
    let chosen = parts.iter().find(|(part, (_, indices))| **part != Named::Other && why(split, indices).is_none());
    let chosen = chosen.map(|(part, _)| *part);
    for (part, (name, indices)) in &parts {
        if Some(*part) != chosen {
            let why = why(split, indices).map(|why| format!(" because {why}")).unwrap_or_default();
            split.notes.push(format!("`{name}/` ({} images) is left untouched{why}", indices.len()));
        }
    }
    match chosen.and_then(|part| parts.remove(&part)) {
        Some((name, held_out)) => {
            let folders = |name: &str| if name.contains('`') { "folders" } else { "folder" };
            let (one, other) = (folders(&train_name), folders(&name));
            let is = if other == "folder" { "is" } else { "are" };
            split.how = format!(
                "{one} `{train_name}/` {}, {other} `{name}/` {is} held out",
                if one == "folder" { "trains" } else { "train" }
            );
            same_case(split, &train, &held_out);
            (split.train, split.held_out) = (train, held_out);
        }
        None => by_hash(split, train, &format!("folder `{train_name}/` alone: ")),
    }
}

/// Classes whose names differ from training's in case alone are the same classes.
fn same_case(split: &mut Split<'_>, train: &[usize], held_out: &[usize]) {
    let spelt: BTreeSet<String> =
        train.iter().filter_map(|&index| Some(first(&split.rest[index])?.0.to_owned())).collect();
    let by_lower: BTreeMap<String, &String> = spelt.iter().map(|class| (class.to_lowercase(), class)).collect();
    // Two of training's that differ in case alone are two.
    if by_lower.len() < spelt.len() {
        return;
    }
    let mut merged: BTreeSet<String> = BTreeSet::new();
    for &index in held_out {
        let Some((class, rest)) = first(&split.rest[index]) else { continue };
        if let Some(other) = by_lower.get(&class.to_lowercase()).filter(|other| **other != class) {
            merged.insert(format!("`{class}` of what is held out is `{other}` of training"));
            split.rest[index] = Cow::Owned(format!("{other}/{rest}"));
        }
    }
    if let Some(some) = merged.first() {
        let more = if merged.len() > 1 { format!(" and {} more", merged.len() - 1) } else { String::new() };
        split.notes.push(format!("classes whose names differ in case alone are the same: {some}{more}"));
    }
}

/// All in one part, with the names of parts taken off the paths where every path has one.
pub(crate) fn whole<'a>(paths: &[&'a str], folders: Folders) -> Split<'a> {
    let shared = shared_folders(paths.iter().copied());
    let rest: Vec<Cow<'a, str>> = paths.iter().map(|path| Cow::Borrowed(&path[shared..])).collect();
    let all: Vec<usize> = (0..paths.len()).collect();
    let mut split = Split { rest, classes: folders != Folders::Ignore, ..Split::default() };
    if folders == Folders::Inner {
        inner(&mut split, &all);
    }
    if folders == Folders::Auto {
        match outer_parts(&split, &all).or_else(|| inner_parts(&mut split, &all)) {
            Some((parts, 0)) => strip(&mut split, &parts),
            Some(_) => {}
            None => same_folders(&mut split, &all),
        }
        let deeper = shared_folders(split.rest.iter().map(|path| &**path));
        split.rest.iter_mut().for_each(|path| cut(path, deeper));
    }
    Split { train: all, how: "all in one part".to_owned(), notes: Vec::new(), ..split }
}

/// Takes so many bytes off the front.
pub(crate) fn cut(path: &mut Cow<'_, str>, count: usize) {
    match path {
        Cow::Borrowed(path) => *path = &path[count..],
        Cow::Owned(path) => {
            path.drain(..count);
        }
    }
}

/// Whether the hash of this path or number holds it out.
pub(crate) fn held_out(key: &[u8]) -> bool {
    xxh3_64(key).is_multiple_of(ONE_IN)
}

/// Whether each of so many is held out, by the hash of its key: at least one of several, two of twenty or more, and not all.
pub(crate) fn by_hashes<K: AsRef<[u8]>>(count: usize, key: impl Fn(usize) -> K) -> Vec<bool> {
    let mut held: Vec<bool> = (0..count).map(|index| held_out(key(index).as_ref())).collect();
    let least = usize::from(count > 1) + usize::from(count >= 20);
    let missing = least.saturating_sub(held.iter().filter(|held| **held).count());
    if missing > 0 {
        let mut others: Vec<usize> = (0..count).filter(|&index| !held[index]).collect();
        others.sort_by_key(|&index| xxh3_64(key(index).as_ref()));
        others.iter().take(missing).for_each(|&index| held[index] = true);
    }
    // With a handful the hash may leave nothing to train on.
    if !held.contains(&false)
        && let Some(first) = (0..count).min_by_key(|&index| xxh3_64(key(index).as_ref()))
    {
        held[first] = false;
    }
    held
}

/// How [`held_out`] is told to people.
pub(crate) const BY_HASH: &str = "10 % are held out by a hash of the path";

/// The same for records, which have no path.
pub(crate) const BY_INDEX: &str = "10 % are held out by a hash of the index";

fn by_hash(split: &mut Split<'_>, indices: Vec<usize>, before: &str) {
    let sides = by_hashes(indices.len(), |at| split.rest[indices[at]].as_bytes());
    for (index, held) in indices.into_iter().zip(sides) {
        if held { split.held_out.push(index) } else { split.train.push(index) }
    }
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
