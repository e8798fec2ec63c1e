//! A network's content in a few characters.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::Tensor;
use crc32fast::Hasher;
use foretell_nn::parameters::{Parameter, look};
use foretell_ops as ops;

/// Numbers that become bytes at a time.
const CHUNK: usize = 1 << 14;

/// How many numbers a network has and a CRC-32 of their names, shapes and bits, whatever file they were read from.
#[derive(Debug, Default)]
pub(super) struct Marks {
    numbers: usize,
    /// Of each parameter by its path, so that the order in which a network keeps them does not matter.
    sums: BTreeMap<String, u32>,
}

impl Marks {
    /// Of a network.
    pub(super) fn of<M: Module>(network: &M) -> Self {
        let mut marks = Self::default();
        look(network, &mut |parameter, values| marks.see(parameter, values));
        marks
    }

    /// Takes note of a parameter.
    pub(super) fn see(&mut self, parameter: Parameter<'_>, values: Tensor<1>) {
        let mut hasher = Hasher::new();
        for length in parameter.shape {
            hasher.update(&(*length as u64).to_le_bytes());
        }
        let values = ops::values(values);
        self.numbers += values.len();
        let mut bytes = Vec::with_capacity(4 * CHUNK);
        for values in values.chunks(CHUNK) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            hasher.update(&bytes);
        }
        self.sums.insert(parameter.name.to_owned(), hasher.finalize());
    }

    /// All of it in a text; `before` is a CRC-32 that goes before them.
    pub(super) fn text(&self, before: u32) -> String {
        let mut hasher = Hasher::new();
        hasher.update(&before.to_le_bytes());
        for (name, sum) in &self.sums {
            hasher.update(name.as_bytes());
            hasher.update(&sum.to_le_bytes());
        }
        format!("{}-{:08x}", self.numbers, hasher.finalize())
    }
}
