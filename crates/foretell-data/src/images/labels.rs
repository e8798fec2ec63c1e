//! Labels from class folders, or from members beside the images as in WebDataset. Labels are always optional.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::DataError;
use crate::images::listing::{Found, Place};

/// One way to label the images: its name and the names of its classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factor {
    /// What the labels tell, such as `class` or `colour`.
    pub name: String,
    /// The classes' names; a label is an index into them.
    pub classes: Vec<String>,
}

impl Factor {
    /// A factor with these classes.
    pub(crate) fn named(name: &str, classes: &[&str]) -> Self {
        Self { name: name.to_owned(), classes: classes.iter().map(|&class| class.to_owned()).collect() }
    }

    /// A factor of the given name whose classes are `0`, `1` and so on.
    pub(crate) fn numbered(name: &str, classes: usize) -> Self {
        Self { name: name.to_owned(), classes: (0..classes).map(|class| class.to_string()).collect() }
    }
}

/// The factor `class` that the texts name, and each one's label; numbers sort by value, names by letter.
pub(crate) fn by_text(texts: &[&str]) -> (Factor, Vec<u32>) {
    let distinct: BTreeSet<&str> = texts.iter().copied().collect();
    let mut classes: Vec<&str> = distinct.into_iter().collect();
    if classes.iter().all(|class| class.parse::<i64>().is_ok()) {
        classes.sort_by_key(|class| class.parse::<i64>().unwrap_or(0));
    }
    let labels: HashMap<&str, u32> = classes.iter().enumerate().map(|(label, &class)| (class, label as u32)).collect();
    let factor = Factor { name: "class".to_owned(), classes: classes.iter().map(|&class| class.to_owned()).collect() };
    (factor, texts.iter().map(|text| labels[text]).collect())
}

/// The first folder of each path, if every path has one: the classes of class folders.
pub(crate) fn class_folders<'a>(paths: &[&'a str]) -> Option<Vec<&'a str>> {
    paths.iter().map(|path| path.split_once('/').map(|(class, _)| class)).collect()
}

/// Members that hold labels, in order of preference.
const BESIDE: [&str; 3] = ["cls", "json", "txt"];

/// Keys of a `.json` member that hold the label, in order of preference.
const JSON_KEYS: [&str; 5] = ["cls", "class", "label", "class_name", "label_name"];

/// A longer text is a caption.
const LONGEST_CLASS: usize = 128;

/// What members or files beside the images say of them.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// One text for each image, if they are labels; none for the few images that have none.
    pub(crate) texts: Option<Vec<Option<String>>>,
    /// What looked like labels and is none.
    pub(crate) notes: Vec<String>,
    /// Endings of the files that are labels, or of which the notes tell.
    pub(crate) endings: Vec<&'static str>,
}

/// One image of so many may lack its label.
pub(crate) const UNLABELLED: usize = 50;

