//! Archives, IDX files and photographs as people have them; copies, and classes that stand in one part alone.

use std::fs;
use std::path::Path;

use image::{DynamicImage, ImageFormat};
use serde_json::Value;

use super::{classes, files, inspected, notes, says, trained};
use crate::{foretell, made, stderr};

fn count(found: &Value) -> u64 {
    found["train"].as_u64().unwrap() + found["held_out"].as_u64().unwrap()
}

fn tar(path: &Path, members: &[(String, Vec<u8>)]) {
    made::tar(path, members.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())));
}

#[test]
fn a_picture_beside_tars_does_not_hide_them_and_tars_beside_many_pictures_are_told() {
    let root = tempfile::tempdir().unwrap();
    let shard = |name: &str, from: usize| {
        let members: Vec<_> = (0..8).map(|i| (format!("{}.png", from + i), made::png(8, 8, 3, from + i))).collect();
        tar(&root.path().join(name), &members);
    };
    (0..3).for_each(|i| shard(&format!("pets-{i:04}.tar"), 8 * i));
    fs::write(root.path().join("preview.jpg"), made::jpeg(20, 20, 1)).unwrap();
    fs::write(root.path().join("LICENSE"), "free").unwrap();
    fs::write(root.path().join("scan.tif"), "x").unwrap();
    let found = inspected(root.path());
    assert_eq!(count(&found), 24, "{found:#}");
    says(&found, &["1 images beside the tars are left untouched", "1 .tif", "1 without an ending"]);
    // A damaged tar beside pictures refuses nothing.
    let whole = fs::read(root.path().join("pets-0001.tar")).unwrap();
    fs::write(root.path().join("pets-0001.tar"), &whole[..1000]).unwrap();
    let found = inspected(root.path());
    assert_eq!(count(&found), 16, "{found:#}");
    says(&found, &["`pets-0001.tar` is not read: the tar", "is truncated"]);
    // Folders of pictures stay what they are.
    files(root.path(), "oak/{}.png", 9, 100);
    files(root.path(), "ash/{}.png", 9, 200);
    fs::remove_file(root.path().join("preview.jpg")).unwrap();
    let found = inspected(root.path());
    assert_eq!((count(&found), classes(&found)), (18, vec!["ash".to_owned(), "oak".to_owned()]));
    says(&found, &["3 tars beside the images are not read, such as `pets-0000.tar`"]);
}

#[test]
fn a_packed_copy_beside_idx_files_or_a_lone_tar_gz_beside_pictures_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    files(root.path(), "{}.png", 9, 0);
    fs::write(root.path().join("backup.tar.gz"), made::gzip(b"hello")).unwrap();
    let found = inspected(root.path());
    assert_eq!(count(&found), 9);
    says(&found, &["1 .gz"]);
}

#[test]
fn every_kind_of_file_is_counted_in_folders_tars_and_folders_of_tars() {
    let root = tempfile::tempdir().unwrap();
    let mut members: Vec<(String, Vec<u8>)> = (0..6).map(|i| (format!("{i}.png"), made::png(8, 8, 3, i))).collect();
    for name in ["a.tif", "b.TIFF", "c.heic", "d.mts", "e.xyz", "README"] {
        members.push((name.to_owned(), vec![1]));
    }
    let said = ["1 .heic", "1 .mts", "1 .tif,", "1 .tiff", "1 .xyz", "1 without an ending"];
    let folder = root.path().join("folder");
    fs::create_dir(&folder).unwrap();
    for (name, bytes) in &members {
        fs::write(folder.join(name), bytes).unwrap();
    }
    tar(&root.path().join("one.tar"), &members);
    let tars = root.path().join("tars");
    fs::create_dir(&tars).unwrap();
    tar(&tars.join("x-0.tar"), &members);
    for path in [folder, root.path().join("one.tar"), tars] {
        let found = inspected(&path);
        assert_eq!(count(&found), 6);
        says(&found, &said);
    }
}

