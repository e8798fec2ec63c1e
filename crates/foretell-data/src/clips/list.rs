//! A list of clips: in each line the path of a clip and its label, apart by a tab or a space; a path with spaces stands in quotation
//! marks, or is followed by a tab. Paths count from the list's folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::Clip;
use crate::DataError;

/// Longer files are no lists.
const LONGEST: u64 = 1 << 28;

/// One line of a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listed {
    /// As the list has it.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) label: Option<String>,
}

/// Whether a file may be a list: a text file, of which the first line names something that is there.
pub(crate) fn is_list(path: &Path) -> bool {
    is_list_of(path, |path| path.is_dir() || Clip::is_video(path) || Clip::is_animation(path))
}

/// The same of other things than clips.
pub(crate) fn is_list_of(path: &Path, is_one: impl Fn(&Path) -> bool) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if !["txt", "csv", "tsv", "list", "lst"].contains(&extension.as_str()) || !path.is_file() {
        return false;
    }
    let Ok(text) = text(path) else { return false };
    let first = text.lines().find(|line| !is_blank(line));
    first.and_then(|line| entry(line).ok()).is_some_and(|(name, _)| is_one(&place(path, name)))
}

/// Its lines.
pub(crate) fn read(path: &Path) -> Result<Vec<Listed>, DataError> {
    let bad = |number: usize, reason: String| DataError::BadClip {
        name: format!("{}, line {number}", path.display()),
        reason,
    };
    let (text, mut all) = (text(path)?, Vec::<Listed>::new());
    let mut first = None;
    for (line, number) in text.lines().zip(1..) {
        if is_blank(line) {
            continue;
        }
        let (name, label) = entry(line).map_err(|reason| bad(number, reason))?;
        let of = place(path, name);
        if !of.exists() {
            return Err(bad(number, format!("there is no file or folder `{}`", of.display())));
        }
        // A label in one line and none in another is a slip.
        match first {
            None => first = Some((label.is_some(), number)),
            Some((labelled, line)) if labelled != label.is_some() => {
                let (with, without) = if labelled { (line, number) } else { (number, line) };
                return Err(bad(
                    without,
                    format!(
                        "it has no label, and line {with} has one (a path with spaces stands in quotation marks, or is followed by a tab)"
                    ),
                ));
            }
            Some(_) => {}
        }
        all.push(Listed { name: name.to_owned(), path: of, label: label.map(str::to_owned) });
    }
    Ok(all)
}

fn text(path: &Path) -> Result<String, DataError> {
    let failed = |source| DataError::reading(path, source);
    let length = fs::metadata(path).map_err(failed)?.len();
    let bad = |reason: String| DataError::BadClip { name: path.display().to_string(), reason };
    if length > LONGEST {
        return Err(bad(format!("it has {length} bytes, and the limit for a list is {LONGEST}")));
    }
    let bytes = fs::read(path).map_err(failed)?;
    let text = String::from_utf8(bytes).map_err(|_| bad("expected a list in UTF-8, found other bytes".to_owned()))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty() || line.trim_start().starts_with('#')
}

/// Path and label of a line.
fn entry(line: &str) -> Result<(&str, Option<&str>), String> {
    let line = line.trim();
    let (name, label) = if let Some(rest) = line.strip_prefix('"') {
        let (name, rest) = rest.split_once('"').ok_or("a quotation mark is opened and never closed")?;
        if rest.contains('"') {
            return Err("it has more than two quotation marks".to_owned());
        }
        (name, rest.trim_start_matches(',').trim())
    } else if let Some((name, label)) = line.rsplit_once('\t') {
        (name.trim(), label.trim())
    } else if let Some((name, label)) = line.rsplit_once([' ', ',']) {
        let name = name.trim_end_matches(',').trim();
        if name.contains(' ') {
            return Err(format!(
                "it is not clear where the path ends in `{line}`: put the path in quotation marks, or a tab behind it"
            ));
        }
        (name, label.trim())
    } else {
        (line, "")
    };
    if name.is_empty() {
        return Err("it names no path".to_owned());
    }
    Ok((name, (!label.is_empty()).then_some(label)))
}

fn place(list: &Path, name: &str) -> PathBuf {
    list.parent().unwrap_or(Path::new("")).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_paths_and_labels() {
        for (line, expected) in [
            ("a.mp4 3", ("a.mp4", Some("3"))),
            ("a.mp4", ("a.mp4", None)),
            ("a.mp4,run", ("a.mp4", Some("run"))),
            ("a.mp4, run", ("a.mp4", Some("run"))),
            ("b c.mp4\tjump high", ("b c.mp4", Some("jump high"))),
            ("\"b c.mp4\" jump high", ("b c.mp4", Some("jump high"))),
            ("  \"b, c.mp4\",4", ("b, c.mp4", Some("4"))),
            ("\"b c.mp4\"", ("b c.mp4", None)),
        ] {
            assert_eq!(entry(line).unwrap(), expected, "{line}");
        }
        assert!(entry("b c.mp4 4").unwrap_err().contains("quotation marks"));
        assert!(entry("\"b c.mp4 4").is_err() && entry("\"\" 4").is_err() && entry("\"a\" \"b\"").is_err());
    }

    #[test]
    fn what_is_missing_is_named_with_its_line() {
        let root = tempfile::tempdir().unwrap();
        let list = root.path().join("list.txt");
        fs::write(root.path().join("a.gif"), b"GIF89a").unwrap();
        let refusal = |text: &str| {
            fs::write(&list, text).unwrap();
            read(&list).unwrap_err().to_string()
        };
        assert!(refusal("# clips\na.gif 1\n\nb.gif 2\n").contains("list.txt, line 4"));
        let slip = refusal("a.gif 1\na.gif\n");
        assert!(slip.contains("line 2") && slip.contains("line 1 has one"), "{slip}");
        fs::write(&list, "a.gif 1\r\na.gif 2\r\n").unwrap();
        assert!(is_list(&list));
        let all = read(&list).unwrap();
        assert_eq!((all[1].label.as_deref(), all[1].path.as_path()), (Some("2"), root.path().join("a.gif").as_path()));
    }
}
