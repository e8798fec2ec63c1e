//! Which graphs are held out: by fold files that come with the data, or by stratified folds drawn here.

use std::path::Path;

use rand::RngExt;

use crate::DataError;
use crate::graphs::text::{self, Text};
use crate::random::{Stream, rng};

/// The folder of the fold files of pytorch_DGCNN.
pub(crate) const FOLDER: &str = "10fold_idx";
/// Folds that are drawn.
const FOLDS: usize = 10;
/// The seed of the paper's `StratifiedKFold`; the generator is ours, so its folds are not the paper's. The same for every
/// run: folds that changed with a run's seed would mix two spreads.
pub(crate) const SEED: u64 = 12345;

/// One way to split a set, in indices from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Graphs to learn from, as the file lists them.
    pub train: Vec<usize>,
    /// Graphs to evaluate on.
    pub held_out: Vec<usize>,
}

/// The folds in `10fold_idx/` beside the graphs; `None` without that folder. They number the graphs of the file that they
/// came with: the two forms of MUTAG hold the same graphs in another order.
pub(crate) fn of_files(folder: &Path, graphs: usize) -> Result<Option<Vec<Fold>>, DataError> {
    let folder = folder.join(FOLDER);
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(|source| text::reading(&folder, source))? {
        let name = entry.map_err(|source| text::reading(&folder, source))?.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_prefix("test_idx-").and_then(|name| name.strip_suffix(".txt"));
        numbers.extend(number.and_then(|number| number.parse::<usize>().ok()));
    }
    numbers.sort_unstable();
    if let Some((expected, found)) = (1..).zip(&numbers).find(|(expected, found)| expected != *found) {
        return Err(text::bad(
            &folder,
            format!("`test_idx-{expected}.txt` is missing, though there is one for {found}"),
        ));
    }
    if numbers.is_empty() {
        return Err(text::bad(&folder, "it holds no fold files: expected `test_idx-1.txt` and so on"));
    }
    numbers.into_iter().map(|number| of_pair(&folder, number, graphs)).collect::<Result<_, _>>().map(Some)
}

/// One fold's two files. Without the file of training graphs, all that are not held out train.
fn of_pair(folder: &Path, number: usize, graphs: usize) -> Result<Fold, DataError> {
    /// In which file a graph stands, and where.
    type Stands = Option<(&'static str, usize)>;
    let mut stands: Vec<Stands> = vec![None; graphs];
    let mut list = |kind: &'static str| {
        let path = folder.join(format!("{kind}_idx-{number}.txt"));
        if kind == "train" && !path.exists() {
            return Ok(None);
        }
        let text = Text::read(&path)?;
        let mut indices = Vec::new();
        for (line, index) in (1..).zip(text.column("the number of a graph")?) {
            let place = usize::try_from(index).ok().filter(|place| *place < graphs);
            let Some(place) = place else {
                return Err(text.bad(format!(
                    "line {line} names graph {index}, which does not exist: there are {graphs} (0 to {})",
                    graphs - 1
                )));
            };
            if let Some((earlier, at)) = stands[place].replace((kind, line)) {
                let also = if earlier == kind {
                    format!("which line {at} names already")
                } else {
                    format!("which line {at} of `{earlier}_idx-{number}.txt` names too: it is in both parts")
                };
                return Err(text.bad(format!("line {line} names graph {place}, {also}")));
            }
            indices.push(place);
        }
        if indices.is_empty() {
            return Err(text.bad("it names no graph"));
        }
        Ok(Some(indices))
    };
    let held_out = list("test")?.unwrap_or_default();
    let train = list("train")?;
    let train = train.unwrap_or_else(|| (0..graphs).filter(|place| stands[*place].is_none()).collect());
    if train.is_empty() {
        return Err(text::bad(
            folder,
            format!("`test_idx-{number}.txt` holds out all {graphs} graphs; none is left to train"),
        ));
    }
    Ok(Fold { train, held_out })
}

/// Ten folds, or as many as there are graphs where those are fewer, in which every class is spread evenly. A single graph is
/// never held out.
pub(crate) fn drawn(classes: &[u32]) -> Vec<Fold> {
    let count = classes.len();
    let folds = FOLDS.min(count);
    let mut rng = rng(SEED, Stream::Judge, 0, 0);
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, rng.random_range(0..=last as u64) as usize);
    }
    // Stable: shuffled within each class. Dealt out without a break, so that sizes differ by one at most.
    order.sort_by_key(|&graph| classes[graph]);
    let mut fold_of = vec![0; count];
    for (place, graph) in order.into_iter().enumerate() {
        fold_of[graph] = place % folds.max(1);
    }
    (0..folds)
        .map(|fold| {
            let (held_out, train): (Vec<usize>, Vec<usize>) = (0..count).partition(|&graph| fold_of[graph] == fold);
            if train.is_empty() { Fold { train: held_out, held_out: train } } else { Fold { train, held_out } }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_folds_hold_every_graph_out_once_and_spread_every_class() {
        let classes: Vec<u32> = (0..187).map(|graph| u32::from(graph % 3 == 0)).collect();
        let folds = drawn(&classes);
        assert_eq!(folds.len(), 10);
        let mut all: Vec<usize> = folds.iter().flat_map(|fold| fold.held_out.clone()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..187).collect::<Vec<_>>());
        for fold in &folds {
            assert!((18..=19).contains(&fold.held_out.len()));
            assert_eq!(fold.train.len() + fold.held_out.len(), 187);
            // 63 of class 1.
            let ones = fold.held_out.iter().filter(|graph| classes[**graph] == 1).count();
            assert!((6..=7).contains(&ones), "{ones}");
        }
        // In turn would be no draw.
        assert!(folds[0].held_out.windows(2).any(|pair| pair[1] - pair[0] != 10));
    }

    #[test]
    fn few_graphs_make_as_many_folds_and_one_graph_is_learned_from() {
        let folds = drawn(&[0, 1, 0]);
        assert_eq!(folds.len(), 3);
        assert!(folds.iter().all(|fold| (fold.train.len(), fold.held_out.len()) == (2, 1)));
        assert_eq!(drawn(&[4]), [Fold { train: vec![0], held_out: vec![] }]);
    }
}
