//! Segments, messages along edges and attention weighed by pairs.

use burn::tensor::{DType, Device, Tensor, TensorData};
use foretell_ops::{self as ops, composed};

use crate::{agree, finite_differences, noise, run, some_sets};

/// Numbers below `bound` from [`noise`].
fn numbers(seed: u64, len: usize, bound: usize) -> Vec<u32> {
    noise(seed, len).iter().map(|x| ((x + 1.0) / 2.0 * bound as f64) as u32 % bound as u32).collect()
}

/// The result of some functions by the number of threads.
fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[test]
fn segments_agree() {
    for (rows, count, d) in [(0, 3, 4), (1, 1, 1), (9, 20, 5), (700, 30, 64), (5000, 1, 33), (3000, 2900, 512)] {
        let segments = ops::Segments::new(numbers(21, rows, count), count);
        let s = segments.clone();
        let sum = move |t: &[Tensor<1>]| ops::segment_sum(t[0].clone().reshape([rows, d]), &s).reshape([count * d]);
        let s = segments.clone();
        let mean = move |t: &[Tensor<1>]| ops::segment_mean(t[0].clone().reshape([rows, d]), &s).reshape([count * d]);
        let s = segments.clone();
        let plain_sum =
            move |t: &[Tensor<1>]| composed::segment_sum(t[0].clone().reshape([rows, d]), &s).reshape([count * d]);
        let s = segments.clone();
        let plain_mean =
            move |t: &[Tensor<1>]| composed::segment_mean(t[0].clone().reshape([rows, d]), &s).reshape([count * d]);
        if rows == 0 {
            let none = Tensor::<2>::zeros([0, d], &Device::flex());
            assert_eq!(ops::values(ops::segment_sum(none.clone(), &segments)), vec![0.0; count * d]);
            assert_eq!(ops::values(ops::segment_mean(none, &segments)), vec![0.0; count * d]);
            continue;
        }
        let inputs = [noise(22, rows * d)];
        agree(&format!("segment sum {rows}x{d} to {count}"), &sum, &plain_sum, &inputs);
        agree(&format!("segment mean {rows}x{d} to {count}"), &mean, &plain_mean, &inputs);
        let once = with_threads(1, || run(&mean, &inputs, DType::F32));
        assert_eq!(once, with_threads(5, || run(&mean, &inputs, DType::F32)));
    }
    let segments = ops::Segments::new(vec![1, 3, 1, 0, 3, 3], 5);
    let s = segments.clone();
    let sum = move |t: &[Tensor<1>]| composed::segment_sum(t[0].clone().reshape([6, 3]), &s).reshape([15]);
    let mean = move |t: &[Tensor<1>]| composed::segment_mean(t[0].clone().reshape([6, 3]), &segments).reshape([15]);
    finite_differences("segment sum", &sum, &[noise(23, 18)]);
    finite_differences("segment mean", &mean, &[noise(23, 18)]);
}

#[test]
fn a_segment_is_summed_as_written() {
    let rows = Tensor::<2>::from_data([[1.0_f32, 2.0], [10.0, 20.0], [100.0, 200.0]], &Device::flex());
    let segments = ops::Segments::new(vec![2, 0, 2], 3);
    assert_eq!(ops::values(ops::segment_sum(rows.clone(), &segments)), [10.0, 20.0, 0.0, 0.0, 101.0, 202.0]);
    assert_eq!(ops::values(ops::segment_mean(rows, &segments)), [10.0, 20.0, 0.0, 0.0, 50.5, 101.0]);
}

/// Copies and messages without order: some nodes have no copy, some copies hear nobody, some hear one node twice.
fn some_messages(nodes: usize, copies: usize, kinds: usize, messages: usize) -> ops::Messages {
    let (from, to, kind) = (numbers(31, messages, nodes), numbers(32, messages, copies), numbers(33, messages, kinds));
    let messages: Vec<[u32; 3]> = (0..messages).map(|i| [from[i], to[i], kind[i]]).collect();
    ops::Messages::new(nodes, numbers(34, copies, nodes), kinds, &messages)
}

