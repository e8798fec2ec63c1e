//! Region series in text tables (`.csv`, `.tsv`, `.txt`, `.1D`) and NumPy's `.npy`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::connectomes::nifti::bad;
use crate::kind::lfs_pointer;
use crate::npy::{Array, Values};

/// What the rows of a table are; its columns are the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rows {
    /// Regions: regions × time.
    Regions,
    /// Time points: time × regions.
    Time,
}

impl std::fmt::Display for Rows {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Regions => "regions",
            Self::Time => "time",
        })
    }
}

/// A table of numbers, NaN where a cell is empty.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// `[rows, columns]`.
    pub(crate) values: Vec<f64>,
    /// What names in the file say that its rows are.
    pub(crate) told: Option<Rows>,
    /// The regions' names; none where the file has none.
    pub(crate) names: Vec<String>,
}

/// Cells that hold nothing.
fn missing(cell: &str) -> bool {
    ["", "nan", "na", "n/a", "null", "none", "-"].contains(&cell.to_ascii_lowercase().as_str())
}

/// What the first column is called where it counts the rows.
const COUNTERS: [&str; 9] = ["", "index", "time", "t", "tr", "frame", "volume", "timepoint", "unnamed: 0"];

/// The text of a file without its mark of UTF-8.
pub(crate) fn text(path: &Path) -> Result<String, DataError> {
    let bytes = std::fs::read(path).map_err(|source| DataError::reading(path, source))?;
    if let Some(pointer) = lfs_pointer(&bytes) {
        return Err(bad(path, pointer));
    }
    let text = match bytes.as_slice() {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Err("it is UTF-16: save it as UTF-8"),
        [0x1F, 0x8B, ..] => Err("it is compressed with gzip: decompress it with `gunzip`"),
        bytes if bytes.contains(&0) => Err("it is no text: its bytes hold zeros; expected numbers in rows"),
        bytes => str::from_utf8(bytes).map_err(|_| "it is no text in UTF-8: save it so"),
    };
    let text = text.map_err(|reason| bad(path, reason))?;
    Ok(text.strip_prefix('\u{FEFF}').unwrap_or(text).to_owned())
}

/// The cells of each line that is not blank. What parts them is told by the file's first line: a tab, a semicolon, a comma, or spaces.
pub(crate) fn cells(text: &str) -> Vec<Vec<String>> {
    let lines = || text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty());
    let first = lines().next().unwrap_or("");
    let mark = ['\t', ';', ','].into_iter().find(|mark| first.contains(*mark));
    lines()
        .map(|line| mark.map_or_else(|| line.split_whitespace().map(unquoted).collect(), |mark| parted(line, mark)))
        .collect()
}

fn unquoted(cell: &str) -> String {
    let cell = cell.trim();
    cell.strip_prefix('"')
        .and_then(|cell| cell.strip_suffix('"'))
        .unwrap_or(cell)
        .replace("\"\"", "\"")
        .trim()
        .to_owned()
}

/// Marks within quotes part nothing.
fn parted(line: &str, mark: char) -> Vec<String> {
    let (mut cells, mut start, mut quoted) = (Vec::new(), 0, false);
    for (at, letter) in line.char_indices() {
        if letter == '"' {
            quoted = !quoted;
        } else if letter == mark && !quoted {
            cells.push(unquoted(&line[start..at]));
            start = at + letter.len_utf8();
        }
    }
    cells.push(unquoted(&line[start..]));
    cells
}

