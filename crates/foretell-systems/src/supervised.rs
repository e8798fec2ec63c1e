//! Supervised learning on the backbone of the masked and the views' systems: no member of the family, but the control that is told
//! the labels which the others are judged by.

use std::marker::PhantomData;
use std::sync::Arc;

use foretell_data::{Augment, Auto, Decision, Images, Modality};
use foretell_jepa::supervised::{LabelledCollator, Supervised, SupervisedNetworks};
use foretell_jepa::views::ViewsCollator;
use foretell_nn::Init;
use foretell_nn::layers::Linear;
use foretell_nn::vit::{Size, VitConfig};
use foretell_train::Learner;
use serde::{Deserialize, Serialize};

use crate::row::{Row, State};
use crate::sizes::{Dials, Lengths, check_patch, check_width, usual_patch};
use crate::system::{On, System, SystemError};

static ROW: Row = Row {
    number: 0,
    name: "supervised",
    title: "Supervised",
    one_line: "a control: the labels are given",
    papers: &[],
    state: State::Trains,
};

/// Settings of the control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SupervisedConfig {
    /// The dial that sets width, depth and heads.
    pub size: Size,
    /// Side of a patch in pixels.
    pub patch: Auto<usize>,
    /// Token width.
    pub width: Auto<usize>,
    /// Blocks of the encoder.
    pub depth: Auto<usize>,
    /// Attention heads.
    pub heads: Auto<usize>,
    /// Classes of each factor that is learnt; empty: those of the data's labels.
    pub classes: Vec<usize>,
    /// How the view is made.
    pub augment: Augment,
}

impl Default for SupervisedConfig {
    fn default() -> Self {
        let augment =
            Augment { crop_scale: (0.3, 1.0), crop_aspect: (0.75, 4.0 / 3.0), flip: 0.5, ..Augment::default() };
        Self {
            size: Size::Tiny,
            patch: Auto::Auto,
            width: Auto::Auto,
            depth: Auto::Auto,
            heads: Auto::Auto,
            classes: Vec::new(),
            augment,
        }
    }
}

impl System for SupervisedConfig {
    type Data = Images;
    const ROW: &'static Row = &ROW;

    fn init(&mut self, on: &On<'_, Images>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let (image_size, channels) = on.config.form()?;
        let dials =
            Dials { patch: &mut self.patch, width: &mut self.width, depth: &mut self.depth, heads: &mut self.heads };
        let Lengths { patch, width, depth, heads, hidden } =
            dials.settle(self.size, || usual_patch(image_size), on, decisions);
        check_patch(image_size, patch)?;
        check_width("encoder", width, heads)?;
        self.augment.check().map_err(|error| error.under("model.augment"))?;
        self.learnt(on, decisions)?;
        let image = (image_size, image_size);
        let vit = VitConfig { image, patch, channels, width, depth, heads, hidden };
        let device = on.learning();
        let encoder = vit.init(&mut on.weights(0), &device);
        let head = Linear::uniform(width, self.classes.iter().sum(), &mut Init::new(&mut on.weights(1), &device));
        let views = ViewsCollator {
            global_views: 1,
            ..ViewsCollator::pairs(on.seed, image_size, self.augment.clone(), on.config.normalise.clone())
        };
        let objective = Supervised {
            backbone: PhantomData,
            classes: self.classes.clone(),
            collator: Arc::new(LabelledCollator { views, factors: self.classes.len() }),
            device: on.device.clone(),
        };
        Ok(on.learner(objective, SupervisedNetworks { encoder, head }))
    }
}

impl SupervisedConfig {
    /// Chooses what is learnt; an error where there are no labels, or others than are named.
    fn learnt(&mut self, on: &On<'_, Images>, decisions: &mut Vec<Decision>) -> Result<(), SystemError> {
        let Some(data) = on.data else { return Ok(()) };
        let known: Vec<usize> = data.factors().iter().map(|factor| factor.classes.len()).collect();
        if known.is_empty() {
            return Err(SystemError::Setting(
                "supervised learning is told labels, and these data have none: name labelled data".to_owned(),
            ));
        }
        if self.classes.is_empty() {
            decisions.push(Decision {
                what: "model.classes".to_owned(),
                value: format!("{known:?}"),
                reason: "the classes of each factor that the labels tell".to_owned(),
            });
            self.classes.clone_from(&known);
        }
        if self.classes != known {
            return Err(SystemError::Setting(format!(
                "`model.classes` is {:?}, and the labels of these data tell {known:?}: leave it out",
                self.classes
            )));
        }
        Ok(())
    }
}
