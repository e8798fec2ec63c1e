//! What lies in a folder or tar without image files: images that are rows of files, or what is known and not read.

use std::path::Path;

use crate::DataError;
use crate::images::arrays;
use crate::images::listing::Found;
#[cfg(feature = "parquet")]
use crate::images::parquet;
use crate::images::recognise::Reading;
use crate::images::records::Contents;
use crate::kind::{HEAD, foreign, foreign_folder, no_image};

/// Files that are looked at where a folder or tar holds no images.
const LOOKED_AT: usize = 64;

/// Why a folder or a tar holds nothing: perhaps it holds what is known and not read.
pub(crate) fn empty(path: &Path, files: Vec<Found>) -> DataError {
    if let Some(whole) = foreign_folder(path) {
        return whole;
    }
    let kind = |file: &Found| {
        let name = format!("{}/{}", path.display(), file.path);
        let head = file.place.head(HEAD).ok()?;
        foreign(&name, &head).or_else(|| no_image(&name, &head))
    };
    match files.iter().take(LOOKED_AT).find_map(kind) {
        Some(source) => DataError::OnlyForeign { path: path.to_owned(), files: files.len(), source: Box::new(source) },
        None => DataError::Empty { path: path.to_owned(), files: files.len() },
    }
}

/// The images that are rows of files in a folder: parquet, or one `.npz` of images.
pub(crate) fn rows(path: &Path, files: &[Found], reading: Reading<'_>) -> Result<Option<Contents>, DataError> {
    let (npz, tables): (Vec<&Found>, Vec<&Found>) = files.iter().partition(|file| is_npz_name(&file.path));
    #[cfg(feature = "parquet")]
    if !tables.is_empty() {
        return parquet::open(&tables, reading).map(Some);
    }
    #[cfg(not(feature = "parquet"))]
    drop(tables);
    let npz: Vec<&Found> = npz.into_iter().filter(|file| !file.path.contains('/')).collect();
    match npz[..] {
        [first, ..] if arrays::is_images(&path.join(&first.path)) => {
            if let Some(second) = npz.get(1) {
                return Err(DataError::BadArrays {
                    name: path.display().to_string(),
                    reason: format!(
                        "it holds {} sets (`{}`, `{}`{}): give the path of one",
                        npz.len(),
                        first.path,
                        second.path,
                        if npz.len() > 2 { ", …" } else { "" }
                    ),
                });
            }
            arrays::open(&path.join(&first.path), &first.path, reading).map(Some)
        }
        _ => Ok(None),
    }
}

fn is_npz_name(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".npz")
}

/// Files whose rows may be images.
pub(crate) fn is_rows_name(name: &str) -> bool {
    is_npz_name(name) || name.to_ascii_lowercase().ends_with(".parquet")
}
