//! Every bad file is one clear sentence, and none makes the reader panic or allocate what a header merely claims.

use std::fs;
use std::path::Path;

use foretell_nn::weights::{are_weights, open};

use crate::damage::survives;
use crate::{error, pth, read_all, safetensors, says};

/// Peak of this test's process with all its tests: the files are of a few kilobytes.
const MOST_BYTES: u64 = 1 << 29;

#[test]
fn paths_that_hold_no_weights() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path();
    says(&error(&place.join("nowhere.pth")), &["cannot read", "nowhere.pth"]);
    says(&error(place), &["neither `model.safetensors` nor `model.safetensors.index.json`", "it holds nothing"]);
    fs::write(place.join("notes.txt"), "hello world, this is no file of weights").unwrap();
    says(&error(place), &["it holds notes.txt"]);
    says(&error(&place.join("notes.txt")), &["begins with the bytes [68, 65", "expected a safetensors file"]);
    assert!(!are_weights(place) && !are_weights(&place.join("notes.txt")));
    fs::write(place.join("empty.pth"), "").unwrap();
    says(&error(&place.join("empty.pth")), &["the file is empty"]);
    fs::write(place.join("page.pth"), "<!DOCTYPE html><html>not found</html>").unwrap();
    says(&error(&place.join("page.pth")), &["if it was downloaded, do so again"]);
    fs::write(place.join("plain.pkl"), b"\x80\x04}\x94.").unwrap();
    says(&error(&place.join("plain.pkl")), &["a bare pickle"]);
}

#[test]
fn safetensors_headers_are_not_believed() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("bad.safetensors");
    let refuses = |bytes: &[u8], parts: &[&str]| {
        fs::write(&path, bytes).unwrap();
        let mut all = vec!["bad.safetensors"];
        all.extend(parts);
        says(&error(&path), &all);
    };
    let entry = |name: &str, shape: &str, from: u64, to: u64| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let object = |entries: &[String]| format!("{{{}}}", entries.join(","));
    let good = safetensors(&object(&[entry("a", "[2]", 0, 8), entry("b", "[1]", 8, 12)]), &[0; 12]);
    fs::write(&path, &good).unwrap();
    assert_eq!(open(&path).unwrap().entries().len(), 2);

    refuses(&good[..5], &["it is 5 bytes long"]);
    refuses(&good[..40], &["its header claims"]);
    refuses(&good[..good.len() - 1], &["`b` claims the bytes 8 to 12 behind the header, where the file has 11"]);
    let mut more = good.clone();
    more.push(0);
    refuses(&more, &["1 bytes at its end belong to no tensor"]);
    let mut long = good.clone();
    long[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    refuses(&long, &["its header claims 18446744073709551615 bytes"]);
    let mut flipped = good.clone();
    flipped[8 + 30] = 0xFF;
    refuses(&flipped, &["its header cannot be understood"]);

    let one = |entry: String| safetensors(&object(&[entry]), &[0; 12]);
    refuses(&one(entry("a", "[2]", 0, 12)), &["`a` claims the shape [2] of F32", "do not fit each other"]);
    refuses(&one(entry("a", "[3]", 12, 0)), &["do not fit each other"]);
    refuses(&one(entry("a", "[1099511627776]", 0, 4398046511104)), &["`a` claims the bytes 0 to 4398046511104"]);
    let whole = "[4294967296,4294967296,4294967296]";
    refuses(&one(entry("a", whole, 0, 12)), &["do not fit each other"]);
    refuses(&one(entry("a", "[-1]", 0, 12)), &["its header cannot be understood"]);
    refuses(&one(entry("a", "[1]", 8, 12)), &["the 8 bytes before `a` belong to no tensor"]);
    let two = |a: String, b: String| safetensors(&object(&[a, b]), &[0; 12]);
    refuses(&two(entry("a", "[2]", 0, 8), entry("b", "[2]", 4, 12)), &["`b` and `a` overlap"]);
    refuses(&two(entry("a", "[3]", 0, 12), entry("a", "[3]", 0, 12)), &["overlap"]);
    refuses(&two(entry("a", "[3]", 0, 12), entry("a", "[0]", 12, 12)), &["it names `a` twice"]);
    refuses(&safetensors("[1, 2]", &[]), &["its header cannot be understood"]);
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    refuses(&safetensors(&deep, &[]), &["its header cannot be understood"]);
    let unknown = object(&[entry("a", "[3]", 0, 12)]).replace("F32", "F99");
    refuses(&safetensors(&unknown, &[0; 12]), &["its header cannot be understood", "F99"]);
}

