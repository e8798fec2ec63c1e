//! IDX (LeCun's MNIST format), plain or gzip: a header with the sizes, then bytes. The header is believed only as far
//! as the file is long.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

use crate::DataError;
use crate::images::decode::{LIMIT, MOST_PIXELS};
use crate::images::labels::by_text;
use crate::images::listing::{Found, Place};
use crate::images::records::{Content, Contents, Entry, RecordBytes, Records};
use crate::images::split::{BY_INDEX, by_hashes};
use crate::kind::foreign;

/// Deflate cannot compress by more than this, so a gzip file cannot hold more than this times its own length.
const DEFLATE_LIMIT: u64 = 1032;

/// Whether the bytes begin like an IDX file.
pub(crate) fn is_idx(head: &[u8]) -> bool {
    matches!(head, [0, 0, 0x08..=0x0E, 1..=4, ..])
}

/// Whether the name is one of the official names of an images file.
fn is_images_name(name: &str) -> bool {
    name.contains("images") && name.contains("idx")
}

/// What an IDX file is, however it is stored: `train-images.idx3-ubyte` and `train-images-idx3-ubyte.gz` are the same.
fn bare(name: &str) -> String {
    name.trim_end_matches(".gz").replace('.', "-").to_ascii_lowercase()
}

fn packed(file: &Found) -> bool {
    file.path.strip_suffix(".gz").is_some()
}

/// The folder that a file lies in; one that only repeats the file's name is none.
fn home(file: &Found) -> String {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let (above, last) = folder.rsplit_once('/').unwrap_or(("", folder));
    (if bare(last) == bare(file.file_name()) { above } else { folder }).to_owned()
}

fn is_held_out(name: &str) -> bool {
    ["t10k", "test"].iter().any(|word| name.contains(word))
}

/// The images files of the listing by their official names.
pub(crate) struct Official<'a> {
    pub(crate) train: &'a Found,
    pub(crate) held_out: Option<&'a Found>,
    /// The same files once more.
    pub(crate) note: Option<String>,
}

/// The images files of the listing; of one that lies there packed and unpacked, or in two folders, one is taken.
pub(crate) fn official(found: &[Found]) -> Result<Option<Official<'_>>, DataError> {
    let mut images: Vec<&Found> = Vec::new();
    let mut twins: Vec<String> = Vec::new();
    let mut candidates: Vec<&Found> = found.iter().filter(|file| is_images_name(file.file_name())).collect();
    // Unpacked first, and least deep.
    candidates.sort_by_key(|file| (packed(file), file.path.matches('/').count()));
    for file in candidates {
        let same = |other: &&Found| {
            bare(other.file_name()) == bare(file.file_name())
                && home(other) == home(file)
                && (packed(file) != packed(other) || file.place.size() == other.place.size())
        };
        match images.iter().find(|other| same(other)) {
            Some(other) => twins.push(format!("`{}` (`{}` is read)", file.path, other.path)),
            None => images.push(file),
        }
    }
    let note = (!twins.is_empty()).then(|| format!("the same files once more are not read: {}", twins.join(", ")));
    let (held_out, train): (Vec<&Found>, Vec<&Found>) =
        images.into_iter().partition(|file| is_held_out(file.file_name()));
    if let [first, second, ..] = if train.len() > 1 { &train[..] } else { &held_out[..] } {
        return Err(DataError::BadIdx {
            name: second.path.clone(),
            reason: format!("`{}` lies beside it, so it is unclear which one to use; give the path of one", first.path),
        });
    }
    Ok(match (train.first(), held_out.first()) {
        (None, None) => None,
        (Some(train), held_out) => Some(Official { train, held_out: held_out.copied(), note }),
        (None, Some(only)) => Some(Official { train: only, held_out: None, note }),
    })
}

/// The images file that is held out beside this one, if it trains.
pub(crate) fn test_of<'a>(train: &Found, beside: &'a [Found]) -> Option<&'a Found> {
    let name = bare(train.file_name());
    if is_held_out(&name) || !name.contains("train") {
        return None;
    }
    let mut others: Vec<&Found> = beside.iter().filter(|other| is_images_name(other.file_name())).collect();
    // The one that is stored alike.
    others.sort_by_key(|other| packed(other) != packed(train));
    let wanted = ["t10k", "test"].map(|word| name.replace("train", word));
    others.into_iter().find(|other| wanted.contains(&bare(other.file_name())))
}

