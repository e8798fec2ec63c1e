//! What lies in a folder or a tar: relative paths, sizes, and where the bytes are. No file is opened to list it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::DataError;
use crate::positional::Positional;

/// The file names that count as images, in lower case. What a file is, its content decides.
pub(crate) const EXTENSIONS: [&str; 8] = [".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".png", ".webp"];

/// Encoded files beyond this are refused: no image that we would decode is as long.
const LONGEST_FILE: u64 = 1 << 30;

/// Deeper folders are a loop of links.
const DEEPEST: usize = 32;

/// Where the bytes of one file are.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    File { path: PathBuf, size: u64 },
    Member { archive: Arc<Positional>, offset: u64, size: u64 },
}

impl Place {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } | Self::Member { size, .. } => *size,
        }
    }

    /// All the bytes.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, DataError> {
        if self.size() > LONGEST_FILE {
            return Err(DataError::TooLarge {
                name: name.to_owned(),
                found: format!("its file has {} bytes", self.size()),
                limit: "1 GiB for one file",
            });
        }
        match self {
            Self::File { path, .. } => {
                let mut bytes = Vec::new();
                fs::File::open(path)
                    .and_then(|file| file.take(LONGEST_FILE).read_to_end(&mut bytes))
                    .map_err(|source| DataError::reading(path, source))?;
                Ok(bytes)
            }
            Self::Member { archive, offset, size } => {
                let mut bytes = vec![0; *size as usize];
                archive.read_exact_at(&mut bytes, *offset)?;
                Ok(bytes)
            }
        }
    }

    /// The first bytes, at most `count`.
    pub(crate) fn head(&self, count: usize) -> Result<Vec<u8>, DataError> {
        let count = count.min(self.size() as usize);
        match self {
            Self::File { path, .. } => {
                let mut bytes = Vec::new();
                fs::File::open(path)
                    .and_then(|file| file.take(count as u64).read_to_end(&mut bytes))
                    .map_err(|source| DataError::reading(path, source))?;
                Ok(bytes)
            }
            Self::Member { archive, offset, .. } => {
                let mut bytes = vec![0; count];
                archive.read_exact_at(&mut bytes, *offset)?;
                Ok(bytes)
            }
        }
    }

    /// A handle for reads by position, and where the file starts in it.
    pub(crate) fn positional(&self) -> Result<(Arc<Positional>, u64), DataError> {
        match self {
            Self::File { path, .. } => Ok((Arc::new(Positional::open(path)?), 0)),
            Self::Member { archive, offset, .. } => Ok((Arc::clone(archive), *offset)),
        }
    }

    /// The archive that holds it, if one does: label members pair up with images of the same archive only.
    pub(crate) fn archive(&self) -> Option<&Path> {
        match self {
            Self::File { .. } => None,
            Self::Member { archive, .. } => Some(archive.path()),
        }
    }
}

/// One file of a folder or tar.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Relative to the folder or tar, with `/` between its parts on every platform.
    pub(crate) path: String,
    pub(crate) place: Place,
}

impl Found {
    /// The last part of the path.
    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    pub(crate) fn is_image(&self) -> bool {
        is_image_name(self.file_name())
    }
}

/// Whether the name has one of the image [`EXTENSIONS`].
pub(crate) fn is_image_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    EXTENSIONS.iter().any(|extension| name.ends_with(extension))
}

/// Hidden files, and what systems and network storage leave in folders and archives, are nobody's data.
pub(crate) fn is_hidden(part: &str) -> bool {
    part.starts_with('.') && part != "." && part != ".." || LEFT.contains(&part)
}

/// Folders that systems and network storage leave.
const LEFT: [&str; 6] = ["__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found", "System Volume Information"];