impl Table {
    /// What a file holds, by its name's end.
    pub(crate) fn read(path: &Path) -> Result<Self, DataError> {
        let table = if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("npy")) {
            let bytes = std::fs::read(path).map_err(|source| DataError::reading(path, source))?;
            Self::of_npy(&bytes)
        } else {
            Self::of_text(&text(path)?)
        };
        table.map_err(|reason| bad(path, reason))
    }

    /// Of NumPy's bytes; an error in words that go on from the file's name.
    pub(crate) fn of_npy(bytes: &[u8]) -> Result<Self, String> {
        let Array { shape, values } = Array::parse(bytes)?;
        let &[rows, columns] = shape.as_slice() else {
            return Err(format!(
                "it has the shape {shape:?}: expected two axes, regions and time; save each recording in a file of its own"
            ));
        };
        let values: Vec<f64> = match values {
            Values::Floats(values) => values.into_iter().map(f64::from).collect(),
            Values::Whole(values) => values.into_iter().map(|value| value as f64).collect(),
            Values::Bytes(values) => values.into_iter().map(f64::from).collect(),
            Values::Text(_) => return Err("it holds text: expected numbers".to_owned()),
        };
        Self::new(rows, columns, values, None)
    }

    /// An error where two regions have one name.
    fn named(self, names: Vec<String>) -> Result<Self, String> {
        let mut sorted: Vec<&String> = names.iter().collect();
        sorted.sort();
        match sorted.array_windows().find(|[one, other]| one == other) {
            Some([twice, _]) => {
                Err(format!("two of its regions are called `{}`: give each a name of its own", short(twice)))
            }
            None => Ok(Self { names, ..self }),
        }
    }

    /// Of a text; an error likewise.
    pub(crate) fn of_text(text: &str) -> Result<Self, String> {
        let mut lines = cells(text);
        // Comments as AFNI and NumPy write them; `#` before as many names as a row has cells is a header.
        let comment = |line: &[String]| line.first().is_some_and(|cell| cell.starts_with('#'));
        let wide = lines.iter().find(|line| !comment(line)).map_or(0, Vec::len);
        let mut header = None;
        if lines.first().is_some_and(|line| comment(line) && line.len() == wide && wide > 1) {
            header = Some(lines.remove(0));
        }
        lines.retain(|line| !comment(line));
        let number = |cell: &String| missing(cell) || cell.parse::<f64>().is_ok();
        if header.is_none() && lines.first().is_some_and(|line| line.iter().any(|cell| !number(cell))) {
            // Of a table whose rows have names the first line has one word and numbers: that is no header.
            let named_row = lines[0].len() > 2 && !number(&lines[0][0]) && lines[0][1..].iter().all(number);
            if !named_row {
                header = Some(lines.remove(0));
            }
        }
        if lines.is_empty() {
            return Err("it holds no row of numbers".to_owned());
        }
        let named = lines.iter().all(|line| line.first().is_some_and(|cell| !number(cell)));
        let mut told = if named { Some(Rows::Regions) } else { None };
        let mut from = usize::from(named);
        if let Some(header) = &header {
            let first = header.first().map(|name| name.trim_start_matches('#').to_ascii_lowercase());
            if !named
                && header.len() == wide
                && first.is_some_and(|name| COUNTERS.contains(&name.as_str()))
                && counts(&lines)
            {
                from = 1;
            }
            told = told.or(Some(Rows::Time));
        }
        let columns = lines[0].len().saturating_sub(from);
        let mut values = Vec::with_capacity(lines.len() * columns);
        for (row, line) in (1..).zip(&lines) {
            let own = line.len().saturating_sub(from);
            if own != columns {
                return Err(format!(
                    "row {row} of numbers has {own} cells and row 1 has {columns}: it was cut, or its rows are not of one length"
                ));
            }
            for (column, cell) in (1..).zip(&line[from..]) {
                let fits = |x: &f64| x.abs() <= f64::from(f32::MAX);
                let value = if missing(cell) { Some(f64::NAN) } else { cell.parse::<f64>().ok().filter(fits) };
                values.push(value.ok_or_else(|| {
                    format!(
                        "cell {column} of row {row} is `{}`: expected a number, or nothing where nothing was measured",
                        short(cell)
                    )
                })?);
            }
        }
        let table = Self::new(lines.len(), columns, values, told)?;
        match (told, header) {
            (Some(Rows::Regions), _) => table.named(lines.iter().map(|line| line[0].clone()).collect()),
            (_, Some(header)) if header.len() == from + columns => {
                let name = |name: &String| name.trim_start_matches('#').trim().to_owned();
                table.named(header[from..].iter().map(name).collect())
            }
            _ => Ok(table),
        }
    }

    fn new(rows: usize, columns: usize, values: Vec<f64>, told: Option<Rows>) -> Result<Self, String> {
        if rows < 2 || columns < 2 {
            return Err(format!(
                "it has {rows} rows of {columns} numbers: expected several regions and several time points"
            ));
        }
        if let Some(value) = values.iter().find(|value| value.abs() > f64::from(f32::MAX)) {
            return Err(format!(
                "a number in it is {value:e}: expected one of single precision, or NaN where nothing was measured"
            ));
        }
        Ok(Self { rows, columns, values, told, names: Vec::new() })
    }

    /// `[T, N]`, and N.
    pub(crate) fn over_time(self, rows: Rows) -> (Vec<f64>, usize) {
        let Self { rows: height, columns: width, values, .. } = self;
        match rows {
            Rows::Time => (values, width),
            Rows::Regions => (
                (0..width).flat_map(|t| (0..height).map(move |r| (r, t))).map(|(r, t)| values[r * width + t]).collect(),
                height,
            ),
        }
    }
}

