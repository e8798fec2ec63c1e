//! The recurrent unit and rollouts of it.

use burn::tensor::{DType, Device, Tensor, TensorData};
use foretell_ops::{self as ops, composed};

use crate::{agree, assert_near, finite_differences, noise, run, scaled};

#[test]
fn recurrent_units_agree() {
    for (batch, width) in [(1, 1), (3, 5), (40, 64), (700, 33)] {
        let f = move |t: &[Tensor<1>]| {
            let [i, h] = [0, 1].map(|k| t[k].clone().reshape([batch, 3 * width]));
            ops::gru_gates(i, h, t[2].clone().reshape([batch, width])).reshape([batch * width])
        };
        let c = move |t: &[Tensor<1>]| {
            let [i, h] = [0, 1].map(|k| t[k].clone().reshape([batch, 3 * width]));
            composed::gru_gates(i, h, t[2].clone().reshape([batch, width])).reshape([batch * width])
        };
        for scale in [0.01, 1.0, 6.0] {
            let inputs = [
                scaled(noise(34, 3 * batch * width), scale),
                scaled(noise(35, 3 * batch * width), scale),
                noise(36, batch * width),
            ];
            agree(&format!("gru {batch}x{width} scale {scale}"), &f, &c, &inputs);
        }
        let huge = [1e4, -1e4].map(|x| vec![x; 3 * batch * width]);
        let (y, _) = run(&f, &[huge[0].clone(), huge[0].clone(), noise(37, batch * width)], DType::F32);
        assert!(y.iter().all(|x| x.is_finite()));
        let (y, _) = run(&f, &[huge[1].clone(), huge[1].clone(), noise(37, batch * width)], DType::F32);
        assert!(y.iter().all(|x| x.is_finite()));
    }
    let c = |t: &[Tensor<1>]| {
        let [i, h] = [0, 1].map(|k| t[k].clone().reshape([2, 9]));
        composed::gru_gates(i, h, t[2].clone().reshape([2, 3])).reshape([6])
    };
    finite_differences("gru", &c, &[noise(34, 18), noise(35, 18), noise(36, 6)]);
}

#[test]
fn a_rollout_is_the_steps_one_after_another() {
    for (samples, steps, inputs, mixed, width, normed, hidden) in [
        (1, 1, 1, 0, 16, true, None),
        (5, 3, 2, 0, 48, false, Some([33, 7])),
        (130, 9, 2, 0, 128, true, None),
        (67, 4, 7, 0, 20, true, None),
        (130, 5, 2, 96, 128, true, Some([64, 64])),
        (67, 4, 3, 21, 20, false, Some([16, 40])),
    ] {
        let flat = |seed: u64, len: usize| -> Vec<f32> { noise(seed, len).into_iter().map(|x| x as f32).collect() };
        let matrix = |seed: u64, rows: usize, cols: usize| {
            Tensor::<2>::from_data(TensorData::new(flat(seed, rows * cols), [rows, cols]), &Device::flex())
        };
        let vector =
            |seed: u64, len: usize| Tensor::<1>::from_data(TensorData::new(flat(seed, len), [len]), &Device::flex());
        let mut mixer = Vec::new();
        // Not so large that rounding grows from step to step.
        if mixed > 0 {
            mixer.push((matrix(10, mixed, inputs + width) * 0.1, vector(11, mixed)));
        }
        if mixed > 64 {
            mixer.push((matrix(12, mixed, mixed) * 0.1, vector(13, mixed)));
        }
        let input = (matrix(1, 3 * width, if mixed > 0 { mixed } else { inputs }), vector(2, 3 * width));
        let recurrent = (matrix(3, 3 * width, width), vector(4, 3 * width));
        let norm = normed.then(|| (vector(5, width), vector(6, width), 1e-5));
        let (state, goal, acted) = (flat(7, width), flat(8, width), flat(9, samples * steps * inputs));
        let perceptron = hidden.map(|[first, second]| {
            let lengths = [(first, width), (second, first), (1, second)];
            [0, 1, 2].map(|i| (matrix(20 + i as u64, lengths[i].0, lengths[i].1), vector(30 + i as u64, lengths[i].0)))
        });
        let (mix, keep) = (mixer.clone(), norm.clone());
        let rollout = ops::GruRollout::new(mix, input.clone(), recurrent.clone(), keep, perceptron.clone());
        let rollout = rollout.expect("on the processor");
        let got = rollout.distances(&state, &goal, &acted, steps);
        let towards = flat(40, hidden.map_or(0, |[first, _]| first));
        let told = rollout.perceived(&state, &towards, &acted, steps);
        assert_eq!(told.is_some(), hidden.is_some());

        // The same in f64, a step at a time, by the composed bodies.
        let wide = |t: Tensor<2>| Tensor::<2>::from_data(t.into_data(), (&Device::flex(), DType::F64));
        let wide1 = |t: Tensor<1>| Tensor::<1>::from_data(t.into_data(), (&Device::flex(), DType::F64));
        let rows = |values: Vec<f32>, width: usize| {
            let shape = [values.len() / width, width];
            wide(Tensor::from_data(TensorData::new(values, shape), &Device::flex()))
        };
        let map =
            |x: Tensor<2>, (w, b): &(Tensor<2>, Tensor<1>)| composed::linear(x, wide(w.clone()), wide1(b.clone()));
        let mut now = rows(state.repeat(samples), width);
        let mut expected = vec![0.0; samples * steps];
        let mut expected_told = expected.clone();
        for t in 0..steps {
            let at = |s: usize| &acted[(s * steps + t) * inputs..][..inputs];
            let mut x = rows((0..samples).flat_map(|s| at(s).iter().copied()).collect(), inputs);
            if !mixer.is_empty() {
                x = Tensor::cat(vec![x, now.clone()], 1);
            }
            for layer in &mixer {
                x = composed::relu(map(x, layer));
            }
            now = composed::gru_gates(map(x, &input), map(now.clone(), &recurrent), now);
            if let Some((weight, bias, eps)) = &norm {
                now = composed::layer_norm(now, wide1(weight.clone()), wide1(bias.clone()), *eps);
            }
            let far = (now.clone() - rows(goal.clone(), width)).square().mean_dim(1);
            let far: Vec<f64> = far.into_data_as::<f64>().try_into_vec().unwrap();
            far.into_iter().enumerate().for_each(|(s, d)| expected[s * steps + t] = d);
            if let Some([first, second, last]) = &perceptron {
                let of_both = map(now.clone(), first) + rows(towards.clone(), towards.len());
                let says = map(composed::relu(map(composed::relu(of_both), second)), last);
                let says: Vec<f64> = says.into_data_as::<f64>().try_into_vec().unwrap();
                says.into_iter().enumerate().for_each(|(s, d)| expected_told[s * steps + t] = d);
            }
        }
        if let Some(told) = &told {
            let told: Vec<f64> = told.iter().map(|x| f64::from(*x)).collect();
            assert_near(
                &format!("what {hidden:?} hidden numbers say of {samples} rollouts"),
                &told,
                &expected_told,
                2e-5,
            );
        }
        let widened: Vec<f64> = got.iter().map(|x| f64::from(*x)).collect();
        assert_near(&format!("{samples} rollouts of {steps} steps, {width} wide"), &widened, &expected, 2e-5);

        // Candidates are the same bits in any company; but a product of one row alone is summed in another order by `gemm`.
        let first = samples.saturating_sub(2);
        let last = &acted[first * steps * inputs..];
        assert_eq!(rollout.distances(&state, &goal, last, steps), got[first * steps..]);
    }
}