#[test]
fn pickles_that_ask_for_more_than_data() {
    let foreign = error(&pth("foreign.pth"));
    says(&foreign, &["foreign.pth", "asks for `experiment.state.Meter`", "nothing of a pickle is ever executed"]);
    says(&error(&pth("legacy.pth")), &["legacy.pth", "before 1.6", "save it again with `torch.save`"]);
    says(&error(&pth("expanded.pth")), &["`w` claims the shape [1000, 1000]", "repeats some", ".contiguous()"]);
    says(&error(&pth("bare.pth")), &["one bare value, where a dictionary of tensors was expected"]);
}

/// The bytes of a checked-in file with a part of them replaced by as many others.
fn replaced(file: &str, old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let mut bytes = fs::read(pth(file)).unwrap();
    let at = bytes.windows(old.len()).position(|window| window == old).expect("it is there");
    bytes[at..at + old.len()].copy_from_slice(new);
    bytes
}

#[test]
fn a_pickle_is_never_executed_whatever_it_asks_for() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("evil.pth");
    // The file without checksums takes any pickle of the same length. 26 bytes: `collections\nOrderedDict\n` is 24.
    for (module, name) in [("posix", "system"), ("builtins", "eval"), ("os", "popen"), ("torch.storage", "_load")] {
        let mut call = format!("c{module}\n{name}\nX\x04\0\0\0echo\u{0}").into_bytes();
        call.truncate(call.len() - 1);
        call.extend(b"\x85R.");
        let whole = fs::read(pth("no-checksums.pth")).unwrap();
        let start = whole.windows(4).position(|window| window == b"\x80\x02}q").expect("a pickle") + 2;
        let bytes = [&whole[..start], &call, &whole[start + call.len()..]].concat();
        fs::write(&path, bytes).unwrap();
        says(&error(&path), &[&format!("asks for `{module}.{name}`")]);
    }
}

#[test]
fn torch_files_that_are_damaged() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("bad.pth");
    let whole = fs::read(pth("kinds.pth")).unwrap();
    let refuses = |bytes: &[u8], parts: &[&str]| {
        fs::write(&path, bytes).unwrap();
        let mut all = vec!["bad.pth"];
        all.extend(parts);
        says(&error(&path), &all);
    };
    refuses(&whole[..whole.len() / 2], &["its end is missing", "copy or download it again"]);
    refuses(&whole[..whole.len() - 1], &["copy or download it again"]);
    refuses(b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", &["not one of PyTorch's `torch.save`"]);
    refuses(&replaced("kinds.pth", b"FloatStorage", b"FloatStorfge"), &["is damaged inside its member", "data.pkl"]);
    refuses(&replaced("no-checksums.pth", b"FloatStorage", b"FloatStorfge"), &["asks for `torch.FloatStorfge`"]);
    refuses(&replaced("no-checksums.pth", b"little", b"big   "), &["its byte order is `big   `"]);
    // `K` 6 is the number of elements of `single`, `K` 2 and `K` 3 its shape, `K` 3 and `K` 1 its strides.
    let (shape, strides) = (b"K\x02K\x03\x86", b"K\x03K\x01\x86");
    refuses(
        &replaced("no-checksums.pth", shape, b"K\x02K\x04\x86"),
        &["`single` claims the shape [2, 4] at number 0 of a storage of 6 numbers, which is not all inside of it"],
    );
    refuses(&replaced("no-checksums.pth", strides, b"K\xFFK\xFF\x86"), &["which is not all inside of it"]);
    refuses(
        &replaced("no-checksums.pth", b"X\x04\0\0\0half", b"X\x04\0\0\0\xFF\xFE\xFD\xFC"),
        &["a tensor lies under a key"],
    );
    let claims = b"X\x03\0\0\0cpuq";
    let mut more = fs::read(pth("no-checksums.pth")).unwrap();
    let found = more.windows(claims.len()).position(|window| window == claims).unwrap();
    assert_eq!(&more[found + 10..found + 12], b"K\x06", "the number of elements of the first tensor");
    more[found + 11] = 200;
    refuses(&more, &["lies in a storage of 200 numbers of 4 bytes, where the file has 24 bytes"]);

    // A bit of a tensor's numbers: found when it is read, by its checksum.
    let single = values_of(Path::new(&pth("kinds.pth")), "single");
    let bytes: Vec<u8> = single.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut flipped = bytes.clone();
    flipped[5] ^= 4;
    fs::write(&path, replaced("kinds.pth", &bytes, &flipped)).unwrap();
    let refusal = open(&path).unwrap().read("single").unwrap_err().to_string();
    says(&refusal, &["bad.pth", "`single` is damaged", "checksum", "download the file again"]);
}

