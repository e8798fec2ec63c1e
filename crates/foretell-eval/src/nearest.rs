//! Nearest neighbours by cosine: exact search by matrix products, block against block.

use std::cmp::Ordering;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::features::check_same_width;
use crate::{EvalError, Features};

/// Query rows of one task.
const QUERIES: usize = 96;
/// Gallery rows of one product: its similarities stay in the second-level cache.
const GALLERY: usize = 1024;

/// The nearest gallery rows of each query, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    /// Neighbours of one query.
    pub k: usize,
    /// Rows of the gallery, `[Q, k]`; the lower row first among equally near ones.
    pub indices: Vec<usize>,
    /// Their cosines, `[Q, k]`.
    pub similarities: Vec<f32>,
}

impl Neighbours {
    /// Gallery rows and cosines of query `row`, best first.
    pub fn of(&self, row: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let range = row * self.k..(row + 1) * self.k;
        let indices = self.indices[range.clone()].iter().copied();
        indices.zip(self.similarities[range].iter().copied())
    }
}

/// The `k` rows of `gallery` `[G, D]` nearest to each row of `query` `[Q, D]` by cosine, best first. `k` above G gives G.
/// A row of zeros has cosine 0 with everything. A query that is itself in the gallery finds itself first.
///
/// # Errors
/// Empty matrices, different widths, values that are not finite, `k` = 0.
pub fn nearest(query: &Features, gallery: &Features, k: usize) -> Result<Neighbours, EvalError> {
    query.check("nearest neighbours' query", 1)?;
    gallery.check("nearest neighbours' gallery", 1)?;
    check_same_width(("query rows", query), ("gallery rows", gallery))?;
    if k == 0 {
        let found = k.to_string();
        return Err(EvalError::Setting { setting: "k", expected: "at least 1", found });
    }
    let k = k.min(gallery.rows);
    let dim = query.dim;
    let gallery = unit_rows(gallery);
    let query = unit_rows(query);

    let blocks: Vec<Vec<(f32, usize)>> = query
        .par_chunks(QUERIES * dim)
        .map(|queries| {
            let count = queries.len() / dim;
            let queries = MatRef::from_column_major_slice(queries, dim, count);
            let mut best = vec![(f32::NEG_INFINITY, usize::MAX); count * k];
            let mut similarities = vec![0.0; GALLERY * count];
            for (block, rows) in gallery.chunks(GALLERY * dim).enumerate() {
                let height = rows.len() / dim;
                let rows = MatRef::from_row_major_slice(rows, height, dim);
                // One query a column.
                let columns = &mut similarities[..height * count];
                let out = MatMut::from_column_major_slice_mut(columns, height, count);
                matmul(out, Accum::Replace, rows, queries, 1.0, Par::Seq);
                for (column, best) in columns.chunks_exact(height).zip(best.chunks_exact_mut(k)) {
                    keep_best(best, column, block * GALLERY);
                }
            }
            best
        })
        .collect();
    let (similarities, indices) = blocks.into_iter().flatten().unzip();
    Ok(Neighbours { k, indices, similarities })
}

/// Merges `similarities` of the gallery rows from `first` on into `best`, which is sorted, best first.
fn keep_best(best: &mut [(f32, usize)], similarities: &[f32], first: usize) {
    let last = best.len() - 1;
    for (part, lanes) in similarities.chunks(32).enumerate() {
        let worst = best[last].0;
        // An integer count vectorises where an early exit would not; hardly any part holds a hit.
        if lanes.iter().map(|&similarity| u32::from(similarity > worst)).sum::<u32>() == 0 {
            continue;
        }
        for (lane, &similarity) in lanes.iter().enumerate() {
            if similarity > best[last].0 {
                let place = best.partition_point(|kept| kept.0.total_cmp(&similarity) != Ordering::Less);
                best.copy_within(place..last, place + 1);
                best[place] = (similarity, first + part * 32 + lane);
            }
        }
    }
}

/// The rows scaled to length 1, `[N, D]`; rows of zeros stay.
fn unit_rows(features: &Features) -> Vec<f32> {
    let mut values = features.values.clone();
    values.par_chunks_exact_mut(features.dim).for_each(|row| {
        let norm = row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
        if norm > 0.0 {
            for value in row {
                *value = (f64::from(*value) / norm) as f32;
            }
        }
    });
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::tests::normal;

    fn cosine(a: &[f32], b: &[f32]) -> f64 {
        let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum() };
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn finds_what_a_full_sort_finds() {
        // More queries than one task takes, more gallery rows than one product.
        let (query, gallery) = (normal(150, 6, 1), normal(2500, 6, 2));
        let found = nearest(&query, &gallery, 9).unwrap();
        for row in 0..query.rows {
            let mut all: Vec<f64> = (0..gallery.rows).map(|other| cosine(query.row(row), gallery.row(other))).collect();
            for (index, similarity) in found.of(row) {
                assert!((f64::from(similarity) - all[index]).abs() < 1e-5);
            }
            let kept: Vec<f64> = found.of(row).map(|(index, _)| all[index]).collect();
            all.sort_unstable_by(|a, b| b.total_cmp(a));
            for (kept, sorted) in kept.iter().zip(&all) {
                assert!((kept - sorted).abs() < 1e-6, "row {row}: {kept} kept where {sorted} stands");
            }
        }
    }

    #[test]
    fn a_row_finds_itself_and_length_does_not_matter() {
        let gallery = normal(300, 12, 3);
        let mut query = gallery.clone();
        for (row, values) in query.values.chunks_exact_mut(12).enumerate() {
            for value in values {
                *value *= 1.0 + row as f32;
            }
        }
        let found = nearest(&query, &gallery, 1).unwrap();
        assert_eq!(found.indices, (0..300).collect::<Vec<_>>());
    }

    #[test]
    fn equal_rows_come_in_order_and_k_is_bounded_by_the_gallery() {
        let gallery = Features::new(4, 2, vec![0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]).unwrap();
        let query = Features::new(1, 2, vec![0.0, 2.0]).unwrap();
        assert_eq!(nearest(&query, &gallery, 3).unwrap().indices, [0, 2, 3]);
        assert_eq!(nearest(&query, &gallery, 99).unwrap().indices, [0, 2, 3, 1]);
    }

    #[test]
    fn threads_change_no_bit() {
        let (query, gallery) = (normal(400, 40, 4), normal(3000, 40, 5));
        let in_pool = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| nearest(&query, &gallery, 20).unwrap())
        };
        assert_eq!(in_pool(1), in_pool(3));
    }

    #[test]
    fn refuses_what_cannot_be_compared() {
        let rows = normal(3, 4, 6);
        assert!(matches!(nearest(&rows, &normal(3, 5, 6), 1), Err(EvalError::DimensionMismatch { .. })));
        assert!(matches!(nearest(&rows, &rows, 0), Err(EvalError::Setting { setting: "k", .. })));
    }
}
