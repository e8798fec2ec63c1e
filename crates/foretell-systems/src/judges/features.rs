//! Features as colours, where tokens lie on a grid.

use foretell_data::Modality;
use foretell_eval::{Card, Features, Finding, Picture, Pictures, TRAINED, Tile, UNTRAINED, pca_rgb};
use foretell_nn::Encode;
use foretell_ops as ops;
use foretell_train::Which;

use super::{originals, rgb};
use crate::judging::Judging;
use crate::system::JudgeError;

/// Samples that are shown.
const COLOURED: usize = 8;

/// Red, green, blue.
type Colour = [u8; 3];

/// What the features see; `None` where tokens lie on no grid of several, or samples cannot be shown.
pub fn features<D: Modality>(run: &Judging<'_, D>) -> Result<Option<Finding>, JudgeError> {
    let shown: Vec<D::Sample> = originals(run, COLOURED).into_iter().map(|sample| run.data.prepare(sample)).collect();
    let samples: Vec<&D::Sample> = shown.iter().collect();
    if samples.is_empty() || samples.iter().any(|sample| run.data.picture(sample).is_none()) {
        return Ok(None);
    }
    let (trained, untrained) = (run.kept(Which::Trained)?.encoder, run.kept(Which::Untrained)?.encoder);
    let Some(((rows, columns), trained)) = colours(&samples, trained.as_ref())? else { return Ok(None) };
    let Some((_, untrained)) = colours(&samples, untrained.as_ref())? else { return Ok(None) };
    let tokens = (rows * columns).max(1);
    let pairs = trained.chunks_exact(tokens).zip(untrained.chunks_exact(tokens));
    // One pixel for each token.
    let tile = |colours: &[Colour], of: &str| Tile::new(Picture::rgb(columns, rows, &colours.concat()), of);
    let card = |(sample, (trained, untrained)): (&&D::Sample, (&[Colour], &[Colour]))| {
        let picture = run.data.picture(sample).as_ref().and_then(rgb);
        let tiles = vec![Tile::new(picture, "sample"), tile(trained, TRAINED), tile(untrained, UNTRAINED)];
        Card { tiles, strips: Vec::new() }
    };
    Ok(Some(Finding::pictures(
        "features",
        "What the features see",
        "The first three principal components of each token's features, as red, green and blue. Equal colours mean that the \
         network treats two places alike.",
        Pictures { legend: Vec::new(), cards: samples.iter().zip(pairs).map(card).collect() },
    )))
}

/// Rows and columns of tokens, and a colour for each token.
type Coloured = ((usize, usize), Vec<Colour>);

/// The components are those of all samples together, so that a colour means the same in each.
fn colours<S>(samples: &[&S], encoder: &dyn Encode<S>) -> Result<Option<Coloured>, JudgeError> {
    let tokens = encoder.tokens(samples);
    let Some(grid) = tokens.grid.filter(|(rows, columns)| rows * columns > 1) else { return Ok(None) };
    let [rows, dim] = tokens.rows.dims();
    Ok(Some((grid, pca_rgb(&Features::new(rows, dim, ops::values(tokens.rows))?)?)))
}
