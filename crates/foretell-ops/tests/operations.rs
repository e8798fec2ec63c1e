//! What the counter counts, against formulas written out layer by layer.

use std::sync::Mutex;

use burn::tensor::{Device, Tensor, TensorData};
use foretell_ops::{self as ops, composed};

/// The counter is the process's: one count at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn counted<T>(work: impl FnOnce() -> T) -> u64 {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let before = ops::operations();
    work();
    ops::operations() - before
}

/// Values of a fixed rule, tracked or not.
fn tensor<const D: usize>(shape: [usize; D], tracked: bool) -> Tensor<D> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|i| ((i * 7919) % 23) as f32 / 46.0 - 0.25).collect();
    let tensor = Tensor::from_data(TensorData::new(values, shape), &Device::flex());
    if tracked { tensor.autodiff().require_grad() } else { tensor.autodiff() }
}

/// The same without a tape.
fn plain<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    tensor(shape, false).inner()
}

fn weights(d: usize, h: usize, tracked: bool) -> ops::BlockWeights {
    let matrix = |o, i| if tracked { tensor([o, i], true) } else { plain([o, i]) };
    let vector = |len| if tracked { tensor([len], true) } else { plain([len]) };
    ops::BlockWeights {
        norm1: (vector(d), vector(d)),
        qkv: (matrix(3 * d, d), vector(3 * d)),
        proj: (matrix(d, d), vector(d)),
        norm2: (vector(d), vector(d)),
        fc1: (matrix(h, d), vector(h)),
        fc2: (matrix(d, h), vector(d)),
        packed: None,
    }
}

/// A matrix's numbers, twice, for each row that goes through it: one multiplication and one addition each.
fn map(rows: u64, inputs: u64, outputs: u64) -> u64 {
    rows * inputs * outputs * 2
}

/// Each query meets each key of its set over all heads' dimensions, and each probability its value.
fn meeting(lengths: &[usize], width: u64) -> u64 {
    let scores: u64 = lengths.iter().map(|len| (len * len) as u64 * width * 2).sum();
    let values = scores;
    scores + values
}

/// Forward through a transformer block.
fn block(lengths: &[usize], d: u64, h: u64) -> u64 {
    let rows = lengths.iter().sum::<usize>() as u64;
    let queries_keys_values = map(rows, d, 3 * d);
    let projection = map(rows, d, d);
    let mlp = map(rows, d, h) + map(rows, h, d);
    queries_keys_values + meeting(lengths, d) + projection + mlp
}

/// Sets of one length, many and few, of several lengths, and ones longer than the queries of a task.
fn some_lengths() -> Vec<Vec<usize>> {
    vec![vec![17; 24], vec![17; 2], vec![5, 0, 33, 1, 128], vec![300, 7]]
}

#[test]
fn an_affine_map() {
    let (n, i, o) = (37, 20, 50);
    for (linear, name) in [(ops::linear::<2> as fn(_, _, _) -> _, "fused"), (composed::linear::<2>, "composed")] {
        let forward = counted(|| linear(plain([n, i]), plain([o, i]), plain([o])));
        assert_eq!(forward, map(37, 20, 50), "{name}");
        // The gradient of the weights sums over rows, that of the input over outputs: as much again each.
        let all = counted(|| linear(tensor([n, i], true), tensor([o, i], true), tensor([o], true)).sum().backward());
        assert_eq!(all, 3 * map(37, 20, 50), "{name}");
        // Data take no gradient.
        let data = counted(|| linear(tensor([n, i], false), tensor([o, i], true), tensor([o], true)).sum().backward());
        assert_eq!(data, 2 * map(37, 20, 50), "{name}");
    }
}

