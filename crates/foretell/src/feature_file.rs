//! The file that `embed` writes: NumPy's npz, or safetensors. Rows go to a file beside it as they come; when their
//! number is known, the whole is written aside and renamed, so that nobody ever sees half of it. Where a call stops before that,
//! the rows can be kept for the next one.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use foretell_data::npy::write_header;
use foretell_data::zip::StoredZip;
use serde_json::json;

use crate::Error;
use crate::kept_rows::KeptRows;

/// Readers of safetensors refuse a longer header.
const MOST_HEADER: usize = 100_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    /// `features` and `names`, a fixed-width unicode array, as stored members.
    Npz,
    /// `features`, with `names` as a JSON list in the metadata.
    Safetensors,
    /// A row for each image (or token): `name` and `features`, a list.
    #[cfg(feature = "parquet")]
    Parquet,
}

/// The container that a file's name asks for.
fn container(out: &Path) -> Result<Container, Error> {
    match out.extension().and_then(|e| e.to_str()) {
        Some("npz") => Ok(Container::Npz),
        Some("safetensors") => Ok(Container::Safetensors),
        #[cfg(feature = "parquet")]
        Some("parquet") => Ok(Container::Parquet),
        #[cfg(not(feature = "parquet"))]
        Some("parquet") => Err(Error::Misuse(format!(
            "`--out {}`: this build does not write parquet. Write .npz or .safetensors, or build with `--features parquet`",
            out.display()
        ))),
        _ => {
            let parquet = if cfg!(feature = "parquet") { ", .parquet" } else { "" };
            Err(Error::Misuse(format!(
                "`--out {}`: expected a file name that ends with .npz{parquet} or .safetensors",
                out.display()
            )))
        }
    }
}

/// A file that is removed unless it was renamed.
struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        // It is not there any more after a rename; otherwise nobody needs it.
        let _ = fs::remove_file(&self.0);
    }
}

/// See the module.
pub struct FeatureFile {
    out: PathBuf,
    container: Container,
    rows: BufWriter<File>,
    values: usize,
    /// What the array is called.
    array: &'static str,
    /// What there is to say of it, as JSON.
    about: Option<String>,
    // Dropped last: removes the file of `rows`.
    spool: Aside,
}

impl FeatureFile {
    /// Begins a file whose name ends with `.npz`, `.safetensors` or, with the feature, `.parquet`. One that exists is replaced when the new one is
    /// whole.
    pub fn create(out: &Path) -> Result<Self, Error> {
        let container = container(out)?;
        if out.is_dir() {
            return Err(Error::Misuse(format!("`--out {}` is a folder: expected the name of a file", out.display())));
        }
        let spool = Aside(beside(out, "rows"));
        let rows = File::create(&spool.0).map_err(|error| wrong(out, error))?;
        Ok(Self {
            out: out.to_owned(),
            container,
            rows: BufWriter::with_capacity(1 << 20, rows),
            values: 0,
            array: "features",
            about: None,
            spool,
        })
    }

    /// An error if so many names do not fit: found out before the work is done.
    pub fn check_names(&self, names: impl Iterator<Item = Result<String, Error>>) -> Result<(), Error> {
        if self.container != Container::Safetensors {
            return Ok(());
        }
        let mut length = 0;
        for name in names {
            // Quotes escaped twice, as the list is JSON within JSON.
            length += name?.len() + 6;
        }
        if length < MOST_HEADER / 2 {
            return Ok(());
        }
        Err(Error::Misuse(format!(
            "the samples' names take {} MB, too much for a safetensors header: write an .npz instead",
            length / 1_000_000
        )))
    }

    /// Calls the array something else than `features`, and keeps a JSON text beside it: as `about`, a string, in an npz, and in
    /// the metadata of safetensors.
    pub fn describe(&mut self, array: &'static str, about: String) -> Result<(), Error> {
        if !matches!(self.container, Container::Npz | Container::Safetensors) {
            return Err(Error::Misuse(format!(
                "`--out {}`: features of published models are written as .npz or .safetensors",
                self.out.display()
            )));
        }
        (self.array, self.about) = (array, Some(about));
        Ok(())
    }

