//! Features as colours, where tokens lie on a grid.

use foretell_data::Modality;
use foretell_eval::{Card, Features, Finding, Picture, Pictures, TRAINED, Tile, UNTRAINED, pca_rgb};
use foretell_nn::Encode;
use foretell_ops as ops;
use foretell_train::Which;

use super::{moving, originals, rgb};
use crate::judging::Judging;
use crate::system::JudgeError;

/// Samples that are shown.
const COLOURED: usize = 8;
/// Frames of what moves, and their short side in pixels at most.
const MOMENTS: usize = 16;
const SIDE: usize = 96;

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
    let Some((grid, trained)) = colours(&samples, trained.as_ref())? else { return Ok(None) };
    let Some((_, untrained)) = colours(&samples, untrained.as_ref())? else { return Ok(None) };
    let (each, moments) = (trained.len() / samples.len(), trained.len() / samples.len() / (grid.0 * grid.1).max(1));
    let pairs = trained.chunks_exact(each.max(1)).zip(untrained.chunks_exact(each.max(1)));
    let card = |(sample, (trained, untrained)): (&&D::Sample, (&[Colour], &[Colour]))| {
        let film = run.data.film(sample).filter(|_| moments > 1);
        // So that all of them move together.
        let picture = match &film {
            Some(film) => moving(film, MOMENTS, SIDE),
            None => run.data.picture(sample).as_ref().and_then(rgb),
        };
        let seconds = film.map_or(1.0, |film| film.frames.len() as f64 / film.fps);
        let tile = |colours: &[Colour], of: &str| Tile::new(map(colours, grid, seconds), of);
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

/// One pixel for each token; a moving picture of this length where a sample has several grids, one after the other in time.
fn map(colours: &[Colour], (rows, columns): (usize, usize), seconds: f64) -> Option<Picture> {
    let moments: Vec<Vec<u8>> = colours.chunks_exact((rows * columns).max(1)).map(<[Colour]>::concat).collect();
    match &moments[..] {
        [still] => Picture::rgb(columns, rows, still),
        several => {
            let pixels: Vec<&[u8]> = several.iter().map(Vec::as_slice).collect();
            let hundredths = (100.0 * seconds / several.len().max(1) as f64).round().clamp(2.0, 500.0) as u16;
            Picture::moving(columns, rows, &pixels, hundredths)
        }
    }
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
