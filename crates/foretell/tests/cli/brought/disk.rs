//! Data sets as other tools leave them on disk: tables beside images, arrays of images, parquet, samples that belong together.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{inspected, parts, says};
use crate::made::npz::{Method, bytes, npy, write};
use crate::plan::refused;
use crate::{findings, foretell, made, stderr};

/// Names of the labels, and of their classes.
fn labels(found: &Value) -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |factor: &Value| (text(&factor["name"]), factor["classes"].as_array().unwrap().iter().map(text).collect());
    found["factors"].as_array().unwrap().iter().map(of).collect()
}

#[track_caller]
fn labelled(found: &Value, name: &str, classes: &[&str]) {
    let classes = classes.iter().map(|class| (*class).to_owned()).collect();
    assert_eq!(labels(found), [(name.to_owned(), classes)], "{found:#}");
}

/// Pictures of these names below a folder, and other files.
fn folder(root: &Path, pictures: impl IntoIterator<Item = String>, others: &[(&str, &str)]) {
    for (seed, path) in pictures.into_iter().enumerate() {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, made::png(12, 12, 3, seed)).unwrap();
    }
    for (path, text) in others {
        fs::write(root.join(path), text).unwrap();
    }
}

/// A short training with settings; what it said.
fn trained(data: &Path, run: &Path, settings: &[&str]) -> String {
    let mut command = foretell();
    command.args(["train", "i-jepa", "--steps", "1", "--image-size", "16", "--set", "train.batch=8"]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let output = command.arg("--data").arg(data).arg("--out").arg(run).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    stderr(&output) + &String::from_utf8_lossy(&output.stdout)
}

#[track_caller]
fn declined(data: &Path, setting: &str, words: &[&str]) {
    let out = data.with_extension("never");
    let arguments = ["train", "i-jepa", "--steps", "1", "--set", setting, "--data", data.to_str().unwrap()];
    refused(&[&arguments[..], &["--out", out.to_str().unwrap()]].concat(), words);
    assert!(!out.exists());
}

#[test]
fn a_table_beside_images_gives_their_labels() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    let names = |part: &'static str, count: usize| (0..count).map(move |i| format!("{part}/{i:02}.png"));
    let table = |count: usize, more: &str| {
        // As a spreadsheet saves it: a byte order mark, lines of two characters, quotation marks.
        let row = |i: usize| {
            format!(
                "{i:02}.png,\"a \"\"nice\"\" one, {i}\",{}\r\n",
                ["Elm, field", "Oak"][i % 2].replace("Elm, field", "\"Elm, field\"")
            )
        };
        "\u{feff}file_name,caption,kind\r\n".to_owned() + &(0..count).map(row).collect::<String>() + more
    };
    folder(&set, names("train", 30).chain(names("test", 8)), &[]);
    fs::write(set.join("train/metadata.csv"), table(28, "gone.png,x,Oak\r\ngone2.png,x,Oak\r\n")).unwrap();
    fs::write(set.join("test/metadata.csv"), table(8, "")).unwrap();
    let found = inspected(&set);
    // Two images without a row are left untouched.
    assert_eq!(parts(&found), (28, 8), "{found:#}");
    labelled(&found, "kind", &["Elm, field", "Oak"]);
    says(
        &found,
        &["the labels are the column `kind`", "2 of 38 rows", "`train/gone.png`", "2 of 38 images have no label"],
    );
    // At the root, with folders in the names; tabs.
    let flat = root.path().join("flat");
    let rows: String = (0..20).map(|i| format!("./a/{i}.png\t{}\n", i % 3)).collect::<Vec<_>>().concat();
    folder(&flat, (0..20).map(|i| format!("a/{i}.png")), &[("metadata.csv", &format!("file_name\tlabel\n{rows}"))]);
    labelled(&inspected(&flat), "label", &["0", "1", "2"]);
    // Lines of JSON; `image_file_name` is what the library calls a column that becomes `image`.
    let lines = root.path().join("lines");
    let rows: String = (0..20)
        .map(|i| format!("{{\"image_file_name\": \"{i}.png\", \"label\": \"{}\", \"box\": [1, 2]}}\n", i % 2))
        .collect::<Vec<_>>()
        .concat();
    folder(&lines, (0..20).map(|i| format!("{i}.png")), &[("metadata.jsonl", &rows)]);
    labelled(&inspected(&lines), "label", &["0", "1"]);
}

