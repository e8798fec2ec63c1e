//! Images that stand on both sides of a split, byte for byte.

use std::collections::{HashMap, HashSet};

use xxhash_rust::xxh3::xxh3_128;

use crate::images::records::Entry;
use crate::visit::spread;

/// Files and bytes that are read at most; of more, some are compared that are evenly spread.
const MOST_FILES: usize = 20_000;
const MOST_BYTES: u64 = 1 << 28;

/// How many held-out images are also in training, in words; `None` if none was found. Only images of the same size in bytes are
/// read.
pub(crate) fn on_both_sides(train: &[Entry], held_out: &[Entry]) -> Option<String> {
    let of_size = |entries: &[Entry]| entries.iter().map(|entry| entry.size).collect::<HashSet<u64>>();
    let alike = |entries: &[Entry], sizes: &HashSet<u64>| -> Vec<usize> {
        entries.iter().enumerate().filter(|(_, entry)| sizes.contains(&entry.size)).map(|(index, _)| index).collect()
    };
    let all_held = alike(held_out, &of_size(train));
    let held = within(held_out, &all_held);
    let sizes = held.iter().map(|&index| held_out[index].size).collect();
    let all_train = alike(train, &sizes);
    let known = within(train, &all_train);
    let whole = held.len() == all_held.len() && known.len() == all_train.len();
    let mut seen: HashMap<u128, usize> = HashMap::new();
    for &index in known.iter().rev() {
        // What cannot be read is somebody else's matter.
        let Ok(bytes) = train[index].stored() else { continue };
        seen.insert(xxh3_128(&bytes), index);
    }
    let mut pairs = held.iter().filter_map(|&index| {
        let twin = seen.get(&xxh3_128(&held_out[index].stored().ok()?))?;
        Some((index, *twin))
    });
    let (index, twin) = pairs.next()?;
    let count = 1 + pairs.count();
    let compared = if whole {
        format!("{count} of {} held-out images", held_out.len())
    } else {
        // Those of a size of their own are compared by that.
        format!(
            "at least {count} of {} held-out images (compared: {} with {} of training)",
            held_out.len(),
            held_out.len() - all_held.len() + held.len(),
            train.len() - all_train.len() + known.len()
        )
    };
    let (one, other) = (&held_out[index].name, &train[twin].name);
    Some(format!("{compared} are also in training, byte for byte: `{one}` is `{other}`"))
}

/// As many of these as may be read.
fn within(entries: &[Entry], indices: &[usize]) -> Vec<usize> {
    let (mut files, mut bytes) = (0, 0_u64);
    for &index in indices {
        files += usize::from(!entries[index].is_raw());
        bytes = bytes.saturating_add(entries[index].size);
    }
    let share = (MOST_FILES as f64 / files.max(1) as f64).min(MOST_BYTES as f64 / bytes.max(1) as f64).min(1.0);
    let count = (indices.len() as f64 * share) as usize;
    spread(Some(indices.len()), count).map(|place| indices[place]).collect()
}