/// The data set of an images file, its labels beside it and the held-out pair.
pub(crate) fn open(train: &Found, test: Option<&Found>, listing: &[Found]) -> Result<Contents, DataError> {
    let mut contents = Contents { format: "IDX images".to_owned(), ..Contents::default() };
    let (images, labels) = pair(train, listing)?;
    let mut labelled = labels.is_some();
    let all = entries(train, images, labels);
    if let Some(test) = test {
        contents.split = format!("`{}` trains, `{}` is held out", train.file_name(), test.file_name());
        let (images, labels) = pair(test, listing)?;
        labelled &= labels.is_some();
        contents.held_out = entries(test, images, labels);
        contents.train = all;
    } else {
        contents.split = String::from(BY_INDEX);
        let sides = by_hashes(all.len(), |index| (index as u64).to_le_bytes());
        for (entry, held) in all.into_iter().zip(sides) {
            let part = if held { &mut contents.held_out } else { &mut contents.train };
            part.push(entry);
        }
    }
    if labelled {
        // The classes are those that occur, under their own numbers.
        let both = contents.train.iter_mut().chain(&mut contents.held_out);
        let mut entries: Vec<&mut Entry> = both.collect();
        let numbers: Vec<String> =
            entries.iter().map(|entry| entry.labels.first().map(u32::to_string).unwrap_or_default()).collect();
        let (factor, labels) = by_text(&numbers.iter().map(String::as_str).collect::<Vec<_>>());
        for (entry, label) in entries.iter_mut().zip(labels) {
            entry.labels = Box::from([label]);
        }
        contents.factors = vec![factor];
    } else {
        contents.notes.push("without a labels file for each images file there are no labels".to_owned());
        for entry in contents.train.iter_mut().chain(&mut contents.held_out) {
            entry.labels = Box::default();
        }
    }
    Ok(contents)
}

fn entries(file: &Found, images: Arc<Records>, labels: Option<Vec<u8>>) -> Vec<Entry> {
    let count = images.count;
    let size = (images.width * images.height * images.channels) as u64;
    (0..count)
        .map(|index| Entry {
            name: format!("{}#{index}", file.path),
            size,
            labels: labels.as_ref().map(|labels| Box::from([labels[index] as u32])).unwrap_or_default(),
            content: Content::Record { block: Arc::clone(&images), index },
        })
        .collect()
}

/// The images and, if a file for them lies beside, their labels.
fn pair(images: &Found, listing: &[Found]) -> Result<(Arc<Records>, Option<Vec<u8>>), DataError> {
    let records = read_images(images)?;
    let as_labels = |name: &str| name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1");
    let wanted = as_labels(images.path.trim_end_matches(".gz"));
    let beside = || listing.iter().filter(|file| file.path != images.path);
    let here = beside().find(|file| file.path.trim_end_matches(".gz") == wanted);
    // In a folder of its own, as some downloads have it.
    let wanted = as_labels(&bare(images.file_name()));
    let elsewhere = || beside().find(|file| bare(file.file_name()) == wanted && home(file) == home(images));
    let Some(labels_file) = here.or_else(elsewhere) else {
        return Ok((records, None));
    };
    let labels = read_labels(labels_file)?;
    if labels.len() != records.count {
        return Err(DataError::LabelCount {
            images_name: images.path.clone(),
            images: records.count,
            labels_name: labels_file.path.clone(),
            labels: labels.len(),
        });
    }
    Ok((records, Some(labels)))
}

fn read_images(file: &Found) -> Result<Arc<Records>, DataError> {
    let idx = Idx::open(file)?;
    let (count, height, width, channels) = match *idx.sizes {
        [count, height, width] => (count, height, width, 1),
        [count, height, width, channels @ (1 | 3)] => (count, height, width, channels),
        [_] => {
            return Err(bad(file, "its header says that it holds labels; give the path of the images file".to_owned()));
        }
        ref sizes => {
            return Err(bad(
                file,
                format!("expected sizes [n, height, width] or [n, height, width, 1 or 3], found {sizes:?}"),
            ));
        }
    };
    if count == 0 || width == 0 || height == 0 || (width as u64).saturating_mul(height as u64) > MOST_PIXELS {
        return Err(bad(file, format!("expected images of 1 pixel to {LIMIT}, found {count} of {width}×{height}")));
    }
    let start = idx.header;
    let bytes = idx.bytes;
    Ok(Arc::new(Records { bytes, start, lead: 0, count, width, height, channels, planar: false }))
}

fn read_labels(file: &Found) -> Result<Vec<u8>, DataError> {
    let idx = Idx::open(file)?;
    let [count] = *idx.sizes else {
        return Err(bad(file, format!("expected labels, one size, found sizes {:?}", idx.sizes)));
    };
    match idx.bytes {
        RecordBytes::Memory(mut bytes) => Ok(bytes.split_off(idx.header)),
        RecordBytes::File { file, offset } => {
            let mut labels = vec![0; count];
            file.read_exact_at(&mut labels, offset + idx.header as u64)?;
            Ok(labels)
        }
    }
}

