//! What probes are to tell of samples, and how often they are right: by samples, or by wholes of several windows.

use std::collections::BTreeMap;

use foretell_data::{DataError, Modality, Part};

/// The labels of some training samples, as classes: of each factor the labels that occur among them, ascending.
pub struct Targets {
    /// Of each factor, the label that each class stands for.
    classes: Vec<Vec<u32>>,
    /// By the sample's place.
    of: BTreeMap<usize, Vec<u32>>,
}

impl Targets {
    /// Of samples at these places of the training part.
    pub fn new<M: Modality>(data: &M, places: impl Iterator<Item = usize>) -> Result<Self, DataError> {
        let labels = places.map(|place| Ok((place, data.meta(Part::Train, place)?.labels)));
        Ok(Self::of(labels.collect::<Result<_, DataError>>()?))
    }

    /// Of labels by place, one for each factor.
    pub fn of(labels: BTreeMap<usize, Vec<u32>>) -> Self {
        let factors = labels.values().next().map_or(0, Vec::len);
        let mut classes: Vec<Vec<u32>> =
            (0..factors).map(|factor| labels.values().map(|labels| labels[factor]).collect()).collect();
        for classes in &mut classes {
            classes.sort_unstable();
            classes.dedup();
        }
        let mut of = labels;
        for labels in of.values_mut() {
            for (label, classes) in labels.iter_mut().zip(&classes) {
                *label = classes.partition_point(|class| *class < *label) as u32;
            }
        }
        Self { classes, of }
    }

    /// How many classes each factor has.
    pub fn counts(&self) -> Vec<usize> {
        self.classes.iter().map(Vec::len).collect()
    }

    /// The label that a class of a factor stands for.
    pub fn label(&self, factor: usize, class: usize) -> u32 {
        self.classes[factor][class]
    }

    /// The class of each of some samples by a factor.
    pub(crate) fn classes<'a>(&self, factor: usize, places: impl Iterator<Item = &'a usize>) -> Vec<u32> {
        places.map(|place| self.of[place][factor]).collect()
    }
}

/// Class probabilities, averaged over the windows of a whole.
#[derive(Default)]
pub struct Votes {
    wholes: BTreeMap<(u32, String), usize>,
    /// Of each factor the summed probabilities by sample or whole.
    sums: Vec<Vec<Vec<f64>>>,
    labels: Vec<Vec<u32>>,
    count: usize,
}

impl Votes {
    /// Of so many factors.
    pub fn new(factors: usize) -> Self {
        Self { sums: vec![Vec::new(); factors], labels: vec![Vec::new(); factors], ..Self::default() }
    }

    /// Adds one sample: the whole that it is of, if any; its label by each factor; and its class probabilities by each.
    pub fn add<'a>(
        &mut self,
        whole: Option<(u32, &str)>,
        labels: &[u32],
        probabilities: impl Iterator<Item = &'a [f32]>,
    ) {
        let fresh = self.count;
        let at = match whole {
            Some((group, name)) => *self.wholes.entry((group, name.to_owned())).or_insert(fresh),
            None => fresh,
        };
        self.count += usize::from(at == fresh);
        for ((sums, known), (probabilities, label)) in
            self.sums.iter_mut().zip(&mut self.labels).zip(probabilities.zip(labels))
        {
            if at == fresh {
                sums.push(vec![0.0; probabilities.len()]);
                known.push(*label);
            }
            sums[at].iter_mut().zip(probabilities).for_each(|(sum, p)| *sum += f64::from(*p));
        }
    }

    /// Samples and wholes.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The label of each sample or whole by a factor.
    pub fn labels(&self, factor: usize) -> &[u32] {
        &self.labels[factor]
    }

    /// Share of the samples and wholes whose most probable class, the lowest of equals, stands for their label. What is not a number is
    /// never right.
    pub fn accuracy(&self, factor: usize, label_of: impl Fn(usize) -> u32) -> f64 {
        let right = |(sums, label): &(&Vec<f64>, &u32)| {
            let best = (0..sums.len()).reduce(|best, class| if sums[class] > sums[best] { class } else { best });
            best.is_some_and(|best| sums[best].is_finite() && label_of(best) == **label)
        };
        let all = self.sums[factor].iter().zip(&self.labels[factor]);
        all.filter(right).count() as f64 / self.count.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_the_labels_that_occur() {
        let labels = [(4, vec![7, 0]), (9, vec![2, 0]), (1, vec![7, 1])].into_iter().collect();
        let targets = Targets::of(labels);
        assert_eq!(targets.counts(), [2, 2]);
        assert_eq!(targets.classes(0, [4, 9, 1].iter()), [1, 0, 1]);
        assert_eq!([targets.label(0, 0), targets.label(0, 1), targets.label(1, 1)], [2, 7, 1]);
    }

    #[test]
    fn windows_of_one_whole_vote_together() {
        let mut votes = Votes::new(1);
        let mut add = |whole, label: u32, p: [f32; 2]| votes.add(whole, &[label], [p.as_slice()].into_iter());
        // Two of three windows are wrong by a little, one right by far.
        add(Some((0, "a")), 1, [0.6, 0.4]);
        add(Some((0, "b")), 0, [0.4, 0.6]);
        add(Some((0, "a")), 1, [0.6, 0.4]);
        add(Some((1, "a")), 0, [0.9, 0.1]);
        add(Some((0, "a")), 1, [0.1, 0.9]);
        add(None, 0, [f32::NAN, 0.0]);
        assert_eq!((votes.count(), votes.labels(0)), (4, &[1, 0, 0, 0][..]));
        assert_eq!(votes.accuracy(0, |class| class as u32), 0.5);
    }
}
