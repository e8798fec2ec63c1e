//! Attention, within sets too, and the turns of its queries and keys.

use burn::tensor::{DType, Device, Tensor, TensorData};
use foretell_ops::{self as ops, composed};

use crate::{agree, finite_differences, noise, run, scaled, some_sets, some_turns};

#[test]
fn attention_agrees() {
    for (b, n, heads, head) in [(1, 1, 1, 1), (2, 7, 3, 5), (3, 64, 3, 16), (2, 33, 2, 24)] {
        let shape = [b, n, 3 * heads * head];
        let len = b * n * heads * head;
        let f = move |t: &[Tensor<1>]| ops::self_attention(t[0].clone().reshape(shape), heads).reshape([len]);
        let c = move |t: &[Tensor<1>]| composed::self_attention(t[0].clone().reshape(shape), heads).reshape([len]);
        for scale in [1.0, 5.0] {
            agree(&format!("attention {b}x{n}x{heads}x{head}"), &f, &c, &[scaled(noise(12, 3 * len), scale)]);
        }
        let (y, _) = run(&f, &[scaled(noise(12, 3 * len), 1e4)], DType::F32);
        assert!(y.iter().all(|x| x.is_finite()), "attention on huge scores");
    }
    let c = |t: &[Tensor<1>]| composed::self_attention(t[0].clone().reshape([2, 4, 12]), 2).reshape([32]);
    finite_differences("attention", &c, &[noise(13, 96)]);
}

/// Attention within sets, of flat queries, keys and values.
fn attention_in(sets: &ops::Sets, d: usize, heads: usize) -> impl Fn(&[Tensor<1>]) -> Tensor<1> + use<> {
    let (sets, rows) = (sets.clone(), sets.rows());
    move |t| ops::attention(t[0].clone().reshape([rows, 3 * d]), &sets, heads).reshape([rows * d])
}

/// Both bodies of attention, up to scores that leave one key nearly alone.
fn attention_agrees_within(sets: &ops::Sets, d: usize, heads: usize) {
    let rows = sets.rows();
    let (f_sets, c_sets) = (sets.clone(), sets.clone());
    let f =
        move |t: &[Tensor<1>]| ops::attention(t[0].clone().reshape([rows, 3 * d]), &f_sets, heads).reshape([rows * d]);
    let c = move |t: &[Tensor<1>]| {
        composed::attention(t[0].clone().reshape([rows, 3 * d]), &c_sets, heads).reshape([rows * d])
    };
    for scale in [1.0, 8.0] {
        let kind = if sets.is_causal() { "causal attention" } else { "attention" };
        let name = format!("{kind} in {} sets, {rows} rows, scale {scale}", sets.count());
        agree(&name, &f, &c, &[scaled(noise(61, rows * 3 * d), scale)]);
    }
}

#[test]
fn attention_within_sets_agrees() {
    for (lengths, d, _, heads) in some_sets() {
        let sets = ops::Sets::of_lengths(&lengths);
        attention_agrees_within(&sets, d, heads);
    }
    // So long that a task of a small pool goes through several pieces of the queries.
    let (sets, d, heads) = (ops::Sets::of_lengths(&[1100, 3]), 64, 2);
    let f = attention_in(&sets, d, heads);
    let c = move |t: &[Tensor<1>]| {
        composed::attention(t[0].clone().reshape([1103, 3 * d]), &sets, heads).reshape([1103 * d])
    };
    agree("attention in a long set", &f, &c, &[noise(61, 1103 * 3 * d)]);
}

#[test]
fn causal_attention_agrees_and_later_rows_change_nothing_before_them() {
    for (lengths, d, _, heads) in some_sets() {
        let sets = ops::Sets::of_lengths(&lengths).causal();
        let rows = sets.rows();
        attention_agrees_within(&sets, d, heads);
        let set = (0..sets.count()).max_by_key(|set| sets.range(*set).len()).unwrap();
        let range = sets.range(set);
        let middle = usize::midpoint(range.start, range.end);
        let before = noise(63, rows * 3 * d);
        let mut after = before.clone();
        after[3 * d * middle..3 * d * range.end].iter_mut().for_each(|x| *x = 1.0 - 2.0 * *x);
        let f = attention_in(&sets, d, heads);
        let (before, _) = run(&f, &[before], DType::F32);
        let (after, _) = run(&f, &[after], DType::F32);
        assert_eq!(before[..d * middle], after[..d * middle], "{lengths:?}");
        assert_eq!(before[d * range.end..], after[d * range.end..], "{lengths:?}");
        assert!(range.len() < 2 || before != after, "{lengths:?}");
    }
    let sets = ops::Sets::uniform(2, 4).causal();
    let c = move |t: &[Tensor<1>]| composed::attention(t[0].clone().reshape([8, 12]), &sets, 2).reshape([32]);
    finite_differences("causal attention", &c, &[noise(64, 96)]);
}

