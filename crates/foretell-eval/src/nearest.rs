//! Nearest neighbours by cosine: exact search by matrix products. The gallery goes by in spans, each read and scaled once, and every
//! query keeps the best so far: neither similarities nor copies as long as the data are held.

use std::cmp::Ordering;
use std::ops::Range;

use foretell_ops::{Columns, Rows};
use rayon::prelude::*;

use crate::features::check_same_width;
use crate::standard::stride;
use crate::stored::FeatureRows;
use crate::{EvalError, Features};

/// Query rows of one task at most: whole panels of the kernels.
const QUERIES: usize = 192;
/// Values of a task's queries, from which on it has fewer.
const WIDE: usize = 1 << 22;
/// Gallery rows of one product: its similarities stay in the second-level cache.
const PIECE: usize = 256;
/// Values of a span.
const SPAN: usize = 1 << 24;
/// Tasks of a span at least, where there are rows for them.
const TASKS: usize = 16;

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
/// Empty matrices, different widths, values that are not finite, `k` = 0, rows that cannot be read.
pub fn nearest(query: &dyn FeatureRows, gallery: &dyn FeatureRows, k: usize) -> Result<Neighbours, EvalError> {
    query.check("nearest neighbours' query", 1)?;
    gallery.check("nearest neighbours' gallery", 1)?;
    check_same_width(("query rows", query.dim()), ("gallery rows", gallery.dim()))?;
    if k == 0 {
        let found = k.to_string();
        return Err(EvalError::Setting { setting: "k", expected: "at least 1", found });
    }
    let k = k.min(gallery.rows());
    let begin = |queries: Range<usize>| Best::new(queries.len(), k);
    let blocks = sweep(query, gallery, begin, Best::visit, Best::join)?;
    let (similarities, indices) = blocks.into_iter().flat_map(|best| best.kept).unzip();
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
    // No sum of `dim` products of unit vectors is further off, in whatever order.
    let off = 2.0 * (dim + 4) as f32 * f32::EPSILON;
    let begin = |queries: Range<usize>| {
        let least = queries.map(|query| about.similarities[(query + 1) * k - 1] - off);
        Near { rows: vec![Vec::new(); least.len()], least: least.collect() }
    };
    let near = sweep(query, gallery, begin, Near::visit, Near::join)?;
    let near: Vec<Vec<usize>> = near.into_iter().flat_map(|near| near.rows).collect();
    let sorted = near.par_iter().enumerate().map(|(at, rows)| {
        let unit = |row: &[f32]| {
            let mut row = row.to_vec();
            scale_to_one(&mut row);
            row
        };
        let query = unit(query.row(at));
        let one = |row: &usize| (dot(&query, &unit(gallery.row(*row))), *row);
        let mut rows: Vec<(f32, usize)> = rows.iter().map(one).collect();
        rows.sort_by(before);
        rows.truncate(k);
        rows
    });
    let sorted: Vec<Vec<(f32, usize)>> = sorted.collect();
    let (similarities, indices) = sorted.into_iter().flatten().unzip();
    Ok(Neighbours { k, indices, similarities })
}

/// The nearer first, and of equals the lower row.
fn before(a: &(f32, usize), b: &(f32, usize)) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// `Σ aᵢbᵢ` in double precision, always in the same order.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    // -0 would stand below 0.
    (a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() + 0.0) as f32
}