#[cfg(unix)]
#[test]
fn links_that_lead_nowhere_are_counted() {
    let root = tempfile::tempdir().unwrap();
    files(root.path(), "{}.png", 9, 0);
    std::os::unix::fs::symlink("gone.png", root.path().join("x.png")).unwrap();
    says(&inspected(root.path()), &["1 links lead nowhere"]);
}

#[test]
fn one_image_of_each_webdataset_key_is_a_sample() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("pairs.tar");
    let mut members = Vec::new();
    for i in 0..20 {
        // The masks come first, and two photographs are of another kind.
        members.push((format!("{i:04}.seg.png"), made::png(8, 8, 1, i)));
        if i < 18 {
            members.push((format!("{i:04}.jpg"), made::jpeg(8, 8, i)));
        } else {
            members.push((format!("{i:04}.png"), made::png(8, 8, 3, i)));
        }
        members.push((format!("{i:04}.cls"), ["3", "7"][i % 2].into()));
    }
    tar(&path, &members);
    let found = inspected(&path);
    assert_eq!((count(&found), classes(&found)), (20, vec!["3".to_owned(), "7".to_owned()]));
    says(&found, &["one image of each key is a sample (18 .jpg, 2 .png)", "20 .seg.png are left untouched"]);
    let said = trained(&path, &root.path().join("masks"), &["--set", "data.member=seg.png"]);
    assert!(said.contains("20 of 40 images do not end in `.seg.png`"), "{said}");
    let said = trained(&path, &root.path().join("all"), &["--set", "data.member=all"]);
    assert!(!said.contains("left untouched"), "{said}");
    let output = foretell()
        .args(["train", "i-jepa", "--steps", "1", "--set", "data.member=gif", "--data"])
        .arg(&path)
        .arg("--out")
        .arg(root.path().join("never"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("data.member") && said.contains("`gif`, which none of 40 images has"), "{said}");
}

#[test]
fn numbers_and_versions_in_names_are_no_endings() {
    let root = tempfile::tempdir().unwrap();
    // Frames of clips; Dogs vs. Cats.
    for (name, pattern) in [("frames.tar", "clip{}.{}.png"), ("pets.tar", "{}.{}.jpg")] {
        let members: Vec<(String, Vec<u8>)> = (0..24)
            .map(|i| {
                let name = pattern.replacen("{}", &(i / 4).to_string(), 1).replacen("{}", &(i % 4).to_string(), 1);
                (name, made::png(8, 8, 3, i))
            })
            .collect();
        tar(&root.path().join(name), &members);
        assert_eq!(count(&inspected(&root.path().join(name))), 24, "{name}");
    }
}

#[test]
fn links_in_a_tar_are_followed_and_joined_tars_are_read_to_the_end() {
    let root = tempfile::tempdir().unwrap();
    let packed = |from: usize, links: &[(tar::EntryType, &str, &str)]| {
        let mut builder = tar::Builder::new(Vec::new());
        for i in from..from + 6 {
            let bytes = made::png(8, 8, 3, i);
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, format!("a/{i}.png"), &bytes[..]).unwrap();
        }
        for (kind, path, target) in links {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(0);
            builder.append_link(&mut header, path, target).unwrap();
        }
        builder.into_inner().unwrap()
    };
    let links = [
        (tar::EntryType::Link, "b/hard.png", "a/0.png"),
        (tar::EntryType::Symlink, "b/soft.png", "../a/1.png"),
        (tar::EntryType::Symlink, "b/again.png", "hard.png"),
        (tar::EntryType::Link, "b/dead.png", "a/none.png"),
    ];
    let path = root.path().join("set.tar");
    fs::write(&path, packed(0, &links)).unwrap();
    let found = inspected(&path);
    assert_eq!((count(&found), classes(&found)), (9, vec!["a".to_owned(), "b".to_owned()]));
    says(&found, &["1 links lead to none of its members"]);
    // Joined, with something behind the end that is no tar.
    fs::write(&path, [packed(0, &links), packed(6, &[]), b"signature".repeat(100)].concat()).unwrap();
    let found = inspected(&path);
    assert_eq!(count(&found), 15);
    says(&found, &["1 more tars are joined to the first", "bytes are behind its end and are no tar"]);
    // The same members twice: the last of each stands, as `tar --ignore-zeros` has it.
    fs::write(&path, [packed(0, &[]), packed(3, &[])].concat()).unwrap();
    let found = inspected(&path);
    assert_eq!(count(&found), 9);
    says(&found, &["3 members have the path of an earlier one"]);
}

