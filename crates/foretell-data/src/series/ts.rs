//! The `.ts` format of aeon and sktime: a header of `@` lines, then a series on each line, its channels parted by colons, the class behind
//! the last. Series may differ in length, a value may be missing (`?`), values may have times: `(2008-01-01 00:00:00,3.2),…`.

use std::path::Path;

use crate::DataError;
use crate::series::raw::{RawSeries, RawSet};
use crate::series::text::{Text, number, shown};
use crate::series::time::{clock_of, date};
use crate::series::ucr::class;

/// Whether a file that begins so is of this format, and not a transport stream of the same name.
pub(crate) fn is_ts(head: &[u8]) -> bool {
    let start = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    matches!(start, [b'#' | b'@', ..]) && !head.contains(&0)
}

/// What a header says.
#[derive(Debug, Default)]
struct Header {
    timestamps: bool,
    /// Whether there are classes, and which, where they are listed.
    labelled: bool,
    classes: Vec<String>,
    /// A number in place of a class.
    target: bool,
    dimensions: Option<usize>,
    univariate: Option<bool>,
    equal: Option<bool>,
    length: Option<usize>,
}

impl Header {
    fn take(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.split_whitespace();
        let key = words.next().unwrap_or("").to_lowercase();
        let mut flag = |what: &str| match words.next().map(str::to_lowercase).as_deref() {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            other => Err(format!("`{what}` must be true or false, found {}", shown(other.unwrap_or("")))),
        };
        match key.as_str() {
            "@timestamps" => self.timestamps = flag("@timeStamps")?,
            "@univariate" => self.univariate = Some(flag("@univariate")?),
            "@equallength" => self.equal = Some(flag("@equalLength")?),
            "@missing" => _ = flag("@missing")?,
            "@classlabel" => {
                self.labelled = flag("@classLabel")?;
                self.classes = words.map(class).collect();
            }
            "@targetlabel" => self.target = flag("@targetLabel")?,
            "@dimensions" | "@dimension" | "@serieslength" => {
                let word = words.next().unwrap_or("");
                let count = word.parse().ok().filter(|count| *count > 0 && *count < 1 << 24);
                let count = Some(count.ok_or_else(|| format!("`{key}` must be a count, found {}", shown(word)))?);
                if key == "@serieslength" { self.length = count } else { self.dimensions = count }
            }
            // Names, and keys of forecasting sets.
            _ => {}
        }
        Ok(())
    }

    /// How many channels a line has, where the header tells.
    fn channels(&self) -> Option<usize> {
        self.dimensions.or_else(|| (self.univariate == Some(true)).then_some(1))
    }
}

/// The parts of a line between colons outside parentheses: times hold colons too.
fn parts(line: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut start, mut deep) = (Vec::new(), 0, 0_usize);
    for (at, character) in line.char_indices() {
        match character {
            '(' => deep += 1,
            ')' => deep = deep.checked_sub(1).ok_or("a parenthesis closes that was never opened")?,
            ':' if deep == 0 => {
                parts.push(line[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(line[start..].trim());
    if deep > 0 { Err("a parenthesis is never closed".to_owned()) } else { Ok(parts) }
}

fn plain(part: &str) -> Result<Vec<f32>, String> {
    if part.is_empty() { Ok(Vec::new()) } else { part.split(',').map(number).collect() }
}

/// Values with their times, those that the clock has no value for as holes.
fn timed(part: &str) -> Result<Vec<f32>, String> {
    let (mut times, mut values) = (Vec::new(), Vec::new());
    let mut rest = part.trim();
    while !rest.is_empty() {
        let open =
            rest.strip_prefix('(').ok_or_else(|| format!("{} where `(time,value)` was expected", shown(rest)))?;
        let (pair, behind) = open.split_once(')').ok_or("a parenthesis is never closed")?;
        let (time, value) = pair.rsplit_once(',').ok_or_else(|| format!("`({pair})` is no `(time,value)`"))?;
        let at = date(time).or_else(|| time.trim().parse().ok().filter(|time: &f64| time.is_finite()));
        let at = at.ok_or_else(|| format!("{} where a time was expected", shown(time)))?;
        if times.last().is_some_and(|before| at <= *before) {
            return Err(format!("time does not go on at {}", shown(time)));
        }
        times.push(at);
        values.push(number(value)?);
        rest = behind.trim_start().strip_prefix(',').unwrap_or(behind).trim_start();
    }
    let Some(clock) = clock_of(&times).filter(|clock| clock.gaps > 0) else { return Ok(values) };
    let mut filled = vec![f32::NAN; clock.places.last().map_or(0, |last| last + 1)];
    clock.places.iter().zip(values).for_each(|(place, value)| filled[*place] = value);
    Ok(filled)
}

/// Reads one file.
pub(crate) fn read(path: &Path) -> Result<RawSet, DataError> {
    let text = Text::read(path)?;
    let (mut header, mut in_data) = (Header::default(), false);
    let (mut train, mut channels, mut notes) = (Vec::<RawSeries>::new(), None, Vec::new());
    for (line, row) in text.lines() {
        if row.starts_with('#') || row.starts_with('%') {
            continue;
        }
        if !in_data {
            if row.eq_ignore_ascii_case("@data") {
                in_data = true;
            } else if row.starts_with('@') {
                header.take(row).map_err(|reason| text.bad(format!("line {line}: {reason}")))?;
            } else {
                return Err(text.bad(format!("line {line} holds {} before `@data`", shown(row))));
            }
            continue;
        }
        let place = train.len();
        let bad = |reason: String| text.bad(format!("line {line} (series {place}, the first is 0): {reason}"));
        let mut parts = parts(row).map_err(bad)?;
        let label = if header.labelled || header.target { parts.pop() } else { None };
        if header.labelled && label.is_none_or(str::is_empty) {
            return Err(bad("it has no class behind the last colon".to_owned()));
        }
        let label = label.filter(|_| header.labelled).map(class);
        if let Some(label) = &label
            && !header.classes.is_empty()
            && !header.classes.contains(label)
        {
            return Err(bad(format!("its class {} is none of those in `@classLabel`", shown(label))));
        }
        let expected = *channels.get_or_insert(header.channels().unwrap_or(parts.len()));
        if parts.len() != expected || parts.is_empty() {
            return Err(bad(format!(
                "it has {} channels where {} were expected{}",
                parts.len(),
                expected,
                if header.labelled || header.target { ", and a class behind them" } else { "" }
            )));
        }
        let read = |part: &&str| if header.timestamps { timed(part) } else { plain(part) };
        let values = parts.iter().map(read).collect::<Result<Vec<_>, String>>().map_err(bad)?;
        if let (Some(true), Some(length)) = (header.equal, header.length)
            && !header.timestamps
            && let Some(other) = values.iter().map(Vec::len).find(|other| *other != length)
        {
            return Err(bad(format!(
                "it has {other} values where `@seriesLength` says {length} for all: the line was cut, or `@equalLength` is false"
            )));
        }
        let series = RawSeries::of_channels(&values, label);
        if series.values.is_empty() {
            return Err(bad("nothing of it is known; remove it".to_owned()));
        }
        train.push(series);
    }
    if !in_data {
        return Err(text.bad("it has no line `@data`: the file was cut, or it is of another format"));
    }
    let Some(channels) = channels else { return Err(text.bad("there is no series behind `@data`")) };
    if header.target {
        notes.push("its targets are numbers and not classes: they are left out".to_owned());
    }
    Ok(RawSet { form: "series in aeon's .ts", channels, train, notes, ..RawSet::default() })
}
