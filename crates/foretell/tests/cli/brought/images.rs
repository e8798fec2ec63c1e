//! Folders and archives of images as people have them: what trains, what is held out, and what the classes are.

use std::fs;
use std::path::Path;

use super::{classes, inspected, notes};
use crate::{foretell, made, stderr};

/// A folder with a small picture at each of these paths.
fn folder(root: &Path, paths: &[String]) {
    for (seed, path) in paths.iter().enumerate() {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, made::png(8, 8, 3, seed)).unwrap();
    }
}

/// `{}` as 0, 1 and so on.
fn numbered(pattern: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| pattern.replace("{}", &i.to_string())).collect()
}

/// Patterns with counts; how many train and are held out (`None` where a hash says); the classes; words of the notes.
struct Case {
    files: &'static [(&'static str, usize)],
    parts: Option<(u64, u64)>,
    classes: &'static [&'static str],
    said: &'static [&'static str],
}

const CASES: [Case; 28] = [
    // Another word for what is held out.
    Case {
        files: &[("train/cat/{}.jpg", 5), ("train/dog/{}.jpg", 5), ("eval/cat/{}.jpg", 3), ("eval/dog/{}.jpg", 3)],
        parts: Some((10, 6)),
        classes: &["cat", "dog"],
        said: &[],
    },
    // CycleGAN's pairs.
    Case {
        files: &[("trainA/{}.jpg", 5), ("trainB/{}.jpg", 5), ("testA/{}.jpg", 3), ("testB/{}.jpg", 3)],
        parts: Some((10, 6)),
        classes: &[],
        said: &[],
    },
    // Something beside two parts of one name.
    Case {
        files: &[
            ("cars_train/cat/{}.jpg", 5),
            ("cars_train/dog/{}.jpg", 5),
            ("cars_test/cat/{}.jpg", 3),
            ("cars_test/dog/{}.jpg", 3),
            ("sample_images/{}.jpg", 4),
        ],
        parts: Some((10, 6)),
        classes: &["cat", "dog"],
        said: &["4 images outside of the folders of the split are left untouched"],
    },
    // Words of parts that are about something else.
    Case {
        files: &[("train_station/{}.jpg", 20), ("test_tube/{}.jpg", 20), ("apple/{}.jpg", 20)],
        parts: None,
        classes: &["apple", "test_tube", "train_station"],
        said: &[],
    },
    // Folds that hold the parts.
    Case {
        files: &[
            ("fold0/train/cat/{}.jpg", 5),
            ("fold0/train/dog/{}.jpg", 5),
            ("fold0/test/cat/{}.jpg", 3),
            ("fold0/test/dog/{}.jpg", 3),
            ("fold1/train/cat/{}.jpg", 5),
            ("fold1/train/dog/{}.jpg", 5),
            ("fold1/test/cat/{}.jpg", 3),
            ("fold1/test/dog/{}.jpg", 3),
        ],
        parts: Some((20, 12)),
        classes: &["cat", "dog"],
        said: &["`fold0`, `fold1` hold the same parts and classes"],
    },
    // COCO's folders.
    Case {
        files: &[("train2017/{}.jpg", 5), ("val2017/{}.jpg", 2), ("test2017/{}.jpg", 3)],
        parts: Some((5, 3)),
        classes: &[],
        said: &["`val2017/` (2 images) is left untouched"],
    },
    // Stanford Cars.
    Case { files: &[("cars_train/{}.jpg", 6), ("cars_test/{}.jpg", 4)], parts: Some((6, 4)), classes: &[], said: &[] },
    // Intel Image Classification, whose folders repeat their names.
    Case {
        files: &[
            ("seg_train/seg_train/sea/{}.jpg", 3),
            ("seg_train/seg_train/street/{}.jpg", 3),
            ("seg_test/seg_test/sea/{}.jpg", 2),
            ("seg_test/seg_test/street/{}.jpg", 2),
            ("seg_pred/seg_pred/{}.jpg", 4),
        ],
        parts: Some((6, 4)),
        classes: &["sea", "street"],
        said: &["`seg_pred/` (4 images) is left untouched"],
    },
    Case {
        files: &[
            ("training_set/cats/{}.jpg", 3),
            ("training_set/dogs/{}.jpg", 3),
            ("test_set/cats/{}.jpg", 1),
            ("test_set/dogs/{}.jpg", 2),
        ],
        parts: Some((6, 3)),
        classes: &["cats", "dogs"],
        said: &[],
    },
    Case {
        files: &[("train/a/{}.png", 3), ("train/b/{}.png", 3), ("dev/a/{}.png", 1), ("dev/b/{}.png", 1)],
        parts: Some((6, 2)),
        classes: &["a", "b"],
        said: &[],
    },
    Case {
        files: &[("test/a/{}.png", 2), ("test/b/{}.png", 2), ("val/a/{}.png", 3), ("val/b/{}.png", 3)],
        parts: Some((6, 4)),
        classes: &["a", "b"],
        said: &["no folder is called `train`"],
    },
    Case {
        files: &[("fold0/a/{}.png", 9), ("fold0/b/{}.png", 9), ("fold1/a/x{}.png", 9), ("fold1/b/x{}.png", 9)],
        parts: None,
        classes: &["a", "b"],
        said: &["`fold0/`, `fold1/` hold the same folders (`a/`, `b/`)", "data.folders"],
    },
    // Two places that took the same classes.
    Case {
        files: &[
            ("oslo/Rust/{}.png", 9),
            ("oslo/blight/{}.png", 9),
            ("riga/rust/{}.png", 9),
            ("riga/blight/{}.png", 9),
        ],
        parts: None,
        classes: &["Rust", "blight", "rust"],
        said: &["hold the same folders"],
    },
    Case {
        files: &[("images/{}.png", 20), ("masks/{}.png", 20)],
        parts: None,
        classes: &[],
        said: &["`masks/` (20 images) lies beside the images that it is about"],
    },
    Case {
        files: &[("JPEGImages/{}.jpg", 20), ("SegmentationClass/{}.png", 6), ("SegmentationObject/{}.png", 6)],
        parts: None,
        classes: &[],
        said: &["`SegmentationClass/` (6 images)", "`SegmentationObject/` (6 images)"],
    },
    // Cityscapes: other towns are held out than those of training, so towns are no labels to judge by.
    Case {
        files: &[
            ("leftImg8bit/train/aachen/{}_leftImg8bit.png", 12),
            ("leftImg8bit/train/bremen/{}_leftImg8bit.png", 12),
            ("leftImg8bit/val/lindau/{}_leftImg8bit.png", 3),
            ("gtFine/train/aachen/{}_gtFine_labelIds.png", 12),
            ("gtFine/val/lindau/{}_gtFine_labelIds.png", 3),
        ],
        parts: None,
        classes: &["aachen", "bremen"],
        said: &[
            "`gtFine/` (15 images)",
            "`val/` (3 images) is left untouched because it has none of the classes of training",
        ],
    },
    // MVTec AD.
    Case {
        files: &[
            ("bottle/train/good/{}.png", 4),
            ("bottle/test/broken/{}.png", 2),
            ("bottle/ground_truth/broken/{}_mask.png", 2),
            ("cable/train/good/{}.png", 4),
            ("cable/test/bent/{}.png", 2),
            ("cable/ground_truth/bent/{}_mask.png", 2),
        ],
        parts: Some((8, 4)),
        classes: &["bottle", "cable"],
        said: &["`ground_truth/` (4 images)", "each class has folders of its own for the parts"],
    },
    // What network storage leaves.
    Case {
        files: &[
            ("a/{}.png", 9),
            ("b/{}.png", 9),
            ("@eaDir/{}.png", 3),
            ("a/@eaDir/{}.png", 3),
            ("#recycle/{}.png", 3),
            ("$RECYCLE.BIN/{}.png", 3),
            ("lost+found/{}.png", 3),
        ],
        parts: None,
        classes: &["a", "b"],
        said: &[],
    },
    Case {
        files: &[("train/Cat/{}.png", 3), ("train/Dog/{}.png", 3), ("test/cat/{}.png", 1), ("test/dog/{}.png", 1)],
        parts: Some((6, 2)),
        classes: &["Cat", "Dog"],
        said: &[],
    },
    // Tiny ImageNet as it is unpacked.
    Case {
        files: &[("train/n01/images/{}.JPEG", 12), ("train/n02/images/{}.JPEG", 12), ("val/images/{}.JPEG", 5)],
        parts: None,
        classes: &["n01", "n02"],
        said: &["`val/` (5 images) is left untouched because it has none of the classes"],
    },
    Case {
        files: &[("a/{}.png", 60), ("b/{}.png", 60), ("stray{}.png", 1)],
        parts: None,
        classes: &["a", "b"],
        said: &["1 of 121 images lie outside of the class folders"],
    },
    // Ten that nobody named, some of which must stay what they are.
    Case {
        files: &[("train/{}.png", 9), ("bus/{}.png", 9), ("car/{}.png", 9)],
        parts: None,
        classes: &["bus", "car", "train"],
        said: &[],
    },
    Case {
        files: &[("with_mask/{}.png", 9), ("without_mask/{}.png", 9)],
        parts: None,
        classes: &["with_mask", "without_mask"],
        said: &[],
    },
    Case { files: &[("mask/{}.png", 9), ("no_mask/{}.png", 9)], parts: None, classes: &["mask", "no_mask"], said: &[] },
    Case {
        files: &[("test_tube/{}.png", 9), ("beaker/{}.png", 9), ("training_shoe/{}.png", 9)],
        parts: None,
        classes: &["beaker", "test_tube", "training_shoe"],
        said: &[],
    },
    Case {
        files: &[
            ("birds-train/wren/{}.png", 3),
            ("birds-train/owl/{}.png", 3),
            ("birds-valid/wren/{}.png", 2),
            ("birds-valid/owl/{}.png", 1),
        ],
        parts: Some((6, 3)),
        classes: &["owl", "wren"],
        said: &[],
    },
    Case {
        files: &[
            ("train/images/{}.png", 6),
            ("train/masks/{}.png", 6),
            ("val/images/{}.png", 2),
            ("val/masks/{}.png", 2),
        ],
        parts: Some((6, 2)),
        classes: &[],
        said: &["`masks/` (8 images)"],
    },
    Case {
        files: &[
            ("cat/indoor/{}.png", 9),
            ("cat/outdoor/{}.png", 9),
            ("dog/indoor/{}.png", 9),
            ("dog/garden/{}.png", 9),
        ],
        parts: None,
        classes: &["cat", "dog"],
        said: &[],
    },
];