#[test]
fn where_several_columns_could_be_labels_one_is_named() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    let rows: String =
        (0..24).map(|i| format!("{i}.png,{},{},{}.5\n", ["x", "y"][i % 2], i % 3, i % 4)).collect::<Vec<_>>().concat();
    folder(
        &set,
        (0..24).map(|i| format!("{i}.png")),
        &[("metadata.csv", &format!("file_name,site,grade,score\n{rows}"))],
    );
    let found = inspected(&set);
    assert_eq!(labels(&found), []);
    // A score is no class.
    says(&found, &["several columns of `metadata.csv` could hold the labels (`grade`, `site`)", "data.label"]);
    let run = root.path().join("run");
    let said = trained(&set, &run, &["data.label=site"]);
    assert!(said.contains("the labels are the column `site`"), "{said}");
    assert!(fs::read_to_string(run.join("findings.json")).unwrap().contains("site"));
    declined(&set, "data.label=colour", &["data.label", "no column `colour`", "`grade`, `score`, `site`"]);
    // None, also of class folders.
    let classes = root.path().join("classes");
    folder(&classes, (0..24).map(|i| format!("{}/{i}.png", ["a", "b"][i % 2])), &[]);
    let out = root.path().join("none");
    trained(&classes, &out, &["data.label=none"]);
    let probed = |run: &Path| findings(run).iter().any(|found| found.key == "probes");
    assert!(probed(&run) && !probed(&out));
    declined(&classes, "data.label=kind", &["no labels are called `kind` here", "`class`"]);
}

#[test]
fn a_table_of_captions_or_of_a_few_takes_nothing_away() {
    let root = tempfile::tempdir().unwrap();
    for (name, rows) in [("captions", 20), ("few", 4)] {
        let set = root.path().join(name);
        let rows: String = (0..rows).map(|i| format!("a/{i}.png,a picture of tree {i}\n")).collect::<Vec<_>>().concat();
        let pictures = (0..20).map(|i| format!("a/{i}.png")).chain((0..20).map(|i| format!("b/{i}.png")));
        folder(&set, pictures, &[("metadata.csv", &format!("file_name,text\n{rows}"))]);
        let found = inspected(&set);
        let (train, held) = parts(&found);
        assert_eq!(train + held, 40, "{name}: {found:#}");
        labelled(&found, "class", &["a", "b"]);
        says(
            &found,
            &[if name == "few" {
                "a row for 4 of 40 images"
            } else {
                "no column of `metadata.csv` holds labels (`text`)"
            }],
        );
    }
    let broken = root.path().join("broken");
    folder(&broken, (0..20).map(|i| format!("{}/{i}.png", i % 2)), &[("metadata.csv", "file_name,label\n0.png\n")]);
    says(&inspected(&broken), &["`metadata.csv` gives no labels: its row 1 has 1 cells, and its header 2"]);
    declined(&broken, "data.label=label", &["metadata.csv", "its row 1 has 1 cells"]);
}

fn pixels(count: usize, each: usize) -> Vec<u8> {
    (0..count * each).map(|i| (i * 7 + i / each * 31) as u8).collect()
}

