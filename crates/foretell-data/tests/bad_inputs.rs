//! Whatever a user hands over, the answer is a sentence that helps, never a panic and never an allocation that only a
//! header asks for.

mod made;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use foretell_data::{
    Auto, Dataset, Images, ImagesConfig, Normalise, OnBadSample, Part, ScenesConfig, check_batch, for_each, open_inputs,
};
use made::{cifar, folder, gzip, idx, jpeg, png, png_header, tar, tar_of_name};
use proptest::prelude::*;

fn error(path: &Path) -> String {
    Dataset::open(path).unwrap_err().to_string()
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn a_path_that_leads_nowhere() {
    says(&error(Path::new("no/such/place")), &["there is nothing at `no/such/place`", "check the path"]);
    let inputs = open_inputs(&["no/such.png".into()]).unwrap_err().to_string();
    says(&inputs, &["there is nothing at `no/such.png`"]);
}

#[test]
fn a_folder_or_tar_without_images() {
    let root = tempfile::tempdir().unwrap();
    says(&error(root.path()), &["holds no images", "0 files", ".jpg, .jpeg, .jpe, .jfif, .jif, .jfi, .png, .webp"]);
    folder(root.path(), [("notes/a.txt", b"hello".to_vec()), ("b.gif", b"GIF89a".to_vec())]);
    says(&error(root.path()), &["holds no images", "2 files"]);
    says(&error(&tar(&root.path().join("t.tar"), [("a.txt", vec![1])])), &["t.tar` holds no images", "1 files"]);
}

#[test]
fn a_file_that_is_no_data_set() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("thing");
    for (bytes, found) in [
        (b"hello world".to_vec(), "begins with the bytes [68, 65,"),
        (Vec::new(), "the file is empty"),
        (png(4, 4, 3, 1), "it is one single image"),
        (gzip(b"hello"), "a gzip file of something that is neither IDX nor a tar"),
    ] {
        fs::write(&path, bytes).unwrap();
        says(&error(&path), &["is not a data set", found, "expected a folder of images, a tar"]);
    }
}

#[test]
fn compressed_archives_are_refused_with_the_way_out() {
    let root = tempfile::tempdir().unwrap();
    let plain = tar(&root.path().join("a.tar"), [("x.png", png(4, 4, 3, 1))]);
    let packed = gzip(&fs::read(plain).unwrap());
    for name in ["b.tar.gz", "nameless"] {
        let path = root.path().join(name);
        fs::write(&path, &packed).unwrap();
        says(&error(&path), &["a gzip-compressed tar", "gunzip", name, ".tar that it leaves"]);
    }
    let alone = root.path().join("alone");
    folder(&alone, [("train.tar.gz", packed)]);
    says(&error(&alone), &["train.tar.gz` is a gzip-compressed tar", "gunzip"]);
    let other = root.path().join("other");
    for (bytes, kind) in [
        (b"PK\x03\x04rest".to_vec(), "a zip archive"),
        (b"\x28\xB5\x2F\xFDrest".to_vec(), "zstd"),
        (b"\xFD7zXZ\0".to_vec(), "xz"),
        (b"BZh9".to_vec(), "bzip2"),
    ] {
        fs::write(&other, bytes).unwrap();
        says(&error(&other), &[kind, "give"]);
    }
}

#[test]
fn a_truncated_tar_names_the_member() {
    let root = tempfile::tempdir().unwrap();
    let path = tar(&root.path().join("a.tar"), [("x/1.png", png(20, 20, 3, 1)), ("x/2.png", png(20, 20, 3, 2))]);
    let bytes = fs::read(&path).unwrap();
    let second = bytes.windows(7).position(|window| window == b"x/2.png").unwrap();
    fs::write(&path, &bytes[..second + 512 + 100]).unwrap();
    says(&error(&path), &["is truncated", "the member `x/2.png`", "copy or download it again"]);
    fs::write(&path, &bytes[..second + 100]).unwrap();
    says(&error(&path), &["is truncated", "the header after `x/1.png`"]);
    let mut broken = bytes.clone();
    broken[second + 3] ^= 1;
    fs::write(&path, broken).unwrap();
    says(&error(&path), &["damaged after the member `x/1.png`", "checksum"]);
}

