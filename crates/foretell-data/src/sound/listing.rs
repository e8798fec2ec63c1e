//! Which recordings lie at a path, in which part, with which labels. None is decoded for it.

use std::fs;
use std::path::{Path, PathBuf};

use super::config::SoundConfig;
use super::decode::{Recording, decode, is_sound, is_sound_name};
use super::names;
use crate::DataError;
use crate::archive;
use crate::clips::list;
use crate::images::groups::apart;
use crate::images::labels::Factor;
use crate::images::listing::{Found, Place, walk_telling};
use crate::images::recognise::{Extent, arranged, labelled};
use crate::images::records::{Content, Contents, Entry};
use crate::images::tables;
use crate::kind::{foreign_at, foreign_folder};

/// One recording in a file of its own or in a tar.
#[derive(Clone, Debug)]
pub(super) struct SoundFile {
    pub(super) name: String,
    place: Place,
    pub(super) labels: Box<[u32]>,
}

impl SoundFile {
    /// All of it.
    pub(super) fn read(&self) -> Result<Recording, DataError> {
        decode(self.place.read(&self.name)?, &self.name)
    }

    /// Of its file.
    pub(super) fn bytes(&self) -> u64 {
        self.place.size()
    }
}

/// The recordings at a path.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) format: String,
    pub(super) split: String,
    pub(super) notes: Vec<String>,
    pub(super) factors: Vec<Factor>,
    pub(super) train: Vec<SoundFile>,
    pub(super) held_out: Vec<SoundFile>,
}

impl Listing {
    pub(super) fn open(path: &Path, config: &SoundConfig, extent: Extent) -> Result<Self, DataError> {
        let (mut told, reading) = (Vec::new(), config.reading(extent));
        let Gathered { kind, sounds, others, texts } = gather(path, &mut told)?;
        let (sounds, texts, column) = if let Some(texts) = texts {
            (sounds, Some(texts), String::new())
        } else if !config.pattern.is_empty() {
            (sounds, None, String::new())
        } else {
            let found = match tables::labels(&sounds, &others, reading.label) {
                // What is embedded needs no labels.
                Err(_) if extent == Extent::Whole => tables::Tables::default(),
                found => found?,
            };
            told.extend(found.notes);
            let (sounds, texts) = labelled(sounds, found.texts, reading, &mut told);
            (sounds, texts, found.column)
        };
        let mut contents = arranged(sounds, texts, &column, reading, told);
        if extent == Extent::Whole {
            contents = contents.merged();
        } else if !reading.group.is_empty() {
            apart(&mut contents, reading.group)?;
        }
        names::arrange(&mut contents, config, extent == Extent::Whole)?;
        let Contents { format, split, notes, factors, train, held_out } = contents;
        let words = |text: String| text.replace(" images", " recordings").replace("images ", "recordings ");
        let [train, held_out] = [train, held_out].map(|entries| entries.into_iter().filter_map(sound).collect());
        let notes = notes.into_iter().map(words).collect();
        Ok(Self {
            format: format!("{kind} with {}", words(format)),
            split: words(split),
            notes,
            factors,
            train,
            held_out,
        })
    }

    /// One listing behind the other, all to be embedded.
    pub(super) fn of_paths(paths: &[PathBuf], config: &SoundConfig) -> Result<Self, DataError> {
        let mut all = Self::default();
        for path in paths {
            let mut one = Self::open(path, config, Extent::Whole)?;
            if paths.len() > 1 {
                let whole = path.display().to_string();
                one.train
                    .iter_mut()
                    .filter(|sound| sound.name != whole)
                    .for_each(|sound| sound.name = format!("{whole}/{}", sound.name));
                // Classes of several inputs are not matched.
                one.factors.clear();
                one.train.iter_mut().for_each(|sound| sound.labels = Box::default());
            }
            all.factors = one.factors;
            all.notes.append(&mut one.notes);
            all.train.append(&mut one.train);
        }
        if paths.is_empty() {
            return Err(DataError::NoInputs);
        }
        Ok(Self { format: "recordings".to_owned(), split: "all in one part".to_owned(), ..all })
    }
}

