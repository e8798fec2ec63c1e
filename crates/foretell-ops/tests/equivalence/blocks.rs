//! Whole transformer blocks.

use burn::tensor::{DType, Device, Tensor, TensorData};
use foretell_ops::{self as ops, composed};

use crate::{agree, assert_near, finite_differences, noise, place, scaled, some_sets, some_turns, tolerance};

/// The weights of a block from flat leaves, in the order of [`ops::BlockWeights`].
fn block_weights(t: &[Tensor<1>], d: usize, h: usize) -> ops::BlockWeights {
    let matrix = |i: usize, o: usize, inputs: usize| t[i].clone().reshape([o, inputs]);
    ops::BlockWeights {
        norm1: (t[0].clone(), t[1].clone()),
        qkv: (matrix(2, 3 * d, d), t[3].clone()),
        proj: (matrix(4, d, d), t[5].clone()),
        norm2: (t[6].clone(), t[7].clone()),
        fc1: (matrix(8, h, d), t[9].clone()),
        fc2: (matrix(10, d, h), t[11].clone()),
        packed: None,
    }
}

/// Small weights for a block `d` wide, and its input of `rows` rows last.
fn block_inputs(rows: usize, d: usize, h: usize, scale: f64) -> Vec<Vec<f64>> {
    let lengths = [d, d, 3 * d * d, 3 * d, d * d, d, d, d, h * d, h, d * h, d];
    let mut inputs: Vec<Vec<f64>> =
        lengths.iter().enumerate().map(|(i, len)| scaled(noise(40 + i as u64, *len), 0.3)).collect();
    inputs.push(scaled(noise(60, rows * d), scale));
    inputs
}

/// These and rows so wide that a pass without gradients shares them out in another way.
fn some_and_wide_sets() -> Vec<(Vec<usize>, usize, usize, usize)> {
    let mut sets = some_sets();
    sets.push((vec![196; 5], 512, 64, 8));
    sets
}

#[test]
fn blocks_agree() {
    for (lengths, d, h, heads) in some_sets() {
        let sets = ops::Sets::of_lengths(&lengths);
        let rows = sets.rows();
        let (f_sets, c_sets) = (sets.clone(), sets.clone());
        let x = move |t: &[Tensor<1>]| t[12].clone().reshape([rows, d]);
        let f = move |t: &[Tensor<1>]| {
            ops::transformer_block(x(t), &f_sets, block_weights(t, d, h), heads, 1e-6).reshape([rows * d])
        };
        let c = move |t: &[Tensor<1>]| {
            composed::transformer_block(x(t), &c_sets, block_weights(t, d, h), heads, 1e-6).reshape([rows * d])
        };
        for scale in [1.0, 1e4] {
            let name = format!("block of {} sets, {rows} rows, {d} wide, scale {scale}", lengths.len());
            agree(&name, &f, &c, &block_inputs(rows, d, h, scale));
        }
    }
    let sets = ops::Sets::of_lengths(&[3, 1, 2]);
    let c = move |t: &[Tensor<1>]| {
        let x = t[12].clone().reshape([6, 4]);
        composed::transformer_block(x, &sets, block_weights(t, 4, 8), 2, 1e-6).reshape([24])
    };
    finite_differences("block", &c, &block_inputs(6, 4, 8, 1.0));
}

#[test]
fn a_causal_block_agrees() {
    for (lengths, d, h, heads) in some_sets() {
        let sets = ops::Sets::of_lengths(&lengths).causal();
        let rows = sets.rows();
        let (f_sets, c_sets) = (sets.clone(), sets);
        let f = move |t: &[Tensor<1>]| {
            let x = t[12].clone().reshape([rows, d]);
            ops::transformer_block(x, &f_sets, block_weights(t, d, h), heads, 1e-6).reshape([rows * d])
        };
        let c = move |t: &[Tensor<1>]| {
            let x = t[12].clone().reshape([rows, d]);
            composed::transformer_block(x, &c_sets, block_weights(t, d, h), heads, 1e-6).reshape([rows * d])
        };
        agree(&format!("a causal block, {lengths:?}"), &f, &c, &block_inputs(rows, d, h, 1.0));
    }
}

