//! What a model makes of a world in which chance has a part: how far off it is where one of several futures comes, and what its latent
//! variable says of which.

use burn::tensor::Tensor;
use foretell_data::Window;
use foretell_eval::{Better, Figures, Finding, TRAINED, UNTRAINED, mutual_information};
use foretell_ops as ops;
use foretell_world::{Imagination, Playground, Watched, World};

/// Windows that go through a model at a time.
const CHUNK: usize = 32;

/// Steps of a model in held-out windows: those at which chance decides, and the others.
#[derive(Default)]
struct Steps {
    /// Mean squared errors where chance decides: with z inferred, with z = 0, of the mean of all futures' latents, of the last latents.
    errors: [f64; 4],
    /// Which future came where chance decides, and which one is nearest to what is foretold with z inferred, and with z = 0.
    came: Vec<usize>,
    told: [Vec<usize>; 2],
    /// Steps at which z was not 0, and all: where chance decides, and elsewhere.
    said: [[usize; 2]; 2],
}

impl Steps {
    fn of(imagination: &Imagination, world: &dyn World, windows: &[Window]) -> Self {
        let mut steps = Self::default();
        for windows in windows.chunks(CHUNK) {
            steps.add(imagination, world, windows);
        }
        let forks = steps.came.len().max(1) as f64;
        steps.errors.iter_mut().for_each(|error| *error /= forks);
        steps
    }

    fn add(&mut self, imagination: &Imagination, world: &dyn World, windows: &[Window]) {
        let (model, spec) = (&imagination.model, world.spec());
        let (history, watched) = (model.history(), Watched::of(imagination, windows));
        let variable = model.variable();
        let squared = |a: Tensor<3>, b: Tensor<3>| -> f64 {
            ops::values((a - b).square().mean_dim(2).mean_dim(1)).iter().map(|x| f64::from(*x)).sum()
        };
        for t in history - 1..watched.actions.len() {
            let (state, action, there) = (watched.seen(t + 1, history), &watched.actions[t], &watched.latents[t + 1]);
            let z = variable.infer(model.as_ref(), &state, action, there).z;
            let with = model.step(state.clone(), Tensor::cat(vec![action.clone(), z.clone()], 1)).newest().clone();
            let without = model.step(state.clone(), action.clone()).newest().clone();
            let z = ops::values(z);
            let width = variable.width();
            for (row, window) in windows.iter().enumerate() {
                let at = |t: usize| &window.states[t * spec.state..][..spec.state];
                let futures = world.futures(&[], at(t), &window.actions[t * spec.action..][..spec.action]);
                let z = &z[row * width..][..width];
                let fork = usize::from(futures.is_empty());
                self.said[fork][0] += usize::from(z.iter().any(|z| *z != 0.0));
                self.said[fork][1] += 1;
                let distance = |future: &Vec<f32>| world.distance(future, at(t + 1));
                let nearest = |a: &(usize, &Vec<f32>), b: &(usize, &Vec<f32>)| distance(a.1).total_cmp(&distance(b.1));
                let Some((came, _)) = futures.iter().enumerate().min_by(nearest) else { continue };
                self.came.push(came);
                let mut seen = vec![0.0; futures.len() * spec.pixels()];
                for (future, seen) in futures.iter().zip(seen.chunks_exact_mut(spec.pixels())) {
                    world.render(&[], future, seen);
                }
                let futures = imagination.encode(seen);
                let row = |of: &Tensor<3>| of.clone().narrow(0, row, 1);
                for (told, foretold) in self.told.iter_mut().zip([&with, &without]) {
                    let [count, ..] = futures.dims();
                    let off = |k: usize| squared(row(foretold), futures.clone().narrow(0, k, 1));
                    told.extend((0..count).min_by(|a, b| off(*a).total_cmp(&off(*b))));
                }
                let foretold = [row(&with), row(&without), futures.mean_dim(0), row(&watched.latents[t])];
                for (error, foretold) in self.errors.iter_mut().zip(foretold) {
                    *error += squared(foretold, row(there));
                }
            }
        }
    }
}

/// None in a world in which nothing is left to chance, and for a model whose steps are several of the world's.
pub(super) fn chance(
    playground: &Playground,
    trained: &Imagination,
    untrained: &Imagination,
    windows: &[Window],
) -> Vec<Finding> {
    let world = playground.world.as_ref();
    if trained.block != 1 {
        return Vec::new();
    }
    let (known, fresh) = (Steps::of(trained, world, windows), Steps::of(untrained, world, windows));
    if known.came.is_empty() {
        return Vec::new();
    }
    let tells = trained.model.variable().width() > 0;
    let mut errors = Figures::new(&["network", "of"], "share", "", Better::Lower);
    for (name, steps) in [(TRAINED, &known), (UNTRAINED, &fresh)] {
        let [with, without, mean, last] = steps.errors;
        let rows = [("z inferred", with), ("z = 0", without), ("last observation", last)];
        for (of, error) in rows.into_iter().filter(|(of, _)| tells || *of != "z inferred") {
            errors.push([name.into(), of.into()], error / mean.max(f64::MIN_POSITIVE));
        }
    }
    let lead = format!(
        "Squared error of the latents where one of several futures comes by chance, {} steps of held-out play, as a share of that of the best that \
         knows everything but which: the mean of all futures' latents. Below 1 nobody comes who is not told; with z inferred from what came the \
         model is told what z says. The scale is each network's own.",
        known.came.len()
    );
    let mut found = vec![Finding::figures("chance", "Where chance decides", &lead, errors)];
    if tells {
        let mut bits = Figures::new(&["network", "of"], "information", "bits", Better::Higher);
        let mut said = Figures::new(&["network", "where"], "said", "%", Better::Lower);
        for (name, steps) in [(TRAINED, &known), (UNTRAINED, &fresh)] {
            for (of, told) in ["z inferred", "z = 0"].into_iter().zip(&steps.told) {
                let pairs = told.iter().copied().zip(steps.came.iter().copied());
                bits.push([name.into(), of.into()], mutual_information(pairs));
            }
            for (at, [some, all]) in ["chance decides", "it does not"].into_iter().zip(steps.said) {
                said.push([name.into(), at.into()], some as f64 / all.max(1) as f64);
            }
        }
        let lead = "Mutual information of the future that came and the one that is nearest to what is foretold, with z inferred from what came and \
                    without; two equally likely futures are 1 bit. What a code means may depend on the place: so it is the model that reads it.";
        found.push(Finding::figures("chance_bits", "What z says of which future comes", lead, bits));
        let lead = "Share of the steps at which z says anything. R(z) keeps it silent where the action tells all.";
        found.push(Finding::figures("chance_said", "When z says anything", lead, said));
    }
    found
}
