//! A run's encoder as commands see it: samples of its kind of data at any paths, prepared as in training.

use std::any::Any;
use std::ops::Range;
use std::path::PathBuf;

use foretell_data::{DataError, Film, Image, Meta, Modality, Part, Unit};
use foretell_eval::{Encoder, Pool, Samples};
use foretell_nn::Encode;
use foretell_ops as ops;
use rayon::prelude::*;
use serde_json::Value;

/// See the module.
pub(crate) struct RunEncoder<D: Modality> {
    encoder: Box<dyn Encode<D::Sample>>,
    config: D::Config,
    about: Value,
}

impl<D: Modality> RunEncoder<D> {
    /// Of a kept encoder and the resolved settings of the data that it learnt from.
    pub(crate) fn new(encoder: Box<dyn Encode<D::Sample>>, config: D::Config, about: Value) -> Self {
        Self { encoder, config, about }
    }
}

impl<D: Modality> Encoder for RunEncoder<D> {
    fn about(&self) -> Value {
        self.about.clone()
    }

    fn open(&self, paths: &[PathBuf]) -> Result<Box<dyn Samples + '_>, DataError> {
        Ok(Box::new(Opened { data: D::of_paths(&self.config, paths)?, encoder: self.encoder.as_ref() }))
    }

    fn width(&self) -> usize {
        self.encoder.width()
    }

    fn network(&self) -> &dyn Any {
        self.encoder.network()
    }
}

/// Samples that a thread reads together.
const TOGETHER: usize = 8;

struct Opened<'a, D: Modality> {
    data: D,
    encoder: &'a dyn Encode<D::Sample>,
}

impl<D: Modality> Samples for Opened<'_, D> {
    fn len(&self) -> usize {
        self.data.len(Part::Train).unwrap_or(0)
    }

    fn unit(&self) -> Unit {
        D::UNIT
    }

    fn notes(&self) -> Vec<String> {
        self.data.cautions()
    }

    fn meta(&self, index: usize) -> Result<Meta, DataError> {
        self.data.meta(Part::Train, index)
    }

    fn features(&self, rows: Range<usize>, pool: Pool) -> Vec<Result<Vec<f32>, DataError>> {
        let data = &self.data;
        let rows: Vec<usize> = rows.collect();
        let load = |rows: &[usize]| -> Vec<Result<D::Sample, DataError>> {
            let samples = data.load_many(Part::Train, rows).into_iter();
            samples.map(|sample| sample.map(|sample| data.prepare(sample))).collect()
        };
        let loaded: Vec<Result<D::Sample, DataError>> = rows.par_chunks(TOGETHER).flat_map_iter(load).collect();
        let good: Vec<&D::Sample> = loaded.iter().flatten().collect();
        let mut features = if good.is_empty() { Vec::new() } else { self.rows(&good, pool) }.into_iter();
        let row = |sample: Result<D::Sample, DataError>| sample.map(|_| features.next().unwrap_or_default());
        loaded.into_iter().map(row).collect()
    }

    fn picture(&self, index: usize) -> Option<Image> {
        self.data.picture(&self.data.load(Part::Train, index).ok()?)
    }

    fn film(&self, index: usize) -> Option<Film> {
        self.data.film(&self.data.load(Part::Train, index).ok()?)
    }
}

impl<D: Modality> Opened<'_, D> {
    /// Features of prepared samples, one row each.
    fn rows(&self, samples: &[&D::Sample], pool: Pool) -> Vec<Vec<f32>> {
        let equal = |values: Vec<f32>| {
            let width = values.len() / samples.len();
            values.chunks_exact(width.max(1)).map(<[f32]>::to_vec).collect()
        };
        match pool {
            Pool::Sample => equal(ops::values(self.encoder.tokens(samples).mean())),
            Pool::Probed => equal(ops::values(self.encoder.probed(samples))),
            Pool::Tokens => {
                let tokens = self.encoder.tokens(samples);
                let ([_, width], sets) = (tokens.rows.dims(), tokens.sets);
                let values = ops::values(tokens.rows);
                let set = |set| {
                    let Range { start, end } = sets.range(set);
                    values[start * width..end * width].to_vec()
                };
                (0..sets.count()).map(set).collect()
            }
        }
    }
}
