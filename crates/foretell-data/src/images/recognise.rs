//! What a path is, by its content: the front door of every format.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::images::dataset::Dataset;
use crate::images::depth::FULL;
use crate::images::groups::apart;
use crate::images::in_files::{empty, is_rows_name, rows};
use crate::images::keys;
use crate::images::labels::{Beside, Factor, beside, by_text, class_folders};
use crate::images::listing::{Found, Place, walk_telling};
#[cfg(feature = "parquet")]
use crate::images::parquet;
use crate::images::records::{Content, Contents, Entry};
use crate::images::split::{Folders, part_folder, shared_folders, split, whole};
use crate::images::tables::{self, Tables, only_label};
use crate::images::{arrays, cifar, decode, idx};
use crate::kind::{foreign_at, foreign_folder, no_image};
use crate::{DataError, archive};

/// Whether a data set is split for training, or taken whole as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Split,
    Whole,
}

/// How a path is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    pub(crate) extent: Extent,
    pub(crate) folders: Folders,
    /// Which image of a key is the sample: an ending, or a word.
    pub(crate) member: &'a str,
    /// Which numbers of 16 bits are black and white.
    pub(crate) range: [u16; 2],
    /// What gives the labels; nothing where that is open.
    pub(crate) label: &'a str,
    /// A pattern of names that tells which belong together, or nothing.
    pub(crate) group: &'a str,
}

impl Reading<'static> {
    /// As the usual settings say.
    pub(crate) fn usual(extent: Extent) -> Self {
        Self { extent, folders: Folders::Auto, member: keys::AUTO, range: FULL, label: "", group: "" }
    }
}

/// Recognises what lies at `path`.
pub(crate) fn recognise(path: &Path, reading: Reading<'_>) -> Result<Contents, DataError> {
    let metadata = fs::metadata(path).map_err(|source| DataError::reading(path, source))?;
    let mut contents = if metadata.is_dir() {
        folder(path, reading)?
    } else if !metadata.is_file() {
        let found = "it is neither a folder nor a regular file, so it cannot be read by position".to_owned();
        return Err(DataError::NotADataSet { path: path.to_owned(), found });
    } else {
        let name =
            path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        let found = Found { path: name, place: Place::File { path: path.to_owned(), size: metadata.len() } };
        file(path, &found, reading)?
    };
    only_label(&mut contents, reading)?;
    if reading.extent == Extent::Whole {
        return Ok(contents.merged());
    }
    if !reading.group.is_empty() {
        apart(&mut contents, reading.group)?;
    }
    Ok(contents)
}

/// Whether images lie at `path`.
pub(crate) fn recognised(path: &Path) -> bool {
    // Arrays of images that do not fit are nobody else's.
    matches!(recognise(path, Reading::usual(Extent::Split)), Ok(_) | Err(DataError::BadArrays { .. }))
}

fn folder(path: &Path, reading: Reading<'_>) -> Result<Contents, DataError> {
    let mut notes = Vec::new();
    let files = walk_telling(path, &mut notes)?;
    let tables: Vec<Found> = files.iter().filter(|file| is_rows_name(&file.path)).cloned().collect();
    let mut contents =
        if files.iter().any(Found::is_image) { None } else { listed("a folder", files.clone(), reading)? };
    if contents.is_none() {
        let (members, others) = archives(path, &files, &mut notes)?;
        contents = if members.is_empty() {
            listed("a folder", files.clone(), reading)?
        } else {
            notes.extend(unread(others.iter()));
            listed("a folder of tars", members, reading)?
        };
    }
    // A folder of another tool is told as that, whatever it holds.
    if contents.is_none() && foreign_folder(path).is_none() {
        contents = rows(path, &tables, reading)?;
    }
    let mut contents = contents.ok_or_else(|| empty(path, files))?;
    contents.notes.extend(notes);
    // Its pictures are images; what it is beyond that is told.
    contents.notes.extend(foreign_folder(path).map(|what| format!("its images are taken one by one: {what}")));
    Ok(contents)
}