#[test]
fn attention() {
    let (d, heads) = (24, 3);
    for lengths in some_lengths() {
        let sets = ops::Sets::of_lengths(&lengths);
        let rows = sets.rows();
        let expected = meeting(&lengths, d as u64);
        for attention in [ops::attention, composed::attention] {
            assert_eq!(counted(|| attention(plain([rows, 3 * d]), &sets, heads)), expected, "{lengths:?}");
            // Backward: the gradients of values, probabilities, queries and keys.
            let both = counted(|| attention(tensor([rows, 3 * d], true), &sets, heads).sum().backward());
            assert_eq!(both, 3 * expected, "{lengths:?}");
        }
    }
    let (b, q, n) = (3, 2, 11);
    let cross = counted(|| ops::cross_attention(plain([b, q, d]), plain([b, n, 2 * d]), heads));
    assert_eq!(cross, (3 * 2 * 11) * 24 * 2 * 2);
}

#[test]
fn a_convolution() {
    // Images, side, inputs, outputs, kernel, stride, padding, and the output's side.
    let shapes = [
        (3, 16, 24, 32, 3, 1, 1, 16),
        (5, 12, 3, 16, 3, 2, 1, 6),
        (2, 9, 20, 20, 1, 1, 0, 9),
        (2, 8, 64, 8, 1, 2, 0, 4),
        (2, 20, 3, 12, 5, 1, 2, 20),
    ];
    for (b, side, c, o, k, stride, padding, to) in shapes {
        let (x, w) = ([b, side, side, c], [o, c, k, k]);
        // Each output number is a sum over its patch.
        let expected = (b * to * to * o * (k * k * c) * 2) as u64;
        assert_eq!(counted(|| ops::conv2d(plain(x), plain(w), stride, padding)), expected, "{x:?} {w:?}");
        let all = counted(|| ops::conv2d(tensor(x, true), tensor(w, true), stride, padding).sum().backward());
        assert_eq!(all, 3 * expected, "{x:?} {w:?}");
        let data = counted(|| ops::conv2d(tensor(x, false), tensor(w, true), stride, padding).sum().backward());
        assert_eq!(data, 2 * expected, "{x:?} {w:?}");
    }
}

/// Patches embedded, two blocks, a head and a loss: a step of training, fused and composed.
#[test]
fn a_step_of_a_small_transformer() {
    let (d, h, heads, patch, code) = (24, 80, 3, 48, 10);
    for lengths in some_lengths() {
        let sets = ops::Sets::of_lengths(&lengths);
        let rows = sets.rows();
        let n = rows as u64;
        let blocks = [weights(d, h, true), weights(d, h, true)];
        let step = |fused: bool| {
            let mut x = ops::linear(tensor([rows, patch], false), tensor([d, patch], true), tensor([d], true));
            for block in &blocks {
                x = if fused {
                    ops::transformer_block(x, &sets, block.clone(), heads, 1e-6)
                } else {
                    composed::transformer_block(x, &sets, block.clone(), heads, 1e-6)
                };
            }
            let codes = ops::linear(x, tensor([code, d], true), tensor([code], true));
            ops::l2(codes, tensor([rows, code], false)).backward()
        };
        let embedding = map(n, 48, 24);
        let head = map(n, 24, 10);
        // Backward twice forward; but the pixels take no gradient.
        let expected = 2 * embedding + 3 * 2 * block(&lengths, 24, 80) + 3 * head;
        assert_eq!(counted(|| step(true)), expected, "{lengths:?}");
        assert_eq!(counted(|| step(false)), expected, "{lengths:?}");
    }
}

/// Without gradients a block takes other ways: few rows, rows that are wide, and maps laid out beforehand.
#[test]
fn blocks_without_gradients() {
    for (lengths, d, h, heads) in
        [(vec![17; 24], 24, 80, 3), (vec![50], 64, 256, 4), (vec![7, 20], 192, 768, 3), (vec![196; 5], 512, 64, 8)]
    {
        let sets = ops::Sets::of_lengths(&lengths);
        let expected = block(&lengths, d as u64, h as u64);
        let mut weights = weights(d, h, false);
        for packed in [false, true] {
            weights.packed = if packed { ops::PackedBlock::of(&weights) } else { None };
            let found =
                counted(|| ops::transformer_block(plain([sets.rows(), d]), &sets, weights.clone(), heads, 1e-6));
            assert_eq!(found, expected, "{lengths:?}, {d} wide, packed {packed}");
        }
    }
}
