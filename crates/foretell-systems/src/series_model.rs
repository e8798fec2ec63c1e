//! What systems over series choose and check alike.

use foretell_data::series::{Series, SeriesConfig};
use foretell_data::{Auto, Decision};
use foretell_nn::series::{Cut, SeriesVitConfig};
use foretell_nn::vit::Size;
use serde::{Deserialize, Serialize};

use crate::sizes::resolved;
use crate::system::{On, SystemError};

/// What becomes of the end of a patch that no whole kernel reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tail {
    /// The last kernel reaches it, filled up.
    #[default]
    Filled,
    /// Nobody sees it: two of 32 steps, as released.
    Official,
}

/// Settings of the network that every system over series has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeriesNetwork {
    /// The dial that sets width, depth and heads: 128 wide, 4 deep, 4 heads; 256, 6, 4; from `base` on 512, 8, 8.
    pub size: Size,
    /// Steps of a patch.
    pub patch: Auto<usize>,
    /// Steps of the tokeniser's convolution, and its stride.
    pub kernel: usize,
    /// What becomes of the end of a patch that no whole kernel reaches.
    pub tail: Tail,
    /// Whether tokens are told where holes lie; otherwise a hole is the training part's mean.
    pub holes: bool,
    /// Token width.
    pub width: Auto<usize>,
    /// Blocks.
    pub depth: Auto<usize>,
    /// Attention heads, of a predictor too.
    pub heads: Auto<usize>,
}

impl Default for SeriesNetwork {
    fn default() -> Self {
        Self {
            size: Size::Tiny,
            patch: Auto::Auto,
            kernel: 3,
            tail: Tail::Filled,
            holes: true,
            width: Auto::Auto,
            depth: Auto::Auto,
            heads: Auto::Auto,
        }
    }
}

/// Steps of the paper's patch, of which a window has ten.
const PATCH: usize = 32;
const TOKENS: usize = 10;

impl SeriesNetwork {
    /// How series of so many channels are cut. The patch must be chosen.
    pub(crate) fn cut(&self, channels: usize) -> Cut {
        let patch = resolved(self.patch);
        Cut { channels, patch, kernel: self.kernel.min(patch).max(1), whole: self.tail == Tail::Filled }
    }

    /// Chooses what is open and says why; the encoder's lengths. An error if they cannot be.
    pub(crate) fn settle(
        &mut self,
        on: &On<'_, Series>,
        decisions: &mut Vec<Decision>,
    ) -> Result<SeriesVitConfig, SystemError> {
        let (size, kernel, holes) = (self.size, self.kernel, self.holes);
        let wrong = |message: String| Err(SystemError::Setting(message));
        let (wide, blocks, split) = match size {
            Size::Tiny => (128, 4, 4),
            Size::Small => (256, 6, 4),
            _ => (512, 8, 8),
        };
        let of_size = |value: usize| (value, format!("size = {size:?}").to_lowercase());
        let (shortest, longest) = on.config.steps;
        let patch = self.patch.resolve("model.patch", decisions, || {
            let patch = (longest / TOKENS).clamp(1, PATCH).min((shortest / 2).max(1));
            (patch, format!("ten tokens of the longest series ({longest} steps), two of the shortest ({shortest}), 32 steps at most"))
        });
        let width = self.width.resolve("model.width", decisions, || of_size(wide));
        let depth = self.depth.resolve("model.depth", decisions, || of_size(blocks));
        let heads = self.heads.resolve("model.heads", decisions, || of_size(split));
        if patch == 0 || kernel == 0 {
            return wrong("`model.patch` and `model.kernel` must be 1 step or more".to_owned());
        }
        if longest > 0 && longest < 2 * patch {
            return wrong(format!(
                "series of at most {longest} steps do not give two patches of {patch}: choose a `model.patch` of {} or less",
                (longest / 2).max(1)
            ));
        }
        if width == 0 || heads == 0 || !width.is_multiple_of(heads) || !width.is_multiple_of(2) {
            return wrong(format!(
                "the encoder's width {width} must be even (its position code) and a multiple of {heads} heads: choose another `model.width` or `model.heads`"
            ));
        }
        if depth == 0 {
            return wrong("`model.depth` must be at least 1, found 0".to_owned());
        }
        let cut = self.cut(on.config.channels());
        Ok(SeriesVitConfig { cut, width, depth, heads, hidden: 4 * width, holes, causal: false })
    }
}

/// A few minutes on two cores for the generated series; of others 40 epochs, between 300 and 3000 steps.
pub(crate) fn usual_steps(data: &SeriesConfig, series: Option<usize>, batch: usize) -> Option<u64> {
    if data.path.is_empty() {
        return Some(1500);
    }
    series.map(|series| ((40 * series) / batch.max(1)).clamp(300, 3000) as u64)
}
