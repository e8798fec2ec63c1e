//! Units of voltage, each signal's own.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A unit of voltage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Volts {
    /// Volts.
    #[serde(rename = "V")]
    Volt,
    /// Thousandths.
    #[serde(rename = "mV")]
    Milli,
    /// Millionths: what EEG is told in.
    #[serde(rename = "uV")]
    Micro,
    /// Thousandths of those.
    #[serde(rename = "nV")]
    Nano,
}

/// Deviations of an electrode's voltage between 0.5 and 40 Hz that a head may have, in µV.
pub(crate) const PLAUSIBLE: std::ops::RangeInclusive<f64> = 0.5..=500.0;
/// What no electrode on a head has.
pub(crate) const POSSIBLE: std::ops::RangeInclusive<f64> = 0.01..=50_000.0;

impl Volts {
    const ALL: [Self; 4] = [Self::Volt, Self::Milli, Self::Micro, Self::Nano];

    /// What a file calls a signal's unit; an empty one is `None`, and one that is no voltage an error.
    pub(crate) fn of(text: &str) -> Result<Option<Self>, ()> {
        let text = text.trim().trim_matches(['(', ')', '[', ']']);
        if text.is_empty() {
            return Ok(None);
        }
        // The two signs for micro, and the one that is left of them where a program knew no other letters.
        let text = text.replace(['µ', 'μ', '\u{fffd}'], "u").to_ascii_lowercase();
        Ok(Some(match text.as_str() {
            "v" | "volt" | "volts" => Self::Volt,
            "mv" | "millivolt" | "millivolts" => Self::Milli,
            "uv" | "microvolt" | "microvolts" => Self::Micro,
            "nv" | "nanovolt" | "nanovolts" => Self::Nano,
            _ => return Err(()),
        }))
    }

    /// µV in one of it.
    pub(crate) fn micro(self) -> f64 {
        match self {
            Self::Volt => 1e6,
            Self::Milli => 1e3,
            Self::Micro => 1.0,
            Self::Nano => 1e-3,
        }
    }

    /// The unit in which a deviation is that of a head: µV if it may be, as most files have it.
    pub(crate) fn guessed(deviation: f64) -> Option<Self> {
        [Self::Micro, Self::Volt, Self::Milli, Self::Nano]
            .into_iter()
            .find(|unit| PLAUSIBLE.contains(&(deviation * unit.micro())))
    }

    /// The unit in which the deviation of values that were taken for µV would be that of a head.
    pub(crate) fn better(micro: f64) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| PLAUSIBLE.contains(&(micro * unit.micro())))
    }
}

impl fmt::Display for Volts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Volt => "V",
            Self::Milli => "mV",
            Self::Micro => "uV",
            Self::Nano => "nV",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_told_by_their_spellings_and_by_what_a_head_may_have() {
        for (text, unit) in [
            ("uV", Volts::Micro),
            ("µV", Volts::Micro),
            ("μV", Volts::Micro),
            ("mV", Volts::Milli),
            ("nV", Volts::Nano),
            ("V ", Volts::Volt),
        ] {
            assert_eq!(Volts::of(text), Ok(Some(unit)), "{text}");
        }
        assert_eq!(Volts::of("  "), Ok(None));
        assert_eq!(Volts::of("degC"), Err(()));
        assert_eq!(Volts::guessed(32.0), Some(Volts::Micro));
        assert_eq!(Volts::guessed(32e-6), Some(Volts::Volt));
        assert_eq!(Volts::guessed(0.032), Some(Volts::Milli));
        assert_eq!(Volts::guessed(32_000.0), Some(Volts::Nano));
        assert_eq!(Volts::guessed(0.0), None);
    }
}
