//! Tables of the Hugging Face Hub: parquet with a column `struct<bytes, path>` of encoded images and columns of labels, whose
//! names stand in the file's metadata (`huggingface` → `info` → `features` → `ClassLabel`). Several files are shards of one
//! set, and their names say the parts (`train-00000-of-00003.parquet`). A block of rows is unpacked at a time.

mod table;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parquet::basic::Type as Physical;
use parquet::data_type::{Int32Type, Int64Type};

use crate::DataError;
use crate::images::divided::{Row, divided};
use crate::images::labels::Factor;
use crate::images::listing::{Found, Place};
use crate::images::recognise::Reading;
use crate::images::records::{Content, Contents};
use crate::images::split::part_folder;
use table::bad;
pub(crate) use table::{At, Table, is_parquet};

/// Rows with null bytes that are named.
const NAMED: usize = 3;

/// The data set of such files; those without a column of images are left out where others have one.
pub(crate) fn open(files: &[&Found], reading: Reading<'_>) -> Result<Contents, DataError> {
    let (mut tables, mut others) = (Vec::new(), None);
    for found in files {
        let Place::File { path, .. } = &found.place else {
            return Err(bad(&found.path, "it lies in a tar: unpack that".to_owned()));
        };
        match Table::open(&found.path, path) {
            Ok(table) => tables.push(table),
            Err(error @ DataError::Foreign { .. }) => _ = others.get_or_insert(error),
            Err(error) => return Err(error),
        }
    }
    let left_out = files.len() - tables.len();
    if let (true, Some(error)) = (tables.is_empty(), others) {
        return Err(error);
    }
    let mut columns: Vec<Labels> = Vec::new();
    for name in tables[0].label_columns(reading)? {
        columns.push(Labels { name, ..Labels::default() });
    }
    let (mut rows, mut nulls) = (Vec::new(), Vec::new());
    let (first, several) = (tables[0].name.clone(), tables.len() - 1);
    for table in tables {
        let part = part_of(&table.name);
        let mut texts = Vec::new();
        for column in &mut columns {
            texts.push(column.read(&table)?);
        }
        let (null, paths) = (table.nulls()?, table.paths()?);
        let table = Arc::new(table);
        let mut index = 0;
        for (group, metadata) in table.metadata.row_groups().iter().enumerate() {
            let size = metadata.column(table.bytes).compressed_size().unsigned_abs();
            for row in 0..metadata.num_rows() as usize {
                let at = At { group: group as u32, row: row as u32 };
                let name = match &paths[index] {
                    Some(path) => format!("{}#{index}:{path}", table.name),
                    None => format!("{}#{index}", table.name),
                };
                if null.contains(&index) {
                    nulls.push(name);
                } else {
                    let content = Content::Row { table: Arc::clone(&table), at };
                    let labels: Vec<Option<String>> = texts.iter().map(|texts| texts[index].clone()).collect();
                    rows.push((part, name, size, labels, content));
                }
                index += 1;
            }
        }
    }
    if rows.is_empty() {
        let why = match nulls.len() {
            0 => "it has no rows".to_owned(),
            count => {
                let its = if several > 0 {
                    format!("the {count} rows of it and {several} more")
                } else {
                    format!("its {count} rows")
                };
                format!("none of {its} holds the images' bytes, only paths: give the folder of those files")
            }
        };
        return Err(bad(&first, why));
    }
    let factors: Vec<Factor> = columns.iter().map(Labels::factor).collect();
    let index: Vec<HashMap<&str, u32>> =
        factors.iter().map(|factor| factor.classes.iter().map(String::as_str).zip(0..).collect()).collect();
    let rows = rows
        .into_iter()
        .map(|(part, name, size, texts, content)| {
            let labels: Option<Box<[u32]>> =
                texts.iter().zip(&index).map(|(text, index)| index.get(text.as_deref()?).copied()).collect();
            Row { part, name, size, labels, content }
        })
        .collect();
    let format = if files.len() == 1 {
        "a parquet of images".to_owned()
    } else {
        format!("{} parquet files of images", files.len())
    };
    let mut contents = divided(format, rows, factors, reading);
    if left_out > 0 {
        contents.notes.push(format!("{left_out} parquet files without a column of images are left untouched"));
    }
    if !nulls.is_empty() {
        let more = if nulls.len() > NAMED { format!(" and {} more", nulls.len() - NAMED) } else { String::new() };
        let named: Vec<String> = nulls.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
        let count = nulls.len();
        contents
            .notes
            .push(format!("{count} rows hold no bytes of an image and are left out: {}{more}", named.join(", ")));
    }
    Ok(contents)
}

/// The part that a file's name says, or the last of its folders that says one.
fn part_of(name: &str) -> &'static str {
    let mut parts = name.rsplit('/');
    let stem = parts.next().and_then(|file| file.split('.').next()).unwrap_or_default();
    part_folder(stem).or_else(|| parts.find_map(part_folder)).unwrap_or("")
}

/// A column of labels over all files.
#[derive(Default)]
struct Labels {
    name: String,
    /// As the metadata name them.
    names: Option<Vec<String>>,
    /// What occurs otherwise.
    texts: BTreeSet<String>,
}

impl Labels {
    /// A text for each row; none where it is null, or a number that means none (-1).
    fn read(&mut self, table: &Table) -> Result<Vec<Option<String>>, DataError> {
        let Some(column) = table.column(&self.name) else {
            return Err(bad(
                &table.name,
                format!("it has no column `{}`, which other files of the set have", self.name),
            ));
        };
        self.names = table.class_names(&self.name).or_else(|| self.names.take());
        let named = |number: i64| match &self.names {
            Some(names) => usize::try_from(number).ok().and_then(|at| names.get(at).cloned()),
            None => (number >= 0).then(|| number.to_string()),
        };
        let texts: Vec<Option<String>> = match table.physical(column) {
            Physical::INT64 => {
                table.all::<Int64Type>(column)?.into_iter().map(|number| number.and_then(named)).collect()
            }
            Physical::INT32 => table
                .all::<Int32Type>(column)?
                .into_iter()
                .map(|number| number.and_then(|n| named(i64::from(n))))
                .collect(),
            _ => table.texts(column)?,
        };
        if self.names.is_none() {
            self.texts.extend(texts.iter().flatten().cloned());
        }
        Ok(texts)
    }

    fn factor(&self) -> Factor {
        let classes = self.names.clone().unwrap_or_else(|| {
            let mut classes: Vec<String> = self.texts.iter().cloned().collect();
            if classes.iter().all(|class| class.parse::<i64>().is_ok()) {
                classes.sort_by_key(|class| class.parse::<i64>().unwrap_or(0));
            }
            classes
        });
        Factor { name: self.name.clone(), classes }
    }
}
