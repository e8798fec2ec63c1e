//! What else lies in folders, small sets, tables, and looking at a set with a setting changed.

use std::fs;
use std::path::Path;

use super::{classes, files, inspected, inspected_as, notes, parts, says, trained};
use crate::made::npz::{Method, bytes, npy, write};
use crate::plan::{refused, succeeded};
use crate::{foretell, made, pictures, stderr};

#[test]
fn what_systems_left_is_counted_by_kind() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    files(&set, "a/{}.png", 12, 0);
    files(&set, "b/{}.png", 12, 20);
    files(&set, "@eaDir/{}/thumb.png", 3, 0);
    files(&set, "a/@eaDir/{}.png", 2, 0);
    files(&set, "#recycle/{}.png", 1, 0);
    files(&set, "b/._{}.png", 4, 0);
    let found = inspected(&set);
    assert_eq!(classes(&found), ["a", "b"]);
    says(&found, &["left is not read", "5 files in @eaDir", "1 file in #recycle", "4 files named ._*"]);
    // As Finder packs a folder.
    let members: Vec<(String, Vec<u8>)> = (0..12)
        .flat_map(|i| {
            [(format!("a/{i}.png"), made::png(8, 8, 3, i)), (format!("__MACOSX/a/._{i}.png"), vec![0, 5, 22, 7])]
        })
        .collect();
    made::tar(&root.path().join("packed.tar"), members.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())));
    says(&inspected(&root.path().join("packed.tar")), &["12 files in __MACOSX"]);
    // Nothing is said where there is none.
    let clean = root.path().join("clean");
    files(&clean, "a/{}.png", 60, 0);
    assert!(!notes(&inspected(&clean)).contains("left is not read"));
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_above_is_passed_over() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    files(&set, "a/{}.png", 30, 0);
    files(&set, "b/{}.png", 30, 40);
    std::os::unix::fs::symlink(&set, set.join("a/all")).unwrap();
    std::os::unix::fs::symlink("..", set.join("b/up")).unwrap();
    // A folder beside is followed, as before.
    files(root.path(), "more/{}.png", 20, 80);
    std::os::unix::fs::symlink(root.path().join("more"), set.join("c")).unwrap();
    let found = inspected(&set);
    assert_eq!(parts(&found).0 + parts(&found).1, 80, "{found:#}");
    assert_eq!(classes(&found), ["a", "b", "c"]);
    says(&found, &["2 links lead to a folder that they lie in"]);
}

#[test]
fn classes_that_differ_in_case_are_merged_with_a_word() {
    let root = tempfile::tempdir().unwrap();
    for (part, cat, dog, count) in [("train", "Cat", "Dog", 9), ("test", "cat", "DOG", 5)] {
        files(root.path(), &format!("{part}/{cat}/{{}}.png"), count, 0);
        files(root.path(), &format!("{part}/{dog}/{{}}.png"), count, 20);
    }
    let found = inspected(root.path());
    assert_eq!(classes(&found), ["Cat", "Dog"]);
    says(&found, &["differ in case alone are the same", "`DOG` of what is held out is `Dog` of training and 1 more"]);
}

#[test]
fn masks_beside_their_images_are_told_by_a_word_behind_the_name() {
    let root = tempfile::tempdir().unwrap();
    for (name, word) in [("mask", "_mask"), ("seg", "_seg"), ("gt", "-GT"), ("label", "_label"), ("busi", "_mask_1")] {
        let set = root.path().join(name);
        files(&set, "scan{}.png", 30, 0);
        files(&set, &format!("scan{{}}{word}.png"), 29, 100);
        let found = inspected(&set);
        assert_eq!(parts(&found).0 + parts(&found).1, 30, "{word}: {found:#}");
        says(&found, &["29 images are named as masks of others", "`data.member = \"all\"`"]);
        let all = inspected_as(&set, &["--set", "data.member=all"]);
        assert_eq!(parts(&all).0 + parts(&all).1, 59, "{word}");
    }
    // A few of them are pictures like others, and so is a word that is no image's name before it.
    let few = root.path().join("few");
    files(&few, "x{}.png", 30, 0);
    files(&few, "x{}_mask.png", 8, 100);
    assert_eq!(parts(&inspected(&few)).0 + parts(&inspected(&few)).1, 38);
    let worn = root.path().join("worn");
    files(&worn, "a/{}_mask.png", 30, 0);
    files(&worn, "b/{}.png", 30, 60);
    assert_eq!(parts(&inspected(&worn)).0 + parts(&inspected(&worn)).1, 60);
}

