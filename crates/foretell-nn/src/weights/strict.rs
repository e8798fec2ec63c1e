//! Networks filled strictly, tensor by tensor, from wherever their tensors lie.
//!
//! First every parameter is looked up and compared by its shape alone, so that a file that does not fit is refused before a value is
//! read; then each is read to its place, so that memory holds the model once.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

use crate::parameters::{change, look};

use super::{Entry, NamedTensor, Precision, TensorStore, WeightsError};

/// Where the values of a parameter lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a tensor of the same shape; of a patch of one frame also without the axis of time.
    Whole(String),
    /// In several, of equal shapes, one after the other along the first axis.
    Stacked(Vec<String>),
    /// In one of `of` equal parts along the first axis.
    Part {
        /// The tensor.
        name: String,
        /// Which part.
        index: usize,
        /// How many there are.
        of: usize,
    },
}

impl Source {
    fn names(&self) -> &[String] {
        match self {
            Source::Whole(name) | Source::Part { name, .. } => std::slice::from_ref(name),
            Source::Stacked(names) => names,
        }
    }

    /// The shape that each named tensor must have, for a parameter of this shape.
    fn shape(&self, parameter: &[usize]) -> Vec<usize> {
        match self {
            Source::Whole(_) => parameter.to_vec(),
            Source::Stacked(names) => {
                let mut shape = parameter.to_vec();
                shape[0] /= names.len();
                shape
            }
            Source::Part { of, .. } => [&[*of], parameter].concat(),
        }
    }
}

/// Where a parameter of a given path lies.
pub type Naming<'a> = dyn Fn(&str) -> Source + 'a;

/// The names that a file has to have, and what is wrong with those that it has.
pub struct Ledger<'a> {
    store: &'a dyn TensorStore,
    entries: BTreeMap<&'a str, &'a Entry>,
    used: BTreeSet<String>,
    missing: Vec<String>,
    misfits: Vec<String>,
}

impl<'a> Ledger<'a> {
    /// Of a file.
    pub fn of(store: &'a dyn TensorStore) -> Self {
        let entries = store.entries().iter().map(|entry| (entry.name.as_str(), entry)).collect();
        Self { store, entries, used: BTreeSet::new(), missing: Vec::new(), misfits: Vec::new() }
    }

    /// Looks up every parameter of a network.
    pub fn look_up<M: Module>(&mut self, module: &M, naming: &Naming<'_>) {
        look(module, &mut |parameter, _| self.enter(&naming(parameter.name), parameter.shape));
    }

    /// An error that lists every tensor that is missing, has another shape or, if it is among the network's `own`, no place. Tensors
    /// that are `stale` may be there or not.
    pub fn close(self, own: impl Fn(&str) -> bool, stale: impl Fn(&str) -> bool) -> Result<(), WeightsError> {
        let unplaced = self.entries.keys().filter(|name| own(name) && !stale(name) && !self.used.contains(**name));
        let unplaced: Vec<String> = unplaced.map(|name| format!("`{}`", self.store.shown(name))).collect();
        let list = |what: &str, names: &[String]| {
            (!names.is_empty()).then(|| {
                let are = if names.len() == 1 { "tensor" } else { "tensors" };
                format!("{} {are} {what}: {}", names.len(), names.join(", "))
            })
        };
        let problems = [
            list("missing", &self.missing),
            list("of another shape", &self.misfits),
            list("without a place", &unplaced),
        ];
        let problems: Vec<String> = problems.into_iter().flatten().collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(WeightsError::Mismatch(format!("{} has {}", self.store.place(), problems.join("; "))))
    }

    fn enter(&mut self, source: &Source, parameter: &[usize]) {
        let expected = source.shape(parameter);
        for name in source.names() {
            self.used.insert(name.clone());
            let Some(entry) = self.entries.get(name.as_str()) else {
                let named = format!("`{}`", self.store.shown(name));
                // Parts of one tensor miss it once.
                if !self.missing.contains(&named) {
                    self.missing.push(named);
                }
                continue;
            };
            if entry.dtype == Precision::Other {
                self.misfits.push(format!("`{}` (of whole numbers)", self.store.shown(name)));
            } else if entry.shape != expected && !is_image_patch(&entry.shape, &expected) {
                let (name, found) = (self.store.shown(name), &entry.shape);
                self.misfits.push(format!("`{name}` ({found:?}, where {expected:?} was expected)"));
            }
        }
    }
}

/// Whether a patch embedding of images stands for one of clips whose tubelets have one frame.
fn is_image_patch(found: &[usize], expected: &[usize]) -> bool {
    matches!((found, expected), ([d, c, h, w], [e, f, 1, i, j]) if (d, c, h, w) == (e, f, i, j))
}

/// The values of a parameter of this shape, from where they lie.
fn read(store: &dyn TensorStore, source: &Source, parameter: &[usize]) -> Result<Vec<f32>, WeightsError> {
    let count: usize = parameter.iter().product();
    let expected = source.shape(parameter).iter().product::<usize>();
    let read = |name: &String| {
        let NamedTensor { values, .. } = store.read(name)?;
        if values.len() == expected {
            Ok(values)
        } else {
            let found = values.len();
            Err(WeightsError::Mismatch(format!("`{name}` holds {found} values where {expected} were expected")))
        }
    };
    match source {
        Source::Whole(name) => read(name),
        Source::Stacked(names) => {
            let mut all = Vec::with_capacity(count);
            for name in names {
                all.extend(read(name)?);
            }
            Ok(all)
        }
        Source::Part { name, index, .. } => Ok(read(name)?[index * count..(index + 1) * count].to_vec()),
    }
}

/// The network with every parameter read from where `naming` says that it lies. Call after [`Ledger::close`] found nothing wrong.
pub fn fill<M: Module>(module: M, store: &dyn TensorStore, naming: &Naming<'_>) -> Result<M, WeightsError> {
    let mut failed = None;
    let module = change(module, &mut |parameter, old| {
        if failed.is_some() {
            return old;
        }
        match read(store, &naming(parameter.name), parameter.shape) {
            Ok(values) => {
                let (device, count) = (old.device(), values.len());
                drop(old);
                Tensor::from_data(TensorData::new(values, [count]), &device)
            }
            Err(error) => {
                failed = Some(error);
                old
            }
        }
    });
    failed.map_or(Ok(module), Err)
}
