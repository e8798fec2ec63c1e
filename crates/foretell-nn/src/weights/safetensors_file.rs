//! A safetensors file: eight bytes with the length of a JSON header, the header, the tensors' bytes without gap or overlap.
//! The header is believed only as far as the file is long.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::path::Path;

use foretell_data::kind::lfs_pointer;
use foretell_data::read_exact_at;
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::lying::{Lying, WeightsFile};
use super::{Precision, WeightsError};

/// The format's own limit for a header.
const LONGEST_HEADER: u64 = 100_000_000;

/// What the header says, in its order and with everything that it says twice.
struct Header {
    notes: HashMap<String, String>,
    tensors: Vec<(String, TensorInfo)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Header;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one entry for each tensor")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header { notes: HashMap::new(), tensors: Vec::new() };
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        header.notes = map.next_value()?;
                    } else {
                        header.tensors.push((name, map.next_value()?));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Whether eight bytes and the next could begin a safetensors file of this length.
pub(super) fn begins_like_one(head: &[u8], length: u64) -> bool {
    match head.split_first_chunk::<8>() {
        Some((header, rest)) => {
            rest.first() == Some(&b'{') && u64::from_le_bytes(*header) <= length.min(LONGEST_HEADER)
        }
        None => false,
    }
}

/// Reads the header and holds it against the file.
pub(super) fn open(path: &Path) -> Result<WeightsFile, WeightsError> {
    let io = |source| WeightsError::Io { action: "read", path: path.to_owned(), source };
    let damaged = |reason: String| WeightsError::Format { path: path.to_owned(), reason };
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    if length < 8 {
        return Err(damaged(format!("it is {length} bytes long")));
    }
    let mut count = [0; 8];
    read_exact_at(&file, &mut count, 0).map_err(io)?;
    let header = u64::from_le_bytes(count);
    if header > LONGEST_HEADER || header > length - 8 {
        let mut head = vec![0; length.min(64) as usize];
        read_exact_at(&file, &mut head, 0).map_err(io)?;
        if let Some(reason) = lfs_pointer(&head) {
            return Err(WeightsError::Unreadable { path: path.to_owned(), reason });
        }
        return Err(damaged(format!("its header claims {header} bytes of {length}")));
    }
    let mut bytes = vec![0; header as usize];
    read_exact_at(&file, &mut bytes, 8).map_err(io)?;
    let Header { notes, tensors } =
        serde_json::from_slice(&bytes).map_err(|e| damaged(format!("its header cannot be understood: {e}")))?;
    let places = places(tensors, 8 + header, length).map_err(damaged)?;
    let mut notes: Vec<(String, String)> = notes.into_iter().collect();
    notes.sort();
    Ok(WeightsFile::new(path, file, "safetensors", notes, places))
}

/// Where each tensor lies, by name.
fn places(tensors: Vec<(String, TensorInfo)>, data: u64, length: u64) -> Result<Vec<(String, Lying)>, String> {
    let mut tensors = tensors;
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let mut end = 0;
    let mut before: Option<&str> = None;
    for (name, info) in &tensors {
        let (from, to) = info.data_offsets;
        let count = info.shape.iter().try_fold(1_usize, |all, length| all.checked_mul(*length));
        let bits = count.and_then(|count| count.checked_mul(info.dtype.bitsize()));
        if to < from || bits.is_none_or(|bits| bits % 8 != 0 || bits / 8 != to - from) {
            return Err(format!(
                "`{name}` claims the shape {:?} of {:?} and the bytes {from} to {to}, which do not fit each other",
                info.shape, info.dtype
            ));
        }
        if to as u64 > length - data {
            return Err(format!(
                "`{name}` claims the bytes {from} to {to} behind the header, where the file has {}",
                length - data
            ));
        }
        if from < end {
            return Err(format!("`{name}` and `{}` overlap", before.unwrap_or_default()));
        }
        if from > end {
            return Err(format!("the {} bytes before `{name}` belong to no tensor", from - end));
        }
        (end, before) = (to, Some(name.as_str()));
    }
    if end as u64 != length - data {
        return Err(format!("{} bytes at its end belong to no tensor", length - data - end as u64));
    }
    let place = |info: TensorInfo| Lying {
        start: data + info.data_offsets.0 as u64,
        kind: precision(info.dtype),
        shape: info.shape,
        strides: None,
        member: None,
    };
    let mut places: Vec<(String, Lying)> = tensors.into_iter().map(|(name, info)| (name, place(info))).collect();
    places.sort_by(|(a, _), (b, _)| a.cmp(b));
    if let Some([(name, _), _]) = places.array_windows().find(|[(a, _), (b, _)]| a == b) {
        return Err(format!("it names `{name}` twice"));
    }
    Ok(places)
}

fn precision(dtype: Dtype) -> Precision {
    match dtype {
        Dtype::F32 => Precision::F32,
        Dtype::F16 => Precision::F16,
        Dtype::BF16 => Precision::Bf16,
        Dtype::F64 => Precision::F64,
        Dtype::I64 => Precision::I64,
        Dtype::I32 => Precision::I32,
        Dtype::I16 => Precision::I16,
        Dtype::I8 => Precision::I8,
        Dtype::U8 => Precision::U8,
        Dtype::BOOL => Precision::Bool,
        _ => Precision::Other,
    }
}
