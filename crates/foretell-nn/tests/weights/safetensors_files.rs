//! One file, a folder with one, a folder with an index: every kind of number against values written down by hand.

use std::fs;

use foretell_nn::weights::{Precision, are_weights, open};

use crate::{error, safetensors, says, values};

#[test]
fn every_kind_of_number() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("kinds.safetensors");
    let header = r#"{"__metadata__":{"format":"pt"},"double":{"dtype":"F64","shape":[1],"data_offsets":[12,20]},
        "half":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"brain":{"dtype":"BF16","shape":[2,1],"data_offsets":[4,8]},
        "single":{"dtype":"F32","shape":[],"data_offsets":[8,12]},"count":{"dtype":"I64","shape":[1],"data_offsets":[20,28]},
        "none":{"dtype":"F32","shape":[0,7],"data_offsets":[28,28]}}"#;
    let mut data = vec![0x00, 0x3C, 0x00, 0xC0, 0x80, 0x3F, 0x49, 0x40];
    data.extend(0.1_f32.to_le_bytes());
    data.extend(0.1_f64.to_le_bytes());
    data.extend(9_i64.to_le_bytes());
    fs::write(&path, safetensors(header, &data)).unwrap();
    let store = open(&path).unwrap();
    let kinds: Vec<(&str, Precision)> = store.entries().iter().map(|e| (e.name.as_str(), e.dtype)).collect();
    assert_eq!(
        kinds,
        [
            ("brain", Precision::Bf16),
            ("count", Precision::I64),
            ("double", Precision::F64),
            ("half", Precision::F16),
            ("none", Precision::F32),
            ("single", Precision::F32),
        ]
    );
    assert_eq!(values(store.as_ref(), "half"), [1.0, -2.0]);
    assert_eq!(values(store.as_ref(), "brain"), [1.0, 3.140625]);
    assert_eq!(values(store.as_ref(), "single"), [0.1]);
    assert_eq!(values(store.as_ref(), "double"), [0.1]);
    assert_eq!(values(store.as_ref(), "none"), [0.0; 0]);
    says(&store.read("count").unwrap_err().to_string(), &["`count` holds I64"]);
    assert_eq!(store.notes(), [("format".to_owned(), "pt".to_owned())]);
}

#[test]
fn what_the_crate_itself_writes_in_more_than_one_chunk() {
    let root = tempfile::tempdir().unwrap();
    let numbers: Vec<f32> = (0..300_000).map(|i| (i as f32).sin()).collect();
    let halves: Vec<u8> = (0..300_000_u32).flat_map(|i| ((i % 0x7C00) as u16).to_le_bytes()).collect();
    let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    let view = |kind, bytes| ::safetensors::tensor::TensorView::new(kind, vec![300, 1000], bytes).unwrap();
    let tensors =
        [("a", view(::safetensors::Dtype::F32, &bytes[..])), ("b", view(::safetensors::Dtype::F16, &halves[..]))];
    let file = ::safetensors::serialize(tensors, None).unwrap();
    let path = root.path().join("model.safetensors");
    fs::write(&path, file).unwrap();
    for place in [path.as_path(), root.path()] {
        assert!(are_weights(place));
        let store = open(place).unwrap();
        assert_eq!(values(store.as_ref(), "a"), numbers);
        let halves = values(store.as_ref(), "b");
        // Half a unit in the last place of a half: 2^-24 times its bits while it is subnormal.
        assert_eq!(halves[0x7C00 + 5], 5.0 * (-24_f32).exp2());
        assert_eq!(halves[0x3C00], 1.0);
    }
}

fn tensor(name: &str, numbers: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    let header =
        format!(r#"{{"{name}":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{}]}}}}"#, numbers.len(), bytes.len());
    safetensors(&header, &bytes)
}

#[test]
fn shards_and_their_index() {
    let root = tempfile::tempdir().unwrap();
    let index = |map: &str| {
        let text = format!(r#"{{"metadata":{{"total_size":16}},"weight_map":{{{map}}}}}"#);
        fs::write(root.path().join("model.safetensors.index.json"), text).unwrap();
    };
    fs::write(root.path().join("model-1.safetensors"), tensor("b", &[1.0, 2.0])).unwrap();
    fs::write(root.path().join("model-2.safetensors"), tensor("a", &[3.0])).unwrap();
    index(r#""b":"model-1.safetensors","a":"model-2.safetensors""#);
    let store = open(root.path()).unwrap();
    let names: Vec<&str> = store.entries().iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(values(store.as_ref(), "a"), [3.0]);
    assert_eq!(values(store.as_ref(), "b"), [1.0, 2.0]);
    assert_eq!(store.format(), "safetensors in 2 files");

    for (map, parts) in [
        (r#""b":"model-1.safetensors""#, None),
        (
            r#""b":"model-1.safetensors","c":"model-2.safetensors""#,
            Some("`model-2.safetensors` holds `c`, which it does not"),
        ),
        (r#""b":"model-1.safetensors","b":"model-1.safetensors""#, Some("names `b` twice")),
        (r#""b":"../model-1.safetensors""#, Some("is not the name of a safetensors file beside it")),
        (r#""b":"/etc/passwd""#, Some("is not the name of a safetensors file beside it")),
        (r#""b":"model-3.safetensors""#, Some("model-3.safetensors")),
        ("", Some("names no tensor")),
        (r#""b":3"#, Some("cannot be understood")),
    ] {
        index(map);
        match parts {
            Some(part) => says(&error(root.path()), &[part]),
            None => assert_eq!(open(root.path()).unwrap().entries().len(), 1),
        }
    }
    fs::write(root.path().join("model-2.safetensors"), tensor("b", &[3.0])).unwrap();
    index(r#""b":"model-1.safetensors","b":"model-2.safetensors""#);
    says(&error(root.path()), &["names `b` twice"]);
    index(r#""b":"model-1.safetensors""#);
    let mut two = tensor("b", &[1.0]);
    two.truncate(two.len() - 1);
    fs::write(root.path().join("model-1.safetensors"), two).unwrap();
    says(&error(root.path()), &["model-1.safetensors", "claims the bytes 0 to 4"]);
}
