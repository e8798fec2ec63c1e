//! Blocks whose maps are laid out once, for encoders that are used and no longer trained.

use std::sync::Arc;

use burn::Tensor;
use burn::backend::Flex;
use burn_flex::FlexTensor;

use super::{BlockWeights, MapWeights, Maps, Shape, Weights, pass};
use crate::flex::{contiguous, is_fused, slice, tensor};
use crate::precision::Precision;
use crate::sets::Sets;
use crate::turns::Turns;

/// A block's maps laid out once, for an encoder that is used and no longer trained: otherwise each pass does it anew, which for
/// one image costs a tenth or more. Weights that have changed since are noticed, and the layout is then passed over.
#[derive(Clone)]
pub struct PackedBlock(Arc<(Maps, [FlexTensor; 4])>);

impl PackedBlock {
    /// Of these weights; `None` where the fused body does not run.
    pub fn of(weights: &BlockWeights) -> Option<Self> {
        let w = weights;
        let tensors = [plain(&w.qkv.0)?, plain(&w.proj.0)?, plain(&w.fc1.0)?, plain(&w.fc2.0)?];
        let [qkv, proj, fc1, fc2] = tensors.each_ref().map(slice);
        let [width, hidden] = [w.proj.0.dims()[0], w.fc1.0.dims()[0]];
        let maps = Maps::of(MapWeights { qkv, proj, fc1, fc2, width, hidden }, true);
        Some(Self(Arc::new((maps, tensors))))
    }

    /// The layout, if it is of these very values: storage that is held here is written by nobody.
    pub(super) fn maps_of(&self, w: MapWeights<'_>) -> Option<&Maps> {
        let (maps, tensors) = self.0.as_ref();
        let same = tensors.iter().zip([w.qkv, w.proj, w.fc1, w.fc2]).all(|(t, values)| std::ptr::eq(slice(t), values));
        same.then_some(maps)
    }
}

/// A block for use alone, which holds its maps in fewer bits and nothing else of them: the tensors that it was made of may go.
#[derive(Clone)]
pub struct LeanBlock(Arc<Lean>);

struct Lean {
    maps: Maps,
    norm1: [Vec<f32>; 2],
    norm2: [Vec<f32>; 2],
    /// Of queries, keys and values, after attention, and of the MLP's two maps.
    biases: [Vec<f32>; 4],
}

impl LeanBlock {
    /// Of these weights; `None` in f32, and where the fused body does not run.
    pub fn of(weights: &BlockWeights, precision: Precision) -> Option<Self> {
        let w = weights;
        if precision == Precision::F32 {
            return None;
        }
        let [qkv, proj, fc1, fc2] = [plain(&w.qkv.0)?, plain(&w.proj.0)?, plain(&w.fc1.0)?, plain(&w.fc2.0)?];
        let [width, hidden] = [w.proj.0.dims()[0], w.fc1.0.dims()[0]];
        let maps =
            MapWeights { qkv: slice(&qkv), proj: slice(&proj), fc1: slice(&fc1), fc2: slice(&fc2), width, hidden };
        let maps = Maps::at(maps, true, precision);
        let values = |t: &Tensor<1>| crate::values(t.clone());
        let norm = |(gain, bias): &(Tensor<1>, Tensor<1>)| [values(gain), values(bias)];
        let biases = [&w.qkv.1, &w.proj.1, &w.fc1.1, &w.fc2.1].map(values);
        Some(Self(Arc::new(Lean { maps, norm1: norm(&w.norm1), norm2: norm(&w.norm2), biases })))
    }

    /// [`turned_block`](crate::turned_block) with these maps, without gradients.
    ///
    /// # Panics
    /// If `x` is not f32 on the CPU, or rows or heads differ from the sets' or the turns'.
    pub fn forward(&self, x: Tensor<2>, sets: &Sets, turns: Option<&Turns>, heads: usize, eps: f64) -> Tensor<2> {
        let lean = self.0.as_ref();
        let [rows, width] = x.dims();
        let [qkv, proj, fc1, fc2] = &lean.biases;
        assert_eq!((rows, width), (sets.rows(), proj.len()), "rows and sets differ, or rows of another width");
        let fits = |turns: &Turns| turns.rows() == rows && turns.head() * heads == width;
        assert!(turns.is_none_or(fits), "rows or heads differ from the turns'");
        let x = plain(&x).expect("values in f32 on the CPU");
        let none: &[f32] = &[];
        let [[gain1, bias1], [gain2, bias2]] = [&lean.norm1, &lean.norm2];
        let w = Weights {
            norm1: [gain1, bias1],
            qkv: [none, qkv],
            proj: [none, proj],
            norm2: [gain2, bias2],
            fc1: [none, fc1],
            fc2: [none, fc2],
            width,
            hidden: fc1.len(),
            eps: eps as f32,
        };
        let shape =
            Shape { sets: sets.clone(), turns: turns.cloned(), heads, eps: eps as f32, qk_eps: None, packed: None };
        let (y, _) = pass(&w, &lean.maps, slice(&x), &shape, false);
        Tensor::from_primitive::<Flex>(tensor(y, [rows, width]))
    }
}

impl std::fmt::Debug for LeanBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeanBlock")
    }
}

/// The values of a tensor that the fused body takes, tracked or not.
fn plain(t: &Tensor<2>) -> Option<FlexTensor> {
    let t = if t.device().is_autodiff() { t.clone().inner() } else { t.clone() };
    is_fused(&t).then(|| contiguous(t.try_into_primitive::<Flex>().expect("an untracked tensor on Flex")))
}

impl std::fmt::Debug for PackedBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PackedBlock")
    }
}