#[test]
fn folders_are_parts_classes_or_neither() {
    for Case { files, parts, classes: expected, said } in CASES {
        let root = tempfile::tempdir().unwrap();
        let all: Vec<String> = files.iter().flat_map(|(pattern, count)| numbered(pattern, *count)).collect();
        folder(&root.path().join("set"), &all);
        let found = inspected(&root.path().join("set"));
        let counts = (found["train"].as_u64().unwrap(), found["held_out"].as_u64().unwrap());
        assert!(parts.is_none_or(|parts| parts == counts), "{files:?}: {found:#}");
        assert_eq!(classes(&found), expected, "{files:?}: {found:#}");
        let notes = notes(&found);
        for words in said {
            assert!(notes.contains(words), "{files:?}: `{words}` is not in: {notes}");
        }
    }
}

#[test]
fn two_tars_with_the_same_classes_are_no_classes_themselves() {
    let root = tempfile::tempdir().unwrap();
    for name in ["north", "south"] {
        let files: Vec<(String, Vec<u8>)> =
            (0..12).map(|i| (format!("{}/{i}.png", ["ash", "oak"][i % 2]), made::png(8, 8, 3, i))).collect();
        made::tar(&root.path().join(name), files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())));
        fs::rename(root.path().join(name), root.path().join(format!("{name}.tar"))).ok();
    }
    let found = inspected(root.path());
    assert_eq!(classes(&found), ["ash", "oak"]);
    assert!(notes(&found).contains("`north/`, `south/` hold the same folders"), "{found:#}");
}