#[test]
fn equal_names_and_equal_folders_of_some_classes_are_told() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("names");
    files(&set, "left/{}a.png", 300, 0);
    files(&set, "right/{}a.png", 300, 1000);
    files(&set, "other/x{}.png", 300, 2000);
    let found = inspected(&set);
    assert_eq!(classes(&found), ["left", "other", "right"]);
    says(&found, &["`left/`, `right/` hold files of the same names (300)", "data.folders"]);

    // A fold that lacks a class, and a stray picture in another.
    let set = root.path().join("folds");
    for fold in 0..4 {
        files(&set, &format!("fold{fold}/a/{fold}x{{}}.png"), 20, 100 * fold);
        if fold != 2 {
            files(&set, &format!("fold{fold}/b/{fold}x{{}}.png"), 20, 100 * fold + 50);
        }
    }
    files(&set, "fold0/{}.png", 1, 999);
    let found = inspected(&set);
    assert_eq!(classes(&found), ["a", "b"], "{found:#}");
    says(&found, &["`fold0/`, `fold1/`, `fold2/`, `fold3/` hold the same folders (`a/`, `b/`)", "1 of 141 images"]);

    // Two of four: said, and left to be decided.
    let set = root.path().join("some");
    for class in ["cat", "dog"] {
        files(&set, &format!("{class}/indoor/{class}{{}}.png"), 12, 0);
        files(&set, &format!("{class}/outdoor/{class}{{}}.png"), 12, 50);
    }
    files(&set, "cow/meadow/{}.png", 12, 100);
    files(&set, "fox/forest/f{}.png", 12, 150);
    let found = inspected(&set);
    assert_eq!(classes(&found), ["cat", "cow", "dog", "fox"]);
    says(&found, &["`cat/`, `dog/` hold the same folders (`indoor/`, `outdoor/`), and 2 other folders do not"]);
    let run = root.path().join("run");
    trained(&set, &run, &["--set", "data.folders=inner"]);
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("folders = \"inner\""), "{config}");
    let output = foretell().args(["probe", "--json"]).arg(&run).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn torchvisions_raw_folder_and_one_named_idx_file_are_the_whole_set() {
    let root = tempfile::tempdir().unwrap();
    let raw = root.path().join("MNIST/raw");
    fs::create_dir_all(&raw).unwrap();
    // Each picture is another one.
    let images = |from: u8, n: u8| (from..from + n).flat_map(|i| [i, 9, 9, 9, 9, 9]).collect::<Vec<u8>>();
    let labels = |n: u8| (0..n).map(|i| [7, 3][usize::from(i % 2)]).collect::<Vec<u8>>();
    let write = |folder: &Path, names: [&str; 2], from: u8, n: u8, packed: bool| {
        let sets = [made::idx(&[n.into(), 2, 3], &images(from, n)), made::idx(&[n.into()], &labels(n))];
        for (name, bytes) in names.into_iter().zip(sets) {
            if packed {
                fs::write(folder.join(format!("{name}.gz")), made::gzip(&bytes)).unwrap();
            }
            fs::write(folder.join(name), bytes).unwrap();
        }
    };
    write(&raw, ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"], 0, 30, true);
    write(&raw, ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"], 100, 4, true);
    for path in [
        raw.clone(),
        root.path().join("MNIST"),
        raw.join("train-images-idx3-ubyte"),
        raw.join("train-images-idx3-ubyte.gz"),
    ] {
        let found = inspected(&path);
        assert_eq!((found["train"].as_u64(), found["held_out"].as_u64()), (Some(30), Some(4)), "{found:#}");
        assert_eq!(classes(&found), ["3", "7"], "the classes are those that occur");
    }
    says(&inspected(&raw), &["`train-images-idx3-ubyte.gz` (`train-images-idx3-ubyte` is read)"]);

    // EMNIST's six sets in one folder: the named one, with its own test part.
    let raw = root.path().join("EMNIST");
    fs::create_dir(&raw).unwrap();
    for (set, n) in [("letters", 20), ("digits", 24)] {
        let names = |part: &str| {
            [format!("emnist-{set}-{part}-images-idx3-ubyte"), format!("emnist-{set}-{part}-labels-idx1-ubyte")]
        };
        let (train, test) = (names("train"), names("test"));
        write(&raw, [train[0].as_str(), train[1].as_str()], 0, n, false);
        write(&raw, [test[0].as_str(), test[1].as_str()], 100, n / 4, false);
    }
    let found = inspected(&raw.join("emnist-digits-train-images-idx3-ubyte"));
    assert_eq!((found["train"].as_u64(), found["held_out"].as_u64()), (Some(24), Some(6)));
    let output = foretell().arg("inspect").arg(&raw).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("give the path of one"), "{}", stderr(&output));

    // Two sets of the same names and sizes are two sets, not one packed twice.
    for set in ["MNIST", "FashionMNIST"] {
        let raw = root.path().join("both").join(set);
        fs::create_dir_all(&raw).unwrap();
        write(&raw, ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"], 0, 30, false);
    }
    let output = foretell().arg("inspect").arg(root.path().join("both")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// A grey PNG of 16 bits.
fn deep(width: u32, height: u32, value: impl Fn(u32) -> u16) -> Vec<u8> {
    let image = image::ImageBuffer::from_fn(width, height, |x, y| image::Luma([value(y * width + x)]));
    made::encoded(&DynamicImage::ImageLuma16(image), ImageFormat::Png)
}

#[test]
fn twelve_bits_in_sixteen_are_told_and_spread_by_a_key() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("scans");
    fs::create_dir(&set).unwrap();
    for i in 0..24_u32 {
        fs::write(set.join(format!("{i:02}.png")), deep(64, 64, |at| (at + i) as u16 % 4096)).unwrap();
    }
    // 4095 / 257 = 15.93: the levels 0 to 16.
    let found = inspected(&set);
    says(&found, &["go from 0 to 4095", "which leaves 17 of 256 grey levels", "`data.range = [0, 4095]` spreads them"]);
    let std = |run: &str, more: &[&str]| {
        let run = root.path().join(run);
        let said = trained(&set, &run, more);
        let config: toml::Table = fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap();
        (said, config["data"]["normalise"]["std"][0].as_float().unwrap())
    };
    let (said, dark) = std("dark", &[]);
    assert!(said.contains("17 of 256 grey levels"), "{said}");
    let (said, spread) = std("spread", &["--set", "data.range=[0, 4095]"]);
    assert!(!said.contains("grey levels"), "{said}");
    // 65535 / 4095 = 16 times as far apart, as far as bytes can tell.
    assert!((spread / dark - 16.0).abs() < 0.8, "{dark} {spread}");
    let output = foretell()
        .args(["train", "i-jepa", "--steps", "1", "--set", "data.range=[9, 9]", "--data"])
        .arg(&set)
        .arg("--out")
        .arg(root.path().join("never"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("data.range"), "{}", stderr(&output));

    // All sixteen bits are nothing to tell.
    let set = root.path().join("full");
    fs::create_dir(&set).unwrap();
    (0..9).for_each(|i| fs::write(set.join(format!("{i}.png")), deep(64, 64, |at| (at * 16) as u16)).unwrap());
    assert!(!notes(&inspected(&set)).contains("grey levels"));
}

#[test]
fn copies_on_both_sides_of_a_split_are_counted() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    for class in ["a", "b"] {
        files(&set, &format!("train/{class}/{{}}.png"), 12, if class == "a" { 0 } else { 50 });
    }
    files(&set, "test/a/{}.png", 4, 8);
    files(&set, "test/b/{}.png", 4, 70);
    // Pictures 8 to 11 are in both.
    let found = inspected(&set);
    says(&found, &["4 of 8 held-out images are also in training, byte for byte: `test/a/0.png` is `train/a/8.png`"]);
    assert!(trained(&set, &root.path().join("run"), &[]).contains("4 of 8 held-out images are also in training"));
    // So are records.
    let images: Vec<u8> = (0..12_u8).flat_map(|i| [i % 10; 4]).collect();
    fs::write(root.path().join("train-images-idx3-ubyte"), made::idx(&[12, 2, 2], &images)).unwrap();
    fs::write(
        root.path().join("t10k-images-idx3-ubyte"),
        made::idx(&[3, 2, 2], &[3, 3, 3, 3, 77, 77, 77, 77, 9, 9, 9, 9]),
    )
    .unwrap();
    let found = inspected(&root.path().join("train-images-idx3-ubyte"));
    says(&found, &["2 of 3 held-out images are also in training"]);
}

#[test]
fn probes_say_how_many_samples_they_are_of_and_which_classes_stand_in_one_part_alone() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    for (at, class) in ["ash", "elm", "oak"].iter().enumerate() {
        files(&set, &format!("train/{class}/{{}}.png"), 8, 20 * at);
    }
    for (at, class) in ["ash", "elm", "yew"].iter().enumerate() {
        files(&set, &format!("test/{class}/{{}}.png"), 3 + at, 100 + 20 * at);
    }
    let run = root.path().join("run");
    trained(&set, &run, &[]);
    let output = foretell().arg("probe").arg(&run).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let head = said.lines().nth(1).unwrap();
    assert!(head.ends_with("chance   n") && said.lines().nth(2).unwrap().ends_with("  12"), "{said}");
    assert!(
        said.contains("among the held-out samples alone, so that no probe can name them: `yew` (5); 5 of n = 12"),
        "{said}"
    );
    assert!(said.contains("among the training samples alone: `oak` (8)"), "{said}");
    let output = foretell().args(["probe", "--json"]).arg(&run).output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["probes"][0]["n"], 12);
    assert!(found["notes"].to_string().contains("`yew` (5)"), "{found:#}");
    let summary = fs::read_to_string(run.join("summary.json")).unwrap();
    assert!(summary.contains("\"n\": 12"), "{summary}");
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("n = 12") && report.contains("<code>yew</code> (5)"));
}