#[test]
fn a_turned_block_agrees() {
    let shapes = some_sets().into_iter().chain([(vec![9, 4], 64, 128, 4), (vec![700], 64, 192, 4)]);
    for (lengths, d, h, heads) in shapes {
        for step in [0, 3] {
            let sets = ops::Sets::of_lengths(&lengths);
            let sets = if step > 0 { sets.causal_by(step) } else { sets };
            let rows = sets.rows();
            let turns = some_turns(rows, d / heads);
            let (f_sets, c_sets, f_turns) = (sets.clone(), sets, turns.clone());
            let f = move |t: &[Tensor<1>]| {
                let x = t[12].clone().reshape([rows, d]);
                let block = block_weights(t, d, h);
                ops::turned_block(x, &f_sets, Some(&f_turns), block, heads, 1e-6).reshape([rows * d])
            };
            let c = move |t: &[Tensor<1>]| {
                let x = t[12].clone().reshape([rows, d]);
                let block = block_weights(t, d, h);
                composed::turned_block(x, &c_sets, Some(&turns), block, heads, 1e-6).reshape([rows * d])
            };
            agree(&format!("a turned block, {lengths:?}, step {step}"), &f, &c, &block_inputs(rows, d, h, 1.0));
        }
    }
}

/// Turns of any angles, one for each pair, for rows that share seven places.
fn some_rotations(rows: usize, head: usize) -> ops::Turns {
    let angles = noise(91, 7 * head);
    let table =
        |f: fn(f64) -> f64| (0..7 * head).map(|i| f(3.0 * angles[i / head * head + i % head / 2]) as f32).collect();
    ops::Turns::new(table(f64::cos), table(f64::sin), head, (0..rows).map(|row| (row * 5 % 7) as u32).collect())
}

#[test]
fn a_block_with_qk_norm_agrees() {
    let shapes = some_sets().into_iter().filter(|(_, d, _, heads)| d / heads > 3);
    let shapes = shapes.chain([(vec![9, 4], 64, 128, 4), (vec![700], 64, 192, 4), (vec![65; 4], 24, 48, 2)]);
    for (lengths, d, h, heads) in shapes {
        for (step, turned) in [(0, true), (1, true), (1, false)] {
            let sets = ops::Sets::of_lengths(&lengths);
            let sets = if step > 0 { sets.causal_by(step) } else { sets };
            let rows = sets.rows();
            let turns = turned.then(|| some_rotations(rows, d / heads));
            let (f_sets, c_sets, f_turns) = (sets.clone(), sets, turns.clone());
            let f = move |t: &[Tensor<1>]| {
                let (x, w) = (t[12].clone().reshape([rows, d]), block_weights(t, d, h));
                ops::normed_block(x, &f_sets, f_turns.as_ref(), w, heads, 1e-6, Some(1e-3)).reshape([rows * d])
            };
            let c = move |t: &[Tensor<1>]| {
                let (x, w) = (t[12].clone().reshape([rows, d]), block_weights(t, d, h));
                composed::normed_block(x, &c_sets, turns.as_ref(), w, heads, 1e-6, Some(1e-3)).reshape([rows * d])
            };
            let inputs = block_inputs(rows, d, h, 1.0);
            agree(&format!("a block with QK norm, {lengths:?}, step {step}, turned: {turned}"), &f, &c, &inputs);
            // Without a tape nothing is kept, and the output is the same.
            let leaf = |v: &Vec<f64>| {
                Tensor::<1>::from_data(TensorData::new(v.clone(), [v.len()]), (&place(DType::F32), DType::F32))
            };
            let plain: Vec<Tensor<1>> = inputs.iter().map(leaf).collect();
            let tracked: Vec<Tensor<1>> = plain.iter().map(|t| t.clone().autodiff().require_grad()).collect();
            let of = |t: &[Tensor<1>]| f(t).into_data_as::<f64>().try_into_vec::<f64>().unwrap();
            assert_near("without gradients", &of(&plain), &of(&tracked), tolerance());
        }
    }
    let (sets, turns) = (ops::Sets::of_lengths(&[3, 2]).causal(), some_rotations(5, 4));
    let c = move |t: &[Tensor<1>]| {
        let (x, w) = (t[12].clone().reshape([5, 8]), block_weights(t, 8, 12));
        composed::normed_block(x, &sets, Some(&turns), w, 2, 1e-6, Some(1e-3)).reshape([40])
    };
    finite_differences("a block with QK norm", &c, &block_inputs(5, 8, 12, 1.0));
}

