//! Which files are recordings, whose they are, what labels they have, and which are held out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::connectomes::nifti::bad;
use crate::connectomes::participants::{Participants, Told, is_table};
use crate::images::labels::{Factor, by_text};
use crate::images::split::by_hashes;
use crate::modality::Part;

/// Ends of names.
const IMAGES: [&str; 2] = [".nii", ".nii.gz"];
const TABLES: [&str; 5] = [".csv", ".tsv", ".txt", ".1d", ".npy"];
/// What lies beside recordings and is none.
const BESIDE: [&str; 9] =
    ["_events", "_channels", "_scans", "_sessions", "_physio", "_stim", "_dseg", "confounds", "readme"];
/// Folders deeper than this are not looked into.
const DEEPEST: usize = 8;

/// One file.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// Below the folder that was named, with `/`.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// Places of subjects: none stands on both sides of the split.
    pub(crate) group: u32,
    pub(crate) part: Part,
    pub(crate) labels: Vec<u32>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) found: Vec<Found>,
    /// Whether they are volumes, which an atlas makes regions of.
    pub(crate) images: bool,
    pub(crate) factors: Vec<Factor>,
    pub(crate) split: String,
    pub(crate) notes: Vec<String>,
    pub(crate) subjects: usize,
}

fn ends(name: &str, with: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    with.iter().any(|end| name.ends_with(end))
}

/// A name without its end.
fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    let lower = file.to_ascii_lowercase();
    let end = IMAGES.iter().chain(&TABLES).filter(|end| lower.ends_with(**end)).map(|end| end.len()).max().unwrap_or(0);
    &file[..file.len() - end]
}

/// BIDS' name of a subject, `sub-…`, wherever it stands in a path.
fn bids(name: &str) -> Option<&str> {
    name.split(['/', '_', '.']).find(|word| word.len() > 4 && word.starts_with("sub-"))
}

fn part_of(folder: &str) -> Option<Part> {
    match folder.to_ascii_lowercase().as_str() {
        "train" | "training" => Some(Part::Train),
        "test" | "testing" | "val" | "valid" | "validation" | "held-out" | "heldout" | "holdout" => Some(Part::HeldOut),
        _ => None,
    }
}

/// Whether a path looks like recordings of regions: volumes, or tables beside a table of participants.
pub(crate) fn recognises(path: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if path.is_file() {
        return ends(&name(path), &IMAGES);
    }
    let mut files = Vec::new();
    if walk(path, "", 3, &mut files).is_err() {
        return false;
    }
    let participants = files.iter().any(|(file, _)| is_table(file));
    files.iter().any(|(file, _)| ends(file, &IMAGES) || participants && !is_table(file) && ends(file, &TABLES))
}

/// All files below a folder by their names there, in order.
fn walk(folder: &Path, before: &str, deep: usize, out: &mut Vec<(String, PathBuf)>) -> Result<(), DataError> {
    let entries = std::fs::read_dir(folder).map_err(|source| DataError::reading(folder, source))?;
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
        // Also what macOS leaves beside each file.
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{before}{name}");
        if path.is_dir() {
            if deep > 1 {
                walk(&path, &format!("{name}/"), deep - 1, out)?;
            }
        } else {
            out.push((name, path));
        }
    }
    Ok(())
}

