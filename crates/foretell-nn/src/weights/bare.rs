//! Tensors by the names that their networks gave them, without what `torch.compile`, DDP, FSDP, Lightning and the like left around
//! and between them; whatever is said of a tensor is said by its name in the file.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, NamedTensor, TensorStore, WeightsError};

/// Parts of a name that a wrapper adds and no network has: of `torch.compile`, `DataParallel` and DDP, FSDP (today's and fairscale's),
/// activation checkpointing, and Lightning with DeepSpeed.
const WRAPPERS: [&str; 6] =
    ["_orig_mod", "module", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module", "_forward_module"];

/// What becomes of tensors outside of the dictionary or module that holds the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outside {
    /// They have to be explained like all others.
    Kept,
    /// They are an optimiser's or another module's, and no business of ours.
    Dropped,
}

/// See the module.
pub(crate) struct Bare<'a> {
    store: &'a dyn TensorStore,
    /// In the order of their bare names.
    entries: Vec<Entry>,
    /// The name in the store of each bare one.
    own: BTreeMap<String, String>,
    /// Parts of the names of the dictionaries and modules around the network, such as `state_dict` and `model`.
    around: usize,
}

fn parts(name: &str) -> impl Iterator<Item = &str> {
    name.split('.').filter(|part| !WRAPPERS.contains(part))
}

impl<'a> Bare<'a> {
    /// The tensors of a store whose network has one called `anchor`, perhaps in one of these `networks` of it. Without an anchor nothing
    /// around the network is looked for.
    pub(crate) fn of(
        store: &'a dyn TensorStore,
        anchor: Option<&str>,
        networks: &[&str],
        outside: Outside,
    ) -> Result<Self, WeightsError> {
        let mut around: BTreeSet<Vec<&str>> = BTreeSet::new();
        let anchor: Vec<&str> = anchor.map_or_else(Vec::new, |anchor| anchor.split('.').collect());
        for entry in store.entries() {
            let mut name: Vec<&str> = parts(&entry.name).collect();
            if anchor.is_empty() || !name.ends_with(&anchor) {
                continue;
            }
            name.truncate(name.len() - anchor.len());
            // Networks of the official code may have their own wrapper.
            let of_network =
                name.iter().rposition(|part| *part != "backbone").filter(|at| networks.contains(&name[*at]));
            name.truncate(of_network.unwrap_or(name.len()));
            around.insert(name);
        }
        let around = match around.pop_first() {
            None => Vec::new(),
            Some(first) if first.is_empty() || around.is_empty() => first,
            Some(first) => {
                let all = std::iter::once(&first).chain(&around).map(|parts| format!("`{}`", parts.join(".")));
                return Err(WeightsError::Mismatch(format!(
                    "{} holds several networks: {}; save one of them alone, as `torch.save(network.state_dict(), FILE)`",
                    store.place(),
                    all.collect::<Vec<_>>().join(", ")
                )));
            }
        };
        let (mut entries, mut own) = (Vec::new(), BTreeMap::new());
        for entry in store.entries() {
            let name: Vec<&str> = parts(&entry.name).collect();
            let bare = match (name.strip_prefix(around.as_slice()), outside) {
                (Some(bare), _) => bare.join("."),
                (None, Outside::Kept) => name.join("."),
                (None, Outside::Dropped) => continue,
            };
            if let Some(other) = own.insert(bare.clone(), entry.name.clone()) {
                return Err(WeightsError::Mismatch(format!(
                    "{} has `{other}` and `{}`, which are both `{bare}` without what wrappers added",
                    store.place(),
                    entry.name
                )));
            }
            entries.push(Entry { name: bare, ..entry.clone() });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { store, entries, own, around: around.len() })
    }

    /// So much of a store's name as leads to `depth` parts of a bare one.
    fn beginning(&self, own: &str, depth: usize) -> String {
        let mut left = self.around + depth;
        let begins = own.split('.').take_while(|part| {
            if WRAPPERS.contains(part) {
                return true;
            }
            left = left.wrapping_sub(1);
            left != usize::MAX
        });
        begins.flat_map(|part| [part, "."]).collect()
    }
}