#[test]
fn members_that_climb_out_of_the_tar() {
    let root = tempfile::tempdir().unwrap();
    for name in ["../evil.png", "a/../../evil.png", "/etc/evil.png", "C:\\evil.png"] {
        let path = tar_of_name(&root.path().join("a.tar"), name.as_bytes());
        says(&error(&path), &[&format!("the member `{name}`"), "absolute or climbs out"]);
    }
}

#[test]
fn an_idx_header_is_not_believed() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("train-images-idx3-ubyte");
    let check = |bytes: Vec<u8>, parts: &[&str]| {
        fs::write(&path, &bytes).unwrap();
        says(&error(&path), parts);
        says(&error(root.path()), parts);
    };
    check(idx(&[4, 5, 5], &[0; 99]), &["header says [4, 5, 5], so 116 bytes were expected, but found 115"]);
    check(idx(&[4, 5, 5], &[0; 101]), &["116 bytes were expected, but found more than that"]);
    check(idx(&[1 << 16, 256, 256], &[0; 50]), &["4294967312 bytes were expected, but found 66"]);
    check(idx(&[u32::MAX; 4], &[0; 50]), &["more bytes than any file has"]);
    check(gzip(&idx(&[1 << 16, 256, 256], &[0; 50])), &["gzip cannot hold as many"]);
    check(gzip(&idx(&[4, 5, 5], &[0; 99])), &["116 bytes were expected, but found 115"]);
    check(gzip(&idx(&[4, 5, 5], &[0; 5000])), &["116 bytes were expected, but found more than that"]);
    check(vec![0, 0, 0x0D, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4], &["expected unsigned bytes"]);
    check(vec![0, 0, 8, 3, 0, 0], &["expected a header of 16 bytes, found 6"]);
    check(idx(&[0, 5, 5], &[]), &["found 0 of 5×5"]);
    check(idx(&[4, 5], &[0; 20]), &["expected sizes [n, height, width]", "found [4, 5]"]);
    check(idx(&[3], &[1, 2, 3]), &["it holds labels; give the path of the images file"]);
}

#[test]
fn a_truncated_gzip() {
    let root = tempfile::tempdir().unwrap();
    let noise: Vec<u8> = (0..40_000_u32).map(|i| (i.wrapping_mul(2654435761) >> 13) as u8).collect();
    let packed = gzip(&idx(&[400, 10, 10], &noise));
    let path = root.path().join("train-images-idx3-ubyte.gz");
    fs::write(&path, &packed[..packed.len() / 2]).unwrap();
    says(&error(&path), &["gzip file", "truncated or damaged: expected 40016 bytes", "copy or download it again"]);
    fs::write(&path, &packed[..packed.len() - 6]).unwrap();
    assert!(!error(&path).is_empty());
}

#[test]
fn images_and_labels_that_do_not_pair_up() {
    let root = tempfile::tempdir().unwrap();
    let files = [
        ("train-images-idx3-ubyte", idx(&[4, 2, 2], &[0; 16])),
        ("train-labels-idx1-ubyte.gz", gzip(&idx(&[5], &[0; 5]))),
    ];
    folder(root.path(), files);
    says(&error(root.path()), &["holds 4 images", "holds 5 labels", "exactly one label"]);

    let members = [("1.png", png(4, 4, 3, 1)), ("1.cls", b"3".to_vec()), ("2.png", png(4, 4, 3, 1))];
    says(&error(&tar(&root.path().join("a.tar"), members)), &["`2.cls`", "it is missing", "1 of 2 images"]);
    let members = [("1.png", png(4, 4, 3, 1)), ("1.cls", b"two\nlines".to_vec())];
    says(&error(&tar(&root.path().join("a.tar"), members)), &["label file `1.cls`", "found 2 lines"]);
    let members = [("1.png", png(4, 4, 3, 1)), ("1.json", b"{".to_vec())];
    // A tool's own file is no label: it is told.
    let notes = Dataset::open(&tar(&root.path().join("a.tar"), members)).unwrap().describe().notes.join("; ");
    says(&notes, &["1 of 1 .json files beside the images hold no label", "label file `1.json`", "expected JSON"]);
}

