//! What a JEPA is made of, against PyTorch and against its own promises.

mod anti_collapse;
mod block_causal;
mod chunks;
mod dynamics;
mod flow;
mod graph_jepa;
mod image_worlds;
mod lat_pfn;
mod latent;
mod levels;
mod maps;
mod masked;
mod next_embedding;
mod parity;
mod series;
mod shipped;
mod signals;
mod slots;
mod spectrograms;
mod st_jema;
mod stacked;
mod v_jepa;
