//! A network's content in a few characters.

use std::collections::BTreeMap;

use burn::module::Module;
use crc32fast::Hasher;
use foretell_nn::parameters::look;
use foretell_ops as ops;

/// Numbers that become bytes at a time.
const CHUNK: usize = 1 << 14;

/// How many numbers a network has and a CRC-32 of their names, shapes and bits, whatever file they were read from. `before` is
/// a CRC-32 that goes before them.
pub(super) fn mark<M: Module>(network: &M, before: u32) -> String {
    // Of each parameter by its path, so that the order in which a network keeps them does not matter.
    let (mut numbers, mut sums) = (0, BTreeMap::new());
    look(network, &mut |parameter, values| {
        let mut hasher = Hasher::new();
        for length in parameter.shape {
            hasher.update(&(*length as u64).to_le_bytes());
        }
        let values = ops::values(values);
        numbers += values.len();
        let mut bytes = Vec::with_capacity(4 * CHUNK);
        for values in values.chunks(CHUNK) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            hasher.update(&bytes);
        }
        sums.insert(parameter.name.to_owned(), hasher.finalize());
    });
    let mut hasher = Hasher::new();
    hasher.update(&before.to_le_bytes());
    for (name, sum) in &sums {
        hasher.update(name.as_bytes());
        hasher.update(&sum.to_le_bytes());
    }
    format!("{numbers}-{:08x}", hasher.finalize())
}
