//! Batches of spectrograms for the [masked composition](crate::masked): a part of each recording, cut into patches, and who sees which.

use burn::module::Module;
use burn::tensor::Device;
use foretell_data::random::{Stream, rng};
use foretell_data::sound::{ShortSounds, SoundSample};
use foretell_data::{Collate, DataError, Normalise};
use foretell_nn::encode::ImageNetwork;
use foretell_nn::{Encode, Frames};

use crate::masked::{MaskedBatch, OnGrid, chosen, joined};
use crate::masks::{Grid, SpectrogramMasks};
use crate::operators::cut;
use crate::sigreg::directions;

/// Makes batches: cut out, made louder or quieter, patchified, masks drawn.
pub struct SpectrogramCollator {
    /// Of the run.
    pub seed: u64,
    /// Steps of the run: the curriculum's length.
    pub steps: u64,
    /// F.
    pub bands: usize,
    /// T.
    pub frames: usize,
    /// Side of a patch, in bands and in moments.
    pub patch: usize,
    /// Decibels by which a recording is made louder or quieter at most.
    pub gain: f32,
    /// What becomes of recordings that are shorter.
    pub short: ShortSounds,
    /// Who sees which tokens.
    pub masks: SpectrogramMasks,
    /// Whether all target blocks of a sample are predicted together, each token in sight of the others; otherwise block by block.
    pub together: bool,
    /// Token width, D.
    pub width: usize,
    /// Directions along which tokens are looked at, M; 0 where no term takes any.
    pub slices: usize,
}

impl SpectrogramCollator {
    /// The part of a sample that a step takes.
    pub fn view(&self, sample: &SoundSample, step: u64, place: u64) -> SoundSample {
        let mut rng = rng(self.seed, Stream::Augment, step, place);
        sample.view(self.frames, self.gain, self.short, &mut rng)
    }
}

impl Collate for SpectrogramCollator {
    type Sample = SoundSample;
    type Batch = MaskedBatch;

    fn collate(&self, step: u64, samples: &[SoundSample]) -> Result<MaskedBatch, DataError> {
        let grid = self.grid();
        let (tokens, width) = (grid.tokens(), self.patch * self.patch);
        let drawn = self.masks.draw(grid, samples.len(), self.seed, step, self.steps);
        let masks = joined(drawn.map_err(|error| DataError::Collate(error.to_string()))?, self.together);
        let mut patches = vec![0.0; samples.len() * tokens * width];
        for (i, (sample, rows)) in samples.iter().zip(patches.chunks_exact_mut(tokens * width)).enumerate() {
            let view = self.view(sample, step, i as u64);
            cut(&view.values, (self.bands, self.frames), self.patch, rows);
        }
        let context = chosen(&patches, width, tokens, &masks.context, masks.context_len);
        let directions = directions(self.seed, step, self.width, self.slices);
        Ok(MaskedBatch { patches, context, actions: Vec::new(), masks, directions })
    }
}

impl OnGrid for SpectrogramCollator {
    fn grid(&self) -> Grid {
        Grid { rows: self.bands / self.patch, cols: self.frames / self.patch }
    }

    fn encoder<N: ImageNetwork + Module + 'static>(&self, network: N, device: &Device) -> Box<dyn Encode<SoundSample>> {
        Box::new(Frames::new(network, Normalise::nothing(1), device))
    }
}