#[test]
fn images_in_an_npz_are_a_data_set() {
    let root = tempfile::tempdir().unwrap();
    let file = |name: &str, members: &[(&str, Vec<u8>)], method: Method| -> PathBuf {
        let path = root.path().join(name);
        write(&path, members, method);
        path
    };
    let of = |count: usize| bytes(&format!("({count}, 9, 9, 3)"), pixels(count, 243));
    let column = |count: usize| bytes(&format!("({count}, 1)"), (0..count).map(|i| [0, 2, 5][i % 3]));
    // MedMNIST's keys.
    let medical = [
        ("train_images", of(30)),
        ("val_images", of(6)),
        ("test_images", of(9)),
        ("train_labels", column(30)),
        ("val_labels", column(6)),
        ("test_labels", column(9)),
    ];
    let found = inspected(&file("medical.npz", &medical, Method::Deflated));
    assert_eq!((parts(&found), &found["channels"]), ((30, 9), &3.into()), "{found:#}");
    labelled(&found, "class", &["0", "2", "5"]);
    says(&found, &["`val/` (6 images) is left untouched"]);
    // Keras', grey.
    let grey = |count: usize| bytes(&format!("({count}, 8, 8)"), pixels(count, 64));
    let flat = |count: usize| bytes(&format!("({count},)"), (0..count).map(|i| (i % 2) as u8));
    let keras = [("x_test", grey(5)), ("x_train", grey(20)), ("y_test", flat(5)), ("y_train", flat(20))];
    let found = inspected(&file("keras.npz", &keras, Method::Stored));
    assert_eq!((parts(&found), &found["channels"]), ((20, 5), &1.into()), "{found:#}");
    labelled(&found, "class", &["0", "1"]);
    // Several labels for each image are told; a folder with one such file is that file.
    let many = bytes("(30, 14)", (0..30 * 14).map(|i| (i % 3 == 0) as u8));
    fs::create_dir(root.path().join("folder")).unwrap();
    write(&root.path().join("folder/chest.npz"), &[("train_images", of(30)), ("train_labels", many)], Method::Stored);
    let found = inspected(&root.path().join("folder"));
    assert_eq!(labels(&found), []);
    says(&found, &["`train_labels` has 14 labels for each image"]);
    write(&root.path().join("folder/other.npz"), &[("images", of(30))], Method::Stored);
    let said = root.path().join("folder");
    declined(&said, "seed=1", &["it holds 2 sets (`chest.npz`, `other.npz`)", "give the path of one"]);
    for (name, shape, kind, words) in [
        ("volumes.npz", "(4, 8, 8, 8)", "|u1", "volumes and stacks are no pictures"),
        ("planes.npz", "(4, 3, 8, 8)", "|u1", "x.transpose(0, 2, 3, 1)"),
        ("floats.npz", "(4, 8, 8)", "<f4", "astype('uint8')"),
    ] {
        let size = shape.trim_matches(['(', ')']).split(", ").map(|n| n.parse::<usize>().unwrap()).product::<usize>();
        let values = vec![0; size * if kind == "<f4" { 4 } else { 1 }];
        let path = file(name, &[("train_images", npy(kind, shape, &values))], Method::Stored);
        declined(&path, "seed=1", &[name, "train_images", words]);
    }
    // What is trained on is embedded too, in the file's order.
    let run = root.path().join("run");
    trained(&root.path().join("medical.npz"), &run, &[]);
    let out = root.path().join("features.npz");
    let output = foretell().arg("embed").arg(&run).arg(root.path().join("medical.npz")).arg("--out").arg(&out).output();
    assert!(output.unwrap().status.success());
    let names = foretell_data::NamedRows::read_npz(&out).unwrap().names.unwrap();
    assert_eq!(
        (names.len(), &*names[0], &*names[30]),
        (45, "medical.npz#train_images[0]", "medical.npz#val_images[0]")
    );
}

#[test]
fn samples_of_one_group_stand_on_one_side() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    folder(&set, (0..80).map(|i| format!("{}/patient{}_{i}.png", ["ill", "well"][i % 2], i / 4)), &[]);
    let run = root.path().join("run");
    trained(&set, &run, &["data.group=(patient\\d+)_"]);
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("of 20 groups are held out by a hash of their names"), "no split in the report");
    let data = foretell_data::Dataset::open(&set).unwrap();
    assert!(data.describe().split.contains("hash of the path"));
    // Two groups alone are still one to learn from and one to judge on.
    let two = root.path().join("two");
    folder(&two, (0..40).map(|i| format!("{}-{i}.png", ["anna", "bob"][i % 2])), &[]);
    let run = root.path().join("two-run");
    trained(&two, &run, &["data.group=^([a-z]+)"]);
    assert!(fs::read_to_string(run.join("report.html")).unwrap().contains("1 of 2 groups are held out"));
    // Folders said what is held out: shared groups are told.
    let shared = root.path().join("shared");
    let names = |part: &'static str, from: usize| (from..from + 20).map(move |i| format!("{part}/v{}_{i}.png", i / 4));
    folder(&shared, names("train", 0).chain(names("test", 16)), &[]);
    let said = trained(&shared, &root.path().join("shared-run"), &["data.group=v([0-9]+)_"]);
    assert!(said.contains("1 of the 5 groups that are held out also train, the first `4`"), "{said}");
    declined(&set, "data.group=(speaker)", &["data.group", "(speaker)", "none of the names", "patient"]);
    declined(&set, "data.group=(a)(b)", &["data.group", "which has 2"]);
    declined(&set, "data.group=(a", &["data.group", "unclosed group"]);
    declined(&set, "data.group=patient", &["data.group", "parentheses", "which has 0"]);
    declined(&set, "data.group=(patient)", &["data.group", "all images are of one group (`patient`)"]);
}

#[cfg(feature = "parquet")]
mod parquet_files {
    use std::sync::Arc;

    use parquet::basic::Compression;
    use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use parquet::file::metadata::KeyValue;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    /// What `datasets` 5.2 writes under `huggingface`.
    const FEATURES: &str = r#"{"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog", "owl"], "_type": "ClassLabel"}}}}"#;