/// The members of the tars that lie directly in a folder, and the files beside them; no members where the images in the folder
/// are the data: one that lies in a folder of its own, or as many as the tars have.
fn archives(path: &Path, files: &[Found], notes: &mut Vec<String>) -> Result<(Vec<Found>, Vec<Found>), DataError> {
    let images: Vec<&Found> = files.iter().filter(|file| file.is_image()).collect();
    let deep = images.iter().any(|image| image.path.contains('/'));
    let (mut members, mut others, mut tars, mut told) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for file in files {
        let candidate = !file.path.contains('/') && !file.is_image();
        // Beside images, no file is opened whose name promises nothing.
        let candidate = candidate && (images.is_empty() || is_tar_name(&file.path));
        let head = if candidate { file.place.head(512)? } else { Vec::new() };
        if archive::is_tar(&head) {
            tars.push(file.path.as_str());
            match if deep { Ok(Vec::new()) } else { shard(file, &mut told) } {
                Ok(more) => members.extend(more),
                // Beside images, a tar need not be read.
                Err(error) if !images.is_empty() => told.push(format!("`{}` is not read: {error}", file.path)),
                Err(error) => return Err(error),
            }
            continue;
        }
        if candidate && images.is_empty() && is_tar_name(&file.path) {
            refuse_compressed(&path.join(&file.path), &head)?;
        }
        others.push(file.clone());
    }
    let held = members.iter().filter(|member: &&Found| member.is_image()).count();
    if images.is_empty() || !deep && held > images.len() {
        if held > 0 && !images.is_empty() {
            notes.push(format!("{} images beside the tars are left untouched", images.len()));
            others.retain(|other| !other.is_image());
        }
        notes.append(&mut told);
        return Ok((members, others));
    }
    if let [first, ..] = tars[..] {
        let count = tars.len();
        notes.push(format!(
            "{count} tars beside the images are not read, such as `{first}`: give the path of one, or a folder of tars alone"
        ));
    }
    Ok((Vec::new(), others))
}

/// The members of a tar in a folder, below the folder that the tar's name stands for: a part (`train.tar`), several
/// shards of one thing (`images-0001.tar`), or a class of its own.
fn shard(file: &Found, notes: &mut Vec<String>) -> Result<Vec<Found>, DataError> {
    let Place::File { path, .. } = &file.place else {
        return Ok(Vec::new());
    };
    let mut members = archive::index(path, notes)?;
    let stem = file.file_name().split_once('.').map_or(file.file_name(), |(stem, _)| stem);
    let without_number = stem.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(['-', '_']);
    let numbered = without_number.len() + 1 < stem.len() && stem[without_number.len()..].starts_with(['-', '_']);
    let folder = part_folder(stem).unwrap_or(if numbered { without_number } else { stem });
    let image_paths = || members.iter().filter(|member| member.is_image()).map(|member| member.path.as_str());
    let shared = image_paths().next().unwrap_or("")[..shared_folders(image_paths())].to_owned();
    for member in &mut members {
        let rest = member.path.strip_prefix(&shared).unwrap_or(&member.path);
        member.path = format!("{folder}/{rest}");
    }
    Ok(members)
}

fn file(path: &Path, found: &Found, reading: Reading<'_>) -> Result<Contents, DataError> {
    let head = found.place.head(512)?;
    if archive::is_tar(&head) {
        let mut notes = Vec::new();
        let members = archive::index(path, &mut notes)?;
        let Some(mut contents) = listed("a tar", members.clone(), reading)? else { return Err(empty(path, members)) };
        contents.notes.extend(notes);
        return Ok(contents);
    }
    if idx::is_idx(&head) || is_packed_idx(&head) {
        let mut beside = idx::siblings(found);
        beside.retain(|sibling| sibling.path != found.path);
        // What is embedded is the file that was named.
        let test = if reading.extent == Extent::Split { idx::test_of(found, &beside) } else { None };
        return idx::open(found, test, &beside);
    }
    #[cfg(feature = "parquet")]
    if parquet::is_parquet(&head) {
        return parquet::open(&[found], reading);
    }
    let name = path.display().to_string();
    // The bytes of a zip say nothing of what is in it.
    if head.starts_with(b"PK") && arrays::is_images(path) {
        return arrays::open(path, &found.path, reading);
    }
    if head.starts_with(b"PK") && path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz")) {
        return Err(arrays::none(path));
    }
    if let Some(error) = foreign_at(path).or_else(|| no_image(&name, &head)) {
        return Err(error);
    }
    refuse_compressed(path, &head)?;
    let found_instead = if head.is_empty() {
        "the file is empty".to_owned()
    } else if decode::is_image(&head) {
        "it is one single image (give the folder that holds many)".to_owned()
    } else if cifar::is_cifar(found) {
        return cifar::open(&[found], &[], &[]);
    } else {
        format!("it begins with the bytes {:02x?} and is {} bytes long", &head[..head.len().min(8)], found.place.size())
    };
    Err(DataError::NotADataSet { path: path.to_owned(), found: found_instead })
}