/// What is read of a path that was given by itself.
fn of_path(path: &Path, atlas: Option<&Path>) -> Result<Vec<(String, PathBuf)>, DataError> {
    if !path.exists() {
        return Err(DataError::Missing { path: path.to_owned() });
    }
    if path.is_file() {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !ends(&name, &IMAGES) && !ends(&name, &TABLES) {
            return Err(bad(
                path,
                format!(
                    "its name ends in none of {}, {}: expected NIfTI-1, or a table of regions × time",
                    IMAGES.join(", "),
                    TABLES.join(", ")
                ),
            ));
        }
        return Ok(vec![(name, path.to_owned())]);
    }
    let mut files = Vec::new();
    walk(path, "", DEEPEST, &mut files)?;
    let all = files.len();
    let is_atlas = |file: &Path| {
        atlas.is_some_and(|atlas| {
            file == atlas
                || file.canonicalize().ok().is_some_and(|file| atlas.canonicalize().is_ok_and(|atlas| file == atlas))
        })
    };
    files.retain(|(name, file)| {
        let file_name = name.rsplit('/').next().unwrap_or(name);
        let lower = stem(file_name).to_ascii_lowercase();
        (ends(name, &IMAGES) || ends(name, &TABLES))
            && !is_table(file_name)
            && !BESIDE.iter().any(|word| lower.ends_with(word) || lower.contains("confounds"))
            && !is_atlas(file)
    });
    // BIDS says which of its volumes are recordings.
    let bold = |name: &str| stem(name).ends_with("_bold") && ends(name, &IMAGES);
    if files.iter().any(|(name, _)| bold(name)) {
        files.retain(|(name, _)| bold(name));
    }
    if files.is_empty() {
        return Err(bad(
            path,
            format!(
                "it holds no recording: {all} files were found in it, none of them a volume ({}) or a table of regions × time ({})",
                IMAGES.join(", "),
                TABLES.join(", ")
            ),
        ));
    }
    Ok(files)
}

impl Listing {
    /// What lies at a path, in two parts.
    pub(crate) fn open(path: &Path, atlas: Option<&Path>, asked: &[String]) -> Result<Self, DataError> {
        let files = of_path(path, atlas)?;
        let mut listing = Self::of(path, files)?;
        listing.label(path, asked)?;
        listing.divide();
        Ok(listing)
    }

    /// What lies at several, all in one part, in the order of the paths.
    pub(crate) fn of_paths(paths: &[PathBuf], atlas: Option<&Path>) -> Result<Self, DataError> {
        let mut whole = Self::default();
        for path in paths {
            let listing = Self::of(path, of_path(path, atlas)?)?;
            if !whole.found.is_empty() && whole.images != listing.images {
                return Err(bad(
                    path,
                    "it is of another kind than what was named before it: expected volumes alone, or tables alone",
                ));
            }
            whole.images = listing.images;
            let before = whole.subjects as u32;
            whole.subjects += listing.subjects;
            whole.found.extend(listing.found.into_iter().map(|found| Found { group: before + found.group, ..found }));
        }
        "all in one part".clone_into(&mut whole.split);
        Ok(whole)
    }

    fn of(path: &Path, files: Vec<(String, PathBuf)>) -> Result<Self, DataError> {
        let of_images = files.iter().filter(|(name, _)| ends(name, &IMAGES)).count();
        if of_images > 0 && of_images < files.len() {
            let table = files.iter().find(|(name, _)| !ends(name, &IMAGES)).map_or("", |(name, _)| name.as_str());
            return Err(bad(
                path,
                format!(
                    "it holds {of_images} volumes and {} tables, of which `{table}` is one: expected one kind; name a folder with one of them",
                    files.len() - of_images
                ),
            ));
        }
        let mut groups: BTreeMap<String, u32> = BTreeMap::new();
        let mut found = Vec::with_capacity(files.len());
        for (name, path) in files {
            let bytes = std::fs::metadata(&path).map_err(|source| DataError::reading(&path, source))?.len();
            let subject = bids(&name).map_or_else(|| name.clone(), str::to_owned);
            let next = groups.len() as u32;
            let group = *groups.entry(subject).or_insert(next);
            found.push(Found { path, name, bytes, group, part: Part::Train, labels: Vec::new() });
        }
        Ok(Self { images: of_images > 0, subjects: groups.len(), found, ..Self::default() })
    }

