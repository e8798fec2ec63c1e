//! Files of other kinds: each is called by its name, and the next step is said, whichever command is given it.

use std::fs;
use std::path::Path;

use crate::plan::refused;
use crate::{foretell, made, pictures, stderr};

const POINTER: &[u8] =
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

/// A file's name, its first bytes, and what is said of it.
type Case = (&'static str, &'static [u8], &'static str, &'static str);

const CASES: [Case; 22] = [
    ("pointer.png", POINTER, "Git LFS pointer", "git lfs pull"),
    ("pointer.tar", POINTER, "Git LFS pointer", "git lfs pull"),
    ("x.h5", b"\x89HDF\r\n\x1a\n", "HDF5", "h5py.File("),
    ("old.mat", b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "MATLAB", "scipy.io.loadmat("),
    ("new.mat", b"MATLAB 7.3 MAT-file, Platform: GLNXA64", "HDF5", "h5py.File("),
    ("x.pkl", b"\x80\x04\x95\x10\0\0\0\0\0\0\0", "pickle", "numpy.savez"),
    ("data_batch_1", b"\x80\x02}q\x01(U", "CIFAR's Python version", "cifar-10-binary.tar.gz"),
    ("x.tif", b"II*\0\x08\0\0\0", "TIFF", "Image.open("),
    ("x.png", b"MM\0*\0\0\0\x08", "TIFF", "Image.open("),
    ("x.heic", b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC", "heif-convert"),
    ("x.avif", b"\0\0\0\x18ftypavif\0\0\0\0", "AVIF", "avifdec"),
    ("x.jxl", b"\xFF\x0A\0\0", "JPEG XL", "djxl"),
    ("y.jxl", b"\0\0\0\x0CJXL \r\n\x87\n", "JPEG XL", "djxl"),
    ("x.jpg", b"BM\x36\x10\0\0\0\0\0\0\x36\0\0\0", "BMP", "Image.open("),
    // Of the same kinds, though nobody named them.
    ("x.jp2", b"\0\0\0\x0CjP  \r\n\x87\n", "JPEG 2000", "Image.open("),
    ("x.psd", b"8BPS\0\x01", "Photoshop", "Image.open("),
    ("x.exr", b"\x76\x2F\x31\x01\x02\0\0\0", "OpenEXR", "magick"),
    ("x.7z", b"7z\xBC\xAF\x27\x1C", "7-Zip", "7z x"),
    ("x.rar", b"Rar!\x1A\x07", "RAR", "unrar x"),
    ("set.tar", b"\n<!DOCTYPE html><title>404</title>", "web page", "download it again"),
    ("x.arrow", b"\xFF\xFF\xFF\xFF\x10\0\0\0", "Arrow", "load_from_disk("),
    ("x.tfrecord-00000-of-00010", b"\x10\0\0\0\0\0\0\0", "TFRecord", "tensorflow_datasets"),
];

#[test]
fn every_command_names_the_kind_and_the_next_step() {
    let root = tempfile::tempdir().unwrap();
    let good = root.path().join("good");
    pictures(&good, 20, 16);
    let run = root.path().join("run");
    let output = foretell()
        .args(["train", "i-jepa", "--steps", "1", "--image-size", "16", "--set", "train.batch=8", "--data"])
        .arg(&good)
        .arg("--out")
        .arg(&run)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let features = root.path().join("features.npz");
    assert!(
        foretell().arg("embed").arg(&run).arg(&good).arg("--out").arg(&features).output().unwrap().status.success()
    );
    let [good, run, features] = [&good, &run, &features].map(|path| path.to_str().unwrap());
    let never = root.path().join("never.npz");
    let never = never.to_str().unwrap();
    for (name, bytes, kind, next) in CASES {
        let path = root.path().join("brought").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap();
        let words = [name, kind, next];
        refused(&["inspect", path], &words);
        refused(&["train", "--steps", "1", "--data", path, "--out", never], &words);
        refused(&["embed", run, good, path, "--out", never], &words);
        refused(&["search", features, "--row", "0", "--data", path], &words);
        // A folder of them.
        let folder = root.path().join("folder");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("a")).unwrap();
        fs::write(folder.join("a").join(name), bytes).unwrap();
        refused(&["inspect", folder.to_str().unwrap()], &words);
        assert!(!Path::new(never).exists());
    }
    // Sound, where images are learnt from.
    let wav = root.path().join("x.wav");
    fs::write(&wav, b"RIFF\0\0\0\0WAVEfmt ").unwrap();
    let wav = wav.to_str().unwrap();
    refused(&["train", "i-jepa", "--steps", "1", "--data", wav, "--out", never], &["x.wav", "sound", "audio-jepa"]);
    refused(&["embed", run, good, wav, "--out", never], &["x.wav", "sound", "foretell systems"]);
    // A clip likewise.
    let gif = root.path().join("x.gif");
    fs::write(&gif, b"GIF89a\x01\0\x01\0").unwrap();
    let (gif, words) = (gif.to_str().unwrap(), ["x.gif", "GIF", "ffmpeg -i"]);
    refused(&["train", "i-jepa", "--steps", "1", "--data", gif, "--out", never], &words);
    refused(&["embed", run, good, gif, "--out", never], &words);
}

