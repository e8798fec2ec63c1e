//! Tables of numbers with a row for each moment: CSV with a time column, as exported by databases and recorders, plain or gzip.

use std::path::Path;

use crate::DataError;
use crate::series::raw::RawTable;
use crate::series::text::{Text, is_hole, number, shown};
use crate::series::time::{clock_of, date, told};

/// Columns beyond which a table is taken for something else.
const MOST_COLUMNS: usize = 4096;
/// Rows beyond which no table is read.
const MOST_VALUES: usize = 1 << 28;

/// Splits a line at a separator outside quotes.
pub(crate) fn cells(line: &str, separator: char) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                cell.push('"');
                characters.next();
            }
            '"' => quoted = !quoted,
            other if other == separator && !quoted => cells.push(std::mem::take(&mut cell).trim().to_owned()),
            other => cell.push(other),
        }
    }
    cells.push(cell.trim().to_owned());
    cells
}

/// What parts the cells of a table whose first line is this.
pub(crate) fn separator(line: &str) -> char {
    ['\t', ';', ',']
        .into_iter()
        .max_by_key(|separator| (cells(line, *separator).len(), *separator == ','))
        .unwrap_or(',')
}

/// What is recognised in a table's first lines.
struct Form {
    separator: char,
    /// Names of all columns, made up where there is no header.
    names: Vec<String>,
    has_header: bool,
    /// Whether the first column tells the time, and whether as a date.
    time: Option<bool>,
}

fn form(text: &Text) -> Result<Form, DataError> {
    let mut lines = text.lines();
    let Some((_, first)) = lines.next() else { return Err(text.bad("it is empty")) };
    let separator = separator(first);
    let head = cells(first, separator);
    if head.len() > MOST_COLUMNS {
        return Err(text.bad(format!(
            "its first line has {} cells: a table of at most {MOST_COLUMNS} columns was expected, with a row for each moment; many short series are read from `.ts`, UCR `.tsv` or `.npy`",
            head.len()
        )));
    }
    let is_value = |cell: &String| number(cell).is_ok() || date(cell).is_some();
    let has_header = !head.iter().all(is_value);
    let row = if has_header { lines.next().map(|(_, line)| cells(line, separator)) } else { Some(head.clone()) };
    let Some(row) = row else { return Err(text.bad("it has a header and no rows")) };
    let word = if has_header { head[0].to_lowercase() } else { String::default() };
    let named = word.is_empty() && has_header
        || ["date", "time", "timestamp", "datetime", "index", "zeit", "datum"].iter().any(|name| word.contains(name));
    let time = match row.first() {
        Some(cell) if date(cell).is_some() => Some(true),
        Some(_) if named => Some(false),
        _ => None,
    };
    let names = if has_header { head } else { (0..row.len()).map(|column| format!("column {}", column + 1)).collect() };
    Ok(Form { separator, names, has_header, time })
}

/// Reads a table.
pub(crate) fn read(path: &Path) -> Result<RawTable, DataError> {
    let text = Text::read(path)?;
    let Form { separator, names, has_header, time } = form(&text)?;
    let first = usize::from(time.is_some());
    let width = names.len() - first;
    if width == 0 {
        return Err(text.bad("it has a time column and no other: there is nothing to learn from"));
    }
    let mut values: Vec<Vec<f32>> = vec![Vec::new(); width];
    // Of each column: whether anything in it is a number, and the first cell that is none.
    let (mut numbers, mut wrong) = (vec![false; width], vec![None; width]);
    let mut times = Vec::new();
    let (mut repeated, mut notes) = (0, Vec::new());
    for (line, row) in text.lines().skip(usize::from(has_header)) {
        let row = cells(row, separator);
        if row.len() != names.len() {
            return Err(text.bad(format!(
                "line {line} has {} cells where the first line has {}: a row was cut or a cell holds the separator",
                row.len(),
                names.len()
            )));
        }
        if let Some(is_date) = time {
            let at = if is_date { date(&row[0]) } else { row[0].parse().ok().filter(|time: &f64| time.is_finite()) };
            let at = at.ok_or_else(|| {
                let expected = if is_date {
                    "a date and time as in the first row (such as `2020-01-31 00:10`, `2020-01-31T00:10:00Z`, `31.01.2020` or `2020/1/31`)"
                } else {
                    "a number, or in all rows a date (such as `2020-01-31 00:10` or `31.01.2020`; with slashes the year comes first)"
                };
                text.bad(format!(
                    "line {line} holds {} in the time column `{}`, where {expected} was expected",
                    shown(&row[0]),
                    names[0]
                ))
            })?;
            match times.last() {
                Some(before) if at < *before => {
                    return Err(
                        text.bad(format!("time goes back at line {line} ({}): sort the rows by time", shown(&row[0])))
                    );
                }
                Some(before) if at == *before => {
                    repeated += 1;
                    continue;
                }
                _ => times.push(at),
            }
        }
        for (column, cell) in row[first..].iter().enumerate() {
            // A comma is the decimal point where it is not what parts cells.
            let cell = if separator == ',' { cell.clone() } else { cell.replace(',', ".") };
            let value = number(&cell).unwrap_or_else(|reason| {
                wrong[column].get_or_insert((line, reason));
                f32::NAN
            });
            numbers[column] |= number(&cell).is_ok() && !is_hole(&cell);
            values[column].push(value);
        }
        if values[0].len().saturating_mul(width) > MOST_VALUES {
            return Err(text.bad("it has more than 268435456 values: cut it into several recordings"));
        }
    }
    if values[0].is_empty() {
        return Err(text.bad("it has a header and no rows"));
    }
    let mut columns: Vec<String> = names[first..].to_vec();
    for column in (0..width).rev() {
        match (&wrong[column], numbers[column]) {
            (Some((line, reason)), true) => {
                return Err(text.bad(format!("line {line}, column `{}`: {reason}", columns[column])));
            }
            (Some(_), false) => {
                notes.push(format!("column `{}` holds words and is left out", columns[column]));
                columns.remove(column);
                values.remove(column);
            }
            (None, _) => {}
        }
    }
    if columns.is_empty() {
        return Err(text.bad("none of its columns holds numbers"));
    }
    notes.reverse();
    if repeated > 0 {
        notes.push(format!(
            "{repeated} row{} at the time of the row before: left out",
            if repeated == 1 { " is" } else { "s are" }
        ));
    }
    let step = match (time, clock_of(&times)) {
        (None, _) => None,
        (Some(_), None) => {
            if times.len() > 1 {
                notes.push(
                    "times tick by no regular clock: rows are taken as steps, whatever lies between them".to_owned(),
                );
            }
            None
        }
        (Some(is_date), Some(clock)) => {
            if clock.gaps > 0 {
                let all = clock.places.last().map_or(0, |last| last + 1);
                for column in &mut values {
                    let mut filled = vec![f32::NAN; all];
                    clock.places.iter().zip(&*column).for_each(|(place, value)| filled[*place] = *value);
                    *column = filled;
                }
                let are = if clock.gaps == 1 { "1 row that is" } else { &format!("{} rows that are", clock.gaps) };
                notes.push(format!("{are} missing by the clock became holes"));
            }
            Some(if is_date { told(clock.step) } else { format!("{} by the time column", clock.step as f32) })
        }
    };
    Ok(RawTable { form: "a table with a row for each moment", columns, values, step, notes })
}