fn values_of(path: &Path, name: &str) -> Vec<f32> {
    open(path).unwrap().read(name).unwrap().values
}

#[test]
fn pickles_made_to_hurt() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("bomb.pth");
    let refuses = |pickle: &[u8], parts: &[&str]| {
        fs::write(&path, stored_zip(&[("a/data.pkl", pickle)])).unwrap();
        says(&error(&path), parts);
    };
    // A tuple in a tuple in a tuple ….
    let deep = [b"\x80\x02)".as_slice(), &b"\x85".repeat(1_000_000), b"."].concat();
    refuses(&deep, &["nested more than 64 deep"]);
    // A list that holds itself.
    refuses(b"\x80\x02]q\0h\0a.", &["nested more than 64 deep"]);
    // Each list holds the one before it twice: 2^60 values.
    let mut bomb = b"\x80\x02]q\0".to_vec();
    bomb.extend(b"h\0h\0\x86q\0".repeat(60));
    bomb.push(b'.');
    refuses(&bomb, &["lead to more than"]);
    refuses(&[b"\x80\x02".as_slice(), &b"N".repeat(5_000_000), b"."].concat(), &["holds more than"]);
    refuses(b"\x80\x02X\xFF\xFF\xFF\xFFab.", &["ends early"]);
    refuses(b"\x80\x02\x8E\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFab.", &["ends early"]);
    refuses(b"\x80\x02", &["ends early"]);
    refuses(b"\x80\x02.", &["is damaged at byte 3"]);
    refuses(b"\x80\x02u.", &["is damaged at byte 3"]);
    refuses(b"\x80\x01N.", &["is of protocol 1"]);
    refuses(b"\x80\x02(imodule\nname\n.", &["in the way of Python 1"]);
    refuses(b"\x80\x02}.", &["it holds no tensor"]);
    refuses(b"\x80\x02h\x05.", &["is damaged at byte 4"]);
    let long = [b"\x80\x02c".as_slice(), &b"m".repeat(100_000), b"\nname\n."].concat();
    refuses(&long, &["is damaged at byte 3"]);
}

