//! Tables beside images, as Hugging Face's ImageFolder has them: `metadata.csv` or `metadata.jsonl` with a column `file_name`
//! that counts from the table's own folder, and one column that holds labels.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

use crate::DataError;
use crate::images::listing::{Found, Place};
use crate::images::recognise::{Extent, Reading};
use crate::images::records::Contents;

/// Names of columns that hold a label, in order of preference.
const NAMES: [&str; 13] = [
    "label",
    "labels",
    "class",
    "cls",
    "class_name",
    "label_name",
    "category",
    "target",
    "classes",
    "class_id",
    "label_id",
    "category_id",
    "y",
];

/// A longer text is a caption.
const LONGEST_CLASS: usize = 128;

/// A table of more bytes than this is refused.
const LONGEST: u64 = 1 << 30;

/// The word for labels that nobody wants.
pub(crate) const NONE: &str = "none";

/// What tables say of the images.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// The column that holds the labels.
    pub(crate) column: String,
    /// One text for each image, if a column holds labels; none for the images that have none.
    pub(crate) texts: Option<Vec<Option<String>>>,
    pub(crate) notes: Vec<String>,
}

/// Of several kinds of labels the one that was asked for, or none of them.
pub(crate) fn only_label(contents: &mut Contents, reading: Reading<'_>) -> Result<(), DataError> {
    if reading.label.is_empty() {
        return Ok(());
    }
    let at = contents.factors.iter().position(|factor| factor.name == reading.label);
    // What is embedded may well have none of them.
    if at.is_none() && reading.label != NONE && reading.extent == Extent::Split {
        let names: Vec<String> = contents.factors.iter().map(|factor| format!("`{}`", factor.name)).collect();
        let names =
            if names.is_empty() { "there are none".to_owned() } else { format!("there is {}", names.join(", ")) };
        return Err(DataError::Setting(format!(
            "`data.label`: no labels are called `{}` here; {names}",
            reading.label
        )));
    }
    contents.factors = at.map(|at| contents.factors.swap_remove(at)).into_iter().collect();
    for entry in contents.train.iter_mut().chain(&mut contents.held_out) {
        entry.labels =
            at.and_then(|at| entry.labels.get(at).copied()).map(|label| Box::from([label])).unwrap_or_default();
    }
    Ok(())
}

/// Cells by their columns' names.
type Row = HashMap<String, String>;

/// Whether a file of this name is a table of images.
pub(crate) fn is_table(name: &str) -> bool {
    ["metadata.csv", "metadata.jsonl"].contains(&name)
}

/// Looks for tables among the other files; `label` names the column, or nothing.
pub(crate) fn labels(images: &[Found], others: &[Found], label: &str) -> Result<Tables, DataError> {
    let mut told = Tables::default();
    let tables: Vec<&Found> = others.iter().filter(|found| is_table(found.file_name())).collect();
    if tables.is_empty() || label == NONE {
        return Ok(told);
    }
    let at: HashMap<(Option<&std::path::Path>, &str), usize> =
        images.iter().enumerate().map(|(index, image)| ((image.place.archive(), image.path.as_str()), index)).collect();
    let roots = roots(images);
    let mut rows: Vec<Option<Row>> = vec![None; images.len()];
    let (mut columns, mut all, mut lost, mut twice) = (BTreeSet::new(), 0, Vec::new(), 0);
    for table in &tables {
        let folder = &table.path[..table.path.len() - table.file_name().len()];
        let (read, key) = match read(table) {
            Ok(read) => read,
            Err(reason) if label.is_empty() => {
                told.notes.push(format!("`{}` gives no labels: {reason}", table.path));
                continue;
            }
            Err(reason) => return Err(DataError::BadLabel { name: table.path.clone(), reason }),
        };
        for mut row in read {
            all += 1;
            let name = row.remove(&key).unwrap_or_default();
            columns.extend(row.keys().cloned());
            let name = name.replace('\\', "/");
            let below = roots.iter().find_map(|root| name.strip_prefix(root.as_str())?.strip_prefix('/'));
            let path = below.map_or_else(|| within(folder, &name), |below| within("", below));
            match at.get(&(table.place.archive(), path.as_str())) {
                Some(&index) if rows[index].is_some() => twice += 1,
                Some(&index) => rows[index] = Some(row),
                None => lost.push(path),
            }
        }
    }
    let table = match tables[..] {
        [only] => format!("`{}`", only.path),
        _ => format!("the {} tables beside the images", tables.len()),
    };
    if all == 0 {
        if told.notes.is_empty() {
            told.notes.push(format!("{table} has no rows, so it gives no labels"));
        }
        return Ok(told);
    }
    if let Some(first) = lost.first() {
        told.notes
            .push(format!("{} of {all} rows of {table} name a file that is not below the folder of the images, the first `{first}` (paths count from the table's own folder)", lost.len()));
    }
    if twice > 0 {
        told.notes.push(format!("{twice} rows of {table} name a file that an earlier row names, which stands"));
    }
    let with = rows.iter().flatten().count();
    if with * 2 < images.len() && label.is_empty() {
        told.notes.push(format!(
            "{table} has a row for {with} of {} images, so it gives no labels{}",
            images.len(),
            if with > 0 { " (`data.label = \"COLUMN\"` takes those alone)" } else { "" }
        ));
        return Ok(told);
    }
    let Some(column) = choose(&rows, &columns, label, &table, &mut told.notes)? else { return Ok(told) };
    let texts = rows.into_iter().map(|row| row?.remove(&column).filter(|text| !text.is_empty()));
    told.texts = Some(texts.collect());
    told.notes.push(format!(
        "the labels are the column `{column}` of {table} (`data.label` overrules this: a column or `{NONE}`)"
    ));
    told.column = column;
    Ok(told)
}