#[test]
fn plain_numbers_are_no_equal_names_of_many() {
    let root = tempfile::tempdir().unwrap();
    for (set, pattern) in [("plain", "{}.png"), ("letters", "img_{}.png")] {
        let set = root.path().join(set);
        files(&set, &format!("a/{pattern}"), 40, 0);
        files(&set, &format!("b/{pattern}"), 40, 100);
        // Two folders of the same numbers may be a picture and its copy; many are classes that were numbered.
        says(&inspected(&set), &["`a/`, `b/` hold files of the same names (40)"]);
        files(&set, &format!("c/{pattern}"), 40, 200);
        assert!(!notes(&inspected(&set)).contains("the same names"), "{pattern}");
    }
    let set = root.path().join("named");
    files(&set, "a/scan{}left.png", 40, 0);
    files(&set, "b/scan{}left.png", 40, 100);
    says(&inspected(&set), &["hold files of the same names (40)"]);
}

#[test]
fn something_is_held_out_of_every_set_and_few_are_told() {
    let root = tempfile::tempdir().unwrap();
    for count in 2..=40 {
        let set = root.path().join(count.to_string());
        files(&set, "{}.png", count, 0);
        let found = inspected(&set);
        let (train, held_out) = parts(&found);
        assert!(held_out >= if count < 20 { 1 } else { 2 } && train >= 1, "{count}: {found:#}");
        assert_eq!(train + held_out, count as u64);
        says(&found, &[&format!("{held_out} image"), "too few to judge by"]);
    }
    let many = root.path().join("many");
    files(&many, "{}.png", 300, 0);
    assert!(!notes(&inspected(&many)).contains("too few"));
    // What is said when training begins.
    let said = trained(&root.path().join("30"), &root.path().join("run"), &[]);
    assert!(!said.contains("no images are held out") && said.contains("too few to judge by"), "{said}");
    let one = (8..20).find(|count| parts(&inspected(&root.path().join(count.to_string()))).1 == 1).unwrap();
    let said = trained(
        &root.path().join(one.to_string()),
        &root.path().join("few"),
        &["--set", "train.batch=2", "--set", "model.ema.initial_teacher_limit=0.9"],
    );
    assert!(said.contains("one image is held out, too few to measure health on"), "{said}");
    // IDX files have no names to go by.
    let digits = root.path().join("digits-images-idx3-ubyte");
    fs::write(&digits, made::idx(&[12, 4, 4], &[7; 192])).unwrap();
    assert!(parts(&inspected(&digits)).1 >= 1);
}

fn table(root: &Path, name: &str, file: &str, text: &str) -> serde_json::Value {
    let set = root.join(name);
    files(&set, "{}.png", 40, 0);
    fs::write(set.join(file), text).unwrap();
    inspected(&set)
}

