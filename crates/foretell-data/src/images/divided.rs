//! Samples that are rows of a file, with the parts that their files' or arrays' names say.

use crate::images::labels::{Factor, UNLABELLED};
use crate::images::recognise::{Extent, Reading};
use crate::images::records::{Content, Contents, Entry};
use crate::images::split::{Folders, split, whole};

/// One row.
pub(crate) struct Row {
    /// The part that its file or array names, or nothing.
    pub(crate) part: &'static str,
    pub(crate) name: String,
    pub(crate) size: u64,
    /// One for each factor; none where one is missing.
    pub(crate) labels: Option<Box<[u32]>>,
    pub(crate) content: Content,
}

/// The data set of rows in their order. Rows without a label are left untouched where they are few; where they are many, or
/// nothing may be left out, nothing has labels. A part without any label is no part to judge by.
pub(crate) fn divided(format: String, rows: Vec<Row>, factors: Vec<Factor>, reading: Reading<'_>) -> Contents {
    let mut contents = Contents { format, ..Contents::default() };
    let mut labelled = !factors.is_empty();
    let mut rows = rows;
    if labelled && reading.extent == Extent::Split {
        let unlabelled: Vec<&'static str> = ["test", "val"]
            .into_iter()
            .filter(|part| {
                let mut of = rows.iter().filter(|row| row.part == *part).peekable();
                of.peek().is_some() && of.all(|row| row.labels.is_none())
            })
            .collect();
        for part in unlabelled {
            let count = rows.iter().filter(|row| row.part == part).count();
            rows.retain(|row| row.part != part);
            contents.notes.push(format!("the part `{part}` ({count} images) has no labels and is left untouched"));
        }
    }
    let missing = rows.iter().filter(|row| row.labels.is_none()).count();
    if labelled && missing > 0 {
        let few = missing <= rows.len() / UNLABELLED && reading.extent == Extent::Split;
        let (all, is) = (rows.len(), if few { "they are left untouched" } else { "there are no labels" });
        contents.notes.push(format!("{missing} of {all} images have no label, so {is}"));
        if few {
            rows.retain(|row| row.labels.is_some());
        } else {
            labelled = false;
        }
    }
    let path = |row: &Row| {
        let name = row.name.replace('/', "#");
        if row.part.is_empty() { name } else { format!("{}/{name}", row.part) }
    };
    let paths: Vec<String> = rows.iter().map(path).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let split = match reading.extent {
        Extent::Split => split(&paths, true, Folders::Auto),
        Extent::Whole => whole(&paths, Folders::Ignore),
    };
    // These are no folders.
    contents.split = split.how.replace("folder `", "part `").replace("/`", "`");
    contents.notes.extend(split.notes);
    let mut rows: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
    let mut part = |indices: Vec<usize>| -> Vec<Entry> {
        let entry = |Row { name, size, labels, content, .. }| {
            let labels = if labelled { labels.unwrap_or_default() } else { Box::default() };
            Entry { name, size, labels, content }
        };
        indices.into_iter().filter_map(|index| rows[index].take()).map(entry).collect()
    };
    (contents.train, contents.held_out) = (part(split.train), part(split.held_out));
    contents.factors = if labelled { factors } else { Vec::new() };
    contents
}