#[test]
fn messages_agree() {
    for (nodes, copies, kinds, messages, d) in [
        (1, 1, 1, 0, 3),
        (1, 1, 1, 1, 1),
        (5, 9, 2, 20, 7),
        (300, 900, 1, 4000, 64),
        (300, 900, 4000, 4000, 33),
        (700, 40, 3, 2000, 512),
    ] {
        let graph = some_messages(nodes, copies, kinds, messages);
        let g = graph.clone();
        let f = move |t: &[Tensor<1>]| {
            let (h, e) = (t[0].clone().reshape([nodes, d]), t[1].clone().reshape([kinds, d]));
            ops::gine(h, e, t[2].clone(), &g).reshape([copies * d])
        };
        let c = move |t: &[Tensor<1>]| {
            let (h, e) = (t[0].clone().reshape([nodes, d]), t[1].clone().reshape([kinds, d]));
            let y = composed::gine(h, e.clone(), t[2].clone(), &graph).reshape([copies * d]);
            // Without messages the edges have no part in it.
            y + e.sum() * 0.0
        };
        let inputs = [noise(35, nodes * d), noise(36, kinds * d), vec![0.25]];
        agree(&format!("gine {nodes} nodes {copies} copies {messages} messages {kinds} kinds x{d}"), &f, &c, &inputs);
        let once = with_threads(1, || run(&f, &inputs, DType::F32));
        assert_eq!(once, with_threads(5, || run(&f, &inputs, DType::F32)));
    }
    let graph = some_messages(4, 6, 2, 11);
    let c = move |t: &[Tensor<1>]| {
        composed::gine(t[0].clone().reshape([4, 3]), t[1].clone().reshape([2, 3]), t[2].clone(), &graph).reshape([18])
    };
    finite_differences("gine", &c, &[noise(35, 12), noise(36, 6), vec![0.25]]);
}

#[test]
fn a_copy_hears_its_patch_alone() {
    // A path 0 - 1 - 2; a patch of 0 and 1, and one of 1 and 2. Edges are of kind 0 towards larger nodes and of kind 1 back.
    let h = Tensor::<2>::from_data([[1.0_f32], [10.0], [-100.0]], &Device::flex());
    let e = Tensor::<2>::from_data([[0.5_f32], [-4.0]], &Device::flex());
    let epsilon = Tensor::<1>::from_data([1.0_f32], &Device::flex());
    let messages = ops::Messages::new(3, vec![0, 1, 1, 2], 2, &[[0, 1, 0], [1, 0, 1], [1, 3, 0], [2, 2, 1]]);
    let y = ops::values(ops::gine(h, e, epsilon, &messages));
    assert_eq!(y, [2.0 + 6.0, 20.0 + 1.5, 20.0, -200.0 + 10.5]);
}

/// Overlaps of sets: whole numbers, many of them nothing.
fn some_pairs(sets: &ops::Sets) -> ops::Pairs {
    let len = (0..sets.count()).map(|set| sets.range(set).len().pow(2)).sum();
    ops::Pairs::new(sets, numbers(41, len, 5).into_iter().map(|x| x.saturating_sub(1) as f32).collect())
}

#[test]
fn weighed_attention_agrees() {
    let mut sets_and_widths: Vec<_> =
        some_sets().into_iter().map(|(lengths, d, _, heads)| (lengths, d, heads)).collect();
    // More queries than are in memory at a time.
    sets_and_widths.push((vec![300], 64, 2));
    for (lengths, d, heads) in sets_and_widths {
        let sets = ops::Sets::of_lengths(&lengths);
        let (pairs, rows) = (some_pairs(&sets), sets.rows());
        let (s, p) = (sets.clone(), pairs.clone());
        let f = move |t: &[Tensor<1>]| {
            ops::hadamard_attention(t[0].clone().reshape([rows, 3 * d]), &s, &p, heads).reshape([rows * d])
        };
        let c = move |t: &[Tensor<1>]| {
            composed::hadamard_attention(t[0].clone().reshape([rows, 3 * d]), &sets, &pairs, heads).reshape([rows * d])
        };
        agree(
            &format!("weighed attention in {lengths:.40?}", lengths = lengths.len()),
            &f,
            &c,
            &[noise(42, rows * 3 * d)],
        );
    }
    let sets = ops::Sets::of_lengths(&[3, 1, 4]);
    let pairs = some_pairs(&sets);
    let c = move |t: &[Tensor<1>]| {
        composed::hadamard_attention(t[0].clone().reshape([8, 12]), &sets, &pairs, 2).reshape([32])
    };
    finite_differences("weighed attention", &c, &[noise(43, 96)]);
}

#[test]
fn weights_of_one_are_attention_and_others_multiply_what_is_seen() {
    let sets = ops::Sets::of_lengths(&[3, 2]);
    let qkv = Tensor::<1>::from_data(TensorData::new(noise(44, 5 * 12), [60]), (&Device::flex(), DType::F32));
    let qkv = qkv.reshape([5, 12]);
    let weighed =
        |values: Vec<f32>| ops::values(ops::hadamard_attention(qkv.clone(), &sets, &ops::Pairs::new(&sets, values), 2));
    let plain = ops::values(ops::attention(qkv.clone(), &sets, 2));
    assert_eq!(weighed(vec![1.0; 13]), plain);
    let twice: Vec<f32> = plain.iter().map(|x| 2.0 * x).collect();
    assert_eq!(weighed(vec![2.0; 13]), twice);
    assert_eq!(weighed(vec![0.0; 13]), [0.0; 20]);
}