#[test]
fn members_of_one_zip_that_share_bytes() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("shared.pth");
    let pickle = b"\x80\x02}.";
    let mut bytes = stored_zip(&[("a/data.pkl", pickle), ("a/data/0", &[0; 8]), ("a/data/1", &[0; 8])]);
    fs::write(&path, &bytes).unwrap();
    says(&error(&path), &["it holds no tensor"]);
    // The directory's last entry is sent to the member before.
    let entry = bytes.windows(8).rposition(|window| window == b"a/data/1").unwrap() - 46;
    let other = bytes.windows(8).rposition(|window| window == b"a/data/0").unwrap() - 46;
    let at: Vec<u8> = bytes[other + 42..other + 46].to_vec();
    bytes[entry + 42..entry + 46].copy_from_slice(&at);
    fs::write(&path, &bytes).unwrap();
    says(&error(&path), &["`a/data/0` and `a/data/1` overlap"]);
    let twice = stored_zip(&[("a/data.pkl", pickle), ("a/data/0", &[0; 8]), ("a/data/0", &[0; 8])]);
    fs::write(&path, &twice).unwrap();
    says(&error(&path), &["it has the member `a/data/0` twice"]);
    let two = stored_zip(&[("a/data.pkl", pickle), ("b/data.pkl", pickle)]);
    fs::write(&path, &two).unwrap();
    says(&error(&path), &["exactly one `data.pkl`"]);
}

/// A zip of stored members without checksums.
fn stored_zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let at = bytes.len() as u32;
        let sizes = [0, content.len() as u32, content.len() as u32].map(u32::to_le_bytes).concat();
        let fixed =
            [b"\x14\0\0\0\0\0\0\0\0\0".as_slice(), &sizes, &(name.len() as u16).to_le_bytes(), &[0, 0]].concat();
        bytes.extend([b"PK\x03\x04", fixed.as_slice(), name.as_bytes(), content].concat());
        let rest = [&[0; 10], at.to_le_bytes().as_slice(), name.as_bytes()].concat();
        directory.extend([b"PK\x01\x02\x14\0", fixed.as_slice(), &rest].concat());
    }
    let (start, count) = (bytes.len() as u32, members.len() as u16);
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([count, count].map(u16::to_le_bytes).concat());
    bytes.extend([directory.len() as u32, start].map(u32::to_le_bytes).concat());
    bytes.extend([0, 0]);
    bytes
}

#[test]
fn damaged_safetensors_files_cost_nothing_but_a_sentence() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("damaged.safetensors");
    let header = r#"{"__metadata__":{"format":"pt"},"blocks.0.w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
        "b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"c":{"dtype":"F64","shape":[],"data_offsets":[32,40]}}"#;
    let other = r#"{"w":{"dtype":"F16","shape":[20],"data_offsets":[0,40]}}"#;
    let files = [safetensors(header, &[7; 40]), safetensors(other, &[9; 40])];
    survives(1, &files, 5_000, MOST_BYTES, |bytes| {
        fs::write(&path, bytes).unwrap();
        read_all(&path);
    });
}

#[test]
fn damaged_torch_files_cost_nothing_but_a_sentence() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("damaged.pth");
    let names = ["kinds.pth", "no-checksums.pth", "views.pth", "lists.pt", "legacy.pth", "protocol-4.pth"];
    let mut files: Vec<Vec<u8>> = names.iter().map(|name| fs::read(pth(name)).unwrap()).collect();
    survives(2, &files, 4_000, MOST_BYTES, |bytes| {
        fs::write(&path, bytes).unwrap();
        read_all(&path);
    });
    // The pickles alone, so that no checksum stands before them.
    for file in &mut files {
        let from = file.windows(2).position(|window| window == b"\x80\x02" || window == b"\x80\x04").unwrap();
        let length = file[from..].windows(4).position(|window| window == b"PK\x07\x08" || window == b"PK\x03\x04");
        *file = file[from..from + length.unwrap_or(file.len() - from)].to_vec();
    }
    survives(3, &files, 8_000, MOST_BYTES, |pickle| {
        let storages: Vec<String> = (0..9).map(|key| format!("a/data/{key}")).collect();
        let mut members: Vec<(&str, &[u8])> = vec![("a/data.pkl", pickle)];
        members.extend(storages.iter().map(|name| (name.as_str(), &[1_u8; 24][..])));
        fs::write(&path, stored_zip(&members)).unwrap();
        read_all(&path);
    });
}