#[test]
fn qk_norm_forgets_how_long_queries_and_keys_are() {
    let row = |scale: f32| {
        let qkv = [1.0, 3.0, -2.0, 6.0, 5.0, 6.0].map(|x| x * scale);
        Tensor::<1>::from_floats(qkv, &Device::flex()).reshape([1, 6])
    };
    for scale in [1.0, 100.0] {
        let normed = ops::values(composed::head_norm(row(scale), 1, 1e-12));
        assert_near(
            "by hand",
            &normed.iter().map(|x| f64::from(*x)).collect::<Vec<_>>(),
            &[-1.0, 1.0, -1.0, 1.0, f64::from(5.0 * scale), f64::from(6.0 * scale)],
            1e-6,
        );
    }
}

#[test]
fn a_turned_block_without_gradients_agrees() {
    let shapes = some_sets().into_iter().chain([(vec![9, 4], 64, 128, 4), (vec![700], 64, 192, 4)]);
    for (lengths, d, h, heads) in shapes {
        let sets = ops::Sets::of_lengths(&lengths);
        let turns = some_turns(sets.rows(), d / heads);
        let inputs = block_inputs(sets.rows(), d, h, 1.0);
        let y = |dtype, run: &dyn Fn(Tensor<2>, ops::BlockWeights) -> Tensor<2>| {
            let leaf =
                |v: &Vec<f64>| Tensor::<1>::from_data(TensorData::new(v.clone(), [v.len()]), (&place(dtype), dtype));
            let t: Vec<Tensor<1>> = inputs.iter().map(leaf).collect();
            let y = run(t[12].clone().reshape([sets.rows(), d]), block_weights(&t, d, h));
            y.into_data_as::<f64>().try_into_vec::<f64>().unwrap()
        };
        let fused = y(DType::F32, &|x, w| ops::turned_block(x, &sets, Some(&turns), w, heads, 1e-6));
        let exact = y(DType::F64, &|x, w| composed::turned_block(x, &sets, Some(&turns), w, heads, 1e-6));
        assert_near(&format!("a turned block forward, {lengths:?}"), &fused, &exact, tolerance());
    }
}

#[test]
fn a_block_without_gradients_gives_the_same_bits() {
    let device = Device::flex();
    for (lengths, d, h, heads) in some_and_wide_sets() {
        let sets = ops::Sets::of_lengths(&lengths);
        let leaf = |values: &Vec<f64>| {
            Tensor::<1>::from_data(TensorData::new(values.clone(), [values.len()]), (&device, DType::F32))
        };
        let plain: Vec<_> = block_inputs(sets.rows(), d, h, 1.0).iter().map(leaf).collect();
        let tracked: Vec<_> = plain.iter().map(|t| t.clone().autodiff().require_grad()).collect();
        let run = |t: &[Tensor<1>]| {
            let x = t[12].clone().reshape([sets.rows(), d]);
            ops::values(ops::transformer_block(x, &sets, block_weights(t, d, h), heads, 1e-6))
        };
        assert_eq!(run(&plain), run(&tracked), "{lengths:?}");
    }
}

#[test]
fn a_packed_block_agrees_and_notices_other_weights() {
    let device = Device::flex();
    for (lengths, d, h, heads) in some_and_wide_sets() {
        let sets = ops::Sets::of_lengths(&lengths);
        let inputs = block_inputs(sets.rows(), d, h, 1.0);
        let leaves = |dtype| -> Vec<Tensor<1>> {
            let leaf = |v: &Vec<f64>| Tensor::from_data(TensorData::new(v.clone(), [v.len()]), (&device, dtype));
            inputs.iter().map(leaf).collect()
        };
        let (t, exact) = (leaves(DType::F32), leaves(DType::F64));
        let weights = block_weights(&t, d, h);
        let packed = ops::PackedBlock::of(&weights);
        assert!(packed.is_some());
        let x = |t: &[Tensor<1>]| t[12].clone().reshape([sets.rows(), d]);
        let run = |weights| ops::values(ops::transformer_block(x(&t), &sets, weights, heads, 1e-6));
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
        let y = run(ops::BlockWeights { packed: packed.clone(), ..weights.clone() });
        let y64 = composed::transformer_block(x(&exact), &sets, block_weights(&exact, d, h), heads, 1e-6);
        assert_near("packed", &wide(y), &wide(ops::values(y64)), 1e-5);
        let other = ops::BlockWeights { fc1: (weights.fc1.0.clone() * 2.0, weights.fc1.1.clone()), ..weights };
        assert_eq!(run(ops::BlockWeights { packed, ..other.clone() }), run(other), "a layout of other weights");
    }
}

