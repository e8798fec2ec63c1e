//! AdamW over a network and the moving average that follows it: one pass over each parameter, decay for matrices alone,
//! the global norm clipped.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Gradients, Tensor, TensorData};
use foretell_jepa::target::Average;
use foretell_nn::{NamedTensor, NamedTensors, WeightsError};
use foretell_ops as ops;

/// The moments of every trained parameter.
#[derive(Default)]
pub struct Optimiser {
    first: GradientsParams,
    second: GradientsParams,
}

/// Σ g² over a network's parameters in the order of their paths.
struct SquaredNorm<'a> {
    gradients: &'a GradientsParams,
    sum: ops::SumOfSquares,
}

impl ModuleVisitor for SquaredNorm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sum.add(gradient);
        }
    }
}

struct Step<'a> {
    gradients: GradientsParams,
    moments: &'a mut Optimiser,
    average: &'a mut Average,
    hyper: ops::AdamW,
    path: Vec<String>,
}

impl ModuleMapper for Step<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = param.id;
        let Some(gradient) = self.gradients.remove::<D>(id) else {
            self.average.approach(&param);
            return param;
        };
        let decays = D >= 2 && self.path.last().is_none_or(|name| name != "bias");
        let hyper = ops::AdamW { weight_decay: if decays { self.hyper.weight_decay } else { 0.0 }, ..self.hyper };
        param.map(|parameter| {
            let parameter = parameter.inner();
            let zeros = || Tensor::zeros(parameter.shape(), &parameter.device());
            let state = ops::Stepped {
                first: self.moments.first.remove(id).unwrap_or_else(zeros),
                second: self.moments.second.remove(id).unwrap_or_else(zeros),
                average: self.average.take(id),
                parameter,
            };
            let ops::Stepped { parameter, first, second, average } = ops::adamw(state, gradient, &hyper);
            self.moments.first.register(id, first);
            self.moments.second.register(id, second);
            if let Some((average, _)) = average {
                self.average.put(id, average);
            }
            parameter.autodiff().require_grad()
        })
    }
}

impl Optimiser {
    /// One step: `network` after it, its `average` moved along, and the gradient's global norm before clipping.
    /// `hyper.gradient_scale` is set here: gradients longer than `clip` (if positive) are shortened to it.
    pub fn step<M: Module>(
        &mut self,
        network: M,
        average: &mut Average,
        gradients: Gradients,
        clip: f64,
        hyper: ops::AdamW,
    ) -> (M, f64) {
        let gradients = GradientsParams::from_grads(gradients, &network);
        let mut norm = SquaredNorm { gradients: &gradients, sum: ops::SumOfSquares::default() };
        network.visit(&mut norm);
        let norm = norm.sum.total().sqrt();
        let gradient_scale = if clip > 0.0 && norm > clip { clip / norm } else { 1.0 };
        let hyper = ops::AdamW { gradient_scale, ..hyper };
        let network = network.map(&mut Step { gradients, moments: self, average, hyper, path: Vec::new() });
        (network, norm)
    }

    /// The moments by the parameters' names, `first.` and `second.` before them.
    pub fn state<M: Module>(&self, network: &M) -> NamedTensors {
        let mut reader = Reader { moments: self, path: Vec::new(), tensors: NamedTensors::new() };
        network.visit(&mut reader);
        reader.tensors
    }

    /// The optimiser with these moments. Parameters without any start from zero, as in a fresh run.
    pub fn with_state<M: Module>(network: &M, tensors: NamedTensors) -> Result<Self, WeightsError> {
        let mut loader = Loader { tensors, path: Vec::new(), moments: Self::default(), problem: None };
        network.visit(&mut loader);
        match loader.problem {
            Some(problem) => Err(WeightsError::Mismatch(problem)),
            None => foretell_nn::weights::none_left(&loader.tensors).map(|()| loader.moments),
        }
    }
}

struct Reader<'a> {
    moments: &'a Optimiser,
    path: Vec<String>,
    tensors: NamedTensors,
}

impl ModuleVisitor for Reader<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        for (prefix, moments) in [("first", &self.moments.first), ("second", &self.moments.second)] {
            if let Some(moment) = moments.get::<D>(param.id) {
                let name = format!("{prefix}.{}", self.path.join("."));
                let shape = moment.dims().to_vec();
                self.tensors.insert(name, NamedTensor { shape, values: ops::values(moment) });
            }
        }
    }
}

struct Loader {
    tensors: NamedTensors,
    path: Vec<String>,
    moments: Optimiser,
    problem: Option<String>,
}

impl ModuleVisitor for Loader {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let shape = param.dims();
        for (prefix, moments) in [("first", &mut self.moments.first), ("second", &mut self.moments.second)] {
            let name = format!("{prefix}.{}", self.path.join("."));
            let Some(tensor) = self.tensors.remove(&name) else { continue };
            if tensor.shape != shape {
                self.problem = Some(format!("`{name}` is {:?} where {shape:?} was expected", tensor.shape));
                continue;
            }
            let device = param.val().device().inner();
            moments.register(param.id, Tensor::<D>::from_data(TensorData::new(tensor.values, shape), &device));
        }
    }
}