#[test]
fn cifar_batches_of_a_wrong_length_or_layout() {
    let root = tempfile::tempdir().unwrap();
    let mut cut = cifar(&[&[1], &[2]]);
    cut.pop();
    folder(root.path(), [("data_batch_1.bin", cut)]);
    says(&error(root.path()), &["data_batch_1.bin", "3073 bytes (CIFAR-10) or 3074", "found 6145 bytes"]);
    folder(root.path(), [("data_batch_1.bin", cifar(&[&[1], &[22], &[2], &[2]]))]);
    says(&error(root.path()), &["record 1 has the label 22, expected a label below 10"]);
    folder(root.path(), [("data_batch_1.bin", cifar(&[&[1]])), ("test_batch.bin", cifar(&[&[1, 1]]))]);
    says(&error(root.path()), &["test_batch.bin", "expected records of 3073 bytes", "found records of 3074"]);
}

#[test]
fn a_corrupt_image_is_named_and_the_rest_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let mut files: Vec<(String, Vec<u8>)> = (0..40).map(|i| (format!("{i:02}.png"), png(12, 12, 3, i))).collect();
    let whole = jpeg(64, 64, 1);
    files[7].1.truncate(60);
    files[20].1 = whole[..whole.len() / 2].to_vec();
    files[30].1 = b"no image at all".to_vec();
    folder(root.path(), files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())));
    let dataset = Dataset::open(root.path()).unwrap();
    let parts = [Part::Train, Part::HeldOut];
    let errors: Vec<String> = parts
        .iter()
        .flat_map(|&part| (0..dataset.len(part)).map(move |index| (part, index)))
        .filter_map(|(part, index)| dataset.load(part, index).err())
        .map(|error| error.to_string())
        .collect();
    assert_eq!(errors.len(), 3, "{errors:?}");
    for (name, reason) in [("07", "cannot be decoded"), ("20", "truncated"), ("30", "neither PNG nor JPEG nor WebP")] {
        let named = errors.iter().find(|error| error.contains(&format!("`{name}.png`"))).unwrap();
        says(named, &[reason, "replace or remove it"]);
    }

    let images = |on_bad_sample| {
        let (image_size, normalise) = (Auto::Value(8), Normalise::nothing(3));
        let config = ImagesConfig { image_size, normalise, on_bad_sample, ..ImagesConfig::default() };
        Arc::new(Images::of(dataset.clone(), &config).unwrap())
    };
    let mut seen = 0;
    let mut skipped = Vec::new();
    for part in parts {
        let count = |_, _| {
            seen += 1;
            Ok(())
        };
        skipped.extend(for_each(&images(OnBadSample::Skip), part, usize::MAX, 2, OnBadSample::Skip, count).unwrap());
    }
    skipped.sort();
    assert_eq!((seen, skipped), (37, ["07.png", "20.png", "30.png"].map(str::to_owned).to_vec()));
    let errors =
        parts.map(|part| for_each(&images(OnBadSample::Fail), part, usize::MAX, 2, OnBadSample::Fail, |_, _| Ok(())));
    let error = errors.into_iter().find_map(Result::err).unwrap();
    says(&error.to_string(), &["`07.png`", "set `data.on_bad_sample` to `skip`"]);
}