#[test]
fn the_thread_count_changes_no_bit() {
    let device = Device::flex();
    let (b, n, heads, width) = (4, 50, 4, 64);
    let weights: Vec<_> = block_inputs(0, width, 2 * width, 1.0)
        .iter()
        .take(12)
        .map(|values| {
            let plain = Tensor::<1>::from_data(TensorData::new(values.clone(), [values.len()]), (&device, DType::F32));
            plain.autodiff().require_grad()
        })
        .collect();
    // Whole sets, then chunks of rows with attention between them.
    let within = |h: &Tensor<3>| {
        let h = h.clone().reshape([b * n, width]);
        let block = |h, sets| ops::transformer_block(h, &sets, block_weights(&weights, width, 2 * width), heads, 1e-6);
        block(block(h, ops::Sets::uniform(20, 10)), ops::Sets::uniform(1, b * n)).reshape([b, n, width])
    };
    let work = || {
        let leaf = |seed, len| {
            Tensor::<1>::from_data(TensorData::new(noise(seed, len), [len]), (&device, DType::F32))
                .autodiff()
                .require_grad()
        };
        let (x, w, bias, gain) =
            (leaf(1, b * n * width), leaf(2, 3 * width * width), leaf(3, 3 * width), leaf(4, width));
        let h = ops::layer_norm(x.clone().reshape([b, n, width]), gain.clone(), gain.clone(), 1e-6);
        let h = ops::self_attention(ops::linear(h, w.clone().reshape([3 * width, width]), bias.clone()), heads);
        let h = within(&h);
        let h = ops::batch_norm(ops::gelu(h), gain.clone(), gain.clone(), 1e-5).output;
        let loss = ops::smooth_l1(h.clone(), x.clone().reshape([b, n, width]).detach(), 1.0) + ops::sigreg_statistic(h);
        let grads = loss.backward();
        let grads = [x.grad(&grads), w.grad(&grads), bias.grad(&grads), gain.grad(&grads)];
        // Four, two and one pieces of the queries a task in the pools below.
        let long = Tensor::from_data(TensorData::new(noise(5, 1100 * 3 * width), [1100, 3 * width]), &device);
        let long = ops::attention(long, &ops::Sets::uniform(1, 1100), heads);
        (grads.map(|g| ops::values(g.unwrap())), ops::values(long))
    };
    let with = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work);
    let one = with(1);
    assert_eq!(one, with(2));
    assert_eq!(one, with(5));
}

#[test]
fn a_lean_block_is_near_the_exact_one_and_keeps_nothing_of_the_tensors() {
    let device = Device::flex();
    for (lengths, d, h, heads) in some_and_wide_sets() {
        let sets = ops::Sets::of_lengths(&lengths);
        let inputs = block_inputs(sets.rows(), d, h, 1.0);
        let leaves = |dtype| -> Vec<Tensor<1>> {
            let leaf = |v: &Vec<f64>| Tensor::from_data(TensorData::new(v.clone(), [v.len()]), (&device, dtype));
            inputs.iter().map(leaf).collect()
        };
        let (t, exact) = (leaves(DType::F32), leaves(DType::F64));
        let x = |t: &[Tensor<1>]| t[12].clone().reshape([sets.rows(), d]);
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
        let weights = block_weights(&t, d, h);
        assert!(ops::LeanBlock::of(&weights, ops::Precision::F32).is_none());
        let y64 = composed::transformer_block(x(&exact), &sets, block_weights(&exact, d, h), heads, 1e-6);
        let x64 = wide(ops::values(x(&exact)));
        let y64 = wide(ops::values(y64));
        // What the block adds to its input, of which the maps make everything.
        let size = |y: &[f64]| y.iter().zip(&x64).map(|(y, x)| (y - x).powi(2)).sum::<f64>().sqrt();
        for (precision, most) in [(ops::Precision::Bf16, 0.01), (ops::Precision::Int8, 0.03)] {
            let lean = ops::LeanBlock::of(&weights, precision).expect("the fused body runs");
            let y = wide(ops::values(lean.forward(x(&t), &sets, None, heads, 1e-6)));
            let off = y.iter().zip(&y64).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt() / size(&y64);
            assert!(off < most && off > 0.0, "{precision}, {lengths:?}: off by {off} of what the block adds");
            let with = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| ops::values(lean.forward(x(&t), &sets, None, heads, 1e-6)))
            };
            assert_eq!(with(1), with(3), "{precision}, {lengths:?}: bits of any number of threads");
        }
    }
}
