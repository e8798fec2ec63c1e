//! Figures laid out for reading: groups of rows that differ in one dimension, and the table in plain text.

use std::fmt;

use super::{Better, Body, Cell, Figures, Finding, Reference, Row};

/// Rows that differ in one dimension only.
#[derive(Clone, Debug, PartialEq)]
pub struct Group<'a> {
    /// What they agree in, in the order of the other dimensions.
    pub cells: Vec<&'a Cell>,
    /// In their order.
    pub rows: Vec<&'a Row>,
}

/// Along a dimension with more values than these, a table shows the 1st, 2nd, 4th, 8th … and the last.
const MOST_LINES: usize = 8;
/// Digits of the largest figure, unless it is a share.
const DIGITS: f64 = 4.0;

fn but<T>(dim: usize) -> impl FnMut((usize, T)) -> Option<T> {
    move |(at, cell)| (at != dim).then_some(cell)
}

impl Figures {
    /// The rows grouped by all dimensions but one, in the order of first appearance.
    pub fn groups(&self, dim: usize) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for row in &self.rows {
            let cells: Vec<&Cell> = row.cells.iter().enumerate().filter_map(but(dim)).collect();
            match groups.iter_mut().find(|group| group.cells == cells) {
                Some(group) => group.rows.push(row),
                None => groups.push(Group { cells, rows: vec![row] }),
            }
        }
        groups
    }

    /// Each value of a dimension once, in the order of first appearance.
    pub fn distinct(&self, dim: usize) -> Vec<&Cell> {
        let mut found: Vec<&Cell> = Vec::new();
        for cell in self.rows.iter().filter_map(|row| row.cells.get(dim)) {
            if !found.contains(&cell) {
                found.push(cell);
            }
        }
        found
    }

    /// The levels that hold for a whole group of [`Figures::groups`] over `dim`, by name.
    pub fn references_of<'a>(&'a self, group: &Group<'_>, dim: usize) -> Vec<&'a Reference> {
        let holds = |level: &&Reference| {
            let same = level.cells.iter().enumerate().filter_map(but(dim)).zip(&group.cells);
            level.cells.get(dim).is_none_or(Option::is_none)
                && same.into_iter().all(|(held, cell)| held.as_ref().is_none_or(|held| held == *cell))
        };
        self.references.iter().filter(holds).collect()
    }

    /// Digits after the point in which all figures are shown.
    fn decimals(&self) -> usize {
        if self.unit == Self::PERCENT {
            return 1;
        }
        let values = self.rows.iter().map(|row| row.value).chain(self.references.iter().map(|level| level.value));
        let largest = values.map(f64::abs).filter(|size| size.is_finite()).fold(0.0, f64::max);
        if largest > 0.0 { (DIGITS - 1.0 - largest.log10().floor()).clamp(0.0, 6.0) as usize } else { 1 }
    }

    /// A figure in as many digits as all others, shares in percent, without the unit.
    pub fn digits(&self, value: f64) -> String {
        if !value.is_finite() {
            return "not finite".to_owned();
        }
        let scaled = if self.unit == Self::PERCENT { 100.0 * value } else { value };
        let text = format!("{scaled:.*}", self.decimals());
        let vanished = scaled != 0.0 && text.bytes().all(|byte| matches!(byte, b'0' | b'.' | b'-'));
        if vanished && self.unit != Self::PERCENT { format!("{value:.1e}") } else { text }
    }

    /// [`Figures::digits`] of a row, with its spread.
    pub fn shown(&self, row: &Row) -> String {
        let spread = row.spread.map(|spread| format!(" ± {}", self.digits(spread))).unwrap_or_default();
        self.digits(row.value) + &spread
    }

    /// What the numbers are and how to read them: "accuracy in %, higher is better".
    pub fn measure(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" in {}", self.unit) };
        let better = match self.better {
            Better::Higher => "higher",
            Better::Lower => "lower",
        };
        format!("{}{unit}, {better} is better", self.value)
    }

    /// A line for each combination of all dimensions but the last, a column for each value of that, and one for each
    /// reference and for the number of samples, if it is known; the first line names the columns. Also how many columns are names.
    fn table(&self) -> (Vec<Vec<String>>, usize) {
        let Some(last) = self.dims.len().checked_sub(1) else { return (Vec::new(), 0) };
        let columns = self.distinct(last);
        let mut references: Vec<&str> = Vec::new();
        for level in &self.references {
            if !references.contains(&level.name.as_str()) {
                references.push(&level.name);
            }
        }
        let names = self.dims[..last].iter().cloned();
        let counted = self.rows.iter().any(|row| row.samples.is_some());
        let head =
            names.chain(columns.iter().map(ToString::to_string)).chain(references.iter().map(ToString::to_string));
        let mut lines = vec![head.chain(counted.then(|| "n".to_owned())).collect::<Vec<_>>()];
        let missing = || "-".to_owned();
        for group in self.groups(last).into_iter().filter(|group| self.is_shown(group)) {
            let levels = self.references_of(&group, last);
            let figures = columns.iter().map(|column| {
                let row = group.rows.iter().rfind(|row| row.cells.get(last) == Some(*column));
                row.map_or_else(missing, |row| self.shown(row))
            });
            let levels = references.iter().map(|name| {
                let level = levels.iter().find(|level| level.name == *name);
                level.map_or_else(missing, |level| self.digits(level.value))
            });
            let samples = group.rows.iter().find_map(|row| row.samples);
            let samples = counted.then(|| samples.map_or_else(missing, |samples| samples.to_string()));
            lines.push(
                group.cells.iter().map(ToString::to_string).chain(figures).chain(levels).chain(samples).collect(),
            );
        }
        (lines, last)
    }

    /// Whether a table has a line for it: of a long way it shows some places only.
    fn is_shown(&self, group: &Group<'_>) -> bool {
        let along = self.along.as_ref().and_then(|along| self.dims.iter().position(|dim| dim == along));
        let Some(along) = along.filter(|along| along + 1 < self.dims.len()) else { return true };
        let values = self.distinct(along);
        let at = group.cells.get(along).and_then(|cell| values.iter().position(|value| value == cell));
        values.len() <= MOST_LINES || at.is_none_or(|at| (at + 1).is_power_of_two() || at + 1 == values.len())
    }
}

