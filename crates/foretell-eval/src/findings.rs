//! What an evaluation finds: figures with their controls, or pictures. A terminal, `summary.json`, `findings.json` and a
//! run's page all show the same type, each by one piece of code.

mod moving;
mod picture;
mod table;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

pub use moving::gif;
pub use picture::{Card, Format, Grid, Picture, Pictures, Strip, Tile};
pub use table::Group;

/// The dimension that says which features a figure belongs to: [`TRAINED`], [`UNTRAINED`], or a baseline's name.
pub const FEATURES: &str = "features";
/// The network after training.
pub const TRAINED: &str = "trained";
/// The control: the same network before its first step.
pub const UNTRAINED: &str = "untrained";

/// One thing that an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Its name for scripts and in links, "probes": none of `summary.json`'s own keys.
    pub key: String,
    /// "What the features know".
    pub title: String,
    /// How to read it, in a sentence or two.
    pub lead: String,
    /// What to know of these figures in particular.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What was found.
    pub body: Body,
}

/// See [`Finding`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// Numbers.
    Figures(Figures),
    /// What can only be looked at.
    Pictures(Pictures),
}

/// Numbers of one kind, one for each combination of the named dimensions: accuracy by factor, probe and features.
///
/// The order of the dimensions is the order of the layout: a table has a column, a chart a bar or a line, for each value of
/// the last one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// "factor", "probe", "features".
    pub dims: Vec<String>,
    /// What the numbers are: "accuracy".
    pub value: String,
    /// Their unit, or nothing; [`Figures::PERCENT`] for shares in 0..=1, which people see in percent.
    pub unit: String,
    /// Which direction is good.
    pub better: Better,
    /// The dimension with numbers that lines run along ("ahead", "labels"); none: bars.
    pub along: Option<String>,
    /// In the order in which they are shown.
    pub rows: Vec<Row>,
    /// Levels to read them against: chance, a published figure.
    pub references: Vec<Reference>,
}

/// Which direction is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// Accuracies, success.
    Higher,
    /// Errors.
    Lower,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// A value for each dimension.
    pub cells: Vec<Cell>,
    /// The figure.
    #[serde(deserialize_with = "number")]
    pub value: f64,
    /// Its standard deviation over folds or seeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<f64>,
    /// How many samples it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
}

/// A level that holds for all rows with these cells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// "chance".
    pub name: String,
    /// A value for each dimension; none where it holds for all of them.
    pub cells: Vec<Option<Cell>>,
    /// The level.
    #[serde(deserialize_with = "number")]
    pub value: f64,
}

/// The value of a dimension.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// Steps ahead, labels for each class.
    Number(f64),
    /// A name.
    Text(String),
}

/// JSON has no NaN: it is written as `null`.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            // 8 rather than 8.0, as far as f64 holds every whole number.
            Self::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
                serializer.serialize_i64(*number as i64)
            }
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Self::Number(count as f64)
    }
}

impl Cell {
    fn is(&self, name: &str) -> bool {
        matches!(self, Self::Text(text) if text == name)
    }
}

impl Finding {
    /// A finding of figures.
    pub fn figures(key: &str, title: &str, lead: &str, figures: Figures) -> Self {
        Self::of(key, title, lead, Body::Figures(figures))
    }

    /// A finding of pictures.
    pub fn pictures(key: &str, title: &str, lead: &str, pictures: Pictures) -> Self {
        Self::of(key, title, lead, Body::Pictures(pictures))
    }

    fn of(key: &str, title: &str, lead: &str, body: Body) -> Self {
        Self { key: key.to_owned(), title: title.to_owned(), lead: lead.to_owned(), notes: Vec::new(), body }
    }

    /// Its figures; none for pictures.
    pub fn as_figures(&self) -> Option<&Figures> {
        match &self.body {
            Body::Figures(figures) => Some(figures),
            Body::Pictures(_) => None,
        }
    }

    /// Says which control is missing: wherever a figure of features stands, there must be one of the trained network, one
    /// of the same network untrained, and one of a baseline without any network.
    pub fn missing_control(&self) -> Option<String> {
        let figures = self.as_figures()?;
        let features = figures.dims.iter().position(|dim| dim == FEATURES)?;
        let key = &self.key;
        if figures.rows.is_empty() {
            return Some(format!("`{key}` compares features and has no figure"));
        }
        figures.groups(features).into_iter().find_map(|group| {
            let names: Vec<&Cell> = group.rows.iter().filter_map(|row| row.cells.get(features)).collect();
            let missing = [TRAINED, UNTRAINED].into_iter().find(|control| !names.iter().any(|name| name.is(control)));
            let baseline = names.iter().any(|name| !name.is(TRAINED) && !name.is(UNTRAINED));
            let missing = missing.or((!baseline).then_some("baseline"))?;
            let others = figures.dims.iter().enumerate().filter(|(dim, _)| *dim != features);
            let place: Vec<String> =
                others.zip(&group.cells).map(|((_, dim), cell)| format!("{dim} = {cell}")).collect();
            let place = if place.is_empty() { String::new() } else { format!(" for {}", place.join(", ")) };
            Some(format!("`{key}` has no figure of {missing} features{place}"))
        })
    }

