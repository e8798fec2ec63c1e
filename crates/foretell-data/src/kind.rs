//! Kinds of files and folders that people have and that no reader takes: named by their first bytes, with the step that makes
//! them readable. What a file is called decides only where the bytes cannot.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::DataError;

/// Bytes that tell a kind.
pub(crate) const HEAD: usize = 1024;

/// Files of a folder that are looked at.
const LOOKED_AT: usize = 64;

/// What a kind is called, and what to do with such a file.
struct Kind {
    what: &'static str,
    /// `{}` stands for the file.
    next: &'static str,
}

/// Pixels or arrays that Python reads, as an archive that is read here.
const TO_NPZ: &str = " (keys `images` and `labels`, or `observations` and `actions`)";

/// Whether these bytes stand in place of a file that Git LFS keeps elsewhere.
fn is_lfs_pointer(head: &[u8]) -> bool {
    head.starts_with(b"version https://git-lfs.github.com/spec/")
        || head.starts_with(b"version https://hawser.github.com/spec/")
}

const LFS: (&str, &str) =
    ("a Git LFS pointer and not the file itself", "run `git lfs pull` in its repository, which fetches the content");

/// Words that go on from the file's name, if it is one.
pub fn lfs_pointer(head: &[u8]) -> Option<String> {
    is_lfs_pointer(head).then(|| format!("it is {}; {}", LFS.0, LFS.1))
}

/// The kind of a file that begins like this, where no reader takes it, as an error that names it and says what to do.
pub fn foreign(name: &str, head: &[u8]) -> Option<DataError> {
    let Kind { what, next } = of(name, head)?;
    Some(DataError::Foreign { name: name.to_owned(), kind: what.to_owned(), next: next.replace("{}", name) })
}

/// The same of what lies at a path, a file or a folder.
pub fn foreign_at(path: &Path) -> Option<DataError> {
    if path.is_dir() {
        return foreign_folder(path);
    }
    foreign(&path.display().to_string(), &head(path)?)
}

/// The first of a folder's own files that is of such a kind, or the folder itself.
pub(crate) fn foreign_in(folder: &Path) -> Option<DataError> {
    foreign_folder(folder).or_else(|| {
        let mut files: Vec<_> = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
        files.sort();
        files.iter().filter(|path| path.is_file()).take(LOOKED_AT).find_map(|path| foreign_at(path))
    })
}

fn head(path: &Path) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    // A pipe would wait for whoever writes into it.
    let file = if path.is_file() { File::open(path).ok()? } else { return None };
    file.take(HEAD as u64).read_to_end(&mut head).ok()?;
    Some(head)
}

/// Clips, sound and arrays: what other commands or other readers take, where images are asked for.
pub(crate) fn no_image(name: &str, head: &[u8]) -> Option<DataError> {
    let kind = match head {
        [b'G', b'I', b'F', b'8', ..] => Kind {
            what: "a GIF, which is taken as a clip by `foretell embed --model` alone",
            next: "for its frames as images, run `mkdir frames && ffmpeg -i {} frames/%05d.png` and give the folder",
        },
        [_, _, _, _, b'f', b't', b'y', b'p', ..]
        | [0x1A, 0x45, 0xDF, 0xA3, ..]
        | [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', ..]
        | [b'Y', b'U', b'V', b'4', b'M', b'P', b'E', b'G', ..] => Kind {
            what: "a video, which `foretell embed --model` alone takes",
            next: "for its frames as images, run `mkdir frames && ffmpeg -i {} frames/%05d.png` and give the folder",
        },
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Kind {
            what: "a NumPy array",
            next: "images in arrays are read from an .npz: `python -c \"import numpy; numpy.savez('images.npz', images=numpy.load('{}'))\"` (uint8, [N, H, W] or [N, H, W, 3])",
        },
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..]
        | [b'f', b'L', b'a', b'C', ..]
        | [b'O', b'g', b'g', b'S', ..]
        | [b'I', b'D', b'3', ..] => Kind {
            what: "a sound file",
            next: "give it to a system that learns from sound, of those that `foretell systems` lists",
        },
        _ => return None,
    };
    let next = kind.next.replace("{}", name);
    Some(DataError::Foreign { name: name.to_owned(), kind: kind.what.to_owned(), next })
}

fn of(name: &str, head: &[u8]) -> Option<Kind> {
    pictures(head).or_else(|| containers(name, head))
}