#[test]
fn what_is_said_of_folders_can_be_overruled_and_is_said_when_training_begins() {
    let root = tempfile::tempdir().unwrap();
    let files: Vec<String> = ["a", "b"].iter().flat_map(|fold| numbered(&format!("{fold}/x/{{}}.png"), 20)).collect();
    let more: Vec<String> = ["a", "b"].iter().flat_map(|fold| numbered(&format!("{fold}/y/{{}}.png"), 20)).collect();
    folder(&root.path().join("set"), &[files, more].concat());
    let train = |folders: &str, out: &str| {
        let mut command = foretell();
        command.args(["train", "i-jepa", "--steps", "1", "--image-size", "16", "--set", "train.batch=8", "--set"]);
        command.arg(format!("data.folders={folders}")).arg("--data").arg(root.path().join("set"));
        command.arg("--out").arg(root.path().join(out)).output().unwrap()
    };
    let output = train("auto", "auto");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("hold the same folders (`x/`, `y/`), which are the classes"),
        "{}",
        stderr(&output)
    );
    let report = fs::read_to_string(root.path().join("auto/report.html")).unwrap();
    assert!(report.contains("hold the same folders"));
    let output = train("classes", "classes");
    assert!(output.status.success() && !stderr(&output).contains("hold the same folders"), "{}", stderr(&output));
    let output = train("sideways", "never");
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("data.folders") && said.contains("ignore"), "{said}");
}

