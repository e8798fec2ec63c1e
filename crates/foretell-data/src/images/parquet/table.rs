//! One parquet file: its metadata, its columns, and its rows, of which a block is unpacked at a time.

use std::collections::BTreeSet;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use parquet::basic::{LogicalType, Type as Physical};
use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType, DataType};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::file::statistics::Statistics;
use serde_json::Value;

use crate::DataError;
use crate::images::recognise::{Extent, Reading};
use crate::kind::foreign;

/// Columns of integers or texts that are labels where the metadata say nothing.
const LABELS: [&str; 6] = ["label", "labels", "class", "cls", "category", "target"];

/// Names of the column of images, in order of preference; any other one otherwise.
const IMAGES: [&str; 3] = ["image", "img", "jpg"];

/// A block of rows is unpacked into about so many bytes.
const BLOCK: i64 = 1 << 20;

/// Blocks that are kept.
const KEPT: usize = 128;

/// Whether a file begins like parquet.
pub(crate) fn is_parquet(head: &[u8]) -> bool {
    head.starts_with(b"PAR1")
}

/// Encoded images of rows that follow each other; none where there are no bytes.
type Block = Arc<Vec<Option<ByteArray>>>;

/// One file, by its metadata.
pub(crate) struct Table {
    pub(super) name: String,
    path: PathBuf,
    pub(super) metadata: ParquetMetaData,
    /// The column of encoded images.
    pub(super) bytes: usize,
    /// The last blocks that were read, by row group and first row; the newest last.
    kept: Mutex<Vec<(usize, usize, Block)>>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Table({})", self.name)
    }
}

/// A row's place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) group: u32,
    pub(crate) row: u32,
}