/// Figures as a table for people, pictures not at all.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Body::Figures(figures) = &self.body else { return Ok(()) };
        writeln!(f, "{} ({})", self.title, figures.measure())?;
        let (lines, names) = figures.table();
        let width = |column: usize| {
            lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..lines.first().map_or(0, Vec::len)).map(width).collect();
        for line in &lines {
            let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column < names { format!("{cell:width$}") } else { format!("{cell:>width$}") }
            });
            writeln!(f, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "  note: {note}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FEATURES, Pictures, TRAINED, UNTRAINED};
    use super::*;

    fn text(figures: Figures) -> String {
        Finding::figures("key", "A title", "", figures).to_string()
    }

    #[test]
    fn the_last_dimension_makes_the_columns() {
        let mut figures = Figures::new(&["factor", "probe", FEATURES], "accuracy", Figures::PERCENT, Better::Higher);
        for (factor, probe, features, accuracy) in [
            ("shape of it", "knn", TRAINED, 1.0),
            ("shape of it", "knn", UNTRAINED, 0.625),
            ("shape of it", "linear", "pixels", 0.0512),
            ("hue", "linear", TRAINED, 0.5),
        ] {
            figures.push([factor.into(), probe.into(), features.into()], accuracy);
        }
        figures.rows[0].spread = Some(0.0125);
        figures.refer("chance", [Some("shape of it".into()), None, None], 1.0 / 3.0);
        assert_eq!(
            text(figures),
            "A title (accuracy in %, higher is better)\n\
             \x20 factor       probe       trained  untrained  pixels  chance\n\
             \x20 shape of it  knn     100.0 ± 1.2       62.5       -    33.3\n\
             \x20 shape of it  linear            -          -     5.1    33.3\n\
             \x20 hue          linear         50.0          -       -       -\n"
        );
    }

    #[test]
    fn the_number_of_samples_stands_beside_every_figure() {
        let mut figures = Figures::new(&["probe", FEATURES], "accuracy", Figures::PERCENT, Better::Higher);
        figures.push(["knn".into(), TRAINED.into()], 0.5);
        figures.refer("chance", [None, None], 0.25);
        let mut finding = Finding::figures("key", "A title", "", figures.over(40));
        finding.notes.push("a class is missing".to_owned());
        assert_eq!(
            finding.to_string(),
            "A title (accuracy in %, higher is better)\n\
             \x20 probe  trained  chance   n\n\
             \x20 knn       50.0    25.0  40\n\
             \x20 note: a class is missing\n"
        );
    }

    #[test]
    fn one_dimension_is_one_line() {
        let mut figures = Figures::new(&[FEATURES], "error", "pixels", Better::Lower);
        for (features, error) in [(TRAINED, 2.0), (UNTRAINED, 10.25), ("mean", f64::NAN), ("best", 0.0001)] {
            figures.push([features.into()], error);
        }
        assert_eq!(
            text(figures),
            "A title (error in pixels, lower is better)\n\
             \x20 trained  untrained        mean    best\n\
             \x20    2.00      10.25  not finite  1.0e-4\n"
        );
    }

    #[test]
    fn a_long_way_is_shown_at_some_places() {
        let ahead = |count: usize| {
            let mut figures = Figures::new(&["ahead", "of"], "error", "", Better::Lower).along("ahead");
            for ahead in 1..=count {
                figures.push([ahead.into(), "model".into()], 0.01 * ahead as f64);
                figures.push([ahead.into(), "mean".into()], 1234.0);
            }
            text(figures)
        };
        let lines = |text: &str| text.lines().skip(2).map(|line| line.trim().to_owned()).collect::<Vec<_>>();
        assert_eq!(
            lines(&ahead(11)),
            [
                "1      1.0e-2  1234",
                "2      2.0e-2  1234",
                "4      4.0e-2  1234",
                "8      8.0e-2  1234",
                "11     1.1e-1  1234"
            ]
        );
        assert_eq!(lines(&ahead(8)).len(), 8);
        // Along the columns nothing is left out.
        let mut across = Figures::new(&["of", "ahead"], "error", "", Better::Lower).along("ahead");
        (1..=20usize).for_each(|ahead| across.push(["model".into(), ahead.into()], 1.0));
        assert_eq!(text(across).lines().nth(1).unwrap().split_whitespace().count(), 21);
    }

    #[test]
    fn pictures_and_nothing_print_nothing_wrong() {
        assert_eq!(Finding::pictures("masks", "A title", "", Pictures::default()).to_string(), "");
        let none = Figures::new(&[FEATURES], "accuracy", "", Better::Higher);
        assert_eq!(text(none).lines().count(), 2);
        // Rows that do not fit are a fault, and no reason to panic.
        let mut odd = Figures::new(&["a", "b"], "accuracy", "", Better::Higher);
        odd.push(["x".into()], 1.0);
        odd.push(["x".into(), "y".into(), "z".into()], 1.0);
        odd.push([], 1.0);
        odd.refer("level", [None], 1.0);
        assert!(text(odd).starts_with("A title"));
        let mut bare = Figures::new(&[], "accuracy", "", Better::Higher);
        bare.push(["x".into()], 1.0);
        assert_eq!(text(bare).lines().count(), 1);
    }
}
