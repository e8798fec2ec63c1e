//! The instructions that the fused operations are written for.

use std::sync::LazyLock;

use crate::tiles;

/// What the fused operations compute with: the quickest of these that the machine has, or the one that `FORETELL_KERNEL` names.
///
/// The bits of a result are a function of the instruction set, as sums are taken in another order and products with sums
/// are rounded once or twice; never of the number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// What every processor has: vectors of four, a product and a sum one after the other.
    Portable,
    /// 64-bit ARM.
    Neon,
    /// x86-64 with AVX2 and FMA: Intel since 2013, AMD since 2015.
    Avx2,
    /// x86-64 with AVX-512 (F, BW, CD, DQ, VL): Intel's servers since 2017, AMD since 2022.
    Avx512,
    /// AVX-512 and tiles of bf16 (AMX) on Linux: Intel's servers since 2023.
    Amx,
}

impl InstructionSet {
    /// All of them, the quickest last.
    pub const ALL: [Self; 5] = [Self::Portable, Self::Neon, Self::Avx2, Self::Avx512, Self::Amx];

    /// As `FORETELL_KERNEL` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }

    /// Whether this machine can run it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => pulp::aarch64::Neon::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => pulp::x86::V3::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => pulp::x86::V4::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Amx => pulp::x86::V4::try_new().is_some() && tiles::are_lent(),
            _ => false,
        }
    }

    /// The one that operations use in this process.
    ///
    /// # Errors
    /// A sentence, where `FORETELL_KERNEL` names none or one that the machine lacks.
    pub fn current() -> Result<Self, String> {
        static CURRENT: LazyLock<Result<InstructionSet, String>> = LazyLock::new(|| {
            let named = std::env::var_os("FORETELL_KERNEL").filter(|name| !name.is_empty());
            choose(named.as_ref().map(|name| name.to_string_lossy()).as_deref())
        });
        CURRENT.clone()
    }
}

impl std::fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

fn choose(named: Option<&str>) -> Result<InstructionSet, String> {
    let there: Vec<_> = InstructionSet::ALL.into_iter().filter(|set| set.is_available()).collect();
    let Some(named) = named else { return Ok(*there.last().expect("one is everywhere")) };
    let found = there.iter().find(|set| set.name() == named).copied();
    found.ok_or_else(|| {
        let names: Vec<_> = there.iter().map(|set| set.name()).collect();
        format!(
            "FORETELL_KERNEL is {named:?}, and this machine has {}: name one of these, or nothing",
            names.join(", ")
        )
    })
}

/// The one in use, for the operations themselves.
///
/// # Panics
/// With the sentence of [`InstructionSet::current`]; programs ask for it when they begin.
pub(crate) fn current() -> InstructionSet {
    static CURRENT: LazyLock<InstructionSet> =
        LazyLock::new(|| InstructionSet::current().unwrap_or_else(|sentence| panic!("{sentence}")));
    *CURRENT
}

/// Whether no wider vectors are there than those in use.
pub(crate) fn is_widest() -> bool {
    match current() {
        InstructionSet::Portable => !InstructionSet::Neon.is_available() && !InstructionSet::Avx2.is_available(),
        InstructionSet::Avx2 => !InstructionSet::Avx512.is_available(),
        InstructionSet::Neon | InstructionSet::Avx512 | InstructionSet::Amx => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_chooses_and_another_is_declined_with_those_there_are() {
        let best = choose(None).unwrap();
        assert!(best.is_available());
        assert_eq!(choose(Some("portable")), Ok(InstructionSet::Portable));
        assert_eq!(choose(Some(best.name())), Ok(best));
        let sentence = choose(Some("sse9")).unwrap_err();
        assert!(sentence.contains("\"sse9\"") && sentence.contains("portable") && sentence.contains(best.name()));
        let foreign = if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" };
        assert!(choose(Some(foreign)).is_err());
    }
}