impl Table {
    pub(super) fn open(name: &str, path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|source| DataError::reading(path, source))?;
        let metadata = safely(name, || ParquetMetaDataReader::new().parse_and_finish(&file));
        let metadata = metadata
            .map_err(|error| crate::kind::foreign_at(path).filter(|_| !begins_like_it(path)).unwrap_or(error))?;
        let mut table =
            Self { name: name.to_owned(), path: path.to_owned(), metadata, bytes: 0, kept: Mutex::default() };
        let schema = table.metadata.file_metadata().schema_descr();
        let images: Vec<(usize, &str)> = (0..schema.num_columns())
            .filter_map(|at| match schema.column(at).path().parts() {
                [column, leaf] if leaf == "bytes" && schema.column(at).physical_type() == Physical::BYTE_ARRAY => {
                    Some((at, column.clone()))
                }
                _ => None,
            })
            .map(|(at, column)| (at, IMAGES.iter().find(|name| **name == column).copied().unwrap_or("")))
            .collect();
        let chosen = IMAGES.iter().chain([&""]).find_map(|name| images.iter().find(|(_, column)| column == name));
        let Some((bytes, _)) = chosen else {
            let columns: Vec<&str> = schema.root_schema().get_fields().iter().map(|field| field.name()).collect();
            let columns = columns.join(", ");
            let Some(DataError::Foreign { name, kind, next }) = foreign(name, b"PAR1") else {
                return Err(bad(name, "it has no column of images".to_owned()));
            };
            return Err(DataError::Foreign {
                name,
                kind: format!("{kind} without a column of images (its columns are {columns})"),
                next,
            });
        };
        table.bytes = *bytes;
        Ok(table)
    }

    /// The leaf of a plain column of this name.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        let schema = self.metadata.file_metadata().schema_descr();
        (0..schema.num_columns()).find(|at| matches!(schema.column(*at).path().parts(), [only] if only == name))
    }

    pub(super) fn physical(&self, column: usize) -> Physical {
        self.metadata.file_metadata().schema_descr().column(column).physical_type()
    }

    /// `info.features` of the metadata.
    fn features(&self) -> Option<Value> {
        let entries = self.metadata.file_metadata().key_value_metadata()?;
        let text = entries.iter().find(|entry| entry.key == "huggingface")?.value.as_deref()?;
        serde_json::from_str::<Value>(text).ok()?.get_mut("info")?.get_mut("features").map(Value::take)
    }

    /// Names of a column's classes.
    pub(super) fn class_names(&self, column: &str) -> Option<Vec<String>> {
        let features = self.features()?;
        let feature = features.get(column)?;
        if feature.get("_type")?.as_str()? != "ClassLabel" {
            return None;
        }
        feature.get("names")?.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
    }

    /// Columns that hold labels: those that the metadata call so, or one that is called so.
    pub(super) fn label_columns(
        &self,
        Reading { label: asked, extent, .. }: Reading<'_>,
    ) -> Result<Vec<String>, DataError> {
        let schema = self.metadata.file_metadata().schema_descr();
        let is_text = |at: usize| {
            matches!(schema.column(at).logical_type_ref(), Some(LogicalType::String))
                || schema.column(at).converted_type() == parquet::basic::ConvertedType::UTF8
        };
        let fits = |name: &str| {
            self.column(name).is_some_and(|at| match self.physical(at) {
                Physical::INT32 | Physical::INT64 => true,
                Physical::BYTE_ARRAY => is_text(at),
                _ => false,
            })
        };
        if asked == crate::images::tables::NONE {
            return Ok(Vec::new());
        }
        if !asked.is_empty() && fits(asked) {
            return Ok(vec![asked.to_owned()]);
        }
        // What is embedded needs no labels.
        if !asked.is_empty() && extent == Extent::Split {
            let columns: Vec<&str> =
                schema.root_schema().get_fields().iter().map(|field| field.name()).filter(|name| fits(name)).collect();
            return Err(DataError::Setting(format!(
                "`data.label`: `{}` has no column `{asked}` of whole numbers or texts; it has {}",
                self.name,
                if columns.is_empty() { "none".to_owned() } else { columns.join(", ") }
            )));
        }
        let called: Vec<String> = schema
            .root_schema()
            .get_fields()
            .iter()
            .map(|field| field.name().to_owned())
            .filter(|name| fits(name) && self.class_names(name).is_some())
            .collect();
        if !called.is_empty() {
            return Ok(called);
        }
        Ok(LABELS.iter().find(|name| fits(name)).map(|name| (*name).to_owned()).into_iter().collect())
    }

    /// The rows that hold no bytes. Where the metadata count none in a row group, it is not read.
    pub(super) fn nulls(&self) -> Result<BTreeSet<usize>, DataError> {
        let (mut nulls, mut first) = (BTreeSet::new(), 0);
        for (group, metadata) in self.metadata.row_groups().iter().enumerate() {
            let rows = metadata.num_rows() as usize;
            let counted = metadata.column(self.bytes).statistics().and_then(Statistics::null_count_opt);
            // Files without statistics tell it when a row is read.
            if counted.is_some_and(|count| count > 0) {
                let read = self.rows::<ByteArrayType>(self.bytes, group, 0, rows)?;
                nulls.extend(read.iter().enumerate().filter(|(_, value)| value.is_none()).map(|(row, _)| first + row));
            }
            first += rows;
        }
        Ok(nulls)
    }

    /// The images' own names; none where the column has none.
    pub(super) fn paths(&self) -> Result<Vec<Option<String>>, DataError> {
        let schema = self.metadata.file_metadata().schema_descr();
        let of = schema.column(self.bytes).path().parts()[0].clone();
        let path = (0..schema.num_columns())
            .find(|at| matches!(schema.column(*at).path().parts(), [column, leaf] if *column == of && leaf == "path"));
        match path {
            Some(at) if self.physical(at) == Physical::BYTE_ARRAY => self.texts(at),
            _ => Ok(vec![None; self.metadata.file_metadata().num_rows() as usize]),
        }
    }

    pub(super) fn texts(&self, column: usize) -> Result<Vec<Option<String>>, DataError> {
        let text = |bytes: ByteArray| String::from_utf8_lossy(bytes.data()).into_owned();
        Ok(self.all::<ByteArrayType>(column)?.into_iter().map(|value| value.map(text)).collect())
    }

    /// A whole column.
    pub(super) fn all<T: DataType>(&self, column: usize) -> Result<Vec<Option<T::T>>, DataError> {
        let mut all = Vec::new();
        for (group, metadata) in self.metadata.row_groups().iter().enumerate() {
            all.extend(self.rows::<T>(column, group, 0, metadata.num_rows() as usize)?);
        }
        Ok(all)
    }

    /// Rows of a column of a row group, counted from its first one. A file handle for each call: threads share no place in it.
    fn rows<T: DataType>(
        &self,
        column: usize,
        group: usize,
        first: usize,
        count: usize,
    ) -> Result<Vec<Option<T::T>>, DataError> {
        let file = File::open(&self.path).map_err(|source| DataError::reading(&self.path, source))?;
        safely(&self.name, || {
            let schema = self.metadata.file_metadata().schema_descr();
            let metadata = self.metadata.row_group(group);
            let rows = metadata.num_rows() as usize;
            let pages = SerializedPageReader::new(Arc::new(file), metadata.column(column), rows, None)?;
            let reader = get_column_reader(schema.column(column), Box::new(pages));
            let mut reader: ColumnReaderImpl<T> = get_typed_column_reader(reader);
            reader.skip_records(first)?;
            let (mut levels, mut values) = (Vec::new(), Vec::new());
            while levels.len().max(values.len()) < count {
                let wanted = count - levels.len().max(values.len());
                let (read, _, _) = reader.read_records(wanted, Some(&mut levels), None, &mut values)?;
                if read == 0 {
                    break;
                }
            }
            let most = schema.column(column).max_def_level();
            let mut values = values.into_iter();
            // A required column has no levels.
            let all: Vec<Option<T::T>> = if most == 0 {
                values.map(Some).collect()
            } else {
                levels.iter().map(|level| if *level == most { values.next() } else { None }).collect()
            };
            if all.len() == count {
                Ok(all)
            } else {
                Err(parquet::errors::ParquetError::General(format!("it ends after {} of {count} rows", all.len())))
            }
        })
    }

    /// The encoded image of a row.
    pub(crate) fn read(&self, at: At, name: &str) -> Result<ByteArray, DataError> {
        let (group, row) = (at.group as usize, at.row as usize);
        let metadata = self.metadata.row_group(group);
        let rows = metadata.num_rows().max(1);
        let each = (metadata.column(self.bytes).uncompressed_size() / rows).max(1);
        let at_once = (BLOCK / each).clamp(1, rows) as usize;
        let first = row / at_once * at_once;
        let kept = self.kept.lock().ok().and_then(|mut kept| {
            let at = kept.iter().position(|(g, f, _)| (*g, *f) == (group, first))?;
            let found = kept.remove(at);
            let block = Arc::clone(&found.2);
            kept.push(found);
            Some(block)
        });
        let block = if let Some(block) = kept {
            block
        } else {
            let count = at_once.min(rows as usize - first);
            let block = Arc::new(self.rows::<ByteArrayType>(self.bytes, group, first, count)?);
            if let Ok(mut kept) = self.kept.lock() {
                if kept.len() == KEPT {
                    kept.remove(0);
                }
                kept.push((group, first, Arc::clone(&block)));
            }
            block
        };
        block
            .get(row - first)
            .cloned()
            .flatten()
            .ok_or_else(|| DataError::BadImage { name: name.to_owned(), reason: "its row holds no bytes".to_owned() })
    }
}

fn begins_like_it(path: &Path) -> bool {
    let mut head = [0; 4];
    File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head)).is_ok() && is_parquet(&head)
}

/// Of compressions whose libraries are left out.
const UNREAD: &str =
    "its pages are compressed with {}, which is not read: write it again with `compression=\"snappy\"`";

/// What the reader says, in a sentence; a file that makes it panic is damaged.
fn safely<T>(name: &str, read: impl FnOnce() -> Result<T, parquet::errors::ParquetError>) -> Result<T, DataError> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            let words = error.to_string();
            let reason = match words.split_once("Disabled feature at compile time: ") {
                Some((_, "flate2")) => UNREAD.replace("{}", "gzip"),
                Some((_, codec)) => UNREAD.replace("{}", codec),
                None => format!("{words}; copy or download it again"),
            };
            Err(bad(name, reason))
        }
        Err(_) => Err(bad(name, "its pages are damaged; copy or download it again".to_owned())),
    }
}

pub(super) fn bad(name: &str, reason: String) -> DataError {
    DataError::BadTable { name: name.to_owned(), reason }
}
