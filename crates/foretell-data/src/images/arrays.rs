//! Images in an `.npz`: MedMNIST's (`train_images`, `train_labels`, `val_…`, `test_…`), Keras' (`x_train`, `y_train`, `x_test`,
//! `y_test`), or `images` and `labels`. `uint8`, `[N, H, W]` or `[N, H, W, C]` with 1 or 3 channels.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::DataError;
use crate::images::divided::{Row, divided};
use crate::images::labels::Factor;
use crate::images::recognise::Reading;
use crate::images::records::{Content, Contents, RecordBytes, Records};
use crate::npy::{Array, Values};
use crate::npz::Npz;
use crate::windows::recording::{ACTIONS, OBSERVATIONS};

/// Keys of images, their labels and the part that they are.
const KEYS: [(&str, &str, &str); 7] = [
    ("train_images", "train_labels", "train"),
    ("val_images", "val_labels", "val"),
    ("test_images", "test_labels", "test"),
    ("x_train", "y_train", "train"),
    ("x_val", "y_val", "val"),
    ("x_test", "y_test", "test"),
    ("images", "labels", ""),
];

/// Arrays of more bytes than this are refused: they lie in memory.
const MOST: u64 = 1 << 34;

/// Whether a file is an `.npz` of images, by its keys: none of them beside observations and actions, and no array that has too few
/// dimensions for images, which series may have under the same keys.
pub(crate) fn is_images(path: &Path) -> bool {
    let Ok(mut npz) = Npz::open(path) else { return false };
    if OBSERVATIONS.iter().chain(&ACTIONS).any(|key| npz.has(key)) {
        return false;
    }
    let Some((images, _, _)) = KEYS.into_iter().find(|(images, _, _)| npz.has(images)) else { return false };
    npz.shape(images).is_none_or(|shape| shape.len() > 2)
}

/// Why an `.npz` without such keys holds no images.
pub(crate) fn none(path: &Path) -> DataError {
    match Npz::open(path) {
        Ok(npz) => DataError::Foreign {
            name: path.display().to_string(),
            kind: format!("an .npz that holds no images: it holds {}", npz.keys()),
            next: "expected `images`, or `train_images` and `test_images` (uint8, [N, H, W] or [N, H, W, 3])"
                .to_owned(),
        },
        Err(error) => error,
    }
}

/// The data set of such a file.
pub(crate) fn open(path: &Path, name: &str, reading: Reading<'_>) -> Result<Contents, DataError> {
    let bad = |reason: String| DataError::BadArrays { name: path.display().to_string(), reason };
    let mut npz = Npz::open(path)?;
    let (mut rows, mut notes, mut classes) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut labelled = true;
    for (images, labels, part) in KEYS {
        let claimed = npz.length(images);
        if claimed > MOST {
            return Err(bad(format!(
                "its array `{images}` has {claimed} bytes, and the limit is 16 GiB: write its pictures into a tar or into class folders"
            )));
        }
        let Some((_, array)) = npz.find(&[images])? else { continue };
        let block = block(array).map_err(|reason| bad(format!("its array `{images}` {reason}")))?;
        let found = match npz.find(&[labels])? {
            Some((_, labels)) => one_each(labels, block.count)
                .map_err(|reason| format!("its array `{labels}` {reason}", labels = labels_of(images))),
            None => Err(format!("it has no array `{labels}`")),
        };
        let found = found.map_err(|reason| {
            labelled = false;
            notes.push(format!("there are no labels: {reason}"));
        });
        let (count, block) = (block.count, Arc::new(block));
        let size = (block.width * block.height * block.channels) as u64;
        if let Ok(found) = &found {
            classes.extend(found.iter().copied());
        }
        rows.extend((0..count).map(|index| {
            let content = Content::Record { block: Arc::clone(&block), index };
            (part, format!("{name}#{images}[{index}]"), size, found.as_ref().ok().map(|found| found[index]), content)
        }));
    }
    let known: Vec<i64> = classes.into_iter().collect();
    let factors = if labelled && !known.is_empty() {
        vec![Factor { name: "class".to_owned(), classes: known.iter().map(i64::to_string).collect() }]
    } else {
        Vec::new()
    };
    let rows = rows
        .into_iter()
        .map(|(part, name, size, label, content)| {
            let label = label.and_then(|label| known.binary_search(&label).ok());
            Row { part, name, size, labels: label.map(|label| Box::from([label as u32])), content }
        })
        .collect();
    let mut contents = divided("an .npz of images".to_owned(), rows, factors, reading);
    contents.notes.extend(notes);
    Ok(contents)
}

fn labels_of(images: &str) -> &'static str {
    KEYS.iter().find(|(key, _, _)| *key == images).map_or("labels", |(_, labels, _)| labels)
}

/// One label for each image, or words that go on from the array's name.
fn one_each(Array { shape, values }: Array, count: usize) -> Result<Vec<i64>, String> {
    let fits = matches!(shape[..], [n] | [n, 1] if n == count);
    if !fits {
        return Err(match shape[..] {
            [n, k] if n == count => format!("has {k} labels for each image ([{n}, {k}]), and probes tell one"),
            _ => format!("has the shape {shape:?} where [{count}] or [{count}, 1] was expected"),
        });
    }
    match values {
        Values::Bytes(bytes) => Ok(bytes.into_iter().map(i64::from).collect()),
        // What is beyond has become the largest: classes would be one.
        Values::Whole(whole) if whole.contains(&i64::MAX) => {
            Err("holds numbers of 2^63 or more: save it as int64".to_owned())
        }
        Values::Whole(whole) => Ok(whole),
        Values::Floats(floats) if floats.iter().all(|x| x.fract() == 0.0) => {
            Ok(floats.into_iter().map(|x| x as i64).collect())
        }
        Values::Floats(_) => Err("holds numbers that are not whole, so no classes".to_owned()),
        Values::Text(_) => Err("holds texts where whole numbers were expected".to_owned()),
    }
}

/// Images of one size, or words that go on from the array's name.
fn block(Array { shape, values }: Array) -> Result<Records, String> {
    let (count, height, width, channels) = match shape[..] {
        [n, h, w, c @ (1 | 3)] => (n, h, w, c),
        [_, 1 | 3, h, w] if h > 4 && w > 4 => {
            return Err(format!("has the shape {shape:?}, channels first: save `x.transpose(0, 2, 3, 1)`"));
        }
        [_, _, _, _] => {
            return Err(format!(
                "has the shape {shape:?}: volumes and stacks are no pictures; save slices, such as `x[:, x.shape[1] // 2]`"
            ));
        }
        [n, h, w] => (n, h, w, 1),
        _ => return Err(format!("has the shape {shape:?} where [N, H, W] or [N, H, W, 1 or 3] was expected")),
    };
    let Values::Bytes(bytes) = values else {
        return Err("is not of type uint8: save its pictures as `(255 * x).round().astype('uint8')` where they go from 0 to 1, otherwise as `x.astype('uint8')`".to_owned());
    };
    if width == 0 || height == 0 {
        return Err(format!("has the shape {shape:?}, which holds no pixel"));
    }
    let bytes = RecordBytes::Memory(bytes);
    Ok(Records { bytes, start: 0, lead: 0, count, width, height, channels, planar: false })
}