    /// Values written so far.
    pub fn values(&self) -> usize {
        self.values
    }

    /// Appends whole rows.
    pub fn append(&mut self, values: &[f32]) -> Result<(), Error> {
        self.values += values.len();
        for value in values {
            self.rows.write_all(&value.to_le_bytes()).map_err(|error| wrong(&self.out, error))?;
        }
        Ok(())
    }

    /// Goes on behind the rows that a call before has kept.
    pub(crate) fn take_up(&mut self) -> Result<KeptRows, Error> {
        let kept = KeptRows::take_up(&self.out, &mut self.rows)?;
        self.values = kept.rows() * kept.row.iter().product::<usize>();
        Ok(kept)
    }

    /// Leaves the rows beside the file for a call that [takes them up](Self::take_up).
    pub(crate) fn keep(mut self, kept: &KeptRows) -> Result<(), Error> {
        self.rows.flush().map_err(|error| wrong(&self.out, error))?;
        kept.keep(&self.out, &self.spool.0)
    }

    /// Writes the file: `features` of this shape, and the rows' names, which are asked for twice.
    pub fn finish<N: Iterator<Item = Result<String, Error>>>(
        mut self,
        shape: &[usize],
        names: impl Fn() -> N,
    ) -> Result<(), Error> {
        let out = self.out.clone();
        let failed = |error| wrong(&out, error);
        self.rows.flush().map_err(failed)?;
        let rows = File::open(&self.spool.0).map_err(failed)?;
        let aside = Aside(beside(&out, "partial"));
        let file = File::create(&aside.0).map_err(failed)?;
        let file = match self.container {
            Container::Npz => write_npz(file, (self.array, shape), rows, names, self.about.as_deref(), &out)?,
            Container::Safetensors => {
                write_safetensors(file, (self.array, shape), rows, names, self.about.as_deref(), &out)?
            }
            #[cfg(feature = "parquet")]
            Container::Parquet => crate::parquet_file::write(file, shape, rows, names(), &out)?,
        };
        file.sync_all().map_err(failed)?;
        fs::rename(&aside.0, &out).map_err(failed)?;
        KeptRows::forget(&out);
        Ok(())
    }
}

fn beside(out: &Path, what: &str) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy().into_owned();
    out.with_file_name(format!(".{name}.{}.{what}", std::process::id()))
}

pub(crate) fn wrong(out: &Path, error: io::Error) -> Error {
    let text = format!("cannot write {}: {error}", out.display());
    match error.kind() {
        io::ErrorKind::Interrupted => Error::Failure(text),
        _ => Error::Misuse(text),
    }
}

fn write_npz<N: Iterator<Item = Result<String, Error>>>(
    file: File,
    (array, shape): (&str, &[usize]),
    mut rows: File,
    names: impl Fn() -> N,
    about: Option<&str>,
    out: &Path,
) -> Result<File, Error> {
    let failed = |error| wrong(out, error);
    // Characters of the longest name: NumPy's unicode arrays have one width.
    let mut width = 1;
    for name in names() {
        width = width.max(name?.chars().count());
    }
    let mut zip = StoredZip::new(BufWriter::with_capacity(1 << 20, file));
    let header = write_header("<f4", shape);
    let length = header.len() as u64 + rows.metadata().map_err(failed)?.len();
    let mut member = zip.member(&format!("{array}.npy"), length).map_err(failed)?;
    member.write_all(&header).map_err(failed)?;
    io::copy(&mut rows, &mut member).map_err(failed)?;
    member.end().map_err(failed)?;

    let header = write_header(&format!("<U{width}"), &shape[..1]);
    let mut member =
        zip.member("names.npy", header.len() as u64 + 4 * width as u64 * shape[0] as u64).map_err(failed)?;
    member.write_all(&header).map_err(failed)?;
    let mut cell = Vec::with_capacity(4 * width);
    for name in names() {
        cell.clear();
        cell.extend(name?.chars().flat_map(|c| u32::from(c).to_le_bytes()));
        cell.resize(4 * width, 0);
        member.write_all(&cell).map_err(failed)?;
    }
    member.end().map_err(failed)?;
    if let Some(about) = about {
        let characters: Vec<u8> = about.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        let header = write_header(&format!("<U{}", characters.len() / 4), &[]);
        let mut member = zip.member("about.npy", (header.len() + characters.len()) as u64).map_err(failed)?;
        member.write_all(&header).map_err(failed)?;
        member.write_all(&characters).map_err(failed)?;
        member.end().map_err(failed)?;
    }
    zip.finish().map_err(failed)?.into_inner().map_err(|error| wrong(out, error.into_error()))
}

