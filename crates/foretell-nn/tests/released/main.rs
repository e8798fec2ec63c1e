//! The released networks against transformers and PyTorch: see `bench/peers/released_parity.py`, which made the golden files here.
//!
//! With `FORETELL_PARITY=DIR` the files of another run of that script are taken, of networks of any size.

mod golden;
mod graphs;
mod learns;
mod parity;
mod strict;