#[test]
fn tables_as_programs_and_people_write_them() {
    let root = tempfile::tempdir().unwrap();
    let rows = |name: &dyn Fn(usize) -> String| {
        (0..40).map(|i| format!("{},{}\n", name(i), ["ash", "oak"][i % 2])).collect::<Vec<_>>().concat()
    };
    let whole = root.path().join("whole").display().to_string();
    for (name, header, rows) in [
        ("whole", "file_name,label\n", rows(&|i| format!("{whole}/{i}.png"))),
        ("case", "File_Name,Label\n", rows(&|i| format!("{i}.png"))),
        ("upper", "FILE_NAME,kind\n", rows(&|i| format!("./{i}.png"))),
    ] {
        let found = table(root.path(), name, "metadata.csv", &(header.to_owned() + &rows));
        assert_eq!(classes(&found), ["ash", "oak"], "{name}: {found:#}");
    }
    for (name, file, text, word) in [
        ("empty", "metadata.csv", "", "`metadata.csv` gives no labels: it is empty"),
        ("blank", "metadata.jsonl", "\n\n", "`metadata.jsonl` gives no labels: it is empty"),
        ("header", "metadata.csv", "file_name,label\n", "`metadata.csv` has no rows"),
        ("ragged", "metadata.csv", "file_name,label\n0.png,oak\n1.png\n", "its row 2 has 1 cells, and its header 2"),
        ("other", "metadata.csv", "file_name,label\n/nowhere/0.png,oak\n", "the first `/nowhere/0.png`"),
    ] {
        let found = table(root.path(), name, file, text);
        says(&found, &[word]);
        assert!(classes(&found).is_empty(), "{name}");
    }
}

#[test]
fn labels_beyond_what_is_counted_are_declined() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("x.npz");
    let labels: Vec<u8> = (0..40_u64).flat_map(|i| (u64::MAX - i % 2).to_le_bytes()).collect();
    let images = bytes("(40, 4, 4)", (0..640).map(|i| (i % 251) as u8));
    write(&path, &[("images", images), ("labels", npy("<u8", "(40,)", &labels))], Method::Stored);
    let found = inspected(&path);
    says(&found, &["there are no labels: its array `labels` holds numbers of 2^63 or more: save it as int64"]);
    assert!(classes(&found).is_empty());
}

#[test]
fn a_checksum_that_does_not_fit_is_said_in_plain_words() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    pictures(&set, 40, 16);
    let mut bytes = fs::read(set.join("007.png")).unwrap();
    // The last four bytes of the header's chunk: its checksum, 8 + 4 + 4 + 13 bytes in.
    bytes[29] ^= 0xFF;
    fs::write(set.join("007.png"), bytes).unwrap();
    let output = foretell().args(["inspect", "--deep"]).arg(&set).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(text.contains("007.png") && text.contains("bytes of it have changed since it was written"), "{text}");
    assert!(!text.contains("CRC") && !text.contains("ChunkType"), "{text}");
}

#[test]
fn a_set_is_looked_at_with_a_setting_changed() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    files(&set, "p{}_a.png", 30, 0);
    files(&set, "p{}_b.png", 30, 40);
    let rows = |i: usize| format!("p{i}_a.png,{},{}\n", ["ash", "oak"][i % 2], ["old", "new"][i / 4 % 2]);
    let both = |i: usize| rows(i) + &rows(i).replace("_a.png", "_b.png");
    fs::write(
        set.join("metadata.csv"),
        "file_name,tree,age\n".to_owned() + &(0..30).map(both).collect::<Vec<_>>().concat(),
    )
    .unwrap();
    says(&inspected(&set), &["several columns of `metadata.csv` could hold the labels"]);
    let found = inspected_as(&set, &["--set", "data.label=age"]);
    assert_eq!(classes(&found), ["new", "old"]);
    let found = inspected_as(&set, &["--set", "data.label=tree", "--set", "data.group=(p[0-9]+)_"]);
    assert!(found["split"].as_str().unwrap().contains("of 30 groups are held out"), "{found:#}");
    assert!(parts(&found).1.is_multiple_of(2), "{found:#}");
    let path = set.to_str().unwrap();
    let said = succeeded(&["inspect", path, "--deep", "--set", "data.label=tree"], "2");
    assert!(said.starts_with("60 images read"), "{said}");
    refused(&["inspect", path, "--set", "data.label=height"], &["no column `height`", "`age`, `tree`"]);
    refused(&["inspect", path, "--set", "train.batch=8"], &["`--set train.batch=8`", "`data.`"]);
    refused(&["inspect", path, "--set", "data.lable=age"], &["lable"]);
    let features = root.path().join("x.safetensors");
    fs::write(&features, [&8_u64.to_le_bytes()[..], b"{}      "].concat()).unwrap();
    refused(&["inspect", features.to_str().unwrap(), "--set", "data.label=age"], &["`--set`", "is weights"]);
}
