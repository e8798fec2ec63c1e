//! A sample of clips: some frames in their order.

use std::sync::Arc;

use rand::Rng;

use crate::images::transform::fit;
use crate::{Augment, Image};

/// T frames of one size.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipSample {
    /// `[T]` images.
    pub frames: Arc<[Image]>,
}

impl ClipSample {
    /// Of these frames.
    pub fn new(frames: Vec<Image>) -> Self {
        Self { frames: frames.into() }
    }

    /// One view of the clip, `[T]` images of `size` × `size`: every frame has the same crop, flip, change of colours and blur.
    pub fn view(&self, augment: &Augment, size: usize, rng: &mut (impl Rng + Clone)) -> Self {
        let before = rng.clone();
        let view = |frame: &Image| {
            *rng = before.clone();
            augment.apply(frame, size, rng)
        };
        Self { frames: self.frames.iter().map(view).collect() }
    }

    /// The middle of each frame, brought to `size` × `size`.
    pub fn fit(&self, size: usize) -> Self {
        if self.frames.iter().all(|frame| (frame.width, frame.height) == (size, size)) {
            return self.clone();
        }
        Self { frames: self.frames.iter().map(|frame| fit(frame, size)).collect() }
    }
}
