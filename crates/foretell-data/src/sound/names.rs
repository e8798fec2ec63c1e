//! Labels by a pattern of file names: `{digit}_{speaker}_{take}` makes three sets of labels of `7_jackson_32.wav`. One of them may
//! tell the two parts apart instead.

use regex::bytes::{Captures, Regex};

use super::config::SoundConfig;
use crate::DataError;
use crate::images::groups::apart as apart_by_hash;
use crate::images::labels::by_text;
use crate::images::records::{Contents, Entry};

/// A pattern in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A name, or nothing.
    Field(String),
}

fn pieces(pattern: &str) -> Result<Vec<Piece>, DataError> {
    let wrong = |expected: &'static str| DataError::BadSetting {
        name: "data.pattern".into(),
        expected,
        found: format!("`{pattern}`"),
    };
    let (mut all, mut rest) = (Vec::new(), pattern);
    while let Some((text, field)) = rest.split_once('{') {
        let (name, behind) = field.split_once('}').ok_or_else(|| wrong("a pattern whose braces are closed"))?;
        if text.is_empty() && matches!(all.last(), Some(Piece::Field(_))) {
            return Err(wrong("a pattern with something between two names in braces, such as `{digit}_{speaker}`"));
        }
        if !text.is_empty() {
            all.push(Piece::Text(text.to_owned()));
        }
        let field = Piece::Field(name.to_owned());
        if !name.is_empty() && all.contains(&field) {
            return Err(wrong("a pattern that names each set of labels once"));
        }
        all.push(field);
        rest = behind;
    }
    if !rest.is_empty() {
        all.push(Piece::Text(rest.to_owned()));
    }
    if !all.iter().any(|piece| matches!(piece, Piece::Field(name) if !name.is_empty())) {
        return Err(wrong("a pattern with a name in braces, such as `{digit}_{speaker}_{}`"));
    }
    Ok(all)
}

/// The regular expression of a pattern, which is found in a whole file name without its ending; what `captured` says of a name is a
/// group.
fn expression(pieces: &[Piece], captured: impl Fn(&str) -> bool) -> String {
    let inner = pieces.iter().map(|piece| match piece {
        Piece::Text(text) => regex::escape(text),
        Piece::Field(name) if captured(name) => "([^/]+?)".to_owned(),
        Piece::Field(_) => "(?:[^/]+?)".to_owned(),
    });
    format!(r"(?:^|/){}(?:\.[^./]*)?$", inner.collect::<String>())
}

