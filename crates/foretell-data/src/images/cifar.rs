//! CIFAR-10 and CIFAR-100 binaries: records of one or two label bytes and 3072 bytes of red, green and blue planes.
//! Which of the two it is, the length of the file says.

use std::sync::Arc;

use crate::images::listing::Found;
use crate::images::records::{Content, Contents, Entry, RecordBytes, Records};
use crate::images::split::{BY_INDEX, by_hashes};
use crate::kind::foreign;
use crate::{DataError, Factor};

/// 32 × 32 × 3.
const PIXELS: usize = 3072;

/// The two layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// One label below 10.
    Ten,
    /// A coarse label below 20, a fine one below 100.
    Hundred,
}

impl Layout {
    fn lead(self) -> usize {
        match self {
            Self::Ten => 1,
            Self::Hundred => 2,
        }
    }

    fn record(self) -> u64 {
        (self.lead() + PIXELS) as u64
    }

    fn limits(self) -> &'static [u8] {
        match self {
            Self::Ten => &[10],
            Self::Hundred => &[20, 100],
        }
    }
}

fn is_train(name: &str) -> bool {
    let batch = name.strip_prefix("data_batch_").and_then(|rest| rest.strip_suffix(".bin"));
    name == "train.bin" || batch.is_some()
}

fn is_held_out(name: &str) -> bool {
    name == "test.bin" || name == "test_batch.bin"
}

/// The batches of the listing by their official names, as `(train, held out)`; `None` without a training batch.
pub(crate) fn official(found: &[Found]) -> Option<(Vec<&Found>, Vec<&Found>)> {
    let train: Vec<&Found> = found.iter().filter(|file| is_train(file.file_name())).collect();
    let held_out = found.iter().filter(|file| is_held_out(file.file_name())).collect();
    (!train.is_empty()).then_some((train, held_out))
}

/// Whether a file of any name is made of CIFAR records: its length, and the labels of its first and last record.
pub(crate) fn is_cifar(file: &Found) -> bool {
    file.place.size() > 0 && layout(file).is_ok()
}

/// The data set of the batches; without a held-out batch a hash of the index holds 10 % out.
pub(crate) fn open(train: &[&Found], test: &[&Found], listing: &[Found]) -> Result<Contents, DataError> {
    let layout_of_all = layout(train[0])?;
    let mut contents = Contents {
        format: match layout_of_all {
            Layout::Ten => "CIFAR-10 binary batches".to_owned(),
            Layout::Hundred => "CIFAR-100 binary batches".to_owned(),
        },
        ..Contents::default()
    };
    for (files, part) in [(train, &mut contents.train), (test, &mut contents.held_out)] {
        for file in files {
            let layout = layout(file)?;
            if layout != layout_of_all {
                return Err(bad(
                    file,
                    format!(
                        "expected records of {} bytes as in `{}`, found records of {} bytes",
                        layout_of_all.record(),
                        train[0].path,
                        layout.record()
                    ),
                ));
            }
            read(file, layout, part)?;
        }
    }
    if test.is_empty() {
        contents.split = String::from(BY_INDEX);
        let all = std::mem::take(&mut contents.train);
        let sides = by_hashes(all.len(), |index| (index as u64).to_le_bytes());
        for (entry, held) in all.into_iter().zip(sides) {
            let part = if held { &mut contents.held_out } else { &mut contents.train };
            part.push(entry);
        }
    } else {
        contents.split =
            format!("`{}` and the like train, `{}` is held out", train[0].file_name(), test[0].file_name());
    }
    let names: &[(&str, &str)] = match layout_of_all {
        Layout::Ten => &[("class", "batches.meta.txt")],
        Layout::Hundred => &[("coarse", "coarse_label_names.txt"), ("fine", "fine_label_names.txt")],
    };
    contents.factors = names
        .iter()
        .zip(layout_of_all.limits())
        .map(|(&(name, file), &classes)| factor(name, file, classes as usize, listing))
        .collect::<Result<_, _>>()?;
    Ok(contents)
}

/// Class names from the text file beside the batches; numbers where it is missing or too short.
fn factor(name: &str, file: &str, classes: usize, listing: &[Found]) -> Result<Factor, DataError> {
    let numbered = Factor::numbered(name, classes);
    let Some(found) = listing.iter().find(|found| found.file_name() == file) else {
        return Ok(numbered);
    };
    let text = String::from_utf8_lossy(&found.place.read(&found.path)?).into_owned();
    let names: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    Ok(if names.len() == classes { Factor { classes: names, ..numbered } } else { numbered })
}

fn layout(file: &Found) -> Result<Layout, DataError> {
    let size = file.place.size();
    if let Some(error) = foreign(&file.path, &file.place.head(64)?) {
        return Err(error);
    }
    let mut reason = format!(
        "expected a whole number of records of 3073 bytes (CIFAR-10) or 3074 bytes (CIFAR-100), found {size} bytes, so \
         it is truncated or something else"
    );
    if size == 0 {
        return Err(bad(file, reason));
    }
    let (handle, offset) = file.place.positional()?;
    for layout in [Layout::Ten, Layout::Hundred] {
        let record = layout.record();
        if !size.is_multiple_of(record) {
            continue;
        }
        let mut plausible = true;
        for index in [0, size / record / 2, size / record - 1] {
            let mut labels = [0; 2];
            handle.read_exact_at(&mut labels, offset + index * record)?;
            plausible &= labels.iter().zip(layout.limits()).all(|(label, limit)| label < limit);
        }
        if plausible {
            return Ok(layout);
        }
        reason =
            format!("its length fits records of {record} bytes, but their labels are not below {:?}", layout.limits());
    }
    Err(bad(file, reason))
}

fn read(file: &Found, layout: Layout, entries: &mut Vec<Entry>) -> Result<(), DataError> {
    let bytes = file.place.read(&file.path)?;
    let lead = layout.lead();
    let count = bytes.len() / layout.record() as usize;
    let mut all_labels = Vec::with_capacity(count);
    for (index, record) in bytes.chunks_exact(layout.record() as usize).enumerate() {
        let labels: Box<[u32]> = record[..lead].iter().map(|&label| label as u32).collect();
        if let Some((label, limit)) = record[..lead].iter().zip(layout.limits()).find(|(label, limit)| label >= limit) {
            return Err(bad(file, format!("record {index} has the label {label}, expected a label below {limit}")));
        }
        all_labels.push(labels);
    }
    let bytes = RecordBytes::Memory(bytes);
    let block = Arc::new(Records { bytes, start: 0, lead, count, width: 32, height: 32, channels: 3, planar: true });
    entries.reserve(count);
    for (index, labels) in all_labels.into_iter().enumerate() {
        let content = Content::Record { block: Arc::clone(&block), index };
        entries.push(Entry { name: format!("{}#{index}", file.path), size: layout.record(), labels, content });
    }
    Ok(())
}

fn bad(file: &Found, reason: String) -> DataError {
    DataError::BadCifar { name: file.path.clone(), reason }
}
