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

/// One text for each image, from members or files that share its archive and its name up to the first dot
/// (WebDataset); `None` where there are none or what is there are captions.
pub(crate) fn beside(images: &[Found], others: &[Found]) -> Result<Option<Vec<String>>, DataError> {
    for extension in BESIDE {
        let members: HashMap<(Option<&Path>, &str), &Found> = others
            .iter()
            .filter(|other| other.file_name().split_once('.').is_some_and(|(_, rest)| rest == extension))
            .map(|other| (key(other), other))
            .collect();
        if members.is_empty() {
            continue;
        }
        let paired: Vec<Option<&&Found>> = images.iter().map(|image| members.get(&key(image))).collect();
        let count = paired.iter().flatten().count();
        if count == 0 {
            continue;
        }
        // `.cls` can only be a label; the others may be anything, and then some may well be missing.
        if let Some(missing) = paired.iter().position(Option::is_none) {
            if extension == "cls" {
                return Err(DataError::LabelCount {
                    images_name: images[missing].path.clone(),
                    images: images.len(),
                    labels_name: "the .cls files beside the images".to_owned(),
                    labels: count,
                });
            }
            continue;
        }
        let paired: Vec<&Found> = paired.into_iter().flatten().copied().collect();
        let texts: Option<Vec<String>> = match extension {
            "cls" => Some(paired.iter().map(|found| cls(found)).collect::<Result<_, _>>()?),
            "json" => paired.iter().map(|found| json(found)).collect::<Result<_, _>>()?,
            _ => paired.iter().map(|found| txt(found)).collect::<Result<_, _>>()?,
        };
        let Some(texts) = texts else { continue };
        let distinct = texts.iter().collect::<HashSet<_>>().len();
        if extension == "cls" || distinct * 2 <= texts.len().max(4) {
            return Ok(Some(texts));
        }
    }
    Ok(None)
}

fn key(found: &Found) -> (Option<&Path>, &str) {
    let name = found.file_name();
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    let folder = found.path.len() - name.len();
    (found.place.archive(), &found.path[..folder + stem.len()])
}

fn text(found: &Found) -> Result<String, DataError> {
    const LONGEST: u64 = 1 << 20;
    if found.place.size() > LONGEST {
        return Err(bad(found, format!("expected a label, found {} bytes", found.place.size())));
    }
    let bytes = Place::read(&found.place, &found.path)?;
    String::from_utf8(bytes).map_err(|_| bad(found, "expected text in UTF-8, found other bytes".to_owned()))
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
