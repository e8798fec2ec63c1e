//! Settings in f32 are written with f32's digits: 0.3 and not 0.30000001192092896.

#![expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]

use serde::{Serialize, Serializer};

pub(crate) fn one<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    decimal(*value).serialize(serializer)
}

pub(crate) fn pair<S: Serializer>((low, high): &(f32, f32), serializer: S) -> Result<S::Ok, S::Error> {
    (decimal(*low), decimal(*high)).serialize(serializer)
}

pub(crate) fn list<S: Serializer>(values: &[f32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(|value| decimal(*value)))
}

/// The number of f64 that is written like this one of f32.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}
