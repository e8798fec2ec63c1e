//! An encoder's tokens of samples by blocks: those that memory has room for are kept, the others are made again when their turn comes.
//!
//! Tokens are rounded to bf16 (the released evaluations compute features in it), kept or not, and a block is always the same
//! samples in the same order: no figure depends on what is kept.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::{DataError, Modality, Part, for_places};
use foretell_eval::EvalError;
use foretell_nn::Tokens;
use foretell_ops::{self as ops, Sets};

use crate::TrainError;

/// Tokens of some samples in bf16.
pub struct Packed {
    values: Vec<u16>,
    width: usize,
    lengths: Vec<usize>,
    places: Vec<usize>,
}

/// The nearest number of bf16, of two equally near ones the even.
fn halved(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

fn widened(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

impl Packed {
    /// Of the samples at these places.
    pub fn of(tokens: &Tokens, places: Vec<usize>) -> Result<Self, EvalError> {
        let [_, width] = tokens.rows.dims();
        let values = ops::values(tokens.rows.clone());
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let (row, dimension) = (at / width.max(1), at % width.max(1));
            return Err(EvalError::NotFinite { row, dimension, value: values[at].to_string() });
        }
        let lengths = (0..tokens.sets.count()).map(|set| tokens.sets.range(set).len()).collect();
        Ok(Self { values: values.into_iter().map(halved).collect(), width, lengths, places })
    }

    /// Where its samples lie in their part.
    pub fn places(&self) -> &[usize] {
        &self.places
    }

    /// D.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The mean of each sample's tokens.
    pub fn means(&self) -> Vec<Vec<f32>> {
        let mut rows = self.values.chunks_exact(self.width.max(1));
        let mean = |len: &usize| {
            let mut sum = vec![0.0_f32; self.width];
            for row in rows.by_ref().take(*len) {
                sum.iter_mut().zip(row).for_each(|(sum, half)| *sum += widened(*half));
            }
            sum.into_iter().map(|sum| sum / (*len).max(1) as f32).collect()
        };
        self.lengths.iter().map(mean).collect()
    }

    fn bytes(&self) -> usize {
        size_of_val(self.values.as_slice()) + size_of_val(self.lengths.as_slice())
    }
}

/// The tokens of several blocks, gathered for a pass.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) blocks: usize,
    pub(crate) places: Vec<usize>,
    values: Vec<f32>,
    width: usize,
    lengths: Vec<usize>,
}

impl Batch {
    /// Of one block.
    pub(crate) fn of(packed: &Packed) -> Self {
        let mut batch = Self::default();
        batch.add(packed);
        batch
    }

    pub(crate) fn add(&mut self, packed: &Packed) {
        self.blocks += 1;
        self.width = packed.width;
        self.places.extend(&packed.places);
        self.lengths.extend(&packed.lengths);
        self.values.extend(packed.values.iter().map(|half| widened(*half)));
    }

    /// `[T, D]`, and where each sample's begin.
    pub(crate) fn rows(&mut self, device: &Device) -> (Tensor<2>, Sets) {
        let rows = self.values.len() / self.width.max(1);
        let values = TensorData::new(std::mem::take(&mut self.values), [rows, self.width]);
        (Tensor::from_data(values, device), Sets::of_lengths(&self.lengths))
    }
}

/// Tokens of a set of samples, in blocks that are always the same.
pub trait TokenSets {
    /// How many blocks.
    fn blocks(&self) -> usize;

    /// Hands out these blocks in this order.
    fn each(&self, order: &[usize], take: &mut dyn FnMut(&Packed) -> Result<(), TrainError>) -> Result<(), TrainError>;
}

/// How samples become tokens.
pub struct Encoding<'a, M: Modality> {
    /// The data.
    pub data: &'a Arc<M>,
    /// Threads that read samples.
    pub threads: usize,
    /// Prepared samples → their tokens.
    pub encode: &'a dyn Fn(&[&M::Sample]) -> Tokens,
}

impl<M: Modality> Encoding<'_, M> {
    /// Encodes samples of a part block by block; `take` is given each block, and names are returned of those that cannot be read.
    pub fn stream(
        &self,
        part: Part,
        blocks: &[&[usize]],
        take: &mut dyn FnMut(Packed) -> Result<(), TrainError>,
    ) -> Result<Vec<String>, TrainError> {
        let places: Arc<[usize]> = blocks.concat().into();
        let (mut at, mut met) = (0, 0);
        let (mut samples, mut read, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        for_places(self.data, part, places, self.threads, |place, sample| -> Result<(), TrainError> {
            match sample {
                Ok(sample) => {
                    samples.push(sample);
                    read.push(place);
                }
                Err(_) => skipped.push(self.data.meta(part, place)?.name),
            }
            met += 1;
            if blocks.get(at).is_some_and(|block| met == block.len()) {
                (at, met) = (at + 1, 0);
                if !samples.is_empty() {
                    let tokens = (self.encode)(&samples.iter().collect::<Vec<_>>());
                    samples.clear();
                    take(Packed::of(&tokens, std::mem::take(&mut read))?)?;
                }
            }
            Ok(())
        })?;
        Ok(skipped)
    }
}

