//! Whose tokens are gathered into a target (DMT-JEPA, Mo and Tong, 2024, arXiv 2405.17995, section 3.2): of the tokens around each the
//! most similar ones.

use burn::module::Module;
use burn::tensor::Tensor;
use foretell_nn::aggregation::{Aggregation, Near};
use foretell_nn::vit::Vit;
use foretell_nn::{FeatureMap, ImageNetwork};
use foretell_ops as ops;
use serde::{Deserialize, Serialize};

use crate::masks::Grid;
use crate::target::plain;

/// What lies beyond the border of a grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Borders {
    /// Nothing: tokens there have fewer neighbours. Ours.
    #[default]
    Masked,
    /// The other side: the released code, which takes rows and columns modulo the side.
    Wrapped,
}

/// Whose mean asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AskedBy {
    /// That of the token's own image. Ours, and the paper's.
    #[default]
    Own,
    /// That of image `r mod B` for row `r` of B · N: the released code, which repeats means batch by batch where its rows go image by
    /// image.
    Mixed,
}

/// How neighbours are chosen and asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Nearby {
    /// Of the eight around a token so many by their cosine; fewer where there are fewer.
    pub most: usize,
    /// What lies beyond the border.
    pub borders: Borders,
    /// Whose mean asks.
    pub query: AskedBy,
}

impl Default for Nearby {
    fn default() -> Self {
        Self { most: 4, borders: Borders::default(), query: AskedBy::default() }
    }
}

/// Rows and columns from a token to the eight around it.
const AROUND: [(isize, isize); 8] = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)];

impl Nearby {
    /// The token that lies so from another, if one does.
    fn at(&self, grid: Grid, token: usize, (down, right): (isize, isize)) -> Option<usize> {
        let (rows, cols) = (grid.rows as isize, grid.cols as isize);
        let (row, col) = ((token / grid.cols) as isize + down, (token % grid.cols) as isize + right);
        let inside = (0..rows).contains(&row) && (0..cols).contains(&col);
        let wrapped = row.rem_euclid(rows) * cols + col.rem_euclid(cols);
        (inside || self.borders == Borders::Wrapped).then_some(wrapped as usize)
    }

    /// Whom the tokens `[B, N, D]` of a grid ask. Of equally similar neighbours the first in raster order comes first.
    pub fn near(&self, tokens: Tensor<3>, grid: Grid) -> Near {
        let [batch, count, width] = tokens.dims();
        let rows = batch * count;
        let tokens = tokens.inner().reshape([rows, width]);
        let lengths = tokens.clone().square().sum_dim(1).sqrt().clamp_min(1e-8);
        let unit = tokens / lengths;
        let cosine = |way: &(isize, isize)| {
            let other = |row: usize| row / count * count + self.at(grid, row % count, *way).unwrap_or(row % count);
            let others: Vec<u32> = (0..rows).map(|row| other(row) as u32).collect();
            ops::values((unit.clone() * ops::gather(unit.clone(), &others)).sum_dim(1))
        };
        let cosines: Vec<Vec<f32>> = AROUND.iter().map(cosine).collect();
        let most = self.most.min(AROUND.len());
        let mut near = Near { rows: Vec::with_capacity(rows * most), counts: Vec::new(), query: Vec::new() };
        for row in 0..rows {
            let (image, token) = (row / count, row % count);
            let there = AROUND.iter().zip(&cosines);
            let mut there: Vec<(f32, usize)> =
                there.filter_map(|(way, cosines)| Some((cosines[row], self.at(grid, token, *way)?))).collect();
            there.sort_by(|a, b| b.0.total_cmp(&a.0));
            there.truncate(most);
            near.counts.push(there.len());
            // Filled up with the token itself, which is not looked at.
            let others = there.iter().map(|(_, other)| *other).chain(std::iter::repeat(token)).take(most);
            near.rows.extend(others.map(|other| (image * count + other) as u32));
            near.query.push(match self.query {
                AskedBy::Own => image as u32,
                AskedBy::Mixed => (row % batch) as u32,
            });
        }
        near
    }

    /// An encoder's tokens `[B, N, D]`, brought to mean 0 and variance 1 each, with those around them gathered in.
    pub fn gathered(&self, head: &Aggregation, tokens: Tensor<3>, grid: Grid) -> Tensor<3> {
        let tokens = plain(tokens);
        let near = self.near(tokens.clone(), grid);
        head.local(tokens, &near)
    }
}

/// The targets as a network of images.
#[derive(Module, Debug)]
pub struct AggregatedTargets {
    /// Sees the image.
    pub encoder: Vit,
    /// Gathers.
    pub head: Aggregation,
    #[module(skip)]
    neighbours: Nearby,
}

