//! What the fuzz targets share: readers take paths, so the input is written where one lies.

use std::path::PathBuf;
use std::sync::LazyLock;

/// A file of this process's own with the input in it, in memory where the system has such a place.
pub fn file(input: &[u8]) -> PathBuf {
    static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
        let shared = PathBuf::from("/dev/shm");
        let folder = if shared.is_dir() { shared } else { std::env::temp_dir() };
        folder.join(format!("foretell-fuzz-{}", std::process::id()))
    });
    std::fs::write(&*PLACE, input).expect("a place to write to");
    PLACE.clone()
}