    /// Rows of bytes (or none), path and label, in row groups of seven.
    pub(super) fn table(path: &Path, rows: &[(Option<Vec<u8>>, String, i64)], features: Option<&str>, packed: bool) {
        let schema = "message schema { optional group image { optional binary bytes; optional binary path (STRING); } optional int64 label; }";
        let compression = if packed { Compression::SNAPPY } else { Compression::UNCOMPRESSED };
        let metadata = features.map(|text| vec![KeyValue::new("huggingface".to_owned(), text.to_owned())]);
        let properties =
            WriterProperties::builder().set_compression(compression).set_key_value_metadata(metadata).build();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = fs::File::create(path).unwrap();
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
        for rows in rows.chunks(7) {
            let mut group = writer.next_row_group().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            let values: Vec<ByteArray> = rows.iter().filter_map(|row| row.0.clone().map(ByteArray::from)).collect();
            let levels: Vec<i16> = rows.iter().map(|row| if row.0.is_some() { 2 } else { 1 }).collect();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            let values: Vec<ByteArray> = rows.iter().map(|row| ByteArray::from(row.1.as_str())).collect();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&vec![2; rows.len()]), None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            let values: Vec<i64> = rows.iter().map(|row| row.2).collect();
            column.typed::<Int64Type>().write_batch(&values, Some(&vec![1; rows.len()]), None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        writer.close().unwrap();
    }

    fn rows(count: usize, seed: usize) -> Vec<(Option<Vec<u8>>, String, i64)> {
        (0..count)
            .map(|i| (Some(made::png(12, 12, 3, seed + i)), format!("p{}_{i}.png", i / 4), (i % 3) as i64))
            .collect()
    }

    #[test]
    fn shards_of_the_hub_are_parts_with_named_classes() {
        let root = tempfile::tempdir().unwrap();
        let set = root.path().join("hub");
        table(&set.join("data/train-00000-of-00002.parquet"), &rows(20, 0), Some(FEATURES), true);
        table(&set.join("data/train-00001-of-00002.parquet"), &rows(20, 20), Some(FEATURES), true);
        table(&set.join("data/test-00000-of-00001.parquet"), &rows(10, 40), Some(FEATURES), true);
        let found = inspected(&set);
        assert_eq!(parts(&found), (40, 10), "{found:#}");
        labelled(&found, "label", &["cat", "dog", "owl"]);
        // A test part whose labels are kept secret is -1 throughout.
        let secret: Vec<_> = rows(10, 40).into_iter().map(|(bytes, path, _)| (bytes, path, -1)).collect();
        table(&set.join("data/test-00000-of-00001.parquet"), &secret, Some(FEATURES), true);
        let found = inspected(&set);
        says(&found, &["the part `test` (10 images) has no labels"]);
        assert_eq!(parts(&found).0 + parts(&found).1, 40, "{found:#}");
    }

    #[test]
    fn rows_without_bytes_are_named_and_left_out() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("one.parquet");
        let mut all = rows(40, 0);
        all[3].0 = None;
        all[17].0 = None;
        table(&path, &all, None, false);
        let found = inspected(&path);
        assert_eq!(parts(&found).0 + parts(&found).1, 38, "{found:#}");
        labelled(&found, "label", &["0", "1", "2"]);
        says(
            &found,
            &[
                "2 rows hold no bytes of an image and are left out: `one.parquet#3:p0_3.png`, `one.parquet#17:p4_17.png`",
            ],
        );
        for row in &mut all {
            row.0 = None;
        }
        table(&path, &all, None, false);
        declined(
            &path,
            "seed=1",
            &["one.parquet", "none of its 40 rows holds the images' bytes", "give the folder of those files"],
        );
        fs::write(&path, b"PAR1 and then something else PAR1").unwrap();
        declined(&path, "seed=1", &["the table `one.parquet` cannot be read"]);
    }

    #[test]
    fn a_row_is_the_image_that_was_put_there() {
        let root = tempfile::tempdir().unwrap();
        let (set, path) = (root.path().join("set"), root.path().join("x.parquet"));
        let all = rows(40, 0);
        table(&path, &all, None, true);
        fs::create_dir(&set).unwrap();
        for (i, (bytes, _, _)) in all.iter().enumerate() {
            fs::write(set.join(format!("{i:02}.png")), bytes.as_ref().unwrap()).unwrap();
        }
        let run = root.path().join("run");
        trained(&path, &run, &["data.group=:(p[0-9]+)_"]);
        assert!(fs::read_to_string(run.join("report.html")).unwrap().contains("of 10 groups are held out"));
        let embedded = |data: &Path, name: &str| {
            let out = root.path().join(name);
            let output = foretell().arg("embed").arg(&run).arg(data).arg("--out").arg(&out).output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
            foretell_data::NamedRows::read_npz(&out).unwrap()
        };
        let (of_table, of_files) = (embedded(&path, "table.npz"), embedded(&set, "files.npz"));
        assert_eq!((of_table.shape[0], of_table.values), (40, of_files.values));
        assert_eq!(of_table.names.unwrap()[39], "x.parquet#39:p9_39.png");
    }
}