/// Where the images' paths count from, from the root of the file system and with links followed or not: tables that a program
/// wrote name whole paths.
fn roots(images: &[Found]) -> Vec<String> {
    let Some((Place::File { path, .. }, image)) = images.first().map(|image| (&image.place, image)) else {
        return Vec::new();
    };
    let below = image.path.split('/').count();
    let Some(root) = path.ancestors().nth(below) else { return Vec::new() };
    let whole = [std::path::absolute(root).ok(), std::fs::canonicalize(root).ok()];
    whole.into_iter().flatten().map(|root| root.to_string_lossy().replace('\\', "/")).collect()
}

/// A path that counts from a folder, without its `.` and `..`. One that leads out of everything is left as it is.
fn within(folder: &str, name: &str) -> String {
    if name.starts_with('/') {
        return name.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(name.split('/')).filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." && parts.pop().is_none() {
            return format!("{folder}{name}");
        } else if part != ".." {
            parts.push(part);
        }
    }
    parts.join("/")
}

/// The column that was named, or the only one that can hold labels, or the one that is called so.
fn choose(
    rows: &[Option<Row>],
    columns: &BTreeSet<String>,
    label: &str,
    table: &str,
    notes: &mut Vec<String>,
) -> Result<Option<String>, DataError> {
    let listed = |columns: &[&String]| columns.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if !label.is_empty() {
        if columns.contains(label) {
            return Ok(Some(label.to_owned()));
        }
        return Err(DataError::Setting(format!(
            "`data.label`: {table} has no column `{label}`; its columns are {}",
            listed(&columns.iter().collect::<Vec<_>>())
        )));
    }
    let could: Vec<&String> = columns.iter().filter(|column| holds_labels(rows, column)).collect();
    let called = NAMES.iter().find_map(|name| could.iter().find(|column| column.eq_ignore_ascii_case(name)));
    Ok(match (&could[..], called) {
        (_, Some(column)) => Some((*column).clone()),
        ([only], None) => Some((*only).clone()),
        ([], None) => {
            if !columns.is_empty() {
                let columns = listed(&columns.iter().collect::<Vec<_>>());
                notes.push(format!("no column of {table} holds labels ({columns})"));
            }
            None
        }
        (several, None) => {
            notes.push(format!(
                "several columns of {table} could hold the labels ({}): name one with `data.label`",
                listed(several)
            ));
            None
        }
    })
}

/// Whether a column holds classes: short texts or whole numbers, of which many rows share one, in nearly every row.
fn holds_labels(rows: &[Option<Row>], column: &str) -> bool {
    let (mut distinct, mut count, mut empty) = (BTreeSet::new(), 0_usize, 0_usize);
    for row in rows.iter().flatten() {
        match row.get(column).map(String::as_str) {
            None | Some("") => empty += 1,
            Some(text) => {
                let broken = text.parse::<f64>().is_ok_and(|number| number.fract() != 0.0);
                if broken || text.len() > LONGEST_CLASS || text.contains('\n') {
                    return false;
                }
                distinct.insert(text);
                count += 1;
            }
        }
    }
    distinct.len() > 1 && distinct.len() * 2 <= count.max(4) && empty * 20 <= count
}