/// The data set in a list of files, of a folder or a tar; `None` if there is none.
fn listed(kind: &str, files: Vec<Found>, reading: Reading<'_>) -> Result<Option<Contents>, DataError> {
    let mut contents = if let Some(official) = idx::official(&files)? {
        let mut contents = idx::open(official.train, official.held_out, &files)?;
        contents.notes.extend(official.note);
        contents.notes.extend(unread(files.iter().filter(|file| !file.file_name().contains("idx"))));
        contents
    } else if files.iter().any(Found::is_image) {
        images(files, reading)?
    } else if let Some((train, held_out)) = cifar::official(&files) {
        let mut contents = cifar::open(&train, &held_out, &files)?;
        let meta = |name: &str| name.ends_with("meta.txt") || name.ends_with("label_names.txt");
        let others = files.iter().filter(|file| file.path.strip_suffix(".bin").is_none() && !meta(file.file_name()));
        contents.notes.extend(unread(others));
        contents
    } else {
        return Ok(None);
    };
    contents.format = format!("{kind} with {}", contents.format);
    Ok(Some(contents))
}

/// The images with their labels: the few without one are left out where there is a choice, and otherwise there are no labels.
pub(crate) fn labelled(
    images: Vec<Found>,
    texts: Option<Vec<Option<String>>>,
    reading: Reading<'_>,
    told: &mut Vec<String>,
) -> (Vec<Found>, Option<Vec<String>>) {
    let Some(texts) = texts else { return (images, None) };
    let missing = texts.iter().filter(|text| text.is_none()).count();
    if missing > 0 && reading.extent == Extent::Whole {
        return (images, None);
    }
    if missing > 0 {
        told.push(format!("{missing} of {} images have no label beside them and are left untouched", images.len()));
    }
    let (images, texts) = images.into_iter().zip(texts).filter_map(|(image, text)| Some((image, text?))).unzip();
    (images, Some(texts))
}

/// Files that are not read, by their endings.
fn unread<'a>(others: impl Iterator<Item = &'a Found>) -> Option<String> {
    /// Kinds that are named.
    const NAMED: usize = 12;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for other in others {
        let ending = other.file_name().rsplit_once('.').map(|(_, ending)| format!(".{}", ending.to_ascii_lowercase()));
        *counts.entry(ending.unwrap_or_else(|| "without an ending".to_owned())).or_insert(0) += 1;
    }
    let more: usize = counts.values().skip(NAMED).sum();
    let mut list: Vec<String> = counts.iter().take(NAMED).map(|(ending, count)| format!("{count} {ending}")).collect();
    if more > 0 {
        list.push(format!("{more} of other endings"));
    }
    (!list.is_empty()).then(|| format!("files of other kinds are not read: {}", list.join(", ")))
}

/// One image of so many may lie beside the class folders by accident.
const STRAYS: usize = 50;

/// Image files, with labels from members beside them or from class folders.
fn images(files: Vec<Found>, reading: Reading<'_>) -> Result<Contents, DataError> {
    let (images, others): (Vec<Found>, Vec<Found>) = files.into_iter().partition(Found::is_image);
    let mut told = Vec::new();
    let images = keys::one_each(images, reading.member, reading.extent == Extent::Split, &mut told)?;
    let images =
        if reading.extent == Extent::Split { keys::without_masks(images, reading.member, &mut told) } else { images };
    let Tables { column, texts, notes } = match tables::labels(&images, &others, reading.label) {
        // What is embedded needs no labels.
        Err(_) if reading.extent == Extent::Whole => Tables::default(),
        found => found?,
    };
    told.extend(notes);
    let said = if texts.is_some() { Beside::default() } else { beside(&images, &others)? };
    let labels = |other: &&Found| said.endings.iter().any(|ending| other.file_name().ends_with(&format!(".{ending}")));
    told.extend(said.notes.clone());
    told.extend(unread(others.iter().filter(|other| !labels(other) && !tables::is_table(other.file_name()))));
    let (images, texts) = labelled(images, texts.or(said.texts), reading, &mut told);
    Ok(arranged(images, texts, &column, reading, told))
}

