//! EB-JEPA, action-conditioned (arXiv 2602.03604): a latent and an action foretell the next latent, and four terms keep the
//! latents worth foretelling.
//!
//! The composition is [`dynamics`](crate::dynamics); here are the settings.

use std::sync::Arc;

use foretell_data::random::{Stream, rng};
use foretell_nn::Init;
use foretell_nn::gru::Gru;
use foretell_nn::layers::Linear;
use foretell_nn::observer::ObserverConfig;
use serde::{Deserialize, Serialize};

use super::{ActionScale, SystemError, WorldSetting};
use crate::dynamics::{Recurrent, RecurrentNetworks, Terms, WindowCollator, recurrent::Rollout};

/// Settings of action-conditioned EB-JEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EbJepaConfig {
    /// Width of the latents, D.
    pub width: usize,
    /// Width of each convolution of the encoder, stride 2.
    pub widths: Vec<usize>,
    /// Width of the layer that mixes action and latent before the GRU; 0 gives the GRU the action alone, as released.
    pub mixer: usize,
    /// Hidden width of the inverse dynamics.
    pub inverse: usize,
    /// Steps that a prediction is rolled out.
    pub rollout: usize,
    /// What the networks are given of an action.
    pub actions: ActionScale,
    /// Weights of the terms besides the prediction's.
    pub terms: Terms,
}

impl Default for EbJepaConfig {
    /// For 32 pixels and minutes on a CPU.
    fn default() -> Self {
        Self {
            width: 128,
            widths: vec![16, 32, 32],
            mixer: 0,
            inverse: 256,
            rollout: 8,
            actions: ActionScale::Raw,
            terms: Terms::default(),
        }
    }
}

impl EbJepaConfig {
    /// The released sizes and weights (for 65 pixels, batch 384, AdamW at 1e-3 with decay 1e-5, clipped at 2): latents of 512,
    /// one GRU layer, inverse dynamics of 256, eight steps. One thing differs: its Impala encoder has two residual blocks
    /// behind each convolution and pools by maxima; here each of the three stages is its strided convolution alone.
    pub fn official() -> Self {
        Self { width: 512, widths: vec![16, 32, 32], ..Self::default() }
    }

    /// The objective, with fresh networks.
    pub fn init(&self, setting: &WorldSetting) -> Result<Recurrent, SystemError> {
        if self.width == 0 || self.inverse == 0 || self.rollout == 0 || self.widths.contains(&0) {
            return Err(SystemError::Setting(
                "`model.width`, `model.inverse`, `model.rollout` and every one of `model.widths` must be at least 1"
                    .to_owned(),
            ));
        }
        let Terms { variance, covariance, time_similarity, inverse_dynamics } = self.terms;
        let weights = [variance, covariance, time_similarity, inverse_dynamics];
        if let Some(bad) = weights.iter().find(|w| !(**w >= 0.0 && w.is_finite())) {
            return Err(SystemError::Setting(format!("the weights of `model.terms` must be 0 or more, found {bad}")));
        }
        setting.check()?;
        let device = setting.device.clone().autodiff();
        let observer = ObserverConfig {
            observation: setting.observation,
            widths: self.widths.clone(),
            width: self.width,
            norm: true,
        };
        let mut third = rng(setting.seed, Stream::Init, 0, 2);
        let mut init = Init::new(&mut third, &device);
        let lengths = [2 * self.width, self.inverse, self.inverse, setting.action];
        let inverse = lengths.windows(2).map(|w| Linear::uniform(w[0], w[1], &mut init)).collect();
        let mixer = (self.mixer > 0).then(|| Linear::uniform(setting.action + self.width, self.mixer, &mut init));
        let inputs = if self.mixer > 0 { self.mixer } else { setting.action };
        let networks = RecurrentNetworks {
            encoder: observer.init(&mut rng(setting.seed, Stream::Init, 0, 0), &device),
            mixer,
            predictor: Gru::new(inputs, self.width, &mut rng(setting.seed, Stream::Init, 0, 1), &device),
            inverse,
        };
        let collator = WindowCollator {
            observation: setting.observation,
            action: setting.action,
            normalise: setting.normalise.clone(),
            actions: setting.actions(self.actions),
            slices: None,
        };
        Ok(Recurrent {
            networks,
            setting: Rollout { terms: self.terms, steps: self.rollout },
            collator: Arc::new(collator),
            device: setting.device.clone(),
        })
    }
}
