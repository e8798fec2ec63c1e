//! The front door of weights: what lies at a path, by its content.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use foretell_data::kind::lfs_pointer;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::lying::WeightsFile;
use super::safetensors_file::{self, begins_like_one};
use super::torch_file;
use super::{Entry, NamedTensor, TensorStore, WeightsError};

const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Longer indices are refused.
const LONGEST_INDEX: u64 = 1 << 26;
/// More shards than this are refused: each is an open file.
const MOST_SHARDS: usize = 1000;
/// What every file of `torch.save` before 1.6 begins with: a pickled magic number.
const LEGACY: [u8; 12] = *b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19";

/// Opens the weights at `path` without reading a tensor: a safetensors file; a folder with `model.safetensors` or with
/// `model.safetensors.index.json` and its shards, as Hugging Face's are; a file of PyTorch's `torch.save` (`.pth`,
/// `.pth.tar`, `.pt`). What a file is, its content decides. Tensors of a PyTorch file are named by the keys that lead to them,
/// joined by dots; its pickle is never executed.
///
/// Everything that a header claims is checked against the file's length here, so that reading a tensor allocates no more than
/// the file holds.
pub fn open(path: &Path) -> Result<Box<dyn TensorStore>, WeightsError> {
    let io = |source| WeightsError::Io { action: "read", path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(io)?;
    if metadata.is_dir() {
        return folder(path);
    }
    let unreadable = |reason: String| Err(WeightsError::Unreadable { path: path.to_owned(), reason });
    if !metadata.is_file() {
        return unreadable("it is neither a file nor a folder".to_owned());
    }
    let head = head(path).map_err(io)?;
    if let Some(reason) = lfs_pointer(&head) {
        return unreadable(reason);
    }
    match head.as_slice() {
        [b'P', b'K', ..] => Ok(Box::new(torch_file::open(path)?)),
        [0x80, _, rest @ ..] if rest.starts_with(&LEGACY) => unreadable(
            "it was saved by PyTorch before 1.6, or in that format: load it there with `torch.load(…, weights_only=True)` and save it again with `torch.save`"
                .to_owned(),
        ),
        _ if named_safetensors(path) || begins_like_one(&head, metadata.len()) => Ok(Box::new(safetensors_file::open(path)?)),
        [0x80, ..] => unreadable(
            "it is a bare pickle without tensors' bytes: expected what `torch.save` writes, or safetensors".to_owned(),
        ),
        [0x89, b'H', b'D', b'F', ..] => unreadable(
            "it is an HDF5 file, as Keras writes weights: expected a safetensors file or one of PyTorch's `torch.save`; look for the model's `model.safetensors`, or write its arrays anew in Python (`h5py`, then `safetensors.numpy.save_file`) under the names that PyTorch's model has"
                .to_owned(),
        ),
        [b'G', b'G', b'U', b'F', ..] => unreadable(
            "it is a GGUF file, which llama.cpp reads: expected a safetensors file or one of PyTorch's `torch.save`; look for the model's `model.safetensors`"
                .to_owned(),
        ),
        [] => unreadable("the file is empty".to_owned()),
        _ => unreadable(format!(
            "it begins with the bytes {:02x?}: expected a safetensors file or one of PyTorch's `torch.save`; if it was downloaded, do so again",
            &head[..head.len().min(8)]
        )),
    }
}

/// Whether what lies at `path` means to be weights, whole or damaged: [`open`] then says what is wrong.
pub fn are_weights(path: &Path) -> bool {
    if path.is_dir() {
        return path.join(WHOLE).is_file() || path.join(INDEX).is_file();
    }
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let named = [".safetensors", ".pth", ".pth.tar", ".pt", ".ckpt"].iter().any(|ending| name.ends_with(ending));
    path.is_file()
        && (named
            || fs::metadata(path).is_ok_and(|data| head(path).is_ok_and(|head| begins_like_one(&head, data.len()))))
}

fn named_safetensors(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "safetensors")
}

fn head(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(64).read_to_end(&mut head)?;
    Ok(head)
}

