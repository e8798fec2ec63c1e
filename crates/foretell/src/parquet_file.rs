//! Features as a table: `name`, `token` where tokens were kept, and `features`, a list of 32-bit floats.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use foretell_data::NamedRows;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, FloatType, Int32Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::Field;
use parquet::schema::parser::parse_message_type;

use crate::Error;
use crate::feature_file::wrong;

/// Values in a row group at most: what is held in memory at a time.
const GROUP: usize = 1 << 22;

/// Writes rows of `shape` (`[N, D]` or `[N, T, D]`), read as little-endian floats, a group of images at a time.
pub(crate) fn write<N: Iterator<Item = Result<String, Error>>>(
    file: File,
    shape: &[usize],
    rows: File,
    mut names: N,
    out: &Path,
) -> Result<File, Error> {
    let failed = |error: ParquetError| Error::Failure(format!("cannot write {}: {error}", out.display()));
    let (images, width) = (shape[0], shape[shape.len() - 1]);
    let tokens = (shape.len() == 3).then(|| shape[1]);
    let token = if tokens.is_some() { "required int32 token; " } else { "" };
    let schema = format!(
        "message features {{ required binary name (STRING); {token}required group features (LIST) {{ repeated group list {{ required float element; }} }} }}"
    );
    let schema = Arc::new(parse_message_type(&schema).map_err(failed)?);
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled("features.list.element".into(), false)
        .build();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).map_err(failed)?;
    let per_image = tokens.unwrap_or(1);
    let at_once = (GROUP / (per_image * width).max(1)).max(1);
    let mut rows = BufReader::with_capacity(1 << 20, rows);
    for first in (0..images).step_by(at_once) {
        let count = at_once.min(images - first);
        let names = names.by_ref().take(count).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<ByteArray> =
            names.iter().flat_map(|name| std::iter::repeat_n(ByteArray::from(name.as_str()), per_image)).collect();
        let mut bytes = vec![0; count * per_image * width * 4];
        rows.read_exact(&mut bytes).map_err(|error| wrong(out, error))?;
        let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let begins: Vec<i16> = (0..values.len()).map(|i| i16::from(i % width != 0)).collect();

        let mut group = writer.next_row_group().map_err(failed)?;
        let mut column = group.next_column().map_err(failed)?.expect("the column of names");
        column.typed::<ByteArrayType>().write_batch(&names, None, None).map_err(failed)?;
        column.close().map_err(failed)?;
        if let Some(tokens) = tokens {
            let tokens: Vec<i32> = (0..count * tokens).map(|i| (i % tokens) as i32).collect();
            let mut column = group.next_column().map_err(failed)?.expect("the column of tokens");
            column.typed::<Int32Type>().write_batch(&tokens, None, None).map_err(failed)?;
            column.close().map_err(failed)?;
        }
        let mut column = group.next_column().map_err(failed)?.expect("the column of features");
        let present = vec![1; values.len()];
        column.typed::<FloatType>().write_batch(&values, Some(&present), Some(&begins)).map_err(failed)?;
        column.close().map_err(failed)?;
        group.close().map_err(failed)?;
    }
    writer.into_inner().map_err(failed)
}

/// Reads features with their names: a row for each sample, `features` a list of floats of one length, and `name` where there is one.
pub(crate) fn read(path: &Path) -> Result<NamedRows, Error> {
    let wrong = |what: String| Error::Misuse(format!("{} {what}", path.display()));
    let damaged = |error: ParquetError| wrong(format!("is no whole parquet file ({error})"));
    let file = File::open(path).map_err(|error| wrong(format!("cannot be read ({error})")))?;
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    let (mut values, mut names, mut width) = (Vec::new(), Vec::new(), None);
    let mut rows = 0;
    for row in reader.get_row_iter(None).map_err(damaged)? {
        let row = row.map_err(damaged)?;
        let before = values.len();
        for (column, field) in row.get_column_iter() {
            match (column.as_str(), field) {
                ("token", _) => {
                    return Err(wrong(
                        "holds tokens: expected one vector a sample; run `foretell embed` without `--tokens`"
                            .to_owned(),
                    ));
                }
                ("name", Field::Str(name)) => names.push(name.clone()),
                ("features", Field::ListInternal(list)) => {
                    let floats = list.elements().iter().map(|field| match field {
                        Field::Float(x) => Some(*x),
                        Field::Float16(x) => Some(x.to_f32()),
                        Field::Double(x) => Some(*x as f32),
                        _ => None,
                    });
                    let floats: Option<Vec<f32>> = floats.collect();
                    let floats = floats.ok_or_else(|| {
                        wrong(format!("holds in row {rows} `features` that are no floating-point numbers"))
                    })?;
                    values.extend(floats);
                }
                _ => {}
            }
        }
        let found = values.len() - before;
        let width = *width.get_or_insert(found);
        if found != width || found == 0 {
            return Err(wrong(format!(
                "holds {found} numbers as `features` in row {rows} where {} were expected",
                if width == 0 { "some".to_owned() } else { width.to_string() }
            )));
        }
        rows += 1;
    }
    let names = (!names.is_empty()).then_some(names);
    Ok(NamedRows { shape: vec![rows, width.unwrap_or(0)], values, names, about: None })
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use parquet::file::reader::{FileReader, SerializedFileReader};

    use crate::feature_file::FeatureFile;

    #[test]
    fn features_are_read_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("x.parquet");
        let mut file = FeatureFile::create(&out).unwrap();
        file.append(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        file.finish(&[3, 2], || ["a", "b/ü", "c"].into_iter().map(|name| Ok(name.to_owned()))).unwrap();
        let read = super::read(&out).unwrap();
        assert_eq!((read.shape, read.values), (vec![3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        assert_eq!(read.names.unwrap(), ["a", "b/ü", "c"]);
        let bytes = std::fs::read(&out).unwrap();
        std::fs::write(&out, &bytes[..bytes.len() / 2]).unwrap();
        assert!(super::read(&out).unwrap_err().to_string().contains("no whole parquet file"));
    }

    #[test]
    fn a_row_for_each_token_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("x.parquet");
        let mut file = FeatureFile::create(&out).unwrap();
        file.append(&(1..=12).map(|i| i as f32).collect::<Vec<_>>()).unwrap();
        file.finish(&[2, 3, 2], || ["a", "b/ü"].into_iter().map(|name| Ok(name.to_owned()))).unwrap();
        let reader = SerializedFileReader::new(File::open(&out).unwrap()).unwrap();
        let rows: Vec<String> = reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
        assert_eq!(rows.len(), 6);
        assert_eq!(rows[0], "{name: \"a\", token: 0, features: [1.0, 2.0]}");
        assert_eq!(rows[5], "{name: \"b/ü\", token: 2, features: [11.0, 12.0]}");
    }
}
