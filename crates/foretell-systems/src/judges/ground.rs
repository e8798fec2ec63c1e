//! Which samples probes that are trained learn from, which decide among them, and which they are tested on.

use std::collections::BTreeMap;
use std::sync::Arc;

use foretell_data::random::{Stream, rng, shuffled};
use foretell_data::{Modality, Part, for_places, spread};
use foretell_train::TrainError;
use foretell_train::probing::Targets;

use super::probes::can_probe;
use crate::judging::Judging;
use crate::system::JudgeError;

/// Samples whose baseline its scale is taken from.
const SCALED: usize = 256;
/// Of so many training samples one decides and does not learn.
const TENTH: usize = 10;

/// Labelled samples of a run's data, in an order that its seed draws.
pub(super) struct Ground {
    /// Of the training part: all that probes are given.
    pub(super) train: Vec<usize>,
    /// How many of them, from the first, the attentive probe learns from; the others decide.
    fitted: usize,
    /// Of the held-out part.
    pub(super) test: Vec<usize>,
    pub(super) targets: Targets,
}

impl Ground {
    /// `None` where there are no labels or nothing is held out.
    pub(super) fn new<D: Modality>(run: &Judging<'_, D>) -> Result<Option<Self>, JudgeError> {
        if !can_probe(run) {
            return Ok(None);
        }
        let data = run.data.as_ref();
        let places: Vec<usize> = spread(data.len(Part::Train), run.train_samples()).collect();
        let order = shuffled(places.len(), &mut rng(run.on.seed, Stream::Judge, 0, 0));
        let places: Vec<usize> = order.into_iter().map(|at| places[at as usize]).collect();
        let groups = places.iter().map(|place| Ok(data.meta(Part::Train, *place)?.group));
        let groups = groups.collect::<Result<Vec<_>, foretell_data::DataError>>()?;
        let (mut train, validation) = divided(&places, &groups);
        let targets = Targets::new(data, places.iter().copied())?;
        let fitted = train.len();
        train.extend(validation);
        Ok(Some(Self { train, fitted, test: spread(data.len(Part::HeldOut), usize::MAX).collect(), targets }))
    }

    /// Samples that the attentive probe learns from, and those that decide among rates and decays.
    pub(super) fn split(&self) -> (&[usize], &[usize]) {
        self.train.split_at(self.fitted)
    }

    /// Some training samples, for the scale of a baseline.
    pub(super) fn some<D: Modality>(&self, run: &Judging<'_, D>) -> Result<Vec<D::Sample>, JudgeError> {
        let places: Arc<[usize]> = self.train[..self.fitted.min(SCALED)].into();
        let mut samples = Vec::new();
        for_places(run.data, Part::Train, places, run.on.threads, |_, sample| -> Result<(), TrainError> {
            samples.extend(sample.ok());
            Ok(())
        })?;
        Ok(samples)
    }
}

/// A tenth, or one, decides, the last of them. All of a group stand on one side, unless there is but one group.
fn divided(places: &[usize], groups: &[Option<u32>]) -> (Vec<usize>, Vec<usize>) {
    let wanted = (places.len() / TENTH).max(1);
    let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
    groups.iter().flatten().for_each(|group| *sizes.entry(*group).or_default() += 1);
    // Whole groups as they come from the end, as long as they leave half of the samples.
    let mut taken: BTreeMap<u32, bool> = BTreeMap::new();
    let (mut fitted, mut decide) = (Vec::new(), Vec::new());
    let mut count = 0;
    for (place, group) in places.iter().zip(groups).rev() {
        let size = group.map_or(1, |group| sizes[&group]);
        let fits = count < wanted && 2 * (count + size) <= places.len().max(2);
        let mut take = || {
            count += if fits { size } else { 0 };
            fits
        };
        let takes = match group {
            Some(group) => *taken.entry(*group).or_insert_with(take),
            None => take(),
        };
        if takes { decide.push(*place) } else { fitted.push(*place) }
    }
    if decide.is_empty() {
        let (fitted, decide) = places.split_at(places.len() - wanted);
        return (fitted.to_vec(), decide.to_vec());
    }
    fitted.reverse();
    decide.reverse();
    (fitted, decide)
}

#[cfg(test)]
mod tests {
    use super::divided;

    #[test]
    fn a_tenth_decides_and_groups_stay_together() {
        let places: Vec<usize> = (0..100).collect();
        let (fitted, decide) = divided(&places, &[None; 100]);
        assert_eq!((fitted, decide), ((0..90).collect(), (90..100).collect()));
        let groups: Vec<Option<u32>> = (0..100).map(|place| Some(place % 7)).collect();
        let (fitted, decide) = divided(&places, &groups);
        assert_eq!(fitted.len() + decide.len(), 100);
        assert!((10..=15).contains(&decide.len()), "{decide:?}");
        assert!(fitted.iter().all(|place| decide.iter().all(|other| place % 7 != other % 7)));
        // One group, or one that is nearly all: samples are divided.
        for groups in [vec![Some(4); 100], (0..100).map(|place| Some(u32::from(place == 0))).collect()] {
            let (fitted, decide) = divided(&places, &groups);
            assert!(!decide.is_empty() && fitted.len() >= 90, "{} and {}", fitted.len(), decide.len());
        }
        assert_eq!(divided(&[3, 4], &[None; 2]), (vec![3], vec![4]));
    }
}