/// Whether the first column rises by the same from row to row.
fn counts(lines: &[Vec<String>]) -> bool {
    let first: Option<Vec<f64>> = lines.iter().map(|line| line.first()?.parse().ok()).collect();
    first.is_some_and(|first| {
        let step = if first.len() > 1 { first[1] - first[0] } else { 1.0 };
        step > 0.0 && first.windows(2).all(|pair| ((pair[1] - pair[0]) / step - 1.0).abs() < 1e-3)
    })
}

/// So that a message stays one line.
pub(crate) fn short(cell: &str) -> String {
    cell.chars().take(24).filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (usize, usize, Option<Rows>) {
        let table = Table::of_text(text).unwrap_or_else(|reason| panic!("{text:?}: {reason}"));
        (table.rows, table.columns, table.told)
    }

    #[test]
    fn names_tell_what_rows_are() {
        for (text, expected) in [
            ("1,2,3\n4,5,6\n", (2, 3, None)),
            ("1 2 3\r\n 4\t5 6\r\n", (2, 3, None)),
            ("V1;V2\n1;2\n3;4\n", (2, 2, Some(Rows::Time))),
            ("#a\t#b\n1\t2\n3\t4\n", (2, 2, Some(Rows::Time))),
            ("# made by hand\n1\t2\n3\t4\n", (2, 2, None)),
            (",V1,V2\n0,1,2\n1,3,4\n2,5,6\n", (3, 2, Some(Rows::Time))),
            ("V1,1,2,3\nV2,4,5,6\n", (2, 3, Some(Rows::Regions))),
            ("region,t0,t1,t2\nV1,1,2,3\nV2,4,,6\n", (2, 3, Some(Rows::Regions))),
            ("\u{FEFF}\"V,1\",\"V2\"\n1,2\n3,n/a\n", (2, 2, Some(Rows::Time))),
        ] {
            assert_eq!(parsed(text.trim_start_matches('\u{FEFF}')), expected, "{text:?}");
        }
        // What counts rows in no even steps is a region's.
        assert_eq!(parsed("time,V1\n0,1\n5,3\n6,5\n").1, 2);
    }

    #[test]
    fn a_table_is_turned_so_that_time_comes_first() {
        let table = Table::of_text("1,2,3\n4,5,6\n").unwrap();
        assert_eq!(table.clone().over_time(Rows::Regions), (vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0], 2));
        assert_eq!(table.over_time(Rows::Time).1, 3);
    }

    #[test]
    fn what_cannot_be_read_is_told_in_a_sentence() {
        for (text, part) in [
            ("", "no row of numbers"),
            ("1,2\n3\n", "row 2 of numbers has 1 cells"),
            ("1,2\n3,x\n", "cell 2 of row 2 is `x`"),
            ("1,2\n3,inf\n", "`inf`"),
            ("1,5;2,5\n3,5;4,5\n", "is `4,5`"),
            ("1\n2\n", "2 rows of 1 numbers"),
        ] {
            let reason = Table::of_text(text).unwrap_err();
            assert!(reason.contains(part), "{text:?}: {reason}");
        }
    }
}
