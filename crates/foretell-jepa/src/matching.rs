//! Which row belongs to which column: the assignment problem, exactly.
//!
//! Slots are a set: before two sets are held against each other each slot needs its partner. There are few of them, so that the
//! shortest augmenting paths of Jonker and Volgenant (1987) in O(n³) are some microseconds; a library for it would ask for weights with a
//! total order and bring a graph toolbox along.

/// For each row of square costs `[N, N]`, row-major, the column that it is given, each column once, so that the costs' sum is least.
/// What is not finite is dearer than all that is.
///
/// # Panics
/// If the costs are not N².
pub fn assigned(costs: &[f32], n: usize) -> Vec<usize> {
    assert_eq!(costs.len(), n * n, "square costs");
    let largest =
        costs.iter().copied().filter(|cost| cost.is_finite()).fold(1.0_f32, |most, cost| most.max(cost.abs()));
    let dearest = f64::from(largest) * 4.0 * n as f64;
    let cost = |row: usize, column: usize| {
        let cost = costs[row * n + column];
        if cost.is_finite() { f64::from(cost) } else { dearest }
    };
    // Potentials of rows and columns; row n and column n stand for none.
    let (mut of_row, mut of_column) = (vec![0.0; n], vec![0.0; n]);
    let mut row_of: Vec<Option<usize>> = vec![None; n];
    for start in 0..n {
        // The shortest path from this row to a column that is free, through rows that change their column.
        let (mut away, mut before) = (vec![f64::INFINITY; n], vec![None; n]);
        let mut done = vec![false; n];
        let (mut row, mut column, mut least) = (start, None, 0.0);
        let end = loop {
            for j in (0..n).filter(|j| !done[*j]) {
                let length = least + cost(row, j) - of_row[row] - of_column[j];
                if length < away[j] {
                    (away[j], before[j]) = (length, column);
                }
            }
            let open = (0..n).filter(|j| !done[*j]);
            let next = open.min_by(|a, b| away[*a].total_cmp(&away[*b])).expect("a column is free for each row");
            (least, column, done[next]) = (away[next], Some(next), true);
            match row_of[next] {
                Some(taken) => row = taken,
                None => break next,
            }
        };
        of_row[start] += least;
        for j in (0..n).filter(|j| done[*j]) {
            if let Some(taken) = row_of[j] {
                of_row[taken] += least - away[j];
            }
            of_column[j] -= least - away[j];
        }
        let mut at = Some(end);
        while let Some(j) = at {
            at = before[j];
            row_of[j] = Some(at.map_or(start, |i| row_of[i].expect("a path goes through columns that are taken")));
        }
    }
    let mut column_of = vec![0; n];
    row_of.into_iter().enumerate().for_each(|(j, row)| column_of[row.expect("each column has a row")] = j);
    column_of
}

/// Mean squared differences of each row of `a` from each of `b`, `[N, D]` both, row-major: `[N, N]`.
pub fn differences(a: &[f32], b: &[f32], width: usize) -> Vec<f32> {
    let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / width as f32;
    a.chunks_exact(width).flat_map(|a| b.chunks_exact(width).map(move |b| apart(a, b))).collect()
}

#[cfg(test)]
mod tests {
    use foretell_data::random::{Stream, rng};
    use rand::RngExt;

    use super::*;

    /// The least sum over all orders, by trying each.
    fn tried(costs: &[f32], n: usize, row: usize, taken: &mut Vec<usize>) -> f32 {
        if row == n {
            return 0.0;
        }
        let mut least = f32::INFINITY;
        for column in 0..n {
            if !taken.contains(&column) {
                taken.push(column);
                least = least.min(costs[row * n + column] + tried(costs, n, row + 1, taken));
                taken.pop();
            }
        }
        least
    }

    #[test]
    fn nearest_first_is_not_the_least_sum() {
        // Row 0 likes column 0 best, and yet it must not have it.
        assert_eq!(assigned(&[1.0, 2.0, 1.5, 9.0], 2), [1, 0]);
        assert_eq!(assigned(&[4.0, 1.0, 3.0, 2.0, 0.0, 5.0, 3.0, 2.0, 2.0], 3), [1, 0, 2]);
        assert_eq!(assigned(&[], 0), [0_usize; 0]);
    }

    #[test]
    fn the_sum_is_the_least_of_all_orders() {
        for case in 0..300 {
            let mut rng = rng(1, Stream::Judge, 0, case);
            let n = rng.random_range(1..=6);
            // Small whole numbers: ties, and sums without rounding.
            let costs: Vec<f32> = (0..n * n).map(|_| rng.random_range(-4..9) as f32).collect();
            let chosen = assigned(&costs, n);
            let mut columns = chosen.clone();
            columns.sort_unstable();
            assert_eq!(columns, (0..n).collect::<Vec<_>>(), "each column once");
            let sum: f32 = chosen.iter().enumerate().map(|(row, column)| costs[row * n + column]).sum();
            assert_eq!(sum, tried(&costs, n, 0, &mut Vec::new()), "{costs:?} {chosen:?}");
        }
    }

    #[test]
    fn what_is_no_number_is_avoided_and_stops_nothing() {
        assert_eq!(assigned(&[f32::NAN, 3.0, 2.0, f32::INFINITY], 2), [1, 0]);
        let all = assigned(&[f32::NAN; 9], 3);
        assert_eq!(all.iter().sum::<usize>(), 3, "{all:?}");
    }

    #[test]
    fn differences_are_means_of_squares() {
        assert_eq!(differences(&[0.0, 0.0, 1.0, 3.0], &[1.0, 1.0, 0.0, 2.0], 2), [1.0, 2.0, 2.0, 1.0]);
    }
}
