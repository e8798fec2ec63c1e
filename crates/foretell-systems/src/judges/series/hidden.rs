//! What was hidden of series, as in training.

use foretell_data::Modality;
use foretell_data::series::Series;
use foretell_eval::{Card, Finding, Grid, Pictures, Tile};
use foretell_jepa::series::PackedSeries;
use foretell_jepa::series::masked::SpanMasks;
use foretell_nn::series::Cut;

use crate::judges::{originals, rgb};
use crate::judging::Judging;

/// Series that are shown.
const SHOWN: usize = 6;
/// The place of the draws: no training has so many steps.
const DRAWN: u64 = 1 << 40;

/// Series under a mask of a step; `None` where there are none to be shown.
pub fn hidden(run: &Judging<'_, Series>, masks: SpanMasks, cut: Cut) -> Option<Finding> {
    let card = |(index, sample): (usize, foretell_data::series::SeriesSample)| {
        let packed = PackedSeries::new(&[&sample], cut);
        let [seen, hidden] = masks.draw(packed.rows(), run.on.seed, DRAWN, index as u64);
        let patches = sample.steps().div_ceil(cut.patch).max(1);
        let mut classes = vec![0; patches];
        for (tokens, class) in [(seen, 1), (hidden, 2)] {
            for token in tokens {
                if let Some(place) = classes.get_mut(packed.at[token as usize] as usize) {
                    *place = class;
                }
            }
        }
        let grid = Grid { rows: 1, columns: patches, classes };
        let picture = run.data.picture(&sample).as_ref().and_then(rgb);
        Card { tiles: vec![Tile { grid: Some(grid), ..Tile::new(picture, "") }], strips: Vec::new() }
    };
    let cards: Vec<Card> = originals(run, SHOWN).into_iter().enumerate().map(card).collect();
    (!cards.is_empty()).then(|| {
        Finding::pictures(
            "masks",
            "What is hidden",
            "Held-out series as they are, and under a mask as in training: what is tinted is predicted from what is clear. A patch of which \
             nothing is known is neither.",
            Pictures { legend: ["nothing known", "seen", "predicted"].map(str::to_owned).to_vec(), cards },
        )
    })
}
