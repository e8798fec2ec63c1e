//! Walks over the parameters of a network by name: the optimiser, moving averages, checkpoints and strict loading use these
//! and nothing else, so that a tree of modules is instantiated three times and not once for each of them.
//!
//! A name is the path of fields, such as `encoder.blocks.0.attn.qkv.weight`. Parameters come in the order of the fields.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Gradients, Tensor};

/// A parameter on its way through [`look`] or [`change`].
pub struct Parameter<'a> {
    /// Its path.
    pub name: &'a str,
    /// Shared by clones of one network.
    pub id: ParamId,
    /// Lengths of its axes.
    pub shape: &'a [usize],
    /// Whether it learns: buffers, and what is frozen, do not.
    pub learns: bool,
}

/// Calls `look` with each parameter and its values `[P]`, row-major, without gradients.
pub fn look<M: Module>(module: &M, look: &mut dyn FnMut(Parameter<'_>, Tensor<1>)) {
    module.visit(&mut Looker { path: Path::default(), look });
}

/// Replaces the values `[P]` of each parameter, row-major and without gradients, by what `change` makes of them. They are
/// handed over, so that they can be changed in place; a parameter that learns goes on to do so.
pub fn change<M: Module>(module: M, change: &mut dyn FnMut(Parameter<'_>, Tensor<1>) -> Tensor<1>) -> M {
    module.map(&mut Changer { path: Path::default(), change })
}

/// Calls `take` with the gradient `[P]` of each parameter that has one, and takes it out of `gradients`.
pub fn gradients<M: Module>(module: &M, gradients: &mut Gradients, take: &mut dyn FnMut(Parameter<'_>, Tensor<1>)) {
    module.visit(&mut Taker { path: Path::default(), gradients, take });
}

/// Names of modules from the root to here.
#[derive(Default)]
struct Path {
    text: String,
    /// Lengths of the text at each module above.
    above: Vec<usize>,
}

impl Path {
    fn enter(&mut self, name: &str) {
        self.above.push(self.text.len());
        if !self.text.is_empty() {
            self.text.push('.');
        }
        self.text.push_str(name);
    }

    fn exit(&mut self) {
        self.text.truncate(self.above.pop().unwrap_or(0));
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let count = tensor.shape().num_elements();
    tensor.reshape([count])
}

struct Looker<'a> {
    path: Path,
    look: &'a mut dyn FnMut(Parameter<'_>, Tensor<1>),
}

impl ModuleVisitor for Looker<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let (shape, learns) = (value.dims(), value.is_require_grad());
        let about = Parameter { name: &self.path.text, id: param.id, shape: &shape, learns };
        (self.look)(about, flat(value.inner()));
    }
}

struct Changer<'a> {
    path: Path,
    change: &'a mut dyn FnMut(Parameter<'_>, Tensor<1>) -> Tensor<1>,
}

impl ModuleMapper for Changer<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, name, change) = (param.id, &self.path.text, &mut self.change);
        param.map(|old| {
            let (shape, learns, tracked) = (old.dims(), old.is_require_grad(), old.device().is_autodiff());
            let new = change(Parameter { name, id, shape: &shape, learns }, flat(old.inner())).reshape(shape);
            match (tracked, learns) {
                (true, true) => new.autodiff().require_grad(),
                (true, false) => new.autodiff(),
                (false, _) => new,
            }
        })
    }
}

struct Taker<'a> {
    path: Path,
    gradients: &'a mut Gradients,
    take: &'a mut dyn FnMut(Parameter<'_>, Tensor<1>),
}

impl ModuleVisitor for Taker<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        // A tensor that is not tracked has no node to ask by.
        if !value.is_require_grad() {
            return;
        }
        if let Some(gradient) = value.grad_remove(self.gradients) {
            let shape = value.dims();
            let about = Parameter { name: &self.path.text, id: param.id, shape: &shape, learns: true };
            (self.take)(about, flat(gradient));
        }
    }
}
