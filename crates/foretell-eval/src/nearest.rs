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
    /// Rows of the gallery, `[Q, k]`; the lower row first among those whose cosines are the same number.
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
    let (query, gallery) = (unit_rows(query), unit_rows(gallery));
    let best = |count: usize| vec![(f32::NEG_INFINITY, usize::MAX); count * k];
    let blocks = sweep(&query, &gallery, dim, best, |best, at, _, first, column| {
        keep_best(&mut best[at * k..(at + 1) * k], column, first);
    });
    let (similarities, indices) = blocks.into_iter().flatten().unzip();
    Ok(Neighbours { k, indices, similarities })
}

/// The same for rows that are listed: among equally near ones the lower row comes first, whatever the matrix product rounds. A
/// cosine here is a function of its two rows alone, not of where in the gallery they stand; one that is nearly the last of the `k` is
/// computed again, so that a gallery of nothing but equal rows takes longer than [`nearest`].
///
/// # Errors
/// As [`nearest`].
pub fn nearest_in_order(query: &Features, gallery: &Features, k: usize) -> Result<Neighbours, EvalError> {
    let about = nearest(query, gallery, k)?;
    let (k, dim) = (about.k, query.dim);
    let (query, gallery) = (unit_rows(query), unit_rows(gallery));
    // No sum of `dim` products of unit vectors is further off, in whatever order.
    let off = 2.0 * (dim + 4) as f32 * f32::EPSILON;
    let none = |count: usize| vec![Vec::new(); count];
    let near = sweep(&query, &gallery, dim, none, |near: &mut Vec<Vec<usize>>, at, query, first, column| {
        let least = about.similarities[(query + 1) * k - 1] - off;
        let rows = column.iter().enumerate().filter(|(_, similarity)| **similarity >= least);
        near[at].extend(rows.map(|(row, _)| first + row));
    });
    let near: Vec<Vec<usize>> = near.into_iter().flatten().collect();
    let sorted = near.par_iter().zip(query.par_chunks_exact(dim)).map(|(rows, query)| {
        let one = |row: &usize| (dot(query, &gallery[row * dim..][..dim]), *row);
        let mut rows: Vec<(f32, usize)> = rows.iter().map(one).collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        rows.truncate(k);
        rows
    });
    let sorted: Vec<Vec<(f32, usize)>> = sorted.collect();
    let (similarities, indices) = sorted.into_iter().flatten().unzip();
    Ok(Neighbours { k, indices, similarities })
}

/// `Σ aᵢbᵢ` in double precision, always in the same order.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    // -0 would stand below 0.
    (a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() + 0.0) as f32
}

/// The similarities of all queries with all rows, a column at a time: `visit` is given what `begin` made for this many queries, the
/// query's place among those, its row, and the first row of the column. Tasks come in the order of their queries.
fn sweep<T: Send>(
    query: &[f32],
    gallery: &[f32],
    dim: usize,
    begin: impl Fn(usize) -> T + Sync,
    visit: impl Fn(&mut T, usize, usize, usize, &[f32]) + Sync,
) -> Vec<T> {
    let tasks = query.par_chunks(QUERIES * dim).enumerate().map(|(task, queries)| {
        let count = queries.len() / dim;
        let queries = MatRef::from_column_major_slice(queries, dim, count);
        let mut found = begin(count);
        let mut similarities = vec![0.0; GALLERY * count];
        for (block, rows) in gallery.chunks(GALLERY * dim).enumerate() {
            let height = rows.len() / dim;
            let rows = MatRef::from_row_major_slice(rows, height, dim);
            // One query a column.
            let columns = &mut similarities[..height * count];
            let out = MatMut::from_column_major_slice_mut(columns, height, count);
            matmul(out, Accum::Replace, rows, queries, 1.0, Par::Seq);
            for (at, column) in columns.chunks_exact(height).enumerate() {
                visit(&mut found, at, task * QUERIES + at, block * GALLERY, column);
            }
        }
        found
    });
    tasks.collect()
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
    fn equal_rows_come_in_order_wherever_they_stand() {
        // Copies in the middle of a product, at its edges and in the last one, of a single row; lengths that fill no vector.
        for (dim, rows) in [(1, 1025), (3, 2049), (31, 1100), (48, 1025), (193, 1030)] {
            let mut gallery = normal(rows, dim, 7);
            let copies: Vec<usize> = (0..rows).filter(|row| row % 97 == 5 || *row >= 1023).collect();
            let one = gallery.row(5).to_vec();
            for row in &copies {
                gallery.values[row * dim..][..dim].copy_from_slice(&one);
            }
            // Near them, and one that is far from them.
            for seed in 0..3 {
                let mut query = normal(1, dim, 50 + seed);
                if seed < 2 {
                    query.values.iter_mut().zip(&one).for_each(|(q, one)| *q = one + 0.05 * *q);
                }
                let found = nearest_in_order(&query, &gallery, rows).unwrap();
                let places: Vec<usize> = found.indices.iter().copied().filter(|row| copies.contains(row)).collect();
                assert_eq!(places, copies, "{dim} wide");
                for (rank, pair) in found.similarities.array_windows::<2>().enumerate() {
                    assert!(pair[0] > pair[1] || pair[0] == pair[1] && found.indices[rank] < found.indices[rank + 1]);
                }
                let few = nearest_in_order(&query, &gallery, 4).unwrap();
                assert_eq!(few.indices, found.indices[..4]);
            }
        }
    }

    #[test]
    fn rows_that_mirror_each_other_are_equally_near() {
        // Neither sign nor place matters to the query, so the order is that of the rows: 0.6 twice, then 0.
        let gallery = Features::new(4, 2, vec![0.0, -3.0, 3.0, -4.0, 6.0, 8.0, 0.0, 1.0]).unwrap();
        let query = Features::new(1, 2, vec![5.0, 0.0]).unwrap();
        let found = nearest_in_order(&query, &gallery, 4).unwrap();
        assert_eq!((found.indices, found.similarities), (vec![1, 2, 0, 3], vec![0.6, 0.6, 0.0, 0.0]));
    }

    #[test]
    fn threads_change_no_bit() {
        let (query, gallery) = (normal(400, 40, 4), normal(3000, 40, 5));
        let in_pool = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| (nearest(&query, &gallery, 20).unwrap(), nearest_in_order(&query, &gallery, 20).unwrap()))
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