/// Tokens of samples of the training part.
pub struct TokenBlocks<'a, M: Modality> {
    encoding: &'a Encoding<'a, M>,
    /// Places of the samples that can be read.
    blocks: Vec<Vec<usize>>,
    held: Vec<Option<Packed>>,
}

impl<'a, M: Modality> TokenBlocks<'a, M> {
    /// Encodes the samples at these places once, `block` at a time. As many blocks are kept as `memory` bytes have room for, and what
    /// they take is taken from it; `look` sees each, and names are returned of samples that cannot be read.
    pub fn open(
        encoding: &'a Encoding<'a, M>,
        places: &[usize],
        block: usize,
        memory: &mut usize,
        look: &mut dyn FnMut(&Packed),
    ) -> Result<(Self, Vec<String>), TrainError> {
        let (mut blocks, mut held) = (Vec::new(), Vec::new());
        let asked: Vec<&[usize]> = places.chunks(block.max(1)).collect();
        let skipped = encoding.stream(Part::Train, &asked, &mut |packed| {
            look(&packed);
            blocks.push(packed.places.clone());
            let left = memory.checked_sub(packed.bytes());
            *memory = left.unwrap_or(*memory);
            held.push(left.is_some().then_some(packed));
            Ok(())
        })?;
        Ok((Self { encoding, blocks, held }, skipped))
    }

    /// Hands out blocks that are kept, up to the next that is not.
    fn serve(
        &self,
        order: &mut std::slice::Iter<'_, usize>,
        take: &mut dyn FnMut(&Packed) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        while let Some(packed) = order.as_slice().first().and_then(|block| self.held[*block].as_ref()) {
            order.next();
            take(packed)?;
        }
        Ok(())
    }

    /// Samples that can be read.
    pub fn samples(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum()
    }
}

impl<M: Modality> TokenSets for TokenBlocks<'_, M> {
    fn blocks(&self) -> usize {
        self.blocks.len()
    }

    fn each(&self, order: &[usize], take: &mut dyn FnMut(&Packed) -> Result<(), TrainError>) -> Result<(), TrainError> {
        let missing = order.iter().filter(|block| self.held[**block].is_none());
        let missing: Vec<&[usize]> = missing.map(|block| self.blocks[*block].as_slice()).collect();
        let mut order = order.iter();
        self.serve(&mut order, take)?;
        if missing.is_empty() {
            return Ok(());
        }
        let lost = self.encoding.stream(Part::Train, &missing, &mut |packed| {
            // Its turn: what is kept before it has been handed out.
            order.next();
            take(&packed)?;
            self.serve(&mut order, take)
        })?;
        lost.first().map_or(Ok(()), |name| {
            let what = format!("`{name}` could be read a moment ago, and can no longer be read");
            Err(DataError::Setting(what).into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_to_the_nearest() {
        for exact in [0.0, -1.5, 256.0, 1.007_812_5] {
            assert_eq!(widened(halved(exact)), exact);
        }
        // 1 + 1/256 lies between 1 and 1 + 1/128: the even one; a little more goes up.
        assert_eq!(widened(halved(1.0 + 1.0 / 256.0)), 1.0);
        assert_eq!(widened(halved(1.004)), 1.007_812_5);
        assert_eq!(widened(halved(1.0 + 3.0 / 256.0)), 1.015_625);
    }

    #[test]
    fn a_batch_is_its_blocks_one_after_the_other() {
        let tokens = |values: [f32; 6], lengths: &[usize]| Tokens {
            rows: Tensor::<1>::from_floats(values, &Device::flex()).reshape([3, 2]),
            sets: Sets::of_lengths(lengths),
            grid: None,
        };
        let a = Packed::of(&tokens([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 1]), vec![7, 3]).unwrap();
        let b = Packed::of(&tokens([0.5, 0.0, 0.25, 0.0, 2.0, 0.0], &[3]), vec![9]).unwrap();
        assert_eq!((a.means(), b.means()), (vec![vec![2.0, 3.0], vec![5.0, 6.0]], vec![vec![2.75 / 3.0, 0.0]]));
        let mut batch = Batch::of(&b);
        batch.add(&a);
        let (rows, sets) = batch.rows(&Device::flex());
        assert_eq!((rows.dims(), sets), ([6, 2], Sets::of_lengths(&[3, 2, 1])));
        assert_eq!((batch.blocks, batch.places), (2, vec![9, 7, 3]));
        assert_eq!(ops::values(rows)[6..], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let error = Packed::of(&tokens([0.0, 0.0, 0.0, f32::NAN, 0.0, 0.0], &[3]), vec![0]).err().unwrap();
        assert_eq!(error, EvalError::NotFinite { row: 1, dimension: 1, value: "NaN".into() });
    }
}