/// The similarities of all queries with all rows. For each block of queries `begin` makes a state, `visit` is given it with
/// similarities `[rows, queries]` and the first of those rows, and `join` puts a state that has seen later rows into one that has
/// seen earlier ones.
fn sweep<T: Send>(
    query: &dyn FeatureRows,
    gallery: &dyn FeatureRows,
    begin: impl Fn(Range<usize>) -> T + Sync,
    visit: impl Fn(&mut T, &[f32], usize) + Sync,
    join: impl Fn(&mut T, T) + Sync,
) -> Result<Vec<T>, EvalError> {
    let (dim, queries) = (query.dim(), query.rows());
    let apart = stride(dim);
    let block = (WIDE / dim).clamp(QUERIES / 4, QUERIES) / (QUERIES / 4) * (QUERIES / 4);
    let blocks: Vec<Range<usize>> = (0..queries).step_by(block).map(|at| at..queries.min(at + block)).collect();
    let mut states: Vec<T> = blocks.iter().cloned().map(&begin).collect();
    let rows = (SPAN / apart).max(PIECE);
    let mut room = vec![0.0; rows.min(gallery.rows()) * apart];
    for first in (0..gallery.rows()).step_by(rows) {
        let span = first..gallery.rows().min(first + rows);
        let pieces = room.par_chunks_mut(PIECE * apart).enumerate();
        pieces.try_for_each(|(piece, room)| {
            let start = span.start + piece * PIECE;
            unit_rows(gallery, start.min(span.end)..span.end.min(start + PIECE), room, apart)
        })?;
        // Few queries share the span's rows out as well.
        let pieces = span.len().div_ceil(PIECE);
        let shares = TASKS.div_ceil(blocks.len()).min(pieces);
        let work = |state: &mut T, queries: &Range<usize>, share: usize| -> Result<(), EvalError> {
            let mut values = vec![0.0; queries.len() * dim];
            unit_rows(query, queries.clone(), &mut values, dim)?;
            let columns = Columns::of(&values, dim);
            let mut similarities = vec![0.0; PIECE * queries.len()];
            for piece in share * pieces / shares..(share + 1) * pieces / shares {
                let count = PIECE.min(span.len() - piece * PIECE);
                let similarities = &mut similarities[..count * queries.len()];
                columns.inner_products(Rows::apart(&room[piece * PIECE * apart..], count, dim, apart), similarities);
                visit(state, similarities, span.start + piece * PIECE);
            }
            Ok(())
        };
        states.par_iter_mut().zip(&blocks).try_for_each(|(state, queries)| {
            if shares == 1 {
                return work(state, queries, 0);
            }
            let parts = (0..shares).into_par_iter().map(|share| {
                let mut part = begin(queries.clone());
                work(&mut part, queries, share).map(|()| part)
            });
            parts.collect::<Result<Vec<T>, _>>()?.into_iter().for_each(|part| join(state, part));
            Ok(())
        })?;
    }
    Ok(states)
}

/// The best rows so far of some queries.
struct Best {
    k: usize,
    /// What a row must pass, `[Q]`: the last of each query's `k`.
    least: Vec<f32>,
    /// `[Q, k]`, best first.
    kept: Vec<(f32, usize)>,
}

impl Best {
    fn new(queries: usize, k: usize) -> Self {
        let (least, kept) = (vec![f32::NEG_INFINITY; queries], vec![(f32::NEG_INFINITY, usize::MAX); queries * k]);
        Self { k, least, kept }
    }

    fn visit(&mut self, similarities: &[f32], first: usize) {
        let Self { k, least, kept } = self;
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for (row, similarities) in similarities.chunks_exact(least.len()).enumerate() {
                    // A count vectorises where an early exit would not; hardly any row holds a hit.
                    let hit = |(similarity, least): (&f32, &f32)| u32::from(similarity > least);
                    if similarities.iter().zip(least.iter()).map(hit).sum::<u32>() == 0 {
                        continue;
                    }
                    for (at, similarity) in similarities.iter().enumerate() {
                        if *similarity > least[at] {
                            least[at] = keep(&mut kept[at * *k..(at + 1) * *k], (*similarity, first + row));
                        }
                    }
                }
            },
        );
    }

    fn join(&mut self, later: Self) {
        let k = self.k;
        for (at, later) in later.kept.chunks_exact(k).enumerate() {
            for found in later.iter().take_while(|found| found.1 != usize::MAX) {
                if found.0 > self.least[at] {
                    self.least[at] = keep(&mut self.kept[at * k..(at + 1) * k], *found);
                }
            }
        }
    }
}