#[test]
fn images_all_of_which_are_bad() {
    let root = tempfile::tempdir().unwrap();
    folder(root.path(), [("a.png", b"x".to_vec()), ("b.png", Vec::new())]);
    says(&error(root.path()), &["none of the", "the first failed like this", "`a.png`"]);
}

#[test]
fn a_huge_image_is_refused_by_its_header() {
    let root = tempfile::tempdir().unwrap();
    folder(
        root.path(),
        [("a.png", png(4, 4, 3, 0)), ("b.png", png_header(20_000, 20_000)), ("c.png", png(4, 4, 3, 0))],
    );
    let dataset = Dataset::open(root.path()).unwrap();
    let all = [Part::Train, Part::HeldOut].into_iter().flat_map(|part| (0..dataset.len(part)).map(move |i| (part, i)));
    let found: Vec<String> =
        all.filter_map(|(part, index)| dataset.load(part, index).err()).map(|error| error.to_string()).collect();
    assert_eq!(found.len(), 1);
    says(&found[0], &["`b.png` is refused: it is 20000×20000", "268 megapixels (2^28)"]);
}

#[test]
fn a_sample_that_does_not_exist() {
    let scenes = Dataset::scenes(&ScenesConfig { train: 3, ..ScenesConfig::default() });
    says(
        &scenes.load(Part::Train, 3).unwrap_err().to_string(),
        &["sample 3 does not exist: the training part has 3 (0 to 2)"],
    );
    says(&ScenesConfig { size: 0, ..ScenesConfig::default() }.check().unwrap_err().to_string(), &["8 to 1024"]);
    let tiny = Dataset::scenes(&ScenesConfig { size: 0, ..ScenesConfig::default() });
    assert_eq!(tiny.load(Part::HeldOut, 0).unwrap().image.width, 8);
}

#[test]
fn a_batch_that_is_too_large_names_one_that_works() {
    assert!(check_batch::<Images>(512, 256).is_ok());
    says(
        &check_batch::<Images>(511, 256).unwrap_err().to_string(),
        &["511 images to train on", "set `train.batch` to 128", "there are 512"],
    );
    says(&check_batch::<Images>(3, 0).unwrap_err().to_string(), &["at least 4 images are needed"]);
    says(&check_batch::<Images>(1, 64).unwrap_err().to_string(), &["add more"]);
    assert!(check_batch::<Images>(511, 128).is_ok() && check_batch::<Images>(3, 1).is_ok());
    assert!(check_batch::<Images>(5, usize::MAX).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damage_anywhere_never_panics(which in 0..6_usize, at: prop::sample::Index, bytes in prop::collection::vec(any::<u8>(), 1..40), cut: bool) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("train-images-idx3-ubyte");
        let mut good = match which {
            0 => fs::read(tar(&path, [("a/1.png", png(9, 9, 3, 1)), ("b/2.jpg", jpeg(16, 16, 1)), ("b/2.cls", vec![b'1'])])).unwrap(),
            1 => gzip(&idx(&[3, 4, 4], &[5; 48])),
            2 => idx(&[3, 4, 4], &[5; 48]),
            3 => cifar(&[&[3], &[4]]),
            4 => jpeg(16, 16, 2),
            _ => png(9, 9, 1, 3),
        };
        let start = at.index(good.len());
        for (byte, new) in good[start..].iter_mut().zip(&bytes) {
            *byte = *new;
        }
        if cut {
            good.truncate(start);
        }
        fs::write(&path, &good).unwrap();
        if let Ok(dataset) = Dataset::open(&path) {
            for part in [Part::Train, Part::HeldOut] {
                for index in 0..dataset.len(part) {
                    let _ = dataset.load(part, index);
                }
            }
        }
        if let Ok(dataset) = open_inputs(&[path]) {
            prop_assert!(dataset.load(Part::Train, 0).is_ok_and(|sample| !sample.image.pixels.is_empty()) || !good.is_empty());
        }
    }
}