/// Samples in files of their own, in two parts, with labels: their texts, which `column` of a table gave or files beside them, or those
/// of class folders.
pub(crate) fn arranged(
    images: Vec<Found>,
    texts: Option<Vec<String>>,
    column: &str,
    reading: Reading<'_>,
    told: Vec<String>,
) -> Contents {
    let paths: Vec<&str> = images.iter().map(|image| image.path.as_str()).collect();
    let split = match reading.extent {
        Extent::Split => split(&paths, texts.is_some(), reading.folders),
        Extent::Whole => whole(&paths, reading.folders),
    };
    let mut notes = split.notes;
    notes.extend(told);
    let mut parts = [split.train, split.held_out];
    let (format, labels) = if let Some(texts) = &texts {
        let of = |index: &usize| texts[*index].as_str();
        let kept: Vec<&str> = parts.iter().flatten().map(of).collect();
        let (mut factor, labels) = by_text(&kept);
        if column.is_empty() {
            ("images and label members beside them (WebDataset)", Some((factor, labels)))
        } else {
            column.clone_into(&mut factor.name);
            ("images and a table of labels beside them", Some((factor, labels)))
        }
    } else {
        let bare = |index: &usize| split.rest[*index].rfind('/').is_none();
        let strays = parts.iter().flatten().filter(|index| bare(index)).count();
        let all = parts.iter().map(Vec::len).sum::<usize>();
        if reading.extent == Extent::Split && (1..=all / STRAYS).contains(&strays) {
            for part in &mut parts {
                part.retain(|index| !bare(index));
            }
            notes.push(format!("{strays} of {all} images lie outside of the class folders and are left untouched"));
        }
        let kept: Vec<&str> = parts.iter().flatten().map(|&index| &*split.rest[index]).collect();
        if let Some(classes) = class_folders(&kept).filter(|_| split.classes) {
            ("images in class folders", Some(by_text(&classes)))
        } else {
            if split.classes && strays < all {
                notes.push(format!("{strays} images lie outside of class folders, so folders are no labels here"));
            }
            ("images without labels", None)
        }
    };
    let (kept, how) = (parts.iter().flatten().copied().collect::<Vec<usize>>(), split.how);
    drop(split.rest);
    let (factors, labels) = labels.map_or((Vec::new(), None), |(factor, labels)| (vec![factor], Some(labels)));
    let mut images: Vec<Option<Found>> = images.into_iter().map(Some).collect();
    let mut entries = kept.iter().enumerate().filter_map(|(at, &index)| {
        let found = images[index].take()?;
        let labels = labels.as_ref().map(|labels| Box::from([labels[at]])).unwrap_or_default();
        Some(Entry { name: found.path, size: found.place.size(), labels, content: Content::Encoded(found.place) })
    });
    let train = entries.by_ref().take(parts[0].len()).collect();
    let held_out = entries.collect();
    Contents { format: format.to_owned(), split: how, notes, factors, train, held_out }
}

/// Whether the bytes are gzip around an IDX file.
fn is_packed_idx(head: &[u8]) -> bool {
    gunzip_head(head).is_some_and(|head| idx::is_idx(&head))
}

fn gunzip_head(head: &[u8]) -> Option<Vec<u8>> {
    if !head.starts_with(&[0x1F, 0x8B]) {
        return None;
    }
    let mut unpacked = [0; 512];
    let mut reader = GzDecoder::new(head);
    let mut length = 0;
    // The head is cut short on purpose: what comes out before the error is what there is to see.
    while let Ok(read @ 1..) = reader.read(&mut unpacked[length..]) {
        length += read;
    }
    Some(unpacked[..length].to_vec())
}

/// Whether the name promises a tar, compressed or not.
fn is_tar_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains(".tar") || name.strip_suffix(".tgz").is_some()
}

