//! What a JEPA is made of, against PyTorch and against its own promises.

mod block_causal;
mod dynamics;
mod graph_jepa;
mod next_embedding;
mod parity;
mod v_jepa;
