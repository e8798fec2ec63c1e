//! Settings that may be left to the framework, and the record of what it chose and why.

use std::fmt::Display;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value, or the word `auto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auto<T> {
    /// The framework chooses, prints its choice with the reason, and writes it into the resolved config.
    #[default]
    Auto,
    /// As the user said.
    Value(T),
}

impl<T: Copy + Display> Auto<T> {
    /// The value, chosen now if it was open; a choice is recorded.
    pub fn resolve(&mut self, name: &str, decisions: &mut Vec<Decision>, choose: impl FnOnce() -> (T, String)) -> T {
        match *self {
            Auto::Value(value) => value,
            Auto::Auto => {
                let (value, reason) = choose();
                decisions.push(Decision { what: name.to_owned(), value: value.to_string(), reason });
                *self = Auto::Value(value);
                value
            }
        }
    }
}

impl<T: Serialize> Serialize for Auto<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Auto::Auto => serializer.serialize_str("auto"),
            Auto::Value(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Auto<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        enum Word {
            #[serde(rename = "auto")]
            Auto,
        }
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a value of this setting's kind, or the word \"auto\"")]
        enum Either<T> {
            Word(Word),
            Value(T),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Word(Word::Auto) => Auto::Auto,
            Either::Value(value) => Auto::Value(value),
        })
    }
}

/// An automatic decision, for the eyes of the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The setting.
    pub what: String,
    /// What was chosen.
    pub value: String,
    /// Why.
    pub reason: String,
}
