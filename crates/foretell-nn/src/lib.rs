//! Layers and networks with the official checkpoints' names and layouts.
//!
//! Parameters are drawn eagerly from a generator that the caller passes, never from Burn's process-wide one; what must
//! not learn (position codes, running statistics) is a parameter that takes no gradient, so that checkpoints hold it.

pub mod ac_predictor;
pub mod aggregation;
pub mod causal;
pub mod causal_vit;
mod clip_encoder;
pub mod clip_summary;
pub mod clip_vit;
pub mod conditioner;
pub mod context;
pub mod conv;
pub mod decoder;
pub mod dynamic_graph;
pub mod encode;
pub mod flow;
pub mod frame_maps;
pub mod framed;
pub mod frozen;
pub mod graph;
pub mod gru;
pub mod init;
pub mod lat_pfn;
pub mod layers;
pub mod level;
pub mod masked_predictor;
pub mod mixer;
pub mod mlp;
pub mod observer;
pub mod pair;
pub mod parameters;
pub mod pooler;
pub mod positions;
pub mod predictor;
pub mod prefixes;
pub mod probe;
pub mod pyramid;
pub mod queries;
pub mod released;
pub mod series;
pub mod sero;
pub mod signal;
pub mod slot_attention;
pub mod slot_predictor;
pub mod slots;
pub mod stack;
pub mod tune;
pub mod unet;
pub mod vit;
pub mod weights;
pub mod whole_image;

pub use clip_encoder::{ClipEncoder, ClipNetwork, of_pictures};
pub use encode::{Backbone, Encode, FeatureMap, Frames, ImageNetwork, Tokens};
pub use init::Init;
pub use tune::Tunable;
pub use weights::{NamedTensor, NamedTensors, WeightsError};
