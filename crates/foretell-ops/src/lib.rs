//! Tensor operations with analytic gradients.
//!
//! Each operation is a function on [`Tensor`](burn::Tensor). It has a *composed* body of ordinary tensor calls, which
//! gives gradients, f64 and every backend for free, and, where measurement says that it pays, a *fused* body with a
//! hand-written backward pass for f32 tensors on Flex (the CPU). Which body runs is decided by where the tensor lies
//! and by nothing else; [`composed`] exposes the composed bodies by themselves, so that the two can be held against
//! each other.
//!
//! This is the only library with `unsafe` code: each block states the invariant that makes it sound.
#![allow(unsafe_code)]
// A loop that is not inlined into its dispatch is compiled for the oldest machine.
#![allow(clippy::inline_always)]
// Constants of approximations stand with the digits of their source.
#![allow(clippy::excessive_precision)]

mod activation;
mod attention;
mod batch_norm;
mod block;
mod ceiling;
mod conv;
mod conv_in_place;
mod cost_volume;
mod count;
mod cross_entropy;
mod depthwise;
mod device;
mod flex;
mod fused;
mod gather;
mod gine;
mod gru;
mod head_norm;
mod instruction_set;
mod kernel;
mod linear;
mod links;
mod loss;
mod matmul;
mod matrix;
#[cfg(feature = "allocator")]
mod memory;
mod norm;
mod optimise;
mod pieces;
mod pool;
mod precision;
mod products;
mod quantiles;
mod query_pool;
mod reduce;
mod rollout;
mod segments;
mod sets;
mod shared;
mod sigreg;
mod simd;
mod softmax;
#[cfg_attr(not(target_arch = "x86_64"), path = "no_tiles.rs")]
mod tiles;
mod turns;
mod vectors;
mod warp;

pub use activation::{gelu, relu, silu};
pub use attention::{Pairs, attention, cross_attention, cross_attention_of, hadamard_attention, self_attention};
pub use batch_norm::{BatchNormOutput, batch_norm, batch_norm_relu, normalise_with};
pub use block::{BlockWeights, LeanBlock, PackedBlock, normed_block, transformer_block, turned_block};
pub use ceiling::product_ceiling;
pub use conv::conv2d;
pub use cost_volume::cost_volume;
pub use count::operations;
pub use cross_entropy::cross_entropy;
pub use depthwise::{Ends, depthwise};
pub use device::{DeviceError, Place, on_cpu};
pub use gather::gather;
pub use gine::{Messages, gine};
pub use gru::{gru_cell, gru_gates};
pub use instruction_set::InstructionSet;
pub use linear::linear;
pub use links::link_cross_entropy;
pub use loss::{cosine_distance, l1, l2, smooth_l1};
pub use matmul::matmul;
#[cfg(feature = "allocator")]
pub use memory::keep_freed_memory;
pub use norm::layer_norm;
pub use optimise::{AdamW, Stepped, adamw, lerp};
pub use pool::together;
pub use precision::Precision;
pub use products::{Columns, Rows, add_product, multiply_rows};
pub use quantiles::{normal_quantile, normal_quantiles};
pub use query_pool::query_pool;
pub use reduce::{SumOfSquares, values};
pub use rollout::{GruRollout, Map};
pub use segments::{Segments, segment_mean, segment_sum};
pub use sets::Sets;
pub use sigreg::{bcs_statistic, sigreg_statistic};
pub use softmax::softmax;
pub use turns::{Turns, turn};
pub use warp::{downsample_twice, lands_inside, upsample_twice, warp};

/// The composed bodies, which run on every backend and in f64.
pub mod composed {
    pub use crate::activation::{gelu_composed as gelu, relu_composed as relu};
    pub use crate::attention::{
        attention_composed as attention, hadamard_attention_composed as hadamard_attention,
        self_attention_composed as self_attention,
    };
    pub use crate::batch_norm::batch_norm_composed as batch_norm;
    pub use crate::block::{
        normed_block_composed as normed_block, transformer_block_composed as transformer_block,
        turned_block_composed as turned_block,
    };
    pub use crate::conv::conv2d_composed as conv2d;
    pub use crate::cost_volume::cost_volume_composed as cost_volume;
    pub use crate::gather::gather_composed as gather;
    pub use crate::gine::gine_composed as gine;
    pub use crate::gru::gru_gates_composed as gru_gates;
    pub use crate::head_norm::head_norm_composed as head_norm;
    pub use crate::linear::linear_composed as linear;
    pub use crate::loss::{
        cosine_distance_composed as cosine_distance, l1_composed as l1, l2_composed as l2,
        smooth_l1_composed as smooth_l1,
    };
    pub use crate::norm::layer_norm_composed as layer_norm;
    pub use crate::query_pool::query_pool_composed as query_pool;
    pub use crate::segments::{segment_mean_composed as segment_mean, segment_sum_composed as segment_sum};
    pub use crate::sigreg::{bcs_statistic_composed as bcs_statistic, sigreg_statistic_composed as sigreg_statistic};
    pub use crate::softmax::softmax_composed as softmax;
    pub use crate::turns::turn_composed as turn;
    pub use crate::warp::warp_composed as warp;
}
