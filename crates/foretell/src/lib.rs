//! Foretell: joint-embedding predictive architectures, trained, judged and used from one binary.
