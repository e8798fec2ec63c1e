//! The keys of a recipe: `--set` entries, layers of tables, and unknown names with the nearest known one.

use toml::{Table, Value};

use crate::Error;

/// A TOML error as one line: where, and what.
pub(super) fn in_one_line(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or(text).lines().count().max(1));
    format!("line {line}: {}", error.message().replace('\n', "; "))
}

/// `key.path=value`; a value that is not TOML is taken as text.
pub(super) fn set(table: &mut Table, entry: &str) -> Result<(), Error> {
    let Some((key, text)) = entry.split_once('=') else {
        return Err(Error::Misuse(format!(
            "`--set {entry}` is not of the form key=value, such as `--set train.lr=0.001`"
        )));
    };
    let value = format!("x = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut t| t.remove("x"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let mut table = table;
    let mut parts = key.trim().split('.').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            table.insert(part.to_owned(), value);
            break;
        }
        let inner = table.entry(part.to_owned()).or_insert_with(|| Value::Table(Table::new()));
        table = match inner {
            Value::Table(inner) => inner,
            other => {
                return Err(Error::Misuse(format!(
                    "`--set {entry}`: `{part}` is the value {other}, not a group of settings"
                )));
            }
        };
    }
    Ok(())
}

/// Puts `over` on top of `under`. A group that names another `kind` replaces the default one whole.
pub(super) fn merge(under: &mut Table, over: &Table) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Table(below)), Value::Table(above))
                if above.get("kind").is_none_or(|kind| Some(kind) == below.get("kind")) =>
            {
                merge(below, above);
            }
            _ => {
                under.insert(key.clone(), value.clone());
            }
        }
    }
}

/// An error for any key of `asked` that the resolved table does not have.
pub(super) fn check_keys(asked: &Table, known: &Table, path: &str, name: &str) -> Result<(), Error> {
    for (key, value) in asked {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (known.get(key), value) {
            (Some(Value::Table(known)), Value::Table(asked)) => check_keys(asked, known, &full, name)?,
            (Some(_), _) => {}
            (None, _) => {
                let names = known
                    .keys()
                    .map(|k| if path.is_empty() { k.clone() } else { format!("{path}.{k}") })
                    .collect::<Vec<_>>();
                return Err(Error::Misuse(unknown(
                    "setting",
                    &full,
                    names.iter().map(String::as_str),
                    &format!("in {name}"),
                )));
            }
        }
    }
    Ok(())
}

/// The deserialiser's "unknown field `x`, expected `y` or `z` in `group`" in our words.
pub(super) fn unknown_field(text: &str, name: &str) -> Option<String> {
    let text = &text[text.find("unknown field ")?..];
    let (fields, path) = text.split_once(" in `").unwrap_or((text, ""));
    let path = path.trim_end_matches('`');
    let full = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    // Every other piece between backticks is a name.
    let mut named = fields.split('`').skip(1).step_by(2).map(full);
    let found = named.next()?;
    let known: Vec<String> = named.collect();
    Some(unknown("setting", &found, known.iter().map(String::as_str), &format!("in {name}")))
}

/// "unknown WHAT `x` …: did you mean `y`?"
pub fn unknown<'a>(what: &str, found: &str, known: impl Iterator<Item = &'a str>, more: &str) -> String {
    let known: Vec<&str> = known.collect();
    let near = known.iter().min_by_key(|k| strsim::damerau_levenshtein(found, k));
    let hint = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
    format!("unknown {what} `{found}`{hint} Known here: {}. ({more})", known.join(", "))
}