    /// Says what does not fit together in it, as in a file that was changed by hand.
    pub fn fault(&self) -> Option<String> {
        let Figures { dims, along, rows, references, .. } = self.as_figures()?;
        let (key, expected) = (&self.key, dims.len());
        let widths = rows.iter().map(|row| row.cells.len()).chain(references.iter().map(|level| level.cells.len()));
        if expected == 0 {
            return Some(format!("`{key}` has figures and no dimension"));
        }
        if let Some(found) = widths.into_iter().find(|found| *found != expected) {
            return Some(format!("`{key}` has {expected} dimensions, and one of its rows has {found} cells"));
        }
        let along = along.as_ref().filter(|along| !dims.contains(along))?;
        Some(format!("`{key}` runs along `{along}`, which is none of its dimensions: {}", dims.join(", ")))
    }
}

/// What scripts are given of findings: under each key of figures a list of records, the dimensions' values and the figure;
/// under each reference's name the same of its levels, once where two findings share it. Pictures are left out.
pub fn records(findings: &[Finding]) -> Map<String, Value> {
    let mut all = Map::new();
    let mut add = |key: &str, record: Map<String, Value>| {
        let list = all.entry(key).or_insert_with(|| Value::Array(Vec::new()));
        let record = Value::Object(record);
        if let Value::Array(list) = list
            && !list.contains(&record)
        {
            list.push(record);
        }
    };
    for finding in findings {
        let Some(Figures { dims, value, rows, references, .. }) = finding.as_figures() else { continue };
        let json = |cell: &Cell| serde_json::to_value(cell).unwrap_or(Value::Null);
        for row in rows {
            let mut record: Map<String, Value> =
                dims.iter().zip(&row.cells).map(|(dim, cell)| (dim.clone(), json(cell))).collect();
            record.insert(value.clone(), row.value.into());
            if let Some(spread) = row.spread {
                record.insert("spread".to_owned(), spread.into());
            }
            if let Some(samples) = row.samples {
                record.insert("n".to_owned(), samples.into());
            }
            add(&finding.key, record);
        }
        for level in references {
            let held =
                dims.iter().zip(&level.cells).filter_map(|(dim, cell)| Some((dim.clone(), json(cell.as_ref()?))));
            let mut record: Map<String, Value> = held.collect();
            record.insert(value.clone(), level.value.into());
            add(&level.name, record);
        }
    }
    all
}

impl Figures {
    /// The unit of shares in 0..=1, which people see in percent.
    pub const PERCENT: &str = "%";

    /// Without a figure yet.
    pub fn new(dims: &[&str], value: &str, unit: &str, better: Better) -> Self {
        Self {
            dims: dims.iter().map(|dim| (*dim).to_owned()).collect(),
            value: value.to_owned(),
            unit: unit.to_owned(),
            better,
            along: None,
            rows: Vec::new(),
            references: Vec::new(),
        }
    }

    /// The same, drawn as lines along a dimension.
    #[must_use]
    pub fn along(self, dim: &str) -> Self {
        Self { along: Some(dim.to_owned()), ..self }
    }

    /// Adds a figure; a cell for each dimension.
    pub fn push(&mut self, cells: impl IntoIterator<Item = Cell>, value: f64) {
        self.rows.push(Row { cells: cells.into_iter().collect(), value, spread: None, samples: None });
    }

    /// The same with the number of samples that each figure is of.
    #[must_use]
    pub fn over(mut self, samples: usize) -> Self {
        self.rows.iter_mut().for_each(|row| row.samples = Some(samples));
        self
    }

    /// Adds a level to read figures against; a cell for each dimension, none where it holds for all.
    pub fn refer(&mut self, name: &str, cells: impl IntoIterator<Item = Option<Cell>>, value: f64) {
        self.references.push(Reference { name: name.to_owned(), cells: cells.into_iter().collect(), value });
    }

