//! A file of PyTorch's `torch.save` since 1.6: a zip that is not packed, with the pickle `NAME/data.pkl` and one member
//! `NAME/data/KEY` for each storage. Tensors are views of storages; several may share one.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use foretell_data::zip::{Entry as Member, Zip};

use super::WeightsError;
use super::lying::{Lying, WeightsFile};
use super::pickle::{self, Id, Node, Pickle, Storage, Tensor};

/// Longer pickles are refused; those of official files with their optimiser's state have less than a megabyte.
const LONGEST_PICKLE: u64 = 1 << 26;
/// Dictionaries within dictionaries.
const DEEPEST: usize = 64;
/// Values that are looked at on the way to the tensors: shared ones count as often as they are met.
const MOST_VALUES: usize = 1 << 20;

/// Reads the pickle and finds its tensors' places in the file.
pub(super) fn open(path: &Path) -> Result<WeightsFile, WeightsError> {
    let file = File::open(path).map_err(|source| WeightsError::Io { action: "read", path: path.to_owned(), source })?;
    read_zip(path, file).map_err(|reason| WeightsError::Unreadable { path: path.to_owned(), reason })
}

fn read_zip(path: &Path, file: File) -> Result<WeightsFile, String> {
    let again = |reason: String| format!("{reason}; copy or download it again");
    let mut zip = Zip::open(file).map_err(again)?;
    let members = zip.entries.clone();
    let mut pickles = members.iter().filter(|m| m.name == "data.pkl" || m.name.ends_with("/data.pkl"));
    let (Some(pickle), None) = (pickles.next(), pickles.next()) else {
        return Err("it is a zip, but not one of PyTorch's `torch.save`, which holds exactly one `data.pkl`".to_owned());
    };
    if pickle.length > LONGEST_PICKLE {
        return Err(format!("its pickle claims {} bytes, the limit is {LONGEST_PICKLE}", pickle.length));
    }
    zip.stored_at(pickle).map_err(again)?;
    let bytes = zip.member(pickle).map_err(again)?;
    let prefix = &pickle.name[..pickle.name.len() - "data.pkl".len()];
    if let Some(order) = members.iter().find(|m| m.name.strip_prefix(prefix) == Some("byteorder") && m.length < 16) {
        let order = zip.member(order).map_err(again)?;
        if order != b"little" {
            let order = String::from_utf8_lossy(&order).escape_debug().to_string();
            return Err(format!("its byte order is `{order}`, where `little` was expected"));
        }
    }
    let storages = storages(&mut zip, &members, &format!("{prefix}data/")).map_err(again)?;
    let pickle = pickle::read(&bytes).map_err(|reason| format!("its pickle {reason}"))?;
    let mut found = Found { pickle: &pickle, storages, path: Vec::new(), seen: 0, tensors: BTreeMap::new() };
    if !matches!(pickle.node(pickle.root), Node::Dict(_) | Node::Sequence(_)) {
        return Err("it holds one bare value, where a dictionary of tensors was expected".to_owned());
    }
    found.visit(pickle.root)?;
    let notes = found.notes();
    if found.tensors.is_empty() {
        return Err("it holds no tensor".to_owned());
    }
    Ok(WeightsFile::new(path, zip.into_file(), "PyTorch file (torch.save)", notes, found.tensors))
}

/// Where the members below `data/` lie, by their key. No two of them share bytes.
fn storages(zip: &mut Zip, members: &[Member], prefix: &str) -> Result<HashMap<String, (u64, Member)>, String> {
    let mut storages = HashMap::new();
    let mut ranges = Vec::new();
    for member in members {
        let Some(key) = member.name.strip_prefix(prefix) else {
            continue;
        };
        let start = zip.stored_at(member)?;
        ranges.push((start, start + member.length, member.name.as_str()));
        if storages.insert(key.to_owned(), (start, member.clone())).is_some() {
            return Err(format!("it has the member `{}` twice", member.name));
        }
    }
    ranges.sort_unstable();
    match ranges.array_windows().find(|[(_, end, _), (start, ..)]| start < end) {
        Some([(.., first), (.., second)]) => Err(format!("its members `{first}` and `{second}` overlap")),
        None => Ok(storages),
    }
}

/// On the way to a tensor.
enum Step {
    Key(Id),
    At(usize),
}

/// The way through a pickle's dictionaries and lists to its tensors.
struct Found<'a> {
    pickle: &'a Pickle<'a>,
    storages: HashMap<String, (u64, Member)>,
    path: Vec<Step>,
    seen: usize,
    tensors: BTreeMap<String, Lying>,
}