/// Archives and compressions whose content cannot be reached by position.
fn refuse_compressed(path: &Path, head: &[u8]) -> Result<(), DataError> {
    let name = path.display();
    let (kind, remedy) = match head {
        [0x1F, 0x8B, ..] => {
            let is_tar = is_tar_name(&name.to_string())
                || gunzip_head(head).is_some_and(|head| head.get(257..262) == Some(b"ustar"));
            if !is_tar {
                let found = "it is a gzip file of something that is neither IDX nor a tar".to_owned();
                return Err(DataError::NotADataSet { path: path.to_owned(), found });
            }
            ("a gzip-compressed tar", format!("run `gunzip {name}` and give the .tar that it leaves"))
        }
        [b'P', b'K', 3 | 5, 4 | 6, ..] => ("a zip archive", format!("run `unzip {name}` and give the folder")),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => {
            ("compressed with zstd", format!("run `unzstd {name}` and give what it leaves"))
        }
        [0xFD, b'7', b'z', b'X', b'Z', ..] => {
            ("compressed with xz", format!("run `unxz {name}` and give what it leaves"))
        }
        [b'B', b'Z', b'h', ..] => ("compressed with bzip2", format!("run `bunzip2 {name}` and give what it leaves")),
        _ => return Ok(()),
    };
    Err(DataError::Compressed { path: path.to_owned(), kind, remedy })
}

/// All images of several inputs as one part, [`Part::Train`](crate::Part::Train), in the order of the inputs. An input
/// is whatever [`Dataset::open`] takes, or one image file.
///
/// Names are relative to a single input; with several inputs they begin with the input's path as it was given. Labels
/// stay where every input that has images names the same factors.
pub fn open_inputs(paths: &[PathBuf]) -> Result<Dataset, DataError> {
    open_inputs_as(paths, Reading::usual(Extent::Whole))
}

/// The same with 16-bit numbers spread over this range, whose ends are black and white.
pub fn open_inputs_over(paths: &[PathBuf], range: [u16; 2]) -> Result<Dataset, DataError> {
    open_inputs_as(paths, Reading { range, ..Reading::usual(Extent::Whole) })
}

/// The same with a word on how they are read.
pub(crate) fn open_inputs_as(paths: &[PathBuf], reading: Reading<'_>) -> Result<Dataset, DataError> {
    let mut all = Vec::with_capacity(paths.len());
    for path in paths {
        let mut contents = match single_image(path)? {
            Some(entry) => Contents { format: "one image".to_owned(), train: vec![entry], ..Contents::default() },
            None => recognise(path, reading)?,
        };
        if paths.len() > 1 {
            let single = matches!(contents.train.as_slice(), [only] if only.name == path.display().to_string());
            for entry in contents.train.iter_mut().filter(|_| !single) {
                entry.name = format!("{}/{}", path.display(), entry.name);
            }
        }
        all.push(contents);
    }
    let joined = all.into_iter().reduce(join).ok_or(DataError::NoInputs)?;
    Dataset::from_contents(Contents { split: "all in one part".to_owned(), ..joined }, reading.range)
}

fn single_image(path: &Path) -> Result<Option<Entry>, DataError> {
    let metadata = fs::metadata(path).map_err(|source| DataError::reading(path, source))?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let place = Place::File { path: path.to_owned(), size: metadata.len() };
    if !decode::is_image(&place.head(512)?) {
        return Ok(None);
    }
    let (name, size) = (path.display().to_string(), metadata.len());
    Ok(Some(Entry { name, size, labels: Box::default(), content: Content::Encoded(place) }))
}

/// One data set behind the other; classes are matched by name.
fn join(mut first: Contents, mut second: Contents) -> Contents {
    let names = |contents: &Contents| contents.factors.iter().map(|factor| factor.name.clone()).collect::<Vec<_>>();
    if names(&first) == names(&second) {
        let maps: Vec<Vec<u32>> =
            first.factors.iter_mut().zip(&second.factors).map(|(into, from)| merge(into, from)).collect();
        for entry in &mut second.train {
            for (label, map) in entry.labels.iter_mut().zip(&maps) {
                *label = map[*label as usize];
            }
        }
    } else {
        first.factors.clear();
        for entry in first.train.iter_mut().chain(&mut second.train) {
            entry.labels = Box::default();
        }
    }
    if first.format != second.format {
        first.format = String::from("several inputs");
    }
    first.train.append(&mut second.train);
    first
}

/// Adds the classes that are missing; returns the new label of each old one.
fn merge(into: &mut Factor, from: &Factor) -> Vec<u32> {
    let mut known: HashMap<String, u32> =
        into.classes.iter().enumerate().map(|(label, class)| (class.clone(), label as u32)).collect();
    from.classes
        .iter()
        .map(|class| {
            *known.entry(class.clone()).or_insert_with(|| {
                into.classes.push(class.clone());
                into.classes.len() as u32 - 1
            })
        })
        .collect()
}