    /// The figure of a row.
    pub fn get(&self, cells: &[Cell]) -> Option<f64> {
        self.rows.iter().find(|row| row.cells == cells).map(|row| row.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes() -> Figures {
        let mut figures = Figures::new(&["factor", "probe", FEATURES], "accuracy", Figures::PERCENT, Better::Higher);
        for (features, accuracy) in [(TRAINED, 0.75), (UNTRAINED, 0.5), ("pixels", f64::NAN)] {
            figures.push(["class".into(), "knn".into(), features.into()], accuracy);
        }
        figures.refer("chance", [Some("class".into()), None, None], 0.25);
        figures
    }

    fn finding(figures: Figures) -> Finding {
        Finding::figures("probes", "What the features know", "Read it so.", figures)
    }

    #[test]
    fn findings_survive_their_file_whatever_their_figures_are() {
        let mut ahead = Figures::new(&["ahead"], "error", "", Better::Lower).along("ahead");
        ahead.push([3usize.into()], 0.5);
        ahead.push([0.25.into()], f64::INFINITY);
        ahead.rows[0].spread = Some(0.125);
        let picture = Picture::rgb(2, 1, &[1, 2, 3, 4, 5, 6]);
        let grid = Grid { rows: 1, columns: 2, classes: vec![0, 2] };
        let tile = Tile { grid: Some(grid), ..Tile::new(picture, "sample") };
        let strip = Strip { name: TRAINED.to_owned(), note: "0 of 1".to_owned(), tiles: vec![Tile::new(None, "gone")] };
        let pictures = Pictures {
            legend: vec!["unused".to_owned()],
            cards: vec![Card { tiles: vec![tile], strips: vec![strip] }],
        };
        let all = vec![finding(ahead), finding(probes()), Finding::pictures("masks", "What was hidden", "", pictures)];
        let text = serde_json::to_string(&all).unwrap();
        let read: Vec<Finding> = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        let [ahead, probes, masks] = read.as_slice() else { panic!("{read:?}") };
        let ahead = ahead.as_figures().unwrap();
        assert_eq!((ahead.get(&[3usize.into()]), ahead.rows[0].spread), (Some(0.5), Some(0.125)));
        assert!(ahead.rows[1].value.is_nan() && probes.as_figures().unwrap().rows[2].value.is_nan());
        assert_eq!(masks, &all[2]);
    }

    #[test]
    fn scripts_are_given_records_under_the_findings_keys() {
        let mut ahead = Figures::new(&["ahead", "of"], "error", "", Better::Lower).along("ahead");
        ahead.push([2usize.into(), "model".into()], 0.5);
        ahead.rows[0].spread = Some(0.125);
        let forecast = Finding { key: "forecast".to_owned(), ..finding(ahead) };
        let shown = Finding::pictures("masks", "", "", Pictures::default());
        assert_eq!(
            Value::Object(records(&[finding(probes()), forecast, shown])),
            serde_json::json!({
                "probes": [
                    { "factor": "class", "probe": "knn", "features": "trained", "accuracy": 0.75 },
                    { "factor": "class", "probe": "knn", "features": "untrained", "accuracy": 0.5 },
                    { "factor": "class", "probe": "knn", "features": "pixels", "accuracy": null },
                ],
                "chance": [{ "factor": "class", "accuracy": 0.25 }],
                "forecast": [{ "ahead": 2, "of": "model", "error": 0.5, "spread": 0.125 }],
            })
        );
    }

    #[test]
    fn every_control_is_missed() {
        assert_eq!(finding(probes()).missing_control(), None);
        for (gone, missing) in [(0, TRAINED), (1, UNTRAINED), (2, "baseline")] {
            let mut figures = probes();
            figures.rows.remove(gone);
            let said = finding(figures).missing_control().unwrap();
            assert_eq!(said, format!("`probes` has no figure of {missing} features for factor = class, probe = knn"));
        }
        // A second probe needs controls of its own.
        let mut figures = probes();
        figures.push(["class".into(), "linear".into(), TRAINED.into()], 0.9);
        assert!(finding(figures).missing_control().unwrap().ends_with("for factor = class, probe = linear"));
        let figures = Figures { rows: Vec::new(), ..probes() };
        assert!(finding(figures).missing_control().unwrap().contains("no figure"));
        // What compares no features needs none.
        let mut planned = Figures::new(&["agent"], "success", Figures::PERCENT, Better::Higher);
        planned.push(["icem".into()], 0.9);
        assert_eq!(finding(planned).missing_control(), None);
    }

    #[test]
    fn what_does_not_fit_together_is_said() {
        assert_eq!(finding(probes()).fault(), None);
        let mut short = probes();
        short.rows[1].cells.pop();
        assert!(finding(short).fault().unwrap().contains("3 dimensions, and one of its rows has 2 cells"));
        let mut wide = probes();
        wide.references[0].cells.push(None);
        assert!(finding(wide).fault().unwrap().contains("4 cells"));
        assert!(finding(probes().along("ahead")).fault().unwrap().contains("`ahead`"));
        let nothing = Figures::new(&[], "accuracy", "", Better::Higher);
        assert!(finding(nothing).fault().unwrap().contains("no dimension"));
    }
}