fn sound(entry: Entry) -> Option<SoundFile> {
    match entry.content {
        Content::Encoded(place) => Some(SoundFile { name: entry.name, place, labels: entry.labels }),
        _ => None,
    }
}

/// Whether recordings lie at a path: a file of sound, a list, a tar or a folder with one.
pub(super) fn recognised(path: &Path) -> bool {
    let holds = |files: Vec<Found>| files.iter().any(|file| is_sound_name(file.file_name()));
    if path.is_dir() {
        return foreign_folder(path).is_none() && walk_telling(path, &mut Vec::new()).is_ok_and(holds);
    }
    let Ok(head) = head(path) else { return false };
    if archive::is_tar(&head) {
        return archive::index(path, &mut Vec::new()).is_ok_and(holds);
    }
    is_one(path) || list::is_list_of(path, is_one)
}

fn is_one(path: &Path) -> bool {
    is_sound_name(&path.to_string_lossy()) && path.is_file() || head(path).is_ok_and(|head| is_sound(&head))
}

fn head(path: &Path) -> Result<Vec<u8>, DataError> {
    let metadata = fs::metadata(path).map_err(|source| DataError::reading(path, source))?;
    // A pipe would wait for whoever writes into it.
    if !metadata.is_file() {
        return Ok(Vec::new());
    }
    Place::File { path: path.to_owned(), size: metadata.len() }.head(512)
}

/// What lies at a path.
struct Gathered {
    kind: &'static str,
    sounds: Vec<Found>,
    /// Tables, and what is not read.
    others: Vec<Found>,
    /// Labels of a list.
    texts: Option<Vec<String>>,
}

fn gather(path: &Path, told: &mut Vec<String>) -> Result<Gathered, DataError> {
    let metadata = fs::metadata(path).map_err(|source| DataError::reading(path, source))?;
    let none = |files: usize| DataError::BadSound {
        name: path.display().to_string(),
        reason: format!(
            "it holds {files} files and none named .wav, .flac, .ogg or .mp3: give the folder, tar or list that has the recordings"
        ),
    };
    let divided = |kind: &'static str, files: Vec<Found>, told: &mut Vec<String>| {
        let count = files.len();
        let (sounds, others): (Vec<Found>, Vec<Found>) =
            files.into_iter().partition(|file| is_sound_name(file.file_name()));
        if sounds.is_empty() {
            return Err(foreign_at(path).unwrap_or_else(|| none(count)));
        }
        let unread = others.iter().filter(|other| !tables::is_table(other.file_name())).count();
        if unread > 0 {
            told.push(format!("{unread} files of other kinds are not read"));
        }
        Ok(Gathered { kind, sounds, others, texts: None })
    };
    if metadata.is_dir() {
        let files = walk_telling(path, told)?;
        return divided("a folder", files, told);
    }
    if !metadata.is_file() {
        let found = "it is neither a folder nor a regular file".to_owned();
        return Err(DataError::NotADataSet { path: path.to_owned(), found });
    }
    let head = head(path)?;
    if archive::is_tar(&head) {
        let members = archive::index(path, told)?;
        return divided("a tar", members, told);
    }
    let found = |name: String, path: PathBuf| {
        let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        Found { path: name, place: Place::File { path, size } }
    };
    if !is_one(path) && list::is_list_of(path, is_one) {
        let wrong = |error: DataError| match error {
            DataError::BadClip { name, reason } => DataError::BadSound { name, reason },
            other => other,
        };
        let listed = list::read(path).map_err(wrong)?;
        let texts: Option<Vec<String>> = listed.iter().map(|line| line.label.clone()).collect();
        let sounds = listed.into_iter().map(|line| found(line.name, line.path)).collect();
        return Ok(Gathered { kind: "a list", sounds, others: Vec::new(), texts });
    }
    let one = found(path.display().to_string(), path.to_owned());
    if !is_one(path) {
        // What it is, or what is wrong with it.
        decode(one.place.read(&one.path)?, &one.path)?;
    }
    Ok(Gathered { kind: "one file", sounds: vec![one], others: Vec::new(), texts: None })
}
