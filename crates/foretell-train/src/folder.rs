//! The run folder: what lies where, and writing files so that a reader never sees half of one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{TrainError, stop_here};

/// A folder that holds one run.
#[derive(Clone, Debug)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// An error if a new run cannot live here: a run or anything else is there, or it cannot be written.
    pub fn check_free(path: &Path) -> Result<(), TrainError> {
        let folder = Self(path.to_owned());
        if folder.config().exists() || folder.checkpoints().exists() {
            return Err(TrainError::Taken(path.to_owned()));
        }
        if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(TrainError::Setting(format!(
                "{} is not empty and holds no run: choose another folder",
                path.display()
            )));
        }
        // The nearest folder that exists must take new entries: found out now, not after the data has been read.
        let parent = path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("."));
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let probe = parent.join(format!(".foretell-{}", std::process::id()));
        File::create(&probe).map_err(TrainError::io("write to the folder", parent))?;
        fs::remove_file(&probe).map_err(TrainError::io("write to the folder", parent))
    }

    /// A new folder for a run, made with its parents.
    pub fn create(path: &Path, config: &str) -> Result<Self, TrainError> {
        Self::check_free(path)?;
        let folder = Self(path.to_owned());
        fs::create_dir_all(path).map_err(TrainError::io("make the folder", path))?;
        write_whole(&folder.config(), config.as_bytes())?;
        Ok(folder)
    }

    /// A folder that already holds a run.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let folder = Self(path.to_owned());
        match fs::metadata(folder.config()) {
            Ok(config) if config.is_file() => Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                Err(TrainError::io("read", &folder.config())(error))
            }
            _ => Err(TrainError::NoRun(path.to_owned())),
        }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// The resolved config: the run is a function of it.
    pub fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }
    /// Losses and health, one JSON object a line; no clock.
    pub fn metrics(&self) -> PathBuf {
        self.0.join("metrics.jsonl")
    }
    /// Times, one JSON object a line.
    pub fn timing(&self) -> PathBuf {
        self.0.join("timing.jsonl")
    }
    /// TensorBoard's files.
    pub fn events(&self) -> PathBuf {
        self.0.join("events")
    }
    /// The checkpoints' folder.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }
    /// The folder of one checkpoint.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.checkpoints().join(checkpoint_name(step))
    }
    /// The folder of the networks that stay, those of one step a file.
    pub fn stages(&self) -> PathBuf {
        self.0.join("stages")
    }
    /// The networks of a step that stay.
    pub fn stage(&self, step: u64) -> PathBuf {
        self.stages().join(format!("{}.safetensors", checkpoint_name(step)))
    }
    /// The kept encoder.
    pub fn encoder(&self) -> PathBuf {
        self.0.join("encoder.safetensors")
    }
    /// The whole model of a world, where the encoder alone is not what is used.
    pub fn model(&self) -> PathBuf {
        self.0.join("model.safetensors")
    }
    /// Running averages of the untrained control.
    pub fn control(&self) -> PathBuf {
        self.0.join("control.safetensors")
    }
    /// The samples that it began with.
    pub fn samples(&self) -> PathBuf {
        self.0.join("samples.jsonl.gz")
    }
    /// Names of samples that could not be read.
    pub fn unreadable(&self) -> PathBuf {
        self.0.join("unreadable.json")
    }
    /// The outcome.
    pub fn summary(&self) -> PathBuf {
        self.0.join("summary.json")
    }
    /// What the evaluation found, with its pictures: what a report needs besides metrics.
    pub fn findings(&self) -> PathBuf {
        self.0.join("findings.json")
    }
    /// The outcome for people.
    pub fn report(&self) -> PathBuf {
        self.0.join("report.html")
    }
}

/// The name of a checkpoint's folder.
pub(crate) fn checkpoint_name(step: u64) -> String {
    format!("step-{step:09}")
}

/// Writes a file aside, syncs and renames it: a kill or a full disk leaves the old one, never half of the new.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    // What is renamed onto a device or a pipe would take its place.
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let what =
            io::Error::new(io::ErrorKind::InvalidInput, "something that is no file lies there: name another path");
        return Err(TrainError::io("write", path)(what));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let aside = path.with_file_name(format!(".{name}.partial"));
    let written = (|| {
        let mut file = File::create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        stop_here(format_args!("{name}:half"));
        fs::rename(&aside, path)
    })();
    if written.is_err() {
        // What is left of it helps nobody; the error that matters is the first.
        let _ = fs::remove_file(&aside);
    }
    written.map_err(TrainError::io("write", path))?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))?;
    stop_here(format_args!("{name}"));
    Ok(())
}

/// Makes renames in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), TrainError> {
    if cfg!(unix) {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        File::open(path).and_then(|folder| folder.sync_all()).map_err(TrainError::io("sync", path))?;
    }
    Ok(())
}

/// A file of JSON lines that can be cut back to an earlier length.
pub(crate) struct Lines {
    file: File,
    path: PathBuf,
    length: u64,
}

impl Lines {
    /// Opens `path`, cut back to `length` bytes. A shorter file is an error: lines that a checkpoint vouches for are gone.
    pub(crate) fn open(path: &Path, length: u64) -> Result<Self, TrainError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(TrainError::io("write", path))?;
        let found = file.metadata().map_err(TrainError::io("read", path))?.len();
        if found < length {
            return Err(TrainError::Setting(format!(
                "{} holds {found} bytes where the checkpoint expects {length}: it was cut or replaced since; restore it, or start a new run",
                path.display()
            )));
        }
        file.set_len(length).map_err(TrainError::io("write", path))?;
        let mut lines = Self { file, path: path.to_owned(), length };
        std::io::Seek::seek(&mut lines.file, std::io::SeekFrom::Start(length))
            .map_err(TrainError::io("write", path))?;
        Ok(lines)
    }

    /// Appends one line.
    pub(crate) fn append(&mut self, value: &serde_json::Value) -> Result<(), TrainError> {
        let line = format!("{value}\n");
        self.file.write_all(line.as_bytes()).map_err(TrainError::io("write", &self.path))?;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Makes the lines durable and says how long the file is.
    pub(crate) fn sync(&mut self) -> Result<u64, TrainError> {
        self.file.sync_all().map_err(TrainError::io("write", &self.path))?;
        Ok(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rename onto a device or a pipe would take its place.
    #[cfg(unix)]
    #[test]
    fn a_file_written_whole_replaces_files_alone() {
        use std::os::unix::fs::FileTypeExt;
        let folder = tempfile::tempdir().unwrap();
        let (socket, file) = (folder.path().join("socket"), folder.path().join("file"));
        let _held = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let error = write_whole(&socket, b"page").unwrap_err().to_string();
        assert!(error.contains("no file lies there") && error.contains("socket"), "{error}");
        assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
        for bytes in [&b"one"[..], b"two"] {
            write_whole(&file, bytes).unwrap();
            assert_eq!(fs::read(&file).unwrap(), bytes);
        }
    }
}