fn folder(path: &Path) -> Result<Box<dyn TensorStore>, WeightsError> {
    if path.join(WHOLE).is_file() {
        return Ok(Box::new(safetensors_file::open(&path.join(WHOLE))?));
    }
    if path.join(INDEX).is_file() {
        return Ok(Box::new(Shards::open(path)?));
    }
    let io = |source| WeightsError::Io { action: "read", path: path.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(io)? {
        names.push(entry.map_err(io)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let more = if names.len() > 5 { ", …" } else { "" };
    names.truncate(5);
    let held = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") + more };
    let reason = format!("the folder has neither `{WHOLE}` nor `{INDEX}`: it holds {held}");
    Err(WeightsError::Unreadable { path: path.to_owned(), reason })
}

/// Which shard holds each tensor.
struct WeightMap(Vec<(String, String)>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = WeightMap;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a shard's name for each tensor")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(WeightMap(pairs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: WeightMap,
    #[serde(default, rename = "metadata")]
    _metadata: IgnoredAny,
}

/// Several safetensors files and their index.
struct Shards {
    path: PathBuf,
    files: Vec<WeightsFile>,
    entries: Vec<Entry>,
    /// The shard of each entry.
    holders: Vec<usize>,
}

impl Shards {
    fn open(folder: &Path) -> Result<Self, WeightsError> {
        let path = folder.join(INDEX);
        let io = |source| WeightsError::Io { action: "read", path: path.clone(), source };
        let bad = |reason: String| WeightsError::Unreadable { path: path.clone(), reason };
        let length = fs::metadata(&path).map_err(io)?.len();
        if length > LONGEST_INDEX {
            return Err(bad(format!("the index is {length} bytes long, the limit is {LONGEST_INDEX}")));
        }
        let bytes = fs::read(&path).map_err(io)?;
        let index: Index =
            serde_json::from_slice(&bytes).map_err(|e| bad(format!("the index cannot be understood: {e}")))?;
        let mut held: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, shard) in index.weight_map.0 {
            held.entry(shard).or_default().push(name);
        }
        if held.len() > MOST_SHARDS {
            return Err(bad(format!("the index names {} files, the limit is {MOST_SHARDS}", held.len())));
        }
        let mut shards = Vec::with_capacity(held.len());
        let mut all: Vec<(Entry, usize)> = Vec::new();
        for (shard, mut names) in held {
            let plain = Path::new(&shard).file_name().is_some_and(|name| name == shard.as_str());
            if !plain || !named_safetensors(Path::new(&shard)) {
                return Err(bad(format!("`{}` is not the name of a safetensors file beside it", shard.escape_debug())));
            }
            let file = safetensors_file::open(&folder.join(&shard))?;
            names.sort();
            if let Some([name, _]) = names.array_windows().find(|[a, b]| a == b) {
                return Err(bad(format!("it names `{name}` twice")));
            }
            let there: Vec<&str> = file.entries().iter().map(|entry| entry.name.as_str()).collect();
            if let Some(name) = names.iter().find(|name| there.binary_search(&name.as_str()).is_err()) {
                return Err(bad(format!("it says that `{shard}` holds `{name}`, which it does not")));
            }
            if let Some(name) = there.iter().find(|name| names.binary_search_by(|n| n.as_str().cmp(name)).is_err()) {
                return Err(bad(format!("`{shard}` holds `{name}`, of which the index says nothing")));
            }
            all.extend(file.entries().iter().map(|entry| (entry.clone(), shards.len())));
            shards.push(file);
        }
        all.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        if let Some([(entry, _), _]) = all.array_windows().find(|[(a, _), (b, _)]| a.name == b.name) {
            return Err(bad(format!("it names `{}` twice", entry.name)));
        }
        if all.is_empty() {
            return Err(bad("the index names no tensor".to_owned()));
        }
        let (entries, holders) = all.into_iter().unzip();
        Ok(Self { path: folder.to_owned(), files: shards, entries, holders })
    }
}

impl TensorStore for Shards {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn read(&self, name: &str) -> Result<NamedTensor, WeightsError> {
        match self.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)) {
            Ok(at) => self.files[self.holders[at]].read(name),
            Err(_) => Err(WeightsError::Mismatch(format!("`{name}` is missing"))),
        }
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn format(&self) -> String {
        format!("safetensors in {} files", self.files.len())
    }

    fn notes(&self) -> Vec<(String, String)> {
        self.files.first().map(TensorStore::notes).unwrap_or_default()
    }
}
