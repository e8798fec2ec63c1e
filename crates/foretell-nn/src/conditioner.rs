//! How a predictor is told what lies between what is seen and what it is to predict (IWM, Garrido et al., 2024, arXiv 2403.00504, section
//! 4.2): an action, a few numbers a sample.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::Init;
use crate::layers::Linear;

/// By which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conditioning {
    /// Each mask token and the action side by side go through three maps back to the token's width.
    #[default]
    Feature,
    /// Each number is a token of its own, before all others.
    Sequence,
}

/// See the module. It stands within a [`Predictor`](crate::predictor::Predictor).
#[derive(Module, Debug)]
pub struct Conditioner {
    /// P + A → P → P → P with GELU between; empty where numbers are tokens.
    pub maps: Vec<Linear>,
    /// `[A, P]`: a number times its row, plus its row of the bias, is its token; `None` where numbers go through maps.
    pub token_weight: Option<Param<Tensor<2>>>,
    /// `[A, P]`.
    pub token_bias: Option<Param<Tensor<2>>>,
    numbers: usize,
}

impl Conditioner {
    /// For actions of A numbers and a predictor of width P.
    pub fn new(telling: Conditioning, numbers: usize, width: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let mut init = Init::new(rng, device);
        match telling {
            Conditioning::Feature => {
                let inputs = [width + numbers, width, width];
                let maps = inputs.map(|inputs| Linear::uniform(inputs, width, &mut init)).into();
                Self { maps, token_weight: None, token_bias: None, numbers }
            }
            // As of an affine map of one number.
            Conditioning::Sequence => Self {
                maps: Vec::new(),
                token_weight: Some(init.uniform([numbers, width], 1.0)),
                token_bias: Some(init.uniform([numbers, width], 1.0)),
                numbers,
            },
        }
    }

    /// Numbers of an action, A.
    pub fn numbers(&self) -> usize {
        self.numbers
    }

    /// Mask tokens `[R, N, P]` that know their row's action, `[R, A]`; as they are where numbers are tokens.
    pub(crate) fn asked(&self, tokens: Tensor<3>, actions: Tensor<2>) -> Tensor<3> {
        let Some((first, rest)) = self.maps.split_first() else { return tokens };
        let ([_, _, width], [rows, numbers]) = (tokens.dims(), actions.dims());
        // The first map of both side by side is one of each: an action is the same for all tokens of its row.
        let weight = first.weight.val();
        let of_action = weight.clone().slice([0..width, width..width + numbers]);
        let nothing = Tensor::zeros([width], &actions.device().inner());
        let of_action = ops::linear(actions, of_action, nothing).reshape([rows, 1, width]);
        let x = ops::linear(tokens, weight.slice([0..width, 0..width]), first.bias.val()) + of_action;
        rest.iter().fold(x, |x, map| map.forward(ops::gelu(x)))
    }

    /// The tokens `[R, A, P]` of actions `[R, A]`, where numbers are tokens.
    pub(crate) fn tokens(&self, actions: Tensor<2>) -> Option<Tensor<3>> {
        let (weight, bias) = (self.token_weight.as_ref()?.val(), self.token_bias.as_ref()?.val());
        let [rows, numbers] = actions.dims();
        Some(actions.reshape([rows, numbers, 1]) * weight.unsqueeze::<3>() + bias.unsqueeze::<3>())
    }
}