#[test]
fn a_photograph_of_108_megapixels_is_read() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    fs::create_dir(&set).unwrap();
    // Left half black, right half white.
    let wide = image::GrayImage::from_fn(12_000, 9_000, |x, _| image::Luma([if x < 6_000 { 0 } else { 255 }]));
    fs::write(set.join("a.jpg"), made::encoded(&wide.clone().into(), ImageFormat::Jpeg)).unwrap();
    fs::write(set.join("b.png"), made::encoded(&wide.into(), ImageFormat::Png)).unwrap();
    (0..24).for_each(|i| fs::write(set.join(format!("{i}.png")), made::png(16, 16, 1, i)).unwrap());
    let run = root.path().join("run");
    trained(&set, &run, &[]);
    let out = root.path().join("rows.safetensors");
    let output = foretell()
        .arg("embed")
        .arg(&run)
        .args([set.join("a.jpg"), set.join("b.png")])
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    // Beyond the limit, the header says so.
    fs::write(set.join("c.png"), made::png_header(17_000, 17_000)).unwrap();
    let output = foretell().arg("embed").arg(&run).arg(set.join("c.png")).arg("--out").arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("it is 17000×17000, and the limit is 268 megapixels (2^28)"),
        "{}",
        stderr(&output)
    );
}