/// Labels and parts of recordings as the settings say; nothing where there is no pattern. Of what is only embedded (`whole`), labels
/// are taken where the names have them.
pub(super) fn arrange(contents: &mut Contents, config: &SoundConfig, whole: bool) -> Result<(), DataError> {
    let SoundConfig { pattern, apart, held_out, .. } = config;
    if pattern.is_empty() {
        if apart.is_empty() {
            return Ok(());
        }
        return Err(DataError::BadSetting {
            name: "data.apart".into(),
            expected: "a name in braces of `data.pattern`, which is not given",
            found: format!("`{apart}`"),
        });
    }
    let pieces = pieces(pattern)?;
    let names: Vec<&str> = pieces
        .iter()
        .filter_map(|piece| if let Piece::Field(name) = piece { Some(name.as_str()) } else { None })
        .filter(|name| !name.is_empty())
        .collect();
    if !apart.is_empty() && !names.contains(&apart.as_str()) {
        return Err(DataError::BadSetting {
            name: "data.apart".into(),
            expected: "a name in braces of `data.pattern`",
            found: format!("`{apart}`, and the pattern is `{pattern}`"),
        });
    }
    let wrong = |error: regex::Error| DataError::Setting(format!("`data.pattern`: {error}"));
    let fits = Regex::new(&expression(&pieces, |name| !name.is_empty())).map_err(wrong)?;
    let without =
        |entries: &[Entry]| entries.iter().find(|entry| !fits.is_match(entry.name.as_bytes())).map(|e| e.name.clone());
    if let Some(name) = without(&contents.train).or_else(|| without(&contents.held_out)) {
        if whole {
            return Ok(());
        }
        return Err(DataError::Setting(format!(
            "`data.pattern`: `{pattern}` does not fit the name `{name}`: change the pattern, or move what is named otherwise away"
        )));
    }
    let field = |entry: &Entry, at: usize| -> String {
        let found: Option<Captures<'_>> = fits.captures(entry.name.as_bytes());
        let part = found.as_ref().and_then(|found| found.get(at + 1));
        part.map(|part| String::from_utf8_lossy(part.as_bytes()).into_owned()).unwrap_or_default()
    };
    if let (false, Some(at)) = (whole, names.iter().position(|name| name == apart)) {
        if held_out.is_empty() {
            let one = expression(&pieces, |name| name == apart.as_str());
            "held out by a hash of their paths".clone_into(&mut contents.split);
            by_hash(contents, &one, apart)?;
        } else {
            hold_out(contents, held_out, apart, |entry| field(entry, at))?;
        }
    }
    contents.factors.clear();
    let mut columns = Vec::new();
    for (at, name) in names.iter().enumerate().filter(|(_, name)| **name != apart.as_str()) {
        let texts: Vec<String> =
            contents.train.iter().chain(&contents.held_out).map(|entry| field(entry, at)).collect();
        let (mut factor, labels) = by_text(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        (*name).clone_into(&mut factor.name);
        contents.factors.push(factor);
        columns.push(labels);
    }
    for (place, entry) in contents.train.iter_mut().chain(&mut contents.held_out).enumerate() {
        entry.labels = columns.iter().map(|labels| labels[place]).collect();
    }
    contents.format = format!("recordings labelled by their names ({pattern})");
    Ok(())
}

/// One in ten of the groups, at least one.
fn by_hash(contents: &mut Contents, expression: &str, apart: &str) -> Result<(), DataError> {
    crate::images::split::BY_HASH.clone_into(&mut contents.split);
    let told = |error: DataError| match error {
        DataError::Setting(text) => DataError::Setting(text.replace("data.group", "data.apart")),
        other => other,
    };
    apart_by_hash(contents, expression).map_err(told)?;
    contents.split =
        contents.split.replace("data.group", "data.apart").replace("groups", &format!("values of `{apart}`"));
    Ok(())
}

fn hold_out(
    contents: &mut Contents,
    held_out: &[String],
    apart: &str,
    of: impl Fn(&Entry) -> String,
) -> Result<(), DataError> {
    let all = std::mem::take(&mut contents.train).into_iter().chain(std::mem::take(&mut contents.held_out));
    let mut all: Vec<Entry> = all.collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    for value in held_out {
        if !all.iter().any(|entry| of(entry) == *value) {
            let mut known: Vec<String> = all.iter().map(&of).collect();
            known.sort();
            known.dedup();
            known.truncate(12);
            return Err(DataError::BadSetting {
                name: "data.held_out".into(),
                expected: "values that `data.apart` has in the names",
                found: format!("`{value}`, and `{apart}` is {}", known.join(", ")),
            });
        }
    }
    let (held, train): (Vec<Entry>, Vec<Entry>) = all.into_iter().partition(|entry| held_out.contains(&of(entry)));
    if train.is_empty() {
        return Err(DataError::BadSetting {
            name: "data.held_out".into(),
            expected: "some values of `data.apart`, and not all of them",
            found: format!("{held_out:?}"),
        });
    }
    (contents.train, contents.held_out) = (train, held);
    contents.split = format!("held out where `{apart}` is {} (`data.apart`)", held_out.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::listing::Place;
    use crate::images::records::Content;

    fn contents() -> Contents {
        let entry = |name: String| Entry {
            content: Content::Encoded(Place::File { path: name.clone().into(), size: 1 }),
            name,
            size: 1,
            labels: Box::default(),
        };
        let names = (0..3).flat_map(|digit| ["theo", "lucas", "george"].map(|speaker| (digit, speaker)));
        let train = names.flat_map(|(d, s)| [0, 1].map(|take| entry(format!("all/{d}_{s}_{take}.wav")))).collect();
        Contents { train, ..Contents::default() }
    }

    fn arranged(config: &SoundConfig) -> Result<Contents, DataError> {
        let mut contents = contents();
        arrange(&mut contents, config, false)?;
        Ok(contents)
    }

    #[test]
    fn names_give_labels_and_parts() {
        let pattern = "{digit}_{speaker}_{take}".to_owned();
        let all = arranged(&SoundConfig { pattern: pattern.clone(), ..SoundConfig::default() }).unwrap();
        let factors: Vec<_> = all.factors.iter().map(|factor| (factor.name.as_str(), factor.classes.len())).collect();
        assert_eq!(factors, [("digit", 3), ("speaker", 3), ("take", 2)]);
        assert_eq!(all.train[1].name, "all/0_theo_1.wav");
        assert_eq!(*all.train[1].labels, [0, 2, 1]);

        let config = SoundConfig { pattern: pattern.clone(), apart: "speaker".to_owned(), ..SoundConfig::default() };
        let theo = arranged(&SoundConfig { held_out: vec!["theo".to_owned()], ..config.clone() }).unwrap();
        assert_eq!((theo.train.len(), theo.held_out.len(), theo.factors.len()), (12, 6, 2));
        assert!(theo.held_out.iter().all(|entry| entry.name.contains("theo")));
        let hashed = arranged(&config).unwrap();
        assert_eq!(hashed.train.len() + hashed.held_out.len(), 18);
        assert!(hashed.held_out.len().is_multiple_of(6) && !hashed.held_out.is_empty() && !hashed.train.is_empty());
        assert!(hashed.split.contains("data.apart"), "{}", hashed.split);

        let digits = arranged(&SoundConfig { pattern: "{digit}_{}".to_owned(), ..SoundConfig::default() }).unwrap();
        assert_eq!(digits.factors.len(), 1);
    }

    #[test]
    fn patterns_that_do_not_fit_are_refused() {
        let config = |pattern: &str, apart: &str, held_out: &[&str]| SoundConfig {
            pattern: pattern.to_owned(),
            apart: apart.to_owned(),
            held_out: held_out.iter().map(|text| (*text).to_owned()).collect(),
            ..SoundConfig::default()
        };
        let refused = |pattern: &str, apart: &str, held_out: &[&str]| {
            arranged(&config(pattern, apart, held_out)).unwrap_err().to_string()
        };
        assert!(refused("{a}-{b}", "", &[]).contains("does not fit the name `all/0_theo_0.wav`"));
        assert!(refused("{a}{b}", "", &[]).contains("between two names"));
        assert!(refused("{a", "", &[]).contains("closed") && refused("abc", "", &[]).contains("in braces"));
        assert!(refused("{a}_{a}", "", &[]).contains("once"));
        assert!(refused("", "speaker", &[]).contains("data.pattern"));
        assert!(refused("{d}_{s}_{t}", "speaker", &[]).contains("`speaker`, and the pattern"));
        assert!(refused("{d}_{s}_{t}", "s", &["max"]).contains("george, lucas, theo"));
        assert!(refused("{d}_{s}_{t}", "s", &["george", "lucas", "theo"]).contains("not all of them"));
    }
}
