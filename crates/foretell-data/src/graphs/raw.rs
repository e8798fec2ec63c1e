//! Graphs as they stand in files, before their tags are numbered.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::graphs::text::{self, Text, whole};
use crate::graphs::{one_file, tu_folder};

/// A graph with the file's own numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RawGraph {
    /// `[N]`
    pub(crate) tags: Vec<i64>,
    /// `[N, W]`
    pub(crate) attributes: Vec<f32>,
    /// Nodes from 0.
    pub(crate) edges: Vec<(u32, u32)>,
    /// As many as edges, or none.
    pub(crate) edge_labels: Vec<i64>,
    pub(crate) label: Option<i64>,
    pub(crate) numbers: Vec<f32>,
}

/// A set of them: at least one, each with at least one node, every edge between nodes that exist.
#[derive(Debug)]
pub(crate) struct RawSet {
    /// Of the set, such as `MUTAG`.
    pub(crate) name: String,
    /// Which form it was read from.
    pub(crate) form: &'static str,
    /// Where fold files would lie.
    pub(crate) folder: PathBuf,
    pub(crate) graphs: Vec<RawGraph>,
    /// Whether nodes have no labels; all tags are 0 then.
    pub(crate) unlabelled: bool,
    pub(crate) notes: Vec<String>,
}

impl RawSet {
    /// The tags of all nodes, ascending.
    pub(crate) fn tags(&self) -> Vec<i64> {
        distinct(self.graphs.iter().flat_map(|graph| &graph.tags))
    }

    /// The labels of all edges, ascending.
    pub(crate) fn edge_labels(&self) -> Vec<i64> {
        distinct(self.graphs.iter().flat_map(|graph| &graph.edge_labels))
    }

    /// Attributes of each node.
    pub(crate) fn attribute_width(&self) -> usize {
        self.graphs.first().map_or(0, |graph| graph.attributes.len() / graph.tags.len())
    }
}

pub(crate) fn distinct<'a>(values: impl Iterator<Item = &'a i64>) -> Vec<i64> {
    values.copied().collect::<BTreeSet<_>>().into_iter().collect()
}

/// The two forms in which graphs lie in files.
pub(crate) enum Form {
    /// One text file.
    OneFile(PathBuf),
    /// Companions `NAME_*.txt` in a folder.
    TuFolder { folder: PathBuf, name: String },
}

/// What ends the name of the file with the edges.
const EDGES: &str = "_A.txt";

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The text files in a folder, and the folders `NAME` in it that hold `NAME.txt` or `NAME_A.txt`.
fn listing(path: &Path) -> std::io::Result<(Vec<String>, Vec<String>)> {
    let (mut names, mut below) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = file_name(&entry.path());
        let own = |end: &str| path.join(&name).join(format!("{name}{end}")).is_file();
        // Anything else is not looked at: folders of images are large.
        if name.strip_suffix(".txt").is_some() {
            names.push(name);
        } else if entry.file_type()?.is_dir() && (own(".txt") || own(EDGES)) {
            below.push(name);
        }
    }
    names.sort_unstable();
    below.sort_unstable();
    Ok((names, below))
}

/// What lies at a path: a file of either form, or a folder with one of them, or with one folder `NAME` that holds `NAME.txt`
/// or `NAME_A.txt`. Where a folder holds both, the text file named like the folder is read, because fold files number its
/// graphs.
pub(crate) fn form(path: &Path) -> Result<Form, DataError> {
    let metadata = std::fs::metadata(path).map_err(|source| text::reading(path, source))?;
    if metadata.is_file() {
        return Ok(match file_name(path).strip_suffix(EDGES) {
            Some(name) => Form::TuFolder { folder: parent(path), name: name.to_owned() },
            None => Form::OneFile(path.to_owned()),
        });
    }
    let (names, below) = listing(path).map_err(|source| text::reading(path, source))?;
    // `.` and `..` have no name of their own.
    let own = path.canonicalize().map_or_else(|_| file_name(path), |path| file_name(&path));
    let own_file = format!("{own}.txt");
    if names.contains(&own_file) {
        return Ok(Form::OneFile(path.join(own_file)));
    }
    let of_edges: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(EDGES)).collect();
    let name = match of_edges[..] {
        [name] => Some(name),
        ref several => several.iter().copied().find(|name| *name == own),
    };
    if name.is_none() && !of_edges.is_empty() {
        let list = of_edges.join(", ");
        return Err(text::bad(path, format!("it holds several sets ({list}); give the `_A.txt` file of one")));
    }
    if let Some(name) = name {
        return Ok(Form::TuFolder { folder: path.to_owned(), name: name.to_owned() });
    }
    match &below[..] {
        [] => {}
        [only] if names.is_empty() => return form(&path.join(only)),
        several => {
            let list = several.join(", ");
            return Err(text::bad(path, format!("it holds folders with sets of graphs ({list}); give one of them")));
        }
    }
    let others: Vec<&String> = names.iter().filter(|name| !name.to_ascii_lowercase().starts_with("readme")).collect();
    match others[..] {
        [only] => Ok(Form::OneFile(path.join(only))),
        _ => Err(text::bad(
            path,
            format!(
                "expected `NAME_A.txt` with its companions, or one text file of graphs (`{own_file}`), found {} text files",
                others.len()
            ),
        )),
    }
}

pub(crate) fn parent(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Reads what lies at a path.
pub(crate) fn read(path: &Path) -> Result<RawSet, DataError> {
    match form(path)? {
        Form::OneFile(path) => one_file::read(&path),
        Form::TuFolder { folder, name } => tu_folder::read(&folder, &name),
    }
}

/// Whether a path looks like graphs, from its names and, for a text file, the first bytes.
pub(crate) fn recognises(path: &Path) -> bool {
    match form(path) {
        Ok(Form::TuFolder { .. }) => true,
        // Given by itself, its first line is enough: what is wrong further down is told.
        Ok(Form::OneFile(file)) => looks_like_one_file(&file, if path.is_file() { 1 } else { 2 }),
        // Several sets, or a set without its edges.
        Err(_) => listing(path).is_ok_and(|(names, below)| {
            let is_companion = |name: &String| ["_graph_indicator.txt", EDGES].iter().any(|end| name.ends_with(end));
            !below.is_empty() || names.iter().any(is_companion)
        }),
    }
}

/// A number of graphs, then a graph's number of nodes and its label; or as many of these lines.
fn looks_like_one_file(path: &Path, lines: usize) -> bool {
    use std::io::Read;
    const HEAD: u64 = 256;
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    let Ok(head) = str::from_utf8(&head) else {
        return false;
    };
    let counts = |(line, cells): (&str, usize)| {
        line.split_whitespace().count() == cells && line.split_whitespace().all(|cell| whole(cell).is_some())
    };
    read.is_ok() && head.lines().zip(1..=lines).filter(|pair| counts(*pair)).count() == lines
}

/// The text at a path if something is there.
pub(crate) fn optional(path: &Path) -> Result<Option<Text>, DataError> {
    if path.exists() { Text::read(path).map(Some) } else { Ok(None) }
}
