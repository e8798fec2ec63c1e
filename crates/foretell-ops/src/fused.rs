//! The fused bodies as one backend extension: forward on Flex, forward and backward on Flex under autodiff.
//!
//! Each operation's arithmetic stands in its own file as functions on slices; here they meet Burn's tape.

use std::sync::Arc;

use burn::backend::{Backend, Flex, backend_extension, tensor::FloatTensor};
use burn_autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn_flex::FlexTensor;

use crate::{
    Sets, activation,
    attention::{self, Pairs},
    batch_norm, block, conv, cost_volume,
    flex::{contiguous, rows},
    gather,
    gine::{self, Messages},
    gru, linear,
    loss::{self, Distance},
    matmul, norm,
    pool::on_pool,
    query_pool,
    segments::{self, Segments},
    sigreg::{self, Knots},
    softmax,
    turns::{self, Turns},
    warp,
};

#[backend_extension(Flex, Autodiff)]
pub(crate) trait Fused: Backend {
    fn fused_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fused_matmul(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fused_relu(x: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self>;
    fn fused_batch_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        way: batch_norm::Way,
    ) -> FloatTensor<Self>;
    fn fused_attention(qkv: FloatTensor<Self>, sets: Sets, heads: usize) -> FloatTensor<Self>;
    #[allow(clippy::too_many_arguments)]
    fn fused_block(
        x: FloatTensor<Self>,
        norm1: FloatTensor<Self>,
        norm1_bias: FloatTensor<Self>,
        qkv: FloatTensor<Self>,
        qkv_bias: FloatTensor<Self>,
        proj: FloatTensor<Self>,
        proj_bias: FloatTensor<Self>,
        norm2: FloatTensor<Self>,
        norm2_bias: FloatTensor<Self>,
        fc1: FloatTensor<Self>,
        fc1_bias: FloatTensor<Self>,
        fc2: FloatTensor<Self>,
        fc2_bias: FloatTensor<Self>,
        shape: block::Shape,
    ) -> FloatTensor<Self>;
    fn fused_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self>;
    fn fused_distance(
        prediction: FloatTensor<Self>,
        target: FloatTensor<Self>,
        distance: Distance,
    ) -> FloatTensor<Self>;
    fn fused_cosine(prediction: FloatTensor<Self>, target: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fused_gru(inputs: FloatTensor<Self>, states: FloatTensor<Self>, state: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fused_sigreg(projected: FloatTensor<Self>, knots: Knots) -> FloatTensor<Self>;
    fn fused_softmax(x: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fused_gather(table: FloatTensor<Self>, indices: Arc<[u32]>) -> FloatTensor<Self>;
    fn fused_turn(qkv: FloatTensor<Self>, turns: Turns) -> FloatTensor<Self>;
    fn fused_segments(x: FloatTensor<Self>, segments: Segments, mean: bool) -> FloatTensor<Self>;
    fn fused_gine(
        nodes: FloatTensor<Self>,
        edges: FloatTensor<Self>,
        epsilon: FloatTensor<Self>,
        messages: Messages,
    ) -> FloatTensor<Self>;
    fn fused_hadamard(qkv: FloatTensor<Self>, sets: Sets, pairs: Pairs, heads: usize) -> FloatTensor<Self>;
    fn fused_query_pool(rows: FloatTensor<Self>, queries: FloatTensor<Self>, sets: Sets) -> FloatTensor<Self>;
    fn fused_cost_volume(a: FloatTensor<Self>, b: FloatTensor<Self>, radius: usize) -> FloatTensor<Self>;
    fn fused_warp(map: FloatTensor<Self>, flow: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl Fused for Flex {
    fn fused_linear(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        linear::forward(&contiguous(x), &contiguous(weight), &contiguous(bias))
    }
    fn fused_matmul(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        matmul::forward(a, b)
    }
    fn fused_gelu(x: FlexTensor) -> FlexTensor {
        activation::gelu_forward(&contiguous(x))
    }
    fn fused_relu(x: FlexTensor) -> FlexTensor {
        activation::relu_forward(&contiguous(x))
    }
    fn fused_layer_norm(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, eps: f32) -> FlexTensor {
        norm::forward(&contiguous(x), &contiguous(weight), &contiguous(bias), eps)
    }
    fn fused_batch_norm(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, way: batch_norm::Way) -> FlexTensor {
        batch_norm::forward(&contiguous(x), &contiguous(weight), &contiguous(bias), &way)
    }
    fn fused_attention(qkv: FlexTensor, sets: Sets, heads: usize) -> FlexTensor {
        attention::forward(&contiguous(qkv), &sets, None, heads)
    }
    #[allow(clippy::too_many_arguments)]
    fn fused_block(
        x: FlexTensor,
        norm1: FlexTensor,
        norm1_bias: FlexTensor,
        qkv: FlexTensor,
        qkv_bias: FlexTensor,
        proj: FlexTensor,
        proj_bias: FlexTensor,
        norm2: FlexTensor,
        norm2_bias: FlexTensor,
        fc1: FlexTensor,
        fc1_bias: FlexTensor,
        fc2: FlexTensor,
        fc2_bias: FlexTensor,
        shape: block::Shape,
    ) -> FlexTensor {
        let weights =
            [norm1, norm1_bias, qkv, qkv_bias, proj, proj_bias, norm2, norm2_bias, fc1, fc1_bias, fc2, fc2_bias];
        let (x, weights) = (contiguous(x), weights.map(contiguous));
        on_pool(|| block::forward(&x, &weights, &shape, false).0)
    }
    fn fused_conv2d(x: FlexTensor, weight: FlexTensor, stride: usize, padding: usize) -> FlexTensor {
        let (x, weight) = (contiguous(x), contiguous(weight));
        on_pool(|| conv::forward(&x, &weight, stride, padding))
    }
    fn fused_distance(prediction: FlexTensor, target: FlexTensor, distance: Distance) -> FlexTensor {
        loss::forward(&contiguous(prediction), &contiguous(target), distance)
    }
    fn fused_cosine(prediction: FlexTensor, target: FlexTensor) -> FlexTensor {
        loss::cosine_forward(&contiguous(prediction), &contiguous(target))
    }
    fn fused_gru(inputs: FlexTensor, states: FlexTensor, state: FlexTensor) -> FlexTensor {
        gru::forward(&contiguous(inputs), &contiguous(states), &contiguous(state))
    }
    fn fused_sigreg(projected: FlexTensor, knots: Knots) -> FlexTensor {
        sigreg::forward(&contiguous(projected), &knots)
    }
    fn fused_softmax(x: FlexTensor) -> FlexTensor {
        softmax::forward(&contiguous(x))
    }
    fn fused_gather(table: FlexTensor, indices: Arc<[u32]>) -> FlexTensor {
        gather::forward(&contiguous(table), &indices)
    }
    fn fused_turn(qkv: FlexTensor, turns: Turns) -> FlexTensor {
        turns::forward(&contiguous(qkv), &turns)
    }
    fn fused_segments(x: FlexTensor, segments: Segments, mean: bool) -> FlexTensor {
        segments::forward(&contiguous(x), &segments, mean)
    }
    fn fused_gine(nodes: FlexTensor, edges: FlexTensor, epsilon: FlexTensor, messages: Messages) -> FlexTensor {
        gine::forward(&contiguous(nodes), &contiguous(edges), &contiguous(epsilon), &messages)
    }
    fn fused_hadamard(qkv: FlexTensor, sets: Sets, pairs: Pairs, heads: usize) -> FlexTensor {
        attention::forward(&contiguous(qkv), &sets, Some(&pairs), heads)
    }
    fn fused_query_pool(rows: FlexTensor, queries: FlexTensor, sets: Sets) -> FlexTensor {
        query_pool::forward(&contiguous(rows), &contiguous(queries), &sets).0
    }
    fn fused_cost_volume(a: FlexTensor, b: FlexTensor, radius: usize) -> FlexTensor {
        on_pool(|| cost_volume::forward(&contiguous(a), &contiguous(b), radius))
    }
    fn fused_warp(map: FlexTensor, flow: FlexTensor) -> FlexTensor {
        on_pool(|| warp::forward(&contiguous(map), &contiguous(flow)))
    }
}

/// Implements [`Backward`] for a unit struct: `|state, dy, want| [gradients]`, where `want[i]` says whether parent `i`
/// takes a gradient, and what it does not want may be `None`.
macro_rules! backward {
    ($name:ident, $n:literal, $state:ty, $body:expr) => {
        #[derive(Debug)]
        struct $name;
        impl Backward<Flex, $n> for $name {
            type State = $state;
            fn backward(self, ops: Ops<Self::State, $n>, grads: &mut Gradients, _: &mut Checkpointer) {
                let dy = contiguous(grads.consume::<Flex>(&ops.node));
                let want = ops.parents.each_ref().map(Option::is_some);
                let body: fn(Self::State, FlexTensor, [bool; $n]) -> [Option<FlexTensor>; $n] = $body;
                for (parent, gradient) in ops.parents.into_iter().zip(body(ops.state, dy, want)) {
                    if let (Some(parent), Some(gradient)) = (parent, gradient) {
                        grads.register::<Flex>(parent.id, gradient);
                    }
                }
            }
        }
    };
}

backward!(LinearBackward, 3, (FlexTensor, FlexTensor), |(x, weight), dy, want| linear::backward(
    &x, &weight, &dy, want
));
backward!(MatmulBackward, 2, (FlexTensor, FlexTensor), |(a, b), dy, want| matmul::backward(a, b, dy, want));
backward!(GeluBackward, 1, FlexTensor, |x, dy, _| [Some(activation::gelu_backward(&x, &dy))]);
backward!(ReluBackward, 1, FlexTensor, |y, dy, _| [Some(activation::relu_backward(&y, &dy))]);
backward!(LayerNormBackward, 3, (FlexTensor, FlexTensor, f32), |(x, weight, eps), dy, want| {
    norm::backward(&x, &weight, eps, &dy, want)
});
type BatchNormState = (FlexTensor, FlexTensor, FlexTensor, batch_norm::Way);
backward!(BatchNormBackward, 3, BatchNormState, |(x, weight, bias, way), dy, want| {
    on_pool(|| batch_norm::backward(&x, &weight, &bias, &way, &dy, want))
});
backward!(AttentionBackward, 1, (FlexTensor, Sets, usize), |(qkv, sets, heads), dy, _| [Some(attention::backward(
    &qkv, &sets, None, heads, &dy
))]);
type BlockState = (FlexTensor, Box<[FlexTensor; block::WEIGHTS]>, block::Shape, block::Saved);
backward!(BlockBackward, 13, BlockState, |(x, weights, shape, saved), dy, want| {
    let (dx, gradients) = on_pool(|| block::backward(&x, &weights, &shape, &saved, &dy));
    let mut gradients = std::iter::once(dx).chain(gradients).map(Some);
    want.map(|want| gradients.next().flatten().filter(|_| want))
});
backward!(Conv2dBackward, 2, (FlexTensor, FlexTensor, usize, usize), |(x, weight, stride, padding), dy, want| {
    on_pool(|| conv::backward(&x, &weight, stride, padding, &dy, want))
});
backward!(DistanceBackward, 2, (FlexTensor, FlexTensor, Distance), |(prediction, target, distance), dy, want| {
    loss::backward(&prediction, &target, distance, &dy, want)
});
backward!(CosineBackward, 2, (FlexTensor, FlexTensor), |(prediction, target), dy, want| {
    loss::cosine_backward(&prediction, &target, &dy, want)
});
backward!(GruBackward, 3, (FlexTensor, FlexTensor, FlexTensor), |(inputs, states, state), dy, _| {
    gru::backward(&inputs, &states, &state, &dy).map(Some)
});
backward!(SigregBackward, 1, (FlexTensor, Knots), |(projected, knots), dy, _| [Some(sigreg::backward(
    &projected, &knots, &dy
))]);
backward!(SoftmaxBackward, 1, FlexTensor, |y, dy, _| [Some(softmax::backward(&y, &dy))]);
backward!(GatherBackward, 1, (usize, Arc<[u32]>), |(n, indices), dy, _| [Some(gather::backward(n, &indices, &dy))]);
backward!(TurnBackward, 1, Turns, |turns, dy, _| [Some(turns::backward(&dy, &turns))]);
backward!(SegmentsBackward, 1, (Segments, bool), |(segments, mean), dy, _| [Some(segments::backward(
    &segments, mean, &dy
))]);
type GineState = (FlexTensor, FlexTensor, FlexTensor, Messages);
backward!(GineBackward, 3, GineState, |(nodes, edges, epsilon, messages), dy, want| {
    on_pool(|| gine::backward((&nodes, &edges, &epsilon), &messages, &dy, want))
});
backward!(HadamardBackward, 1, (FlexTensor, Sets, Pairs, usize), |(qkv, sets, pairs, heads), dy, _| {
    [Some(attention::backward(&qkv, &sets, Some(&pairs), heads, &dy))]
});
type QueryPoolState = (FlexTensor, FlexTensor, FlexTensor, Sets);
backward!(QueryPoolBackward, 2, QueryPoolState, |(rows, queries, shares, sets), dy, want| {
    on_pool(|| query_pool::backward((&rows, &queries, &shares), &sets, &dy, want))
});
backward!(CostVolumeBackward, 2, (FlexTensor, FlexTensor, usize), |(a, b, radius), dy, want| {
    on_pool(|| cost_volume::backward(&a, &b, radius, &dy, want))
});
backward!(WarpBackward, 2, (FlexTensor, FlexTensor), |(map, flow), dy, want| {
    on_pool(|| warp::backward(&map, &flow, &dy, want))
});

/// Runs a forward pass and puts its backward step on the tape when any parent is tracked.
macro_rules! taped {
    ($step:ident, $strategy:ty, [$($guard:expr),+], $forward:expr) => {{
        let prepared = $step.prepare::<$strategy>([$($guard),+]).compute_bound().stateful();
        let (output, state) = $forward;
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(state, output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }};
}

impl<S: CheckpointStrategy> Fused for Autodiff<Flex, S> {
    fn fused_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((x, a), (weight, b), (bias, c)) = (x.into_parts(), weight.into_parts(), bias.into_parts());
        let (x, weight) = (contiguous(x), contiguous(weight));
        taped!(LinearBackward, S, [a, b, c], (linear::forward(&x, &weight, &contiguous(bias)), (x, weight)))
    }
    fn fused_matmul(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((a, of_a), (b, of_b)) = (a.into_parts(), b.into_parts());
        taped!(MatmulBackward, S, [of_a, of_b], (matmul::forward(a.clone(), b.clone()), (a, b)))
    }
    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, a) = x.into_parts();
        let x = contiguous(x);
        taped!(GeluBackward, S, [a], (activation::gelu_forward(&x), x))
    }
    fn fused_relu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, a) = x.into_parts();
        taped!(ReluBackward, S, [a], {
            let y = activation::relu_forward(&contiguous(x));
            (y.clone(), y)
        })
    }
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self> {
        let ((x, a), (weight, b), (bias, c)) = (x.into_parts(), weight.into_parts(), bias.into_parts());
        let (x, weight) = (contiguous(x), contiguous(weight));
        taped!(LayerNormBackward, S, [a, b, c], {
            let y = norm::forward(&x, &weight, &contiguous(bias), eps);
            (y, (x, weight, eps))
        })
    }
    fn fused_batch_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        way: batch_norm::Way,
    ) -> FloatTensor<Self> {
        let ((x, a), (weight, b), (bias, c)) = (x.into_parts(), weight.into_parts(), bias.into_parts());
        let (x, weight, bias) = (contiguous(x), contiguous(weight), contiguous(bias));
        taped!(BatchNormBackward, S, [a, b, c], (batch_norm::forward(&x, &weight, &bias, &way), (x, weight, bias, way)))
    }
    fn fused_attention(qkv: FloatTensor<Self>, sets: Sets, heads: usize) -> FloatTensor<Self> {
        let (qkv, a) = qkv.into_parts();
        let qkv = contiguous(qkv);
        taped!(AttentionBackward, S, [a], (attention::forward(&qkv, &sets, None, heads), (qkv, sets, heads)))
    }
    #[allow(clippy::too_many_arguments)]
    fn fused_block(
        x: FloatTensor<Self>,
        norm1: FloatTensor<Self>,
        norm1_bias: FloatTensor<Self>,
        qkv: FloatTensor<Self>,
        qkv_bias: FloatTensor<Self>,
        proj: FloatTensor<Self>,
        proj_bias: FloatTensor<Self>,
        norm2: FloatTensor<Self>,
        norm2_bias: FloatTensor<Self>,
        fc1: FloatTensor<Self>,
        fc1_bias: FloatTensor<Self>,
        fc2: FloatTensor<Self>,
        fc2_bias: FloatTensor<Self>,
        shape: block::Shape,
    ) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let x = contiguous(x);
        let weights =
            [norm1, norm1_bias, qkv, qkv_bias, proj, proj_bias, norm2, norm2_bias, fc1, fc1_bias, fc2, fc2_bias]
                .map(<FloatTensor<Self>>::into_parts);
        let mut nodes = vec![node];
        let weights = Box::new(weights.map(|(weight, node)| {
            nodes.push(node);
            contiguous(weight)
        }));
        let nodes = nodes.try_into().unwrap_or_else(|_| unreachable!("as many nodes as tensors"));
        let prepared = BlockBackward.prepare::<S>(nodes).compute_bound().stateful();
        match prepared {
            OpsKind::Tracked(prepared) => {
                let (y, saved) = on_pool(|| block::forward(&x, &weights, &shape, true));
                prepared.finish((x, weights, shape, saved.expect("kept as asked")), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(on_pool(|| block::forward(&x, &weights, &shape, false).0)),
        }
    }
    fn fused_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        let ((x, a), (weight, b)) = (x.into_parts(), weight.into_parts());
        let (x, weight) = (contiguous(x), contiguous(weight));
        taped!(Conv2dBackward, S, [a, b], {
            (on_pool(|| conv::forward(&x, &weight, stride, padding)), (x, weight, stride, padding))
        })
    }
    fn fused_distance(
        prediction: FloatTensor<Self>,
        target: FloatTensor<Self>,
        distance: Distance,
    ) -> FloatTensor<Self> {
        let ((prediction, a), (target, b)) = (prediction.into_parts(), target.into_parts());
        let (prediction, target) = (contiguous(prediction), contiguous(target));
        taped!(DistanceBackward, S, [a, b], {
            (loss::forward(&prediction, &target, distance), (prediction, target, distance))
        })
    }
    fn fused_cosine(prediction: FloatTensor<Self>, target: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((prediction, a), (target, b)) = (prediction.into_parts(), target.into_parts());
        let (prediction, target) = (contiguous(prediction), contiguous(target));
        taped!(CosineBackward, S, [a, b], (loss::cosine_forward(&prediction, &target), (prediction, target)))
    }
    fn fused_gru(inputs: FloatTensor<Self>, states: FloatTensor<Self>, state: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((inputs, a), (states, b), (state, c)) = (inputs.into_parts(), states.into_parts(), state.into_parts());
        let (inputs, states, state) = (contiguous(inputs), contiguous(states), contiguous(state));
        taped!(GruBackward, S, [a, b, c], (gru::forward(&inputs, &states, &state), (inputs, states, state)))
    }
    fn fused_sigreg(projected: FloatTensor<Self>, knots: Knots) -> FloatTensor<Self> {
        let (projected, a) = projected.into_parts();
        let projected = contiguous(projected);
        taped!(SigregBackward, S, [a], (sigreg::forward(&projected, &knots), (projected, knots)))
    }
    fn fused_softmax(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, a) = x.into_parts();
        taped!(SoftmaxBackward, S, [a], {
            let y = softmax::forward(&contiguous(x));
            (y.clone(), y)
        })
    }
    fn fused_gather(table: FloatTensor<Self>, indices: Arc<[u32]>) -> FloatTensor<Self> {
        let (table, a) = table.into_parts();
        let table = contiguous(table);
        taped!(GatherBackward, S, [a], (gather::forward(&table, &indices), (rows(&table).0, indices)))
    }
    fn fused_turn(qkv: FloatTensor<Self>, turns: Turns) -> FloatTensor<Self> {
        let (qkv, a) = qkv.into_parts();
        taped!(TurnBackward, S, [a], (turns::forward(&contiguous(qkv), &turns), turns))
    }
    fn fused_segments(x: FloatTensor<Self>, segments: Segments, mean: bool) -> FloatTensor<Self> {
        let (x, a) = x.into_parts();
        taped!(SegmentsBackward, S, [a], (segments::forward(&contiguous(x), &segments, mean), (segments, mean)))
    }
    fn fused_gine(
        nodes: FloatTensor<Self>,
        edges: FloatTensor<Self>,
        epsilon: FloatTensor<Self>,
        messages: Messages,
    ) -> FloatTensor<Self> {
        let ((nodes, a), (edges, b), (epsilon, c)) = (nodes.into_parts(), edges.into_parts(), epsilon.into_parts());
        let (nodes, edges, epsilon) = (contiguous(nodes), contiguous(edges), contiguous(epsilon));
        taped!(GineBackward, S, [a, b, c], {
            (gine::forward(&nodes, &edges, &epsilon, &messages), (nodes, edges, epsilon, messages))
        })
    }
    fn fused_hadamard(qkv: FloatTensor<Self>, sets: Sets, pairs: Pairs, heads: usize) -> FloatTensor<Self> {
        let (qkv, a) = qkv.into_parts();
        let qkv = contiguous(qkv);
        taped!(HadamardBackward, S, [a], {
            (attention::forward(&qkv, &sets, Some(&pairs), heads), (qkv, sets, pairs, heads))
        })
    }
    fn fused_query_pool(rows: FloatTensor<Self>, queries: FloatTensor<Self>, sets: Sets) -> FloatTensor<Self> {
        let ((rows, a), (queries, b)) = (rows.into_parts(), queries.into_parts());
        let (rows, queries) = (contiguous(rows), contiguous(queries));
        taped!(QueryPoolBackward, S, [a, b], {
            let (y, shares) = query_pool::forward(&rows, &queries, &sets);
            (y, (rows, queries, shares, sets))
        })
    }
    fn fused_cost_volume(a: FloatTensor<Self>, b: FloatTensor<Self>, radius: usize) -> FloatTensor<Self> {
        let ((a, node), (b, other)) = (a.into_parts(), b.into_parts());
        let (a, b) = (contiguous(a), contiguous(b));
        taped!(CostVolumeBackward, S, [node, other], {
            (on_pool(|| cost_volume::forward(&a, &b, radius)), (a, b, radius))
        })
    }
    fn fused_warp(map: FloatTensor<Self>, flow: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((map, a), (flow, b)) = (map.into_parts(), flow.into_parts());
        let (map, flow) = (contiguous(map), contiguous(flow));
        taped!(WarpBackward, S, [a, b], { (on_pool(|| warp::forward(&map, &flow)), (map, flow)) })
    }
}