/// Puts a row in its place among the best, after its equals, and gives the last of them.
fn keep(best: &mut [(f32, usize)], found: (f32, usize)) -> f32 {
    let last = best.len() - 1;
    let place = best.partition_point(|kept| kept.0.total_cmp(&found.0) != Ordering::Less);
    best.copy_within(place..last, place + 1);
    best[place] = found;
    best[last].0
}

/// The rows of some queries that come near a bound.
struct Near {
    least: Vec<f32>,
    rows: Vec<Vec<usize>>,
}

impl Near {
    fn visit(&mut self, similarities: &[f32], first: usize) {
        for (row, similarities) in similarities.chunks_exact(self.least.len()).enumerate() {
            for ((near, similarity), least) in self.rows.iter_mut().zip(similarities).zip(&self.least) {
                if similarity >= least {
                    near.push(first + row);
                }
            }
        }
    }

    fn join(&mut self, later: Self) {
        self.rows.iter_mut().zip(later.rows).for_each(|(rows, later)| rows.extend(later));
    }
}

/// Some rows scaled to length 1, `apart` values from one to the next; rows of zeros stay.
fn unit_rows(of: &dyn FeatureRows, rows: Range<usize>, out: &mut [f32], apart: usize) -> Result<(), EvalError> {
    let (count, dim) = (rows.len(), of.dim());
    of.read(&rows.collect::<Vec<_>>(), out, apart)?;
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || out.chunks_mut(apart).take(count).for_each(|row| scale_to_one(&mut row[..dim])),
    );
    Ok(())
}

// Inlined into the dispatch, or it is compiled for the oldest machine.
#[allow(clippy::inline_always)]
#[inline(always)]
fn scale_to_one(row: &mut [f32]) {
    // Sixteen sums: a fixed order, and vectors.
    let mut sums = [0.0_f64; 16];
    let (whole, rest) = row.as_chunks::<16>();
    for values in whole {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += f64::from(*value) * f64::from(*value);
        }
    }
    let rest: f64 = rest.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    let norm = (sums.iter().sum::<f64>() + rest).sqrt();
    if norm > 0.0 {
        for value in row {
            *value = (f64::from(*value) / norm) as f32;
        }
    }
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

    /// The k-NN vote over all rows in double precision, equals in the order of the rows.
    #[test]
    fn neighbours_are_those_of_double_precision_in_whatever_shape() {
        // Few queries share out the rows, many do not; more rows than one span has at 20,000 wide.
        for (queries, rows, dim, k) in [(1, 3000, 5, 7), (5, 700, 33, 20), (400, 600, 16, 3), (2, 900, 20_000, 4)] {
            let (query, gallery) = (normal(queries, dim, 8), normal(rows, dim, 9));
            let found = nearest(&query, &gallery, k).unwrap();
            for row in 0..queries {
                let mut all: Vec<(f64, usize)> =
                    (0..rows).map(|other| (cosine(query.row(row), gallery.row(other)), other)).collect();
                all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                for ((index, similarity), right) in found.of(row).zip(all) {
                    assert!((f64::from(similarity) - right.0).abs() < 1e-6 && index == right.1, "{row}: {right:?}");
                }
            }
        }
    }

    #[test]
    fn equals_of_several_shares_come_in_order() {
        // One query, so that tasks share the rows; each class of equals stands in all of them.
        let values: Vec<f32> = (0..5000).flat_map(|row| if row % 3 == 1 { [3.0, 4.0] } else { [0.0, 2.0] }).collect();
        let gallery = Features::new(5000, 2, values).unwrap();
        let query = Features::new(1, 2, vec![1.0, 0.0]).unwrap();
        let found = nearest(&query, &gallery, 2000).unwrap();
        let near = (0..5000).filter(|row| row % 3 == 1);
        let right: Vec<usize> = near.chain((0..5000).filter(|row| row % 3 != 1)).take(2000).collect();
        assert_eq!(found.indices, right);
        assert_eq!(nearest_in_order(&query, &gallery, 2000).unwrap().indices, right);
    }
}