/// An IDX file whose header agrees with its length.
struct Idx {
    sizes: Vec<usize>,
    /// Bytes of the header.
    header: usize,
    bytes: RecordBytes,
}

impl Idx {
    fn open(file: &Found) -> Result<Self, DataError> {
        let head = file.place.head(64)?;
        if let Some(error) = foreign(&file.path, &head) {
            return Err(error);
        }
        if head[..head.len().min(2)] == [0x1F, 0x8B] { Self::open_gzip(file) } else { Self::open_plain(file) }
    }

    fn open_plain(file: &Found) -> Result<Self, DataError> {
        let (sizes, header) = sizes(file, &file.place.head(20)?)?;
        let expected = expected(file, &sizes, header)?;
        if file.place.size() != expected {
            return Err(contradiction(file, &sizes, expected, file.place.size()));
        }
        let (handle, offset) = file.place.positional()?;
        Ok(Self { sizes, header, bytes: RecordBytes::File { file: handle, offset } })
    }

    fn open_gzip(file: &Found) -> Result<Self, DataError> {
        let packed = file.place.read(&file.path)?;
        let mut unpacked = MultiGzDecoder::new(&packed[..]);
        let broken = |expected: String, found| DataError::BrokenGzip { name: file.path.clone(), expected, found };
        let mut bytes = Vec::new();
        unpacked
            .by_ref()
            .take(20)
            .read_to_end(&mut bytes)
            .map_err(|_| broken("a whole IDX header of".to_owned() + " at least 8", bytes.len()))?;
        let (sizes, header) = sizes(file, &bytes)?;
        let expected = expected(file, &sizes, header)?;
        if expected > packed.len() as u64 * DEFLATE_LIMIT {
            return Err(bad(
                file,
                format!(
                    "its header says {sizes:?}, which is {expected} bytes, but {} bytes of gzip cannot hold as many; \
                     the header is wrong or the file is truncated",
                    packed.len()
                ),
            ));
        }
        // Grows with what is really there, one byte more than expected at most.
        let rest = (expected + 1).saturating_sub(bytes.len() as u64);
        if unpacked.take(rest).read_to_end(&mut bytes).is_err() {
            return Err(broken(expected.to_string(), bytes.len()));
        }
        if bytes.len() as u64 != expected {
            return Err(contradiction(file, &sizes, expected, bytes.len() as u64));
        }
        bytes.shrink_to_fit();
        Ok(Self { sizes, header, bytes: RecordBytes::Memory(bytes) })
    }
}

/// The header's sizes and its length.
fn sizes(file: &Found, head: &[u8]) -> Result<(Vec<usize>, usize), DataError> {
    let [0, 0, kind, dimensions @ 1..=4, ..] = *head else {
        return Err(bad(
            file,
            format!("expected it to begin with 0, 0, type, dimensions, found {:?}", &head[..head.len().min(4)]),
        ));
    };
    if kind != 0x08 {
        return Err(bad(
            file,
            format!("expected unsigned bytes (type 0x08), found type {kind:#04x}; convert it to bytes"),
        ));
    }
    let header = 4 + 4 * dimensions as usize;
    let Some(words) = head.get(4..header) else {
        return Err(bad(file, format!("expected a header of {header} bytes, found {} bytes in all", head.len())));
    };
    let sizes =
        words.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]) as usize).collect();
    Ok((sizes, header))
}

/// The file's length according to its header.
fn expected(file: &Found, sizes: &[usize], header: usize) -> Result<u64, DataError> {
    sizes
        .iter()
        .try_fold(1_u64, |product, &size| product.checked_mul(size as u64))
        .and_then(|product| product.checked_add(header as u64))
        .ok_or_else(|| bad(file, format!("its header says {sizes:?}, more bytes than any file has")))
}

fn contradiction(file: &Found, sizes: &[usize], expected: u64, found: u64) -> DataError {
    let found = if found > expected { format!("more than that (at least {found})") } else { found.to_string() };
    bad(
        file,
        format!(
            "its header says {sizes:?}, so {expected} bytes were expected, but found {found}; the file is truncated or \
             its header is wrong, so copy or download it again"
        ),
    )
}

fn bad(file: &Found, reason: String) -> DataError {
    DataError::BadIdx { name: file.path.clone(), reason }
}

/// The files beside an images file that is given by its own path.
pub(crate) fn siblings(file: &Found) -> Vec<Found> {
    let Place::File { path, .. } = &file.place else {
        return Vec::new();
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let size = std::fs::metadata(entry.path()).ok().filter(std::fs::Metadata::is_file)?.len();
            let name = entry.file_name().to_string_lossy().into_owned();
            Some(Found { path: name, place: Place::File { path: entry.path(), size } })
        })
        .collect()
}