/// Texts from members or files that share an image's archive and its name up to the first dot (WebDataset), or up to the
/// last; none where there are none or what is there are captions.
pub(crate) fn beside(images: &[Found], others: &[Found]) -> Result<Beside, DataError> {
    let mut found = Beside::default();
    for extension in BESIDE {
        let with = |other: &&Found| other.file_name().rsplit_once('.').is_some_and(|(_, rest)| rest == extension);
        let members: Vec<&Found> = others.iter().filter(with).collect();
        let by = |key: fn(&Found) -> Key<'_>| {
            let members: HashMap<Key<'_>, &Found> = members.iter().map(|other| (key(other), *other)).collect();
            images.iter().map(|image| members.get(&key(image)).copied()).collect::<Vec<Option<&Found>>>()
        };
        // Where many images share one member, its key is too short.
        let distinct = |paired: &[Option<&Found>]| {
            paired.iter().flatten().map(|found| found.path.as_str()).collect::<HashSet<&str>>().len()
        };
        let paired = [by(up_to_first_dot), by(up_to_last_dot)];
        let [first, last] = &paired;
        let paired = if distinct(last) > distinct(first) { last } else { first };
        let count = paired.iter().flatten().count();
        let missing = images.len() - count;
        if count == 0 {
            continue;
        }
        found.endings.push(extension);
        let alone = members.len() - distinct(paired);
        if alone > 0 {
            found.notes.push(format!("{alone} .{extension} files have no image of their name and are not read"));
        }
        // `.cls` can only be a label; the others may be anything, and then some may well be missing.
        if missing > images.len() / UNLABELLED {
            if let (Some(index), "cls") = (paired.iter().position(Option::is_none), extension) {
                return Err(DataError::BadLabel {
                    name: format!("{}.cls", up_to_first_dot(&images[index]).1),
                    reason: format!(
                        "it is missing: {count} of {} images have a .cls file beside them, and at most one in {UNLABELLED} may lack it; add those that are missing, or move all of them away to go without labels",
                        images.len()
                    ),
                });
            }
            found.notes.push(format!(
                "{missing} of {} images have no .{extension} file beside them, so these files are no labels",
                images.len()
            ));
            continue;
        }
        let read = |found: &Found| match extension {
            "cls" => cls(found).map(Some),
            "json" => json(found),
            _ => txt(found),
        };
        let (mut texts, mut wrong) = (Vec::with_capacity(images.len()), None);
        for pair in paired {
            match pair.map(read) {
                None => texts.push(None),
                Some(Ok(Some(text))) => texts.push(Some(text)),
                // No label where a label could stand: captions, or a tool's own file.
                Some(Ok(None)) => {
                    wrong.get_or_insert(None);
                    texts.push(None);
                }
                Some(Err(error)) if extension == "cls" => return Err(error),
                Some(Err(error)) => {
                    wrong.get_or_insert(Some(error.to_string()));
                    texts.push(None);
                }
            }
        }
        let held = texts.iter().flatten().count();
        if texts.len() - held > images.len() / UNLABELLED {
            let why = wrong.flatten().map(|error| format!(" ({error})")).unwrap_or_default();
            let without = texts.len() - held;
            found
                .notes
                .push(format!("{without} of {} .{extension} files beside the images hold no label{why}, which is more than one in {UNLABELLED}: none of them are taken for labels", texts.len()));
            continue;
        }
        let distinct = texts.iter().flatten().collect::<HashSet<_>>().len();
        if extension == "cls" || distinct * 2 <= held.max(4) {
            found.texts = Some(texts);
            return Ok(found);
        }
        found
            .notes
            .push(format!("the .{extension} files beside the images hold {distinct} texts, which are no classes"));
    }
    Ok(found)
}

/// Its archive, and its path without endings.
pub(crate) type Key<'a> = (Option<&'a Path>, &'a str);

pub(crate) fn up_to_first_dot(found: &Found) -> Key<'_> {
    let name = found.file_name();
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    (found.place.archive(), &found.path[..found.path.len() - name.len() + stem.len()])
}

pub(crate) fn up_to_last_dot(found: &Found) -> Key<'_> {
    let name = found.file_name();
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    (found.place.archive(), &found.path[..found.path.len() - name.len() + stem.len()])
}

fn text(found: &Found) -> Result<String, DataError> {
    const LONGEST: u64 = 1 << 20;
    if found.place.size() > LONGEST {
        return Err(bad(found, format!("expected a label, found {} bytes", found.place.size())));
    }
    let bytes = Place::read(&found.place, &found.path)?;
    let text =
        String::from_utf8(bytes).map_err(|_| bad(found, "expected text in UTF-8, found other bytes".to_owned()))?;
    // Some editors begin a file with this mark.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn cls(found: &Found) -> Result<String, DataError> {
    let text = text(found)?;
    let class = text.trim();
    if class.is_empty() || class.contains('\n') {
        return Err(bad(found, format!("expected one number or one name, found {} lines", text.lines().count())));
    }
    Ok(class.to_owned())
}

fn txt(found: &Found) -> Result<Option<String>, DataError> {
    let text = text(found)?;
    let class = text.trim();
    // A box of a detector (YOLO's): a class and where it lies.
    let numbers = class.split_whitespace().map(|word| word.parse::<f64>().ok()).collect::<Option<Vec<f64>>>();
    if numbers.is_some_and(|numbers| numbers.len() > 3) {
        return Ok(None);
    }
    Ok((!class.is_empty() && !class.contains('\n') && class.len() <= LONGEST_CLASS).then(|| class.to_owned()))
}

fn json(found: &Found) -> Result<Option<String>, DataError> {
    let value: Value =
        serde_json::from_str(&text(found)?).map_err(|error| bad(found, format!("expected JSON, found: {error}")))?;
    let label = match &value {
        Value::Object(fields) => JSON_KEYS.iter().find_map(|key| fields.get(*key)),
        other => Some(other),
    };
    Ok(match label {
        Some(Value::String(class)) => Some(class.clone()),
        Some(Value::Number(class)) => Some(class.to_string()),
        _ => None,
    })
}

fn bad(found: &Found, reason: String) -> DataError {
    DataError::BadLabel { name: found.path.clone(), reason }
}