/// Pictures that are not decoded here.
fn pictures(head: &[u8]) -> Option<Kind> {
    let pillow = "run `python -c \"from PIL import Image; Image.open('{}').convert('RGB').save('picture.png')\"`, for a folder of them `magick mogrify -format png FILES`";
    let heic = "run `heif-convert {} picture.png` (libheif), for many `for f in *.heic; do heif-convert \"$f\" \"${f%.*}.png\"; done`";
    let kind = |what, next| Some(Kind { what, next });
    match head {
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => {
            kind("a TIFF picture, which is not read", pillow)
        }
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand.get(..4)? {
            b"avif" => kind(
                "an AVIF picture, which is not read",
                "run `avifdec {} picture.png` (libavif), or open and save it with Pillow 11.3 or newer",
            ),
            b"heic" | b"heix" | b"heim" | b"heis" | b"mif1" => kind("a HEIC picture, which is not read", heic),
            _ => None,
        },
        [0xFF, 0x0A, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => {
            kind("a JPEG XL picture, which is not read", "run `djxl {} picture.png` (libjxl)")
        }
        [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] | [0xFF, 0x4F, 0xFF, 0x51, ..] => {
            kind("a JPEG 2000 picture, which is not read", pillow)
        }
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => kind("a BMP picture, which is not read", pillow),
        [b'8', b'B', b'P', b'S', ..] => kind("a Photoshop picture, which is not read", pillow),
        [0x76, 0x2F, 0x31, 0x01, ..] => kind(
            "an OpenEXR picture, which is not read",
            "choose how its range becomes 8 bits, such as `magick {} -auto-level picture.png`",
        ),
        head if head.get(128..132) == Some(b"DICM") => kind(
            "a DICOM file, which is not read",
            "choose its window and save pictures: `dcm2img --min-max-window {} picture.png` (dcmtk)",
        ),
        _ => None,
    }
}

/// Containers of arrays, tables and other things.
fn containers(name: &str, head: &[u8]) -> Option<Kind> {
    let kind = |what, next| Some(Kind { what, next });
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    match head {
        head if is_lfs_pointer(head) => kind(LFS.0, LFS.1),
        [0x89, b'H', b'D', b'F', b'\r', b'\n', 0x1A, b'\n', ..] => kind("an HDF5 file, which is not read", HDF5),
        head if head.starts_with(b"MATLAB 7.3 MAT-file") => {
            kind("a MATLAB file of version 7.3, which is HDF5 and not read", HDF5)
        }
        head if head.starts_with(b"MATLAB 5.0 MAT-file") => kind("a MATLAB file, which is not read", MATLAB),
        [0x80, 2..=5, ..]
            if ["data_batch", "test_batch", "batches.meta"].iter().any(|n| file.starts_with(n))
                || is_cifar_100(head) =>
        {
            kind(
                "of CIFAR's Python version, a pickle, which is not read because a pickle may run any program",
                "download the binary version (cifar-10-binary.tar.gz, cifar-100-binary.tar.gz), or write all of it from its folder: `python -c \"import pickle, numpy, glob; r = lambda fs: [pickle.load(open(f, 'rb'), encoding='bytes') for f in sorted(fs)]; x = lambda ds: numpy.concatenate([d[b'data'] for d in ds]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1); y = lambda ds: sum([list(d.get(b'labels', d.get(b'fine_labels'))) for d in ds], []); a, b = r(glob.glob('data_batch_*') or ['train']), r(glob.glob('test*')); numpy.savez('../cifar.npz', train_images=x(a), train_labels=y(a), test_images=x(b), test_labels=y(b))\"`, and give cifar.npz",
            )
        }
        [0x80, 2..=5, ..] => kind(
            "a Python pickle, which is not read because it may run any program",
            "if you trust it, open it in Python and save its arrays with `numpy.savez` (keys `images` and `labels`, or `observations` and `actions`)",
        ),
        [b'P', b'A', b'R', b'1', ..] => kind("a parquet file", PARQUET),
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] | [0xFF, 0xFF, 0xFF, 0xFF, ..] if file.contains(".arrow") => {
            kind("an Arrow file, which is not read", ARROW)
        }
        [b'7', b'z', 0xBC, 0xAF, ..] => kind("a 7-Zip archive", "run `7z x {}` and give the folder"),
        [b'R', b'a', b'r', b'!', ..] => kind("a RAR archive", "run `unrar x {}` and give the folder"),
        head if is_web_page(head) => {
            kind("a web page, most likely what a server sent in place of the file", "download it again")
        }
        head if file.contains(".tfrecord") && !head.is_empty() => kind(
            "a TFRecord file, which is not read",
            "write its pictures into a tar or into class folders, such as with `tensorflow_datasets` in Python",
        ),
        head if head.get(16..20) == Some(&[0xDE, 0xC0, 0xEF, 0xBE]) => kind(
            "an LMDB database, which is not read",
            "write its pictures into a tar or into class folders, such as with `lmdb` in Python",
        ),
        _ => None,
    }
}

