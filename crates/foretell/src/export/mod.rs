//! A trained encoder in the formats that others open: a folder for transformers, a file of ONNX.

mod hugging_face;
mod onnx;

pub(crate) use onnx::Numbers;

use std::fs;
use std::path::{Path, PathBuf};

use foretell_data::Normalise;
use foretell_nn::vit::Vit;
use foretell_nn::weights;
use foretell_train::write_whole;

use crate::Error;
use crate::feature_file::wrong;

/// A folder that is removed unless it was renamed.
struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        // It is not there any more after a rename; otherwise nobody needs it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An error unless a folder can be made at `out`: nothing may be there but an empty folder.
pub(crate) fn check_folder(out: &Path) -> Result<(), Error> {
    let taken = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => out.exists(),
    };
    if !taken {
        return Ok(());
    }
    Err(Error::Misuse(format!(
        "`--out {}` is there already and is not an empty folder: choose a new folder, or remove that one",
        out.display()
    )))
}

/// Writes the folder, whole or not at all.
pub(crate) fn hugging_face(vit: &Vit, normalise: &Normalise, out: &Path) -> Result<(), Error> {
    check_folder(out)?;
    let failed = |error| wrong(out, error);
    let name = out.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let aside = Aside(out.with_file_name(format!(".{name}.{}.partial", std::process::id())));
    fs::create_dir_all(&aside.0).map_err(failed)?;
    let texts = [
        ("config.json", hugging_face::config(vit)),
        ("preprocessor_config.json", hugging_face::preprocessor(vit, normalise)),
    ];
    for (name, value) in texts {
        write_whole(&aside.0.join(name), format!("{value:#}\n").as_bytes())?;
    }
    write_whole(&aside.0.join("model.safetensors"), &weights::to_bytes(&hugging_face::tensors(vit)))?;
    fs::rename(&aside.0, out).map_err(failed)
}

/// Writes the file, whole or not at all; one that exists is replaced.
pub(crate) fn onnx(vit: &Vit, normalise: &Normalise, maps: Numbers, out: &Path) -> Result<(), Error> {
    let (height, width) = vit.config().image;
    let notes = [
        ("image_size", format!("[{height}, {width}]")),
        ("image_mean", format!("{:?}", normalise.mean)),
        ("image_std", format!("{:?}", normalise.std)),
    ];
    Ok(write_whole(out, &onnx::model(vit, &notes, maps)?)?)
}
