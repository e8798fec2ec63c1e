//! AdamW over a network's parameters by their names: decay for matrices alone, the global norm clipped.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Gradients, Tensor, TensorData};
use foretell_jepa::Role;
use foretell_nn::parameters::{Parameter, change, gradients, look};
use foretell_nn::{NamedTensor, NamedTensors, WeightsError};
use foretell_ops as ops;

/// The moments of one parameter, `[P]` each, and its shape.
struct Moments {
    first: Tensor<1>,
    second: Tensor<1>,
    shape: Vec<usize>,
}

/// The moments of every parameter that has had a gradient.
#[derive(Default)]
pub struct Optimiser(BTreeMap<String, Moments>);

/// One step over all parameters, for those that are reached by walks of one's own.
pub struct Step<'a> {
    moments: &'a mut Optimiser,
    gradients: BTreeMap<String, Tensor<1>>,
    hyper: ops::AdamW,
    /// Of the gradient, before clipping.
    pub norm: f64,
}

impl Optimiser {
    /// One step: the network after it, and the gradient's global norm before clipping.
    pub fn step<M: Module>(
        &mut self,
        network: M,
        mut backward: Gradients,
        clip: f64,
        hyper: ops::AdamW,
        role: &dyn for<'a> Fn(&'a str) -> Role<'a>,
    ) -> (M, f64) {
        let mut found = Vec::new();
        gradients(&network, &mut backward, &mut |parameter, gradient| {
            found.push((parameter.name.to_owned(), gradient));
        });
        let mut step = self.begin(found, clip, hyper);
        let network = change(network, &mut |parameter, old| step.of(&parameter, old, &role(parameter.name)));
        (network, step.norm)
    }

    /// Begins a step with the gradients `[P]` of parameters by name, in the network's order. Gradients whose global norm is
    /// above `clip` (if that is positive) are shortened to it; `hyper.gradient_scale` is set here.
    pub fn begin(&mut self, gradients: Vec<(String, Tensor<1>)>, clip: f64, hyper: ops::AdamW) -> Step<'_> {
        let mut sum = ops::SumOfSquares::default();
        for (_, gradient) in &gradients {
            sum.add(gradient.clone());
        }
        let norm = sum.total().sqrt();
        let gradient_scale = if clip > 0.0 && norm > clip { clip / norm } else { 1.0 };
        let hyper = ops::AdamW { gradient_scale, ..hyper };
        Step { moments: self, gradients: gradients.into_iter().collect(), hyper, norm }
    }

    /// The moments by the parameters' names, `first.` and `second.` before them.
    pub fn state(&self) -> NamedTensors {
        let mut tensors = NamedTensors::new();
        for (name, Moments { first, second, shape }) in &self.0 {
            for (prefix, moment) in [("first", first), ("second", second)] {
                let values = ops::values(moment.clone());
                tensors.insert(format!("{prefix}.{name}"), NamedTensor { shape: shape.clone(), values });
            }
        }
        tensors
    }

    /// The optimiser of a network with these moments. Parameters without any start from zero, as in a fresh run.
    pub fn with_state<M: Module>(network: &M, mut tensors: NamedTensors) -> Result<Self, WeightsError> {
        let (mut moments, mut problem) = (BTreeMap::new(), None);
        look(network, &mut |parameter, value| {
            let pair = ["first", "second"].map(|prefix| {
                let name = format!("{prefix}.{}", parameter.name);
                let tensor = tensors.remove(&name)?;
                if tensor.shape != parameter.shape {
                    problem = Some(format!("`{name}` is {:?} where {:?} was expected", tensor.shape, parameter.shape));
                    return None;
                }
                let count = tensor.values.len();
                Some(Tensor::from_data(TensorData::new(tensor.values, [count]), &value.device()))
            });
            if let [Some(first), Some(second)] = pair {
                moments.insert(parameter.name.to_owned(), Moments { first, second, shape: parameter.shape.to_vec() });
            }
        });
        match problem {
            Some(problem) => Err(WeightsError::Mismatch(problem)),
            None => foretell_nn::weights::none_left(&tensors).map(|()| Self(moments)),
        }
    }
}

impl Step<'_> {
    /// A parameter `[P]` after the step; as it was where it has no gradient or does not learn.
    pub fn of(&mut self, parameter: &Parameter<'_>, value: Tensor<1>, role: &Role<'_>) -> Tensor<1> {
        let (Some(gradient), Role::Learns { lr, decays }) = (self.gradients.remove(parameter.name), role) else {
            return value;
        };
        let matrix = parameter.shape.len() >= 2 && parameter.name.rsplit('.').next() != Some("bias");
        let weight_decay = if decays.unwrap_or(matrix) { self.hyper.weight_decay } else { 0.0 };
        let hyper = ops::AdamW { weight_decay, lr: self.hyper.lr * lr, ..self.hyper };
        let zeros = || Tensor::zeros(value.shape(), &value.device());
        let (first, second) = match self.moments.0.remove(parameter.name) {
            Some(Moments { first, second, .. }) => (first, second),
            None => (zeros(), zeros()),
        };
        let stepped = ops::adamw(ops::Stepped { parameter: value, first, second }, gradient, &hyper);
        let moments = Moments { first: stepped.first, second: stepped.second, shape: parameter.shape.to_vec() };
        self.moments.0.insert(parameter.name.to_owned(), moments);
        stepped.parameter
    }
}