impl AggregatedTargets {
    /// Of the networks that make targets.
    pub fn new(encoder: Vit, head: Aggregation, neighbours: Nearby) -> Self {
        Self { encoder, head, neighbours }
    }
}

impl ImageNetwork for AggregatedTargets {
    fn tokens(&self, images: Tensor<4>) -> FeatureMap {
        let FeatureMap { tokens, grid } = self.encoder.tokens(images);
        FeatureMap { tokens: self.neighbours.gathered(&self.head, tokens, Grid::new(grid.0, grid.1)), grid }
    }

    fn width(&self) -> usize {
        self.encoder.width()
    }

    fn image(&self) -> (usize, usize) {
        self.encoder.image()
    }

    fn channels(&self) -> usize {
        self.encoder.channels()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// Tokens of one value and a 1: a token is the more similar to another, the nearer their values are.
    fn tokens(values: &[&[f32]]) -> Tensor<3> {
        let [batch, count] = [values.len(), values[0].len()];
        let all: Vec<f32> = values.concat().iter().flat_map(|value| [*value, 1.0]).collect();
        Tensor::from_data(TensorData::new(all, [batch, count, 2]), &Device::flex())
    }

    fn of(near: &Near, row: usize) -> &[u32] {
        let most = near.rows.len() / near.counts.len();
        &near.rows[row * most..][..near.counts[row]]
    }

    const GRID: Grid = Grid::new(3, 4);

    #[test]
    fn the_most_similar_around_a_token_are_asked_and_none_beyond_the_border() {
        //   0.0  0.9  0.3  0.4
        //   0.5  0.0  0.1  0.2
        //   0.8  0.2  0.7  0.0
        let one = [0.0, 0.9, 0.3, 0.4, 0.5, 0.0, 0.1, 0.2, 0.8, 0.2, 0.7, 0.0];
        let other = [0.0; 12];
        let near = Nearby::default().near(tokens(&[&one, &other]), GRID);
        // Of the inner token with value 0: 0.0, 0.1, 0.2, 0.3.
        assert_eq!(of(&near, 5), [0, 6, 9, 2]);
        // A corner has three, an edge five of which four are taken.
        assert_eq!((of(&near, 0), of(&near, 2)), (&[5, 4, 1][..], &[3, 7, 6, 5][..]));
        assert_eq!(near.counts[..12], [3, 4, 4, 3, 4, 4, 4, 4, 3, 4, 4, 3]);
        // The second image's rows are its own; of equals the first.
        assert_eq!(of(&near, 12 + 5), [12, 13, 14, 16]);
        assert_eq!(near.query, [[0; 12], [1; 12]].concat());
        let two = Nearby { most: 2, ..Nearby::default() }.near(tokens(&[&one]), GRID);
        assert_eq!(of(&two, 5), [0, 6]);
    }

    /// What the released code does at borders: fails where they are masked.
    #[test]
    fn wrapped_borders_join_opposite_sides() {
        let mut values = [5.0_f32; 12];
        // The four corners alone are alike.
        for corner in [0, 3, 8, 11] {
            values[corner] = 0.0;
        }
        let near = |borders| Nearby { most: 3, borders, ..Nearby::default() }.near(tokens(&[&values]), GRID);
        let mut wrapped = of(&near(Borders::Wrapped), 0).to_vec();
        wrapped.sort_unstable();
        assert_eq!(wrapped, [3, 8, 11]);
        let mut masked = of(&near(Borders::Masked), 0).to_vec();
        masked.sort_unstable();
        assert_eq!(masked, [1, 4, 5]);
        assert!(near(Borders::Wrapped).counts.iter().all(|count| *count == 3));
    }

    /// What the released code does with several images: fails where each image's own mean asks.
    #[test]
    fn mixed_queries_are_of_other_images_and_of_one_image_its_own() {
        let image: &[f32] = &[0.0; 12];
        let near = |query, images: &[&[f32]]| Nearby { query, ..Nearby::default() }.near(tokens(images), GRID);
        let mixed = near(AskedBy::Mixed, &[image; 5]);
        assert_eq!(mixed.query, (0..60).map(|row| row % 5).collect::<Vec<u32>>());
        let own = near(AskedBy::Own, &[image; 5]);
        assert_eq!(own.query, (0..60).map(|row| row / 12).collect::<Vec<u32>>());
        assert_eq!(near(AskedBy::Mixed, &[image]), near(AskedBy::Own, &[image]));
    }
}