impl TensorStore for Bare<'_> {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn read(&self, name: &str) -> Result<NamedTensor, WeightsError> {
        match self.own.get(name) {
            Some(own) => self.store.read(own),
            None => Err(WeightsError::Mismatch(format!("`{}` is missing", self.shown(name)))),
        }
    }

    fn place(&self) -> String {
        self.store.place()
    }

    fn format(&self) -> String {
        self.store.format()
    }

    fn notes(&self) -> Vec<(String, String)> {
        self.store.notes()
    }

    /// Of a tensor that is missing, the name that it would have beside its neighbours.
    fn shown(&self, name: &str) -> String {
        if let Some(own) = self.own.get(name) {
            return self.store.shown(own);
        }
        let ends = name.rmatch_indices('.').map(|(at, _)| at + 1).chain([0]);
        let beside = ends.filter_map(|end| {
            let (head, rest) = name.split_at(end);
            let (_, own) = self.own.range(head.to_owned()..).next().filter(|(bare, _)| bare.starts_with(head))?;
            Some(self.beginning(own, head.matches('.').count()) + rest)
        });
        let beside = beside.into_iter().next();
        self.store.shown(beside.as_deref().unwrap_or(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{Held, NamedTensors};

    fn held(names: &[&str]) -> Held {
        let tensor = |at: usize| NamedTensor { shape: vec![1], values: vec![at as f32] };
        Held::from(
            names.iter().enumerate().map(|(at, name)| ((*name).to_owned(), tensor(at))).collect::<NamedTensors>(),
        )
    }

    fn bare(store: &Held, outside: Outside) -> Result<Bare<'_>, WeightsError> {
        Bare::of(store, Some("patch.weight"), &["encoder", "target_encoder"], outside)
    }

    fn names(store: &dyn TensorStore) -> Vec<&str> {
        store.entries().iter().map(|entry| entry.name.as_str()).collect()
    }

    #[test]
    fn wrappers_are_taken_away_wherever_they_stand() {
        for prefix in [
            "",
            "_orig_mod.",
            "module.",
            "module._orig_mod.",
            "_orig_mod.module.",
            "state_dict.model.",
            "state_dict._forward_module.model.net._orig_mod.",
            "model_state_dict._fsdp_wrapped_module.encoderish.",
        ] {
            let own = [
                format!("{prefix}blocks.0._checkpoint_wrapped_module.w"),
                format!("{prefix}blocks.1._fsdp_wrapped_module._orig_mod.w"),
                format!("{prefix}patch.weight"),
                "optimizer_states.0.state.0.exp_avg".to_owned(),
            ];
            let store = held(&own.each_ref().map(String::as_str));
            let kept = bare(&store, Outside::Dropped).unwrap();
            let all = ["blocks.0.w", "blocks.1.w", "patch.weight"];
            if prefix.is_empty() || prefix.split('.').all(|part| part.is_empty() || WRAPPERS.contains(&part)) {
                // Nothing says that the rest is another's.
                assert_eq!(names(&kept).len(), 4, "{prefix}");
            } else {
                assert_eq!(names(&kept), all, "{prefix}");
            }
            assert_eq!(names(&bare(&store, Outside::Kept).unwrap()).len(), 4);
            assert_eq!(kept.read("blocks.1.w").unwrap(), store.read(&own[1]).unwrap());
            assert_eq!(kept.shown("blocks.1.w"), own[1]);
            // Missing ones beside what there is.
            assert_eq!(kept.shown("blocks.1.b"), format!("{prefix}blocks.1._fsdp_wrapped_module._orig_mod.b"));
            assert_eq!(kept.shown("blocks.7.b"), format!("{prefix}blocks.7.b"));
            assert_eq!(kept.shown("patch.bias"), format!("{prefix}patch.bias"));
            let error = kept.read("norm.b").unwrap_err().to_string();
            assert!(error.contains(&format!("`{prefix}norm.b` is missing")), "{error}");
        }
    }

    #[test]
    fn networks_of_one_checkpoint_stay_together_and_others_are_told_apart() {
        let names_of = ["encoder.module.backbone.patch.weight", "target_encoder.module.patch.weight", "opt.0"];
        let store = held(&names_of);
        let all = bare(&store, Outside::Dropped).unwrap();
        assert_eq!(names(&all), ["encoder.backbone.patch.weight", "opt.0", "target_encoder.patch.weight"]);
        let store = held(&["checkpoint.encoder.patch.weight", "checkpoint.target_encoder.patch.weight", "opt.0"]);
        assert_eq!(
            names(&bare(&store, Outside::Dropped).unwrap()),
            ["encoder.patch.weight", "target_encoder.patch.weight"]
        );
        let store = held(&["student.patch.weight", "teacher.patch.weight"]);
        let error = bare(&store, Outside::Dropped).err().unwrap().to_string();
        assert!(error.contains("`student`, `teacher`"), "{error}");
        let store = held(&["module.patch.weight", "patch.weight"]);
        let error = bare(&store, Outside::Dropped).err().unwrap().to_string();
        assert!(error.contains("`module.patch.weight` and `patch.weight`"), "{error}");
    }
}
