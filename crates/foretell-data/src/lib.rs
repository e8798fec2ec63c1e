//! Formats, generated data, transforms and the loader. Host only: nothing here knows the tensor engine.

pub mod random;