impl Found<'_> {
    fn visit(&mut self, id: Id) -> Result<(), String> {
        self.seen += 1;
        if self.path.len() > DEEPEST {
            return Err(format!("its dictionaries are nested more than {DEEPEST} deep"));
        }
        if self.seen > MOST_VALUES {
            return Err(format!("its dictionaries lead to more than {MOST_VALUES} values"));
        }
        let pickle = self.pickle;
        match pickle.node(id) {
            Node::Dict(pairs) => {
                for (key, value) in pairs {
                    self.path.push(Step::Key(*key));
                    self.visit(*value)?;
                    self.path.pop();
                }
            }
            Node::Sequence(parts) => {
                for (at, part) in parts.iter().enumerate() {
                    self.path.push(Step::At(at));
                    self.visit(*part)?;
                    self.path.pop();
                }
            }
            Node::Tensor(tensor) => {
                let step = |step: &Step| match step {
                    Step::Key(key) => key_name(pickle, *key),
                    Step::At(at) => Some(at.to_string()),
                };
                let names: Option<Vec<String>> = self.path.iter().map(step).collect();
                let name =
                    names.ok_or("a tensor lies under a key that is neither short text nor a whole number")?.join(".");
                let place = self.place(tensor).map_err(|reason| format!("`{name}` {reason}"))?;
                if self.tensors.insert(name.clone(), place).is_some() {
                    return Err(format!("it names `{name}` twice"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn place(&self, tensor: &Tensor) -> Result<Lying, String> {
        let Node::Storage(storage) = self.pickle.node(tensor.storage) else {
            return Err("has no storage".to_owned());
        };
        let Storage { key, kind, size, count } = storage;
        let (start, member) = self.storages.get(key).ok_or_else(|| {
            format!(
                "lies in the storage `{}`, which the file does not have: it is not whole; copy or download it again",
                key.escape_debug()
            )
        })?;
        if count.checked_mul(*size).map(|bytes| bytes as u64) != Some(member.length) {
            return Err(format!(
                "lies in a storage of {count} numbers of {size} bytes, where the file has {} bytes; copy or download it again",
                member.length
            ));
        }
        let claimed = || format!("claims the shape {:?} at number {}", tensor.shape, tensor.offset);
        let outside = || format!("{} of a storage of {count} numbers, which is not all inside of it", claimed());
        let numbers = tensor.shape.iter().try_fold(1_usize, |all, length| all.checked_mul(*length));
        let numbers = numbers.ok_or_else(outside)?;
        let mut last = tensor.offset;
        for (length, stride) in tensor.shape.iter().zip(&tensor.strides).filter(|_| numbers > 0) {
            last = (length - 1).checked_mul(*stride).and_then(|far| far.checked_add(last)).ok_or_else(outside)?;
        }
        if (numbers > 0 && last >= *count) || tensor.offset > *count {
            return Err(outside());
        }
        if numbers > *count {
            return Err(format!(
                "{} of a storage of {count} numbers, so that it repeats some: save it with `.contiguous()`",
                claimed()
            ));
        }
        let mut row_major = 1;
        let mut axes = tensor.shape.iter().zip(&tensor.strides).rev();
        let lies_so = numbers == 0
            || axes.all(|(length, stride)| {
                let expected = row_major;
                row_major *= length;
                *length == 1 || *stride == expected
            });
        Ok(Lying {
            start: start + (tensor.offset * size) as u64,
            kind: *kind,
            shape: tensor.shape.clone(),
            strides: (!lies_so).then(|| tensor.strides.clone()),
            member: (numbers == *count && lies_so).then(|| member.clone()),
        })
    }

    /// The plain values at the top, such as `epoch`.
    fn notes(&self) -> Vec<(String, String)> {
        let Node::Dict(pairs) = self.pickle.node(self.pickle.root) else {
            return Vec::new();
        };
        let note = |(key, value): &(Id, Id)| {
            let value = match self.pickle.node(*value) {
                Node::Bool(value) => value.to_string(),
                Node::Whole(value) => value.to_string(),
                Node::Real(value) => value.to_string(),
                Node::Text(range) => self.pickle.name(range)?,
                _ => return None,
            };
            Some((key_name(self.pickle, *key)?, value))
        };
        pairs.iter().filter_map(note).collect()
    }
}

fn key_name(pickle: &Pickle<'_>, key: Id) -> Option<String> {
    match pickle.node(key) {
        Node::Text(range) => pickle.name(range),
        Node::Whole(number) => Some(number.to_string()),
        _ => None,
    }
}