fn write_safetensors<N: Iterator<Item = Result<String, Error>>>(
    file: File,
    (array, shape): (&str, &[usize]),
    mut rows: File,
    names: impl Fn() -> N,
    about: Option<&str>,
    out: &Path,
) -> Result<File, Error> {
    let failed = |error| wrong(out, error);
    let names = names().collect::<Result<Vec<_>, _>>()?;
    let names = serde_json::to_string(&names).map_err(|error| Error::Failure(error.to_string()))?;
    let bytes = rows.seek(io::SeekFrom::End(0)).map_err(failed)?;
    rows.rewind().map_err(failed)?;
    let mut header = json!({
        "__metadata__": { "format": "pt", "names": names },
        array: { "dtype": "F32", "shape": shape, "data_offsets": [0, bytes] },
    });
    if let Some(about) = about {
        header["__metadata__"]["about"] = about.into();
    }
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() > MOST_HEADER {
        return Err(Error::Misuse(format!(
            "the samples' names do not fit the header of {}: write an .npz instead",
            out.display()
        )));
    }
    let mut file = BufWriter::with_capacity(1 << 20, file);
    file.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
    file.write_all(&header).map_err(failed)?;
    io::copy(&mut rows, &mut file).map_err(failed)?;
    file.into_inner().map_err(|error| wrong(out, error.into_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    fn written(out: &Path) -> Vec<u8> {
        let mut file = FeatureFile::create(out).unwrap();
        file.append(&[1.0, 2.0, 3.0]).unwrap();
        file.append(&[4.0, 5.0, 6.0]).unwrap();
        file.finish(&[2, 3], || ["a", "b/ü \"1\""].into_iter().map(|name| Ok(name.to_owned()))).unwrap();
        let beside = fs::read_dir(out.parent().unwrap()).unwrap().count();
        assert_eq!(beside, 1, "nothing but the file is left");
        fs::read(out).unwrap()
    }

    #[test]
    fn safetensors_hold_features_and_names() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = written(&dir.path().join("x.safetensors"));
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let features = file.tensor("features").unwrap();
        assert_eq!(features.shape(), [2, 3]);
        assert_eq!(features.data()[20..], 6.0_f32.to_le_bytes());
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let names: Vec<String> = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["names"]).unwrap();
        assert_eq!(names, ["a", "b/ü \"1\""]);
    }

    #[test]
    fn npz_members_begin_with_a_header_of_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = written(&dir.path().join("x.npz"));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains("'descr': '<f4', 'fortran_order': False, 'shape': (2, 3,)"), "{text}");
        assert!(text.contains("'descr': '<U7', 'fortran_order': False, 'shape': (2,)"), "{text}");
        for shape in [&[1][..], &[10, 20], &[123_456_789, 196, 1024]] {
            let header = write_header("<f4", shape);
            assert_eq!((header.len() % 64, header.last()), (0, Some(&b'\n')));
            assert_eq!(usize::from(u16::from_le_bytes([header[8], header[9]])), header.len() - 10);
        }
    }

    /// As in a training, where the user can mend it.
    #[test]
    fn a_full_disk_is_misuse_and_an_interrupt_is_none() {
        let code = |kind: io::ErrorKind| wrong(Path::new("x.npz"), kind.into()).exit_code();
        assert_eq!([io::ErrorKind::StorageFull, io::ErrorKind::Interrupted].map(code), [2, 1]);
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("x.npz");
        FeatureFile::create(&out).unwrap().append(&[1.0]).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        for name in ["x", "x.csv", "no/x.npz"] {
            assert_eq!(FeatureFile::create(&dir.path().join(name)).err().unwrap().exit_code(), 2);
        }
    }
}