const HDF5: &str = "write its arrays into an .npz: `python -c \"import h5py, numpy; f = h5py.File('{}'); numpy.savez('data.npz', **{k: f[k][:] for k in f if hasattr(f[k], 'shape')})\"` (keys `images` and `labels`, or `observations` and `actions`); recorded episodes: `python docs/episodes_to_npz.py {} --out EPISODES` (in the repository)";
/// What to do with the episodes of another tool.
fn converted(name: &str) -> String {
    format!("write its episodes as .npz: `python docs/episodes_to_npz.py {name} --out EPISODES` (in the repository)")
}

const MATLAB: &str = "write its arrays into an .npz: `python -c \"import scipy.io, numpy; f = scipy.io.loadmat('{}'); numpy.savez('data.npz', **{k: v for k, v in f.items() if k[0] != '_'})\"` (keys `images` and `labels`, or `observations` and `actions`)";
const ARROW: &str = "write its pictures as files: `python -c \"import datasets; d = datasets.load_from_disk('FOLDER'); d = getattr(d, 'items', lambda: [('train', d)])(); import os; [(os.makedirs(p, exist_ok=True), [r['image'].save(f'{p}/{i}.png') for i, r in enumerate(s)]) for p, s in d]\"`, and put each into the folder of its class if it has one";
/// Of a table that holds no images, or where the reader was left out of the program.
#[cfg(feature = "parquet")]
const PARQUET: &str = "images are read from it where a column is `struct<bytes, path>`, as Hugging Face writes them; save other columns with `numpy.savez`";
#[cfg(not(feature = "parquet"))]
const PARQUET: &str = "this program was built without its reader: build it with `cargo build --release --features foretell/parquet`, or save the pictures as files in class folders";

/// The first keys of CIFAR-100's pickles, or what lies between them.
fn is_cifar_100(head: &[u8]) -> bool {
    let holds = |words: &[u8]| head.windows(words.len()).any(|part| part == words);
    holds(b"filenames") || holds(b"fine_label_names") || holds(b"fine_labels") && holds(b"coarse_labels")
}

fn is_web_page(head: &[u8]) -> bool {
    let start: Vec<u8> = head.trim_ascii_start().iter().take(14).map(u8::to_ascii_lowercase).collect();
    start.starts_with(b"<!doctype html") || start.starts_with(b"<html")
}

/// What to do with a folder that is a data set of another tool; `None` where it is none that is known.
pub fn foreign_folder(folder: &Path) -> Option<DataError> {
    let has = |name: &str| folder.join(name).is_file();
    let name = folder.display().to_string();
    let told = |kind: &str, next: String| Some(DataError::Foreign { name: name.clone(), kind: kind.to_owned(), next });
    if folder.join("meta/episode_ends").is_dir() {
        return told("a replay buffer in a zarr store, which is not read as it is", converted(&name));
    }
    if [".zarray", ".zgroup", ".zmetadata", "zarr.json"].into_iter().any(has) {
        return told(
            "a zarr store, which is not read",
            format!(
                "write its arrays into an .npz: `python -c \"import zarr, numpy; z = zarr.open('{name}', mode='r'); numpy.savez('data.npz', **(dict(z.arrays()) if hasattr(z, 'arrays') else {{'observations': z[:]}}))\"`{TO_NPZ}"
            ),
        );
    }
    let info = fs::read_to_string(folder.join("meta/info.json"));
    if info.is_ok_and(|text| text.contains("\"codebase_version\"")) {
        return told("a LeRobot data set, which is not read as it is", converted(&name));
    }
    let holds = |part: &str| folder.join(part).exists();
    if holds("_versions") && holds("data") {
        return told("a table of Lance, which is not read", converted(&name));
    }
    let minari = |file: &str| fs::read_to_string(folder.join(file)).is_ok_and(|text| text.contains("\"data_format\""));
    if minari("metadata.json") || minari("data/metadata.json") {
        return told("a Minari data set, which is not read as it is", converted(&name));
    }
    if has("dataset_info.json") && has("state.json") || has("dataset_dict.json") {
        let step = ARROW.replace("FOLDER", &name);
        return told("a data set of Hugging Face's `save_to_disk`, which is not read", step);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_readers_take_is_of_no_such_kind() {
        let ours: [&[u8]; 9] = [
            b"\x89PNG\r\n\x1a\n",
            b"\xFF\xD8\xFF\xE0",
            b"RIFF\0\0\0\0WEBP",
            b"PK\x03\x04",
            b"\0\0\x08\x03",
            b"\x93NUMPY\x01\0",
            b"\0\0\0\x18ftypisom",
            b"12\n3 1\n",
            b"BMX and other words",
        ];
        for head in ours {
            assert!(foreign("x", head).is_none(), "{head:02x?}");
        }
        assert!(foreign("x", b"").is_none());
    }
}
