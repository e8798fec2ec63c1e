//! The UCR archive's `.tsv` (Dau et al., 2018): a series on each line, its class first. Shorter series end in `NaN`s.

use std::path::Path;

use crate::DataError;
use crate::series::raw::{RawSeries, RawSet};
use crate::series::text::{Text, is_hole, number, shown};

/// What parts the cells of a line.
fn separator(line: &str) -> char {
    if line.contains('\t') {
        '\t'
    } else if line.contains(',') {
        ','
    } else {
        ' '
    }
}

/// Whether a text's first line is a class and some values.
pub(crate) fn is_series(line: &str) -> bool {
    let cells: Vec<&str> = line.split(separator(line)).filter(|cell| !cell.is_empty()).collect();
    cells.len() > 3 && cells.iter().skip(1).all(|cell| number(cell).is_ok())
}

/// `1`, for `1.0000000e+00` too.
pub(crate) fn class(cell: &str) -> String {
    match cell.parse::<f64>() {
        Ok(value) if value.is_finite() && value.fract() == 0.0 && value.abs() < 1e15 => format!("{value}"),
        _ => cell.to_owned(),
    }
}

/// Reads one file.
pub(crate) fn read(path: &Path) -> Result<RawSet, DataError> {
    let text = Text::read(path)?;
    let mut train = Vec::new();
    let mut parted = None;
    for (line, row) in text.lines() {
        let separator = *parted.get_or_insert_with(|| separator(row));
        let mut cells = row.split(separator).map(str::trim).filter(|cell| separator != ' ' || !cell.is_empty());
        let label = cells.next().unwrap_or("");
        if is_hole(label) {
            return Err(text.bad(format!("line {line} has no class: the first cell of each line is one")));
        }
        let values = cells
            .map(number)
            .collect::<Result<Vec<f32>, String>>()
            .map_err(|reason| text.bad(format!("line {line} (a series on each line, its class first): {reason}")))?;
        if values.is_empty() {
            return Err(text.bad(format!("line {line} holds {} and no series behind it", shown(row))));
        }
        let series = RawSeries::of_channels(&[values], Some(class(label)));
        if series.values.is_empty() {
            return Err(text.bad(format!("line {line}: nothing of the series is known; remove it")));
        }
        train.push(series);
    }
    if train.is_empty() {
        return Err(text.bad("it is empty"));
    }
    Ok(RawSet { form: "UCR series, one on each line", channels: 1, train, ..RawSet::default() })
}
