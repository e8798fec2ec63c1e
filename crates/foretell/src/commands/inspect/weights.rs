//! What a file or folder of weights holds, without reading a tensor.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use foretell_nn::weights::{Entry, TensorStore, open};
use serde_json::{Map, Value, json};

use super::{Account, InspectArgs};
use crate::output::counted;
use crate::released::{outline_folder, outline_official};
use crate::{DeviceChoice, Error};

/// Tensors that are named in words; `--json` names all.
const SHOWN: usize = 100;

/// Tensors and their numbers.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    /// How many tensors.
    pub(super) tensors: usize,
    /// How many numbers in them.
    pub(super) numbers: usize,
}

impl Tally {
    fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut tally = Self::default();
        entries.into_iter().for_each(|entry| tally.add(entry));
        tally
    }

    fn add(&mut self, entry: &Entry) {
        self.tensors += 1;
        self.numbers = self.numbers.saturating_add(entry.shape.iter().product());
    }
}

/// How much a file of weights holds.
pub(super) fn tally(path: &Path) -> Result<Tally, Error> {
    Ok(Tally::of(open(path)?.entries()))
}

/// The account of a file or folder of weights.
pub(super) fn account(args: &InspectArgs) -> Result<Account, Error> {
    let path = args.path.as_path();
    let store = open(path)?;
    let (entries, bytes) = (store.entries(), bytes(path)?);
    let all = Tally::of(entries);
    let kinds = by(entries, |entry| entry.dtype.name());
    let groups = by(entries, |entry| entry.name.split('.').next().unwrap_or_default());
    let network = architecture(args, store.as_ref()).map_err(|e| e.to_string());
    let mut text = format!("weights      {}\nformat       {}\n", path.display(), store.format());
    match &network {
        Ok(lines) => lines.iter().enumerate().for_each(|(i, line)| {
            let _ = writeln!(text, "{:12} {line}", if i == 0 { "architecture:" } else { "" });
        }),
        Err(why) => {
            let _ = writeln!(text, "architecture: none that can be loaded: {}", cut(why, 400));
        }
    }
    let of_kinds: Vec<String> = kinds.iter().map(|(kind, tally)| format!("{} {kind}", tally.tensors)).collect();
    let _ = writeln!(text, "tensors      {} ({})", all.tensors, of_kinds.join(", "));
    let _ = writeln!(text, "numbers      {}", all.numbers);
    let _ = writeln!(text, "size         {}", size(bytes));
    for (i, (group, tally)) in groups.iter().enumerate() {
        let title = if i == 0 { "groups" } else { "" };
        let tensors = counted(tally.tensors, "tensor");
        let _ = writeln!(text, "{title:12} {}: {tensors}, {} numbers", shown(group), tally.numbers);
    }
    for (key, value) in store.notes() {
        let _ = writeln!(text, "{:12} {}", shown(&key), shown(&value));
    }
    let width = entries.iter().take(SHOWN).map(|entry| entry.name.chars().count()).max().unwrap_or(0);
    for Entry { name, shape, dtype } in entries.iter().take(SHOWN) {
        let _ = writeln!(text, "  {:width$}  {:4}  {shape:?}", shown(name), dtype.name());
    }
    if entries.len() > SHOWN {
        let _ = writeln!(text, "  … and {} more, which `--json` names", entries.len() - SHOWN);
    }
    let mut json = as_json(store.as_ref(), bytes, all, &kinds, &groups);
    match network {
        Ok(lines) => json["architecture"] = lines.into(),
        Err(why) => json["not_loadable"] = why.into(),
    }
    Ok(Account::of(text, json))
}

/// The published network that would be loaded from here, with all of its parts, in words; or why there is none.
fn architecture(args: &InspectArgs, store: &dyn TensorStore) -> Result<Vec<String>, Error> {
    let (path, device) = (args.path.as_path(), DeviceChoice::Cpu.open()?);
    if path.is_dir() {
        return outline_folder(path, &device);
    }
    outline_official(path, store, &args.official, args.predictor_heads, &device)
}

fn as_json(
    store: &dyn TensorStore,
    bytes: u64,
    all: Tally,
    kinds: &BTreeMap<&str, Tally>,
    groups: &BTreeMap<&str, Tally>,
) -> Value {
    let object = |tallies: &BTreeMap<&str, Tally>| -> Map<String, Value> {
        let of = |t: &Tally| json!({ "tensors": t.tensors, "numbers": t.numbers });
        tallies.iter().map(|(name, tally)| ((*name).to_owned(), of(tally))).collect()
    };
    let tensor = |entry: &Entry| json!({ "name": entry.name, "dtype": entry.dtype.name(), "shape": entry.shape });
    let notes: Map<String, Value> = store.notes().into_iter().map(|(key, value)| (key, Value::String(value))).collect();
    json!({
        "kind": "weights",
        "format": store.format(),
        "bytes": bytes,
        "parameters": all.numbers,
        "dtypes": object(kinds),
        "groups": object(groups),
        "metadata": notes,
        "tensors": store.entries().iter().map(tensor).collect::<Vec<_>>(),
    })
}

/// Tallies by a part of the name or the kind.
fn by<'a>(entries: &'a [Entry], key: impl Fn(&'a Entry) -> &'a str) -> BTreeMap<&'a str, Tally> {
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    for entry in entries {
        tallies.entry(key(entry)).or_default().add(entry);
    }
    tallies
}

/// Bytes on disk: of the file, or of a folder's safetensors files.
fn bytes(path: &Path) -> Result<u64, Error> {
    let unreadable = |e: std::io::Error| Error::Misuse(format!("cannot read {}: {e}", path.display()));
    if !path.is_dir() {
        return Ok(path.metadata().map_err(unreadable)?.len());
    }
    let mut bytes = 0;
    for file in path.read_dir().map_err(unreadable)? {
        let file = file.map_err(unreadable)?.path();
        if file.extension().is_some_and(|extension| extension == "safetensors") {
            bytes += file.metadata().map_err(unreadable)?.len();
        }
    }
    Ok(bytes)
}

/// "1.27 GB", in powers of ten.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// Other people's words, short and without control characters.
fn shown(text: &str) -> String {
    cut(text, 100)
}

fn cut(text: &str, longest: usize) -> String {
    let mut short: String = text.chars().take(longest).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    if short.chars().any(char::is_control) { short.escape_debug().to_string() } else { short }
}
