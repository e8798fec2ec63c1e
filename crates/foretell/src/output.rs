//! What the program says. A reader that went away (`foretell systems | head -1`) is no reason to fail, nor to panic as
//! `println!` does.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::path::Path;

use foretell_data::Unit;

use crate::Error;

/// Writes results to standard output.
pub fn print(text: impl Display) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Failure(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a value as JSON to standard output.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Failure(error.to_string()))?;
    print(text + "\n")
}

/// A path as a shell takes it for one word of a command.
pub(crate) fn word(path: &Path) -> String {
    let shown = path.to_string_lossy();
    shlex::try_quote(&shown).map_or_else(|_| shown.to_string(), std::borrow::Cow::into_owned)
}

/// Writes one line to standard error. Whether anybody reads it does not matter.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// "1 image", "2 images".
pub fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Names some of the samples that were passed over, if any were.
pub(crate) fn skipped_line(names: &[String], unit: Unit) -> Option<String> {
    let some = names.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
    (!names.is_empty()).then(|| format!("{} passed over as unreadable: {some}", unit.counted(names.len())))
}