    /// Labels of class folders and of the table of participants.
    fn label(&mut self, path: &Path, asked: &[String]) -> Result<(), DataError> {
        // The folder of a part, taken off.
        let inner: Vec<&str> = self.found.iter().map(|found| found.name.as_str()).collect();
        let parts = inner
            .iter()
            .filter(|name| name.split_once('/').is_some_and(|(folder, _)| part_of(folder).is_some()))
            .count();
        let inner: Vec<&str> = inner
            .iter()
            .map(|name| if parts == inner.len() { name.split_once('/').map_or(*name, |(_, rest)| rest) } else { name })
            .collect();
        let folders: Vec<&str> =
            inner.iter().map(|name| name.split_once('/').map_or("", |(folder, _)| folder)).collect();
        let distinct: BTreeSet<&str> = folders.iter().copied().collect();
        let subjects = distinct.iter().any(|folder| folder.starts_with("sub-"));
        let plain = distinct.contains("");
        if distinct.len() > 1 && !subjects && plain {
            let outside = folders.iter().filter(|folder| folder.is_empty()).count();
            return Err(bad(
                path,
                format!(
                    "{outside} of its recordings lie beside its folders and {} in them: expected every recording in the folder of its class, or none in any",
                    folders.len() - outside
                ),
            ));
        }
        // A folder for each recording names no class.
        let classes = distinct.len() > 1 && !subjects && distinct.len() < folders.len();
        let (mut factors, mut labels) = (Vec::new(), vec![Vec::new(); folders.len()]);
        if classes {
            let (factor, own) = by_text(&folders);
            factors.push(factor);
            labels.iter_mut().zip(own).for_each(|(labels, label)| labels.push(label));
        }
        let folder = if path.is_dir() { Some(path) } else { path.parent() };
        let table = folder.map(Participants::find).transpose()?.flatten();
        match table {
            Some(table) => {
                let subjects: Vec<(&str, Option<&str>)> = self
                    .found
                    .iter()
                    .map(|found| (found.name.as_str(), table.subject(bids(&found.name), stem(&found.name))))
                    .collect();
                let Told { factors: more, labels: own, notes } = table.labels(&subjects, asked)?;
                factors.extend(more);
                labels.iter_mut().zip(own).for_each(|(labels, own)| labels.extend(own));
                self.notes.extend(notes);
                // By what the table calls a subject, of whom there may be several recordings.
                let mut groups: BTreeMap<&str, u32> = BTreeMap::new();
                let of: Vec<u32> = subjects
                    .iter()
                    .map(|(_, subject)| {
                        let next = groups.len() as u32;
                        *groups.entry(subject.unwrap_or_default()).or_insert(next)
                    })
                    .collect();
                self.subjects = groups.len();
                self.found.iter_mut().zip(of).for_each(|(found, group)| found.group = group);
            }
            None if !asked.is_empty() => {
                return Err(bad(
                    path,
                    format!("`data.labels` names {}, and no `participants.tsv` lies there", asked.join(", ")),
                ));
            }
            None => {}
        }
        self.factors = factors;
        self.found.iter_mut().zip(labels).for_each(|(found, labels)| found.labels = labels);
        Ok(())
    }

    /// By the folders of parts where each recording lies in one, otherwise by subjects.
    fn divide(&mut self) {
        let parts: Option<Vec<Part>> = self.found.iter().map(|found| part_of(found.name.split_once('/')?.0)).collect();
        if let Some(parts) = parts.filter(|parts| parts.contains(&Part::Train) && parts.contains(&Part::HeldOut)) {
            self.found.iter_mut().zip(parts).for_each(|(found, part)| found.part = part);
            let of = |part| -> BTreeSet<u32> {
                self.found.iter().filter(|found| found.part == part).map(|found| found.group).collect()
            };
            let both: BTreeSet<u32> = of(Part::Train).intersection(&of(Part::HeldOut)).copied().collect();
            if let Some(found) = self.found.iter().find(|found| both.contains(&found.group)) {
                self.notes.push(format!(
                    "recordings of {} subject{} lie in the folders of both parts, such as `{}`: figures on what is held out are not of people that were never seen",
                    both.len(),
                    if both.len() == 1 { "" } else { "s" },
                    found.name
                ));
            }
            "by the folders of the parts".clone_into(&mut self.split);
            return;
        }
        // By the name of a subject's first recording: adding others moves nobody.
        let mut first: Vec<&str> = vec![""; self.subjects];
        for found in self.found.iter().rev() {
            first[found.group as usize] = bids(&found.name).unwrap_or(&found.name);
        }
        let held = by_hashes(self.subjects, |group| first[group].as_bytes().to_vec());
        for found in &mut self.found {
            found.part = if held[found.group as usize] { Part::HeldOut } else { Part::Train };
        }
        "10 % of the subjects are held out by a hash of their names".clone_into(&mut self.split);
    }
}