#[test]
fn a_pointer_in_place_of_arrays_weights_or_records_says_so() {
    let root = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, POINTER).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let words = ["Git LFS pointer", "git lfs pull"];
    let never = root.path().join("never");
    let never = never.to_str().unwrap();
    for name in
        ["x.npz", "x.npy", "x.pth", "x.safetensors", "clip.gif", "data_batch_1.bin", "train-images-idx3-ubyte.gz"]
    {
        refused(&["inspect", &place(name)], &[&words[..], &[name]].concat());
    }
    for (system, name) in [("eb-jepa", "e.npz"), ("graph-jepa", "graphs.txt"), ("i-jepa", "images.tar")] {
        refused(&["train", system, "--data", &place(name), "--out", never], &[&words[..], &[name]].concat());
    }
    refused(&["search", &place("features.safetensors"), "--row", "0"], &words);
    refused(&["search", &place("features.npz"), "--row", "0"], &words);
    for name in [
        "a/train-images-idx3-ubyte",
        "b/shard-0001.tar",
        "c/model.safetensors",
        "d/x.jpg",
        "e/e.npz",
        "f/data_batch_1.bin",
    ] {
        let path = place(name);
        let folder = Path::new(&path).parent().unwrap();
        refused(&["inspect", folder.to_str().unwrap()], &words);
    }
    // One among many is that one.
    let folder = root.path().join("mixed");
    pictures(&folder, 20, 16);
    fs::write(folder.join("pointer.jpg"), POINTER).unwrap();
    let arguments = ["train", "i-jepa", "--steps", "9", "--set", "train.batch=8", "--data", folder.to_str().unwrap()];
    refused(&[&arguments[..], &["--out", never]].concat(), &[&words[..], &["pointer.jpg"]].concat());
}

#[test]
fn folders_of_other_tools_are_called_by_their_names() {
    let root = tempfile::tempdir().unwrap();
    let place = |path: &str, text: &str| {
        let file = root.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    place("store.zarr/.zarray", "{}");
    place("store.zarr/0.0", "x");
    place("new.zarr/zarr.json", "{}");
    place("buffer.zarr/.zgroup", "{}");
    place("buffer.zarr/meta/episode_ends/.zarray", "{}");
    place("minari/data/metadata.json", "{\"data_format\": \"hdf5\"}");
    place("play.lance/_versions/1.manifest", "x");
    place("play.lance/data/0.lance", "x");
    place("robot/meta/info.json", "{\"codebase_version\": \"v3.0\", \"fps\": 30}");
    place("robot/data/chunk-000/file-000.parquet", "PAR1");
    place("saved/dataset_info.json", "{}");
    place("saved/state.json", "{}");
    place("saved/data-00000-of-00001.arrow", "\u{1}");
    let never = root.path().join("never");
    for (name, kind, next) in [
        ("store.zarr", "zarr", "zarr.open("),
        ("new.zarr", "zarr", "zarr.open("),
        ("buffer.zarr", "replay buffer", "episodes_to_npz.py"),
        ("robot", "LeRobot", "episodes_to_npz.py"),
        ("minari", "Minari", "episodes_to_npz.py"),
        ("play.lance", "Lance", "episodes_to_npz.py"),
        ("saved", "save_to_disk", "load_from_disk("),
    ] {
        let path = root.path().join(name);
        let path = path.to_str().unwrap();
        refused(&["inspect", path], &[name, kind, next]);
        for system in ["le-jepa", "eb-jepa"] {
            refused(&["train", system, "--data", path, "--out", never.to_str().unwrap()], &[name, kind, next]);
        }
    }
}

#[test]
fn of_several_inputs_the_one_that_does_not_fit_is_named() {
    let root = tempfile::tempdir().unwrap();
    pictures(&root.path().join("good"), 20, 16);
    let run = root.path().join("run");
    let output = foretell()
        .args(["train", "i-jepa", "--steps", "1", "--image-size", "16", "--set", "train.batch=8", "--data"])
        .arg(root.path().join("good"))
        .arg("--out")
        .arg(&run)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    made::tar(&root.path().join("tiffs.tar"), [("a/1.tif", b"II*\0\x08\0\0\0".to_vec())]);
    fs::write(root.path().join("clip.mp4"), b"\0\0\0\x18ftypisom\0\0\0\0").unwrap();
    fs::write(root.path().join("x.npy"), made::npz::bytes("(2, 4, 4)", [7; 32])).unwrap();
    fs::write(root.path().join("notes.txt"), "hello").unwrap();
    for (name, words) in [
        ("tiffs.tar", ["a/1.tif", "TIFF"]),
        ("clip.mp4", ["a video", "ffmpeg -i"]),
        ("x.npy", ["a NumPy array", "numpy.savez('images.npz'"]),
        ("notes.txt", ["is not a data set", "5 bytes long"]),
    ] {
        let mut arguments = vec!["embed", run.to_str().unwrap()];
        let (good, bad, out) = (root.path().join("good"), root.path().join(name), root.path().join("out.npz"));
        arguments.extend([good.to_str().unwrap(), bad.to_str().unwrap(), "--out", out.to_str().unwrap()]);
        refused(&arguments, &[&words[..], &[name]].concat());
        assert!(!out.exists());
    }
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_is_told_where_its_reader_was_left_out() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("train.parquet");
    fs::write(&path, b"PAR1").unwrap();
    refused(&["inspect", path.to_str().unwrap()], &["a parquet file", "--features foretell/parquet"]);
}