/// Files that systems left beside the data, by the folder or the beginning of the name that tells them.
#[derive(Debug, Default)]
pub(crate) struct Junk(BTreeMap<&'static str, usize>);

impl Junk {
    /// Counts a file at this path, if it is one.
    pub(crate) fn see(&mut self, path: &str) {
        let folder = || path.split('/').rev().skip(1).find_map(|part| LEFT.into_iter().find(|left| *left == part));
        let file = || path.rsplit('/').next().is_some_and(|name| name.starts_with("._")).then_some("._*");
        if let Some(kind) = folder().or_else(file) {
            *self.0.entry(kind).or_insert(0) += 1;
        }
    }

    /// A note of them.
    pub(crate) fn note(&self) -> Option<String> {
        let of = |(kind, count): (&&str, &usize)| {
            let files = if *count == 1 { "file" } else { "files" };
            if kind.starts_with('.') {
                format!("{count} {files} named {kind}")
            } else {
                format!("{count} {files} in {kind}")
            }
        };
        let list = self.0.iter().map(of).collect::<Vec<_>>().join(", ");
        (!list.is_empty()).then(|| format!("what systems and network storage left is not read: {list}"))
    }
}

/// Every file below `folder`, sorted by path; links are followed.
pub(crate) fn walk(folder: &Path) -> Result<Vec<Found>, DataError> {
    walk_telling(folder, &mut Vec::new())
}

/// The same; what cannot be read goes into the notes.
pub(crate) fn walk_telling(folder: &Path, notes: &mut Vec<String>) -> Result<Vec<Found>, DataError> {
    let (mut found, mut passed) = (Vec::new(), Passed::default());
    descend(folder, "", 0, &mut found, &mut passed)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    notes.extend(passed.junk.note());
    for (count, what) in [
        (passed.dead, "links lead nowhere"),
        (passed.rings, "links lead to a folder that they lie in"),
        (passed.odd, "entries are neither files nor folders"),
    ] {
        if count > 0 {
            notes.push(format!("{count} {what}: they are not read"));
        }
    }
    Ok(found)
}

/// What a walk passed over, besides what is hidden.
#[derive(Default)]
struct Passed {
    dead: usize,
    odd: usize,
    /// Links to a folder above.
    rings: usize,
    junk: Junk,
}

/// Whether a folder is a link to one that it lies in.
pub(crate) fn is_ring(path: &Path) -> bool {
    let whole = |path: &Path| fs::canonicalize(path).ok();
    path.is_symlink() && whole(path).zip(path.parent().and_then(whole)).is_some_and(|(to, from)| from.starts_with(to))
}

/// Counts what lies below a folder that is not read.
fn count_junk(folder: &Path, prefix: &str, depth: usize, junk: &mut Junk) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), format!("{prefix}/{}", entry.file_name().to_string_lossy()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && depth < DEEPEST {
            count_junk(&path, &name, depth + 1, junk);
        } else {
            junk.see(&name);
        }
    }
}

fn descend(
    folder: &Path,
    prefix: &str,
    depth: usize,
    found: &mut Vec<Found>,
    passed: &mut Passed,
) -> Result<(), DataError> {
    if depth > DEEPEST {
        return Err(DataError::NotADataSet {
            path: folder.to_owned(),
            found: format!("its folders are nested more than {DEEPEST} deep, which is most likely a loop of links"),
        });
    }
    let unreadable = |source| DataError::reading(folder, source);
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if is_hidden(&name) {
            if LEFT.contains(&name.as_str()) {
                count_junk(&path, &name, depth, &mut passed.junk);
            } else {
                passed.junk.see(&name);
            }
            continue;
        }
        // What a link that leads nowhere would have been is unknown.
        let Ok(metadata) = fs::metadata(&path) else {
            passed.dead += 1;
            continue;
        };
        let relative = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if metadata.is_dir() && is_ring(&path) {
            passed.rings += 1;
        } else if metadata.is_dir() {
            descend(&path, &relative, depth + 1, found, passed)?;
        } else if metadata.is_file() {
            found.push(Found { path: relative, place: Place::File { path, size: metadata.len() } });
        } else {
            passed.odd += 1;
        }
    }
    Ok(())
}
