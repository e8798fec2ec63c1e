//! A network's content in a few characters.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use crc32fast::Hasher;
use foretell_ops as ops;

/// Numbers that become bytes at a time.
const CHUNK: usize = 1 << 14;

/// How many numbers a network has and a CRC-32 of their names, shapes and bits, whatever file they were read from. `before` is
/// a CRC-32 that goes before them.
pub(super) fn mark<M: Module>(network: &M, before: u32) -> String {
    let mut marker = Marker::default();
    network.visit(&mut marker);
    let mut hasher = Hasher::new();
    hasher.update(&before.to_le_bytes());
    for (name, sum) in &marker.sums {
        hasher.update(name.as_bytes());
        hasher.update(&sum.to_le_bytes());
    }
    format!("{}-{:08x}", marker.numbers, hasher.finalize())
}

/// Of each parameter by its path, so that the order in which a network keeps them does not matter.
#[derive(Default)]
struct Marker {
    path: Vec<String>,
    numbers: usize,
    sums: BTreeMap<String, u32>,
}

impl ModuleVisitor for Marker {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let mut hasher = Hasher::new();
        for length in param.dims() {
            hasher.update(&(length as u64).to_le_bytes());
        }
        let values = ops::values(param.val().inner());
        self.numbers += values.len();
        let mut bytes = Vec::with_capacity(4 * CHUNK);
        for values in values.chunks(CHUNK) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            hasher.update(&bytes);
        }
        self.sums.insert(self.path.join("."), hasher.finalize());
    }
}