#[test]
fn steps_see_themselves_and_what_came_before() {
    for (lengths, d, heads) in [(vec![6, 6], 8, 2), (vec![7, 3, 300], 12, 3)] {
        let sets = ops::Sets::of_lengths(&lengths).causal_by(3);
        attention_agrees_within(&sets, d, heads);
        let rows = sets.rows();
        let before = noise(63, rows * 3 * d);
        let f = attention_in(&sets, d, heads);
        // The last row of the first set's first step, and the first row of its second.
        for (changed, first) in [(2, 0), (3, 3)] {
            let mut after = before.clone();
            after[3 * d * changed..3 * d * (changed + 1)].iter_mut().for_each(|x| *x = 1.0 - 2.0 * *x);
            let ((before, _), (after, _)) =
                (run(&f, std::slice::from_ref(&before), DType::F32), run(&f, &[after], DType::F32));
            assert_eq!(before[..d * first], after[..d * first], "{lengths:?}");
            for row in first..lengths[0] {
                assert_ne!(before[d * row..d * (row + 1)], after[d * row..d * (row + 1)], "{lengths:?}, row {row}");
            }
        }
    }
}

#[test]
fn cross_attention_is_attention_of_its_queries() {
    // With the tokens' own queries it is self-attention.
    let (b, n, d, heads) = (2, 5, 8, 2);
    let device = Device::flex();
    let tensor =
        |values: Vec<f64>| Tensor::<1>::from_data(TensorData::new(values, [b * n * 3 * d]), (&device, DType::F32));
    let qkv = tensor(noise(64, b * n * 3 * d)).reshape([b, n, 3 * d]);
    let expected = ops::values(ops::self_attention(qkv.clone(), heads));
    let (q, kv) = (qkv.clone().narrow(2, 0, d), qkv.narrow(2, d, 2 * d));
    let got = ops::values(ops::cross_attention(q, kv, heads));
    assert!(got.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn turned_queries_and_keys_agree_and_values_stay() {
    for (rows, heads, head) in [(5, 1, 2), (40, 3, 8), (130, 2, 7), (2000, 2, 16)] {
        let (turns, packed) = (some_turns(rows, head), 3 * heads * head);
        let (f_turns, c_turns) = (turns.clone(), turns);
        let f =
            move |t: &[Tensor<1>]| ops::turn(t[0].clone().reshape([rows, packed]), &f_turns).reshape([rows * packed]);
        let c = move |t: &[Tensor<1>]| {
            composed::turn(t[0].clone().reshape([rows, packed]), &c_turns).reshape([rows * packed])
        };
        let input = noise(92, rows * packed);
        agree(&format!("turns of {heads} heads of {head}"), &f, &c, std::slice::from_ref(&input));
        let (turned, _) = run(&f, std::slice::from_ref(&input), DType::F32);
        for (before, after) in input.chunks(packed).zip(turned.chunks(packed)) {
            assert_eq!(before[packed / 3 * 2..], after[packed / 3 * 2..]);
            assert_ne!(before[..packed / 3], after[..packed / 3]);
        }
    }
    let turns = some_turns(4, 3);
    let c = move |t: &[Tensor<1>]| composed::turn(t[0].clone().reshape([4, 18]), &turns).reshape([72]);
    finite_differences("turns", &c, &[noise(93, 72)]);
}

#[test]
fn a_quarter_turn_swaps_a_pair() {
    let row = |values: [f32; 6]| Tensor::<1>::from_floats(values, &Device::flex()).reshape([1, 6]);
    let turns = ops::Turns::new(vec![0.0, 0.0], vec![1.0, 1.0], 2, vec![0]);
    let turned = ops::values(ops::turn(row([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), &turns));
    assert_eq!(turned, [-2.0, 1.0, -4.0, 3.0, 5.0, 6.0]);
}