/// The rows of a table, and the column that names files.
fn read(table: &Found) -> Result<(Vec<Row>, String), String> {
    if table.place.size() > LONGEST {
        return Err(format!("it has {} bytes, and the limit is 1 GiB", table.place.size()));
    }
    let bytes = table.place.read(&table.path).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "expected text in UTF-8, found other bytes".to_owned())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    let (rows, columns) = if table.file_name().ends_with("csv") { csv(text)? } else { jsonl(text)? };
    let lower = |column: &String| column.to_lowercase();
    let names_files = |column: &&String| {
        let column = lower(column);
        column == "file_name" || column.ends_with("_file_name") || column == "image"
    };
    let mut naming: Vec<&String> = columns.iter().filter(names_files).collect();
    naming.sort_by_key(|column| (*column != "file_name", lower(column) != "file_name", lower(column) == "image"));
    let key = naming
        .first()
        .ok_or_else(|| format!("expected a column `file_name` with the images' paths, found {}", columns.join(", ")))?;
    let key = (*key).clone();
    Ok((rows, key))
}

/// Lines of JSON objects.
fn jsonl(text: &str) -> Result<(Vec<Row>, Vec<String>), String> {
    let (mut rows, mut columns) = (Vec::new(), Vec::<String>::new());
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() {
            continue;
        }
        let fields: Map<String, Value> =
            serde_json::from_str(line).map_err(|error| format!("line {number} is no JSON object: {error}"))?;
        let mut row = Row::new();
        for (name, value) in fields {
            let text = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(truth) => truth.to_string(),
                // Boxes, lists of captions: nothing that is one label, and longer than one may be.
                Value::Array(_) | Value::Object(_) => " ".repeat(LONGEST_CLASS + 1),
                Value::Null => String::new(),
            };
            if !columns.contains(&name) {
                columns.push(name.clone());
            }
            row.insert(name, text);
        }
        rows.push(row);
    }
    Ok((rows, columns))
}

/// RFC 4180, with commas, semicolons or tabs, whichever the header has most of.
fn csv(text: &str) -> Result<(Vec<Row>, Vec<String>), String> {
    let header = text.lines().next().unwrap_or_default();
    let separator = [',', ';', '\t'].into_iter().max_by_key(|s| (header.matches(*s).count(), *s == ',')).unwrap_or(',');
    let mut records = records(text, separator)?.into_iter();
    let columns: Vec<String> =
        records.next().unwrap_or_default().into_iter().map(|name| name.trim().to_owned()).collect();
    let mut rows = Vec::new();
    for (record, number) in records.zip(1..) {
        if record.len() != columns.len() {
            return Err(format!("its row {number} has {} cells, and its header {}", record.len(), columns.len()));
        }
        rows.push(columns.iter().cloned().zip(record).collect());
    }
    Ok((rows, columns))
}

fn records(text: &str, separator: char) -> Result<Vec<Vec<String>>, String> {
    let (mut records, mut record, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut fresh) = (false, true);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' if quoted => quoted = false,
            c if quoted => cell.push(c),
            '"' if fresh => (quoted, fresh) = (true, false),
            c if c == separator => {
                record.push(std::mem::take(&mut cell));
                fresh = true;
            }
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' | '\r' => {
                // An empty line is no row.
                if !record.is_empty() || !cell.is_empty() || !fresh {
                    record.push(std::mem::take(&mut cell));
                    records.push(std::mem::take(&mut record));
                }
                fresh = true;
            }
            c => {
                cell.push(c);
                fresh = false;
            }
        }
    }
    if quoted {
        return Err("a quotation mark is opened and never closed".to_owned());
    }
    if !record.is_empty() || !cell.is_empty() {
        record.push(cell);
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same that `csv.reader` of Python's library gives.
    #[test]
    fn quotation_marks_hold_separators_lines_and_themselves() {
        let text = "a,b\r\n\"x, y\",\"say \"\"no\"\"\"\n\"two\nlines\",\n\n5\",z";
        let expected = [["a", "b"], ["x, y", "say \"no\""], ["two\nlines", ""], ["5\"", "z"]];
        assert_eq!(records(text, ',').unwrap(), expected);
        assert!(records("a,\"b", ',').is_err());
        assert_eq!(csv("file_name;label\nx.png;3\n").unwrap().1, ["file_name", "label"]);
    }
}