#[test]
fn a_picture_is_itself_in_any_company() {
    let root = tempfile::tempdir().unwrap();
    let write = |folder: &str, name: &str, channels: usize, seed: usize| {
        let folder = root.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), made::png(16, 16, channels, seed)).unwrap();
    };
    (0..40).for_each(|i| write("coloured", &format!("{i:03}.png"), 3, i));
    // One coloured picture, at a place that 256 headers spread over 600 do not meet.
    (0..600).for_each(|i| write("grey", &format!("{i:03}.png"), if i == 301 { 3 } else { 1 }, i));
    write("alone", "301.png", 3, 301);
    let run = root.path().join("run");
    let output = foretell()
        .args(["train", "i-jepa", "--steps", "1", "--image-size", "16", "--set", "train.batch=8", "--data"])
        .arg(root.path().join("coloured"))
        .arg("--out")
        .arg(&run)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let embedded = |data: &str, row: usize| {
        let out = root.path().join(format!("{data}.safetensors"));
        let output =
            foretell().arg("embed").arg(&run).arg(root.path().join(data)).arg("--out").arg(&out).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let bytes = fs::read(out).unwrap();
        let width = 192;
        let start = bytes.len() - 4 * width * (if data == "alone" { 1 } else { 600 - row });
        bytes[start..start + 4 * width]
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect::<Vec<_>>()
    };
    let (alone, among) = (embedded("alone", 0), embedded("grey", 301));
    assert!(alone.iter().zip(&among).all(|(a, b)| (a - b).abs() < 1e-4), "{alone:?} {among:?}");
    let found = inspected(&root.path().join("grey"));
    assert_eq!(found["channels"], 3);
    assert!(notes(&found).contains("grey and coloured images are mixed"), "{found:#}");
}

#[test]
fn files_of_other_kinds_are_counted_and_jpegs_of_other_names_are_read() {
    let root = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("a.jfif", made::jpeg(9, 7, 1)),
        ("b.jpe", made::jpeg(9, 7, 2)),
        ("c.jpg", made::jpeg(9, 7, 3)),
        ("d.heic", vec![0]),
        ("e.TIF", vec![0]),
        ("f.tif", vec![0]),
        ("g.mts", vec![0]),
    ] {
        fs::write(root.path().join(name), bytes).unwrap();
    }
    let found = inspected(root.path());
    assert_eq!(found["train"].as_u64().unwrap() + found["held_out"].as_u64().unwrap(), 3);
    assert!(notes(&found).contains("files of other kinds are not read: 1 .heic, 1 .mts, 2 .tif"), "{found:#}");
}

#[test]
fn a_few_images_without_a_label_and_dots_in_names_do_not_drop_all_labels() {
    let root = tempfile::tempdir().unwrap();
    let class = |i: usize| ["elm", "fir"][i % 2].as_bytes().to_vec();
    let (mut shards, mut files) = (Vec::new(), Vec::new());
    for i in 0..120 {
        // A key with a dot in it, as a version or a scale has.
        shards.push((format!("tree.{i}.v1.5.jpg"), made::jpeg(8, 8, i)));
        shards.push((format!("tree.{i}.v1.5.cls"), class(i)));
        files.push((format!("{i}.png"), made::png(8, 8, 3, i)));
        if i != 77 {
            files.push((format!("{i}.txt"), [b"\xEF\xBB\xBF".to_vec(), class(i)].concat()));
        }
    }
    let named = |files: &[(String, Vec<u8>)], name: &str| {
        let tar = made::tar(&root.path().join(name), files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())));
        inspected(&tar)
    };
    let found = named(&shards, "shards.tar");
    assert_eq!(classes(&found), ["elm", "fir"], "{found:#}");
    let found = named(&files, "files.tar");
    assert_eq!(classes(&found), ["elm", "fir"], "{found:#}");
    assert_eq!(found["train"].as_u64().unwrap() + found["held_out"].as_u64().unwrap(), 119);
    assert!(notes(&found).contains("1 of 120 images have no label beside them"), "{found:#}");
}

#[test]
fn other_tools_files_beside_images_are_no_labels_and_are_told() {
    for (ending, content) in [
        // LabelMe, a number that JSON does not have, a caption in Latin-1.
        ("json", &br#"{"version": "5.0", "shapes": [], "imageData": null}"#[..]),
        ("json", br#"{"score": NaN}"#),
        ("txt", b"caf\xE9 au lait"),
    ] {
        let root = tempfile::tempdir().unwrap();
        for i in 0..30 {
            for class in ["a", "b"] {
                let folder = root.path().join(class);
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join(format!("{i}.png")), made::png(8, 8, 3, i)).unwrap();
                fs::write(folder.join(format!("{i}.{ending}")), content).unwrap();
            }
        }
        let found = inspected(root.path());
        assert_eq!(classes(&found), ["a", "b"], "{found:#}");
        assert!(
            notes(&found).contains(&format!("60 of 60 .{ending} files beside the images hold no label")),
            "{found:#}"
        );
    }
}
