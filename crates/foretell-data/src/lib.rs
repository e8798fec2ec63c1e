//! Formats, generated data, transforms and the loader. Host only.
