//! The sizes of the released encoders, by the names that the official code gives them.

use super::official::Release;
use crate::clip_vit::{ClipVitConfig, Positions};

/// Lengths of a released encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Its official name.
    pub name: &'static str,
    /// Token width.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the MLP: 4 times the width, of the giant ones 48/11 and of the gigantic ones 64/13.
    pub hidden: usize,
}

const fn size(name: &'static str, [width, depth, heads, hidden]: [usize; 4]) -> Size {
    Size { name, width, depth, heads, hidden }
}

/// All of them, the ones of equal width beside each other.
pub const SIZES: [Size; 9] = [
    size("vit_tiny", [192, 12, 3, 768]),
    size("vit_small", [384, 12, 6, 1536]),
    size("vit_base", [768, 12, 12, 3072]),
    size("vit_large", [1024, 24, 16, 4096]),
    size("vit_huge", [1280, 32, 16, 5120]),
    size("vit_giant", [1408, 40, 16, 6144]),
    size("vit_giant_xformers", [1408, 40, 22, 6144]),
    size("vit_gigantic", [1664, 48, 16, 8192]),
    size("vit_gigantic_xformers", [1664, 48, 26, 8192]),
];

impl Size {
    /// The size of this official name.
    pub fn named(name: &str) -> Option<Self> {
        SIZES.into_iter().find(|size| size.name == name)
    }

    /// The size of this width among a release's files: of the giant and gigantic ones, V-JEPA 2 and 2.1 took those with smaller heads.
    pub fn of_width(width: usize, release: Release) -> Option<Self> {
        let mut sizes = SIZES.into_iter().filter(|size| size.width == width);
        match release {
            Release::IJepa | Release::VJepa => sizes.next(),
            Release::VJepa2 | Release::VJepa2Ac | Release::VJepa21 => sizes.next_back(),
        }
    }

    /// An encoder of this size over colour clips.
    pub fn encoder(self, tubelet: usize, patch: usize, positions: Positions) -> ClipVitConfig {
        let Self { width, depth, heads, hidden, .. } = self;
        ClipVitConfig { patch, tubelet, channels: 3, width, depth, heads, hidden, eps: 1e-6, positions, dense: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vit;

    #[test]
    fn the_dial_has_the_same_sizes() {
        let dial =
            [vit::Size::Tiny, vit::Size::Small, vit::Size::Base, vit::Size::Large, vit::Size::Huge, vit::Size::Giant];
        for (size, dial) in SIZES.iter().zip(dial) {
            assert_eq!((size.width, size.depth, size.heads, size.hidden), dial.dimensions(), "{}", size.name);
        }
    }

    #[test]
    fn widths_name_their_release_and_hidden_widths_their_ratios() {
        let named = |width, release| Size::of_width(width, release).map(|size| size.name);
        assert_eq!(named(1408, Release::IJepa), Some("vit_giant"));
        assert_eq!(named(1408, Release::VJepa2), Some("vit_giant_xformers"));
        assert_eq!(named(1664, Release::VJepa21), Some("vit_gigantic_xformers"));
        assert_eq!(named(1024, Release::VJepa2Ac), Some("vit_large"));
        assert_eq!(named(1000, Release::VJepa2), None);
        for size in SIZES {
            let ratio = match size.width {
                1408 => 48.0 / 11.0,
                1664 => 64.0 / 13.0,
                _ => 4.0,
            };
            assert_eq!(size.hidden, (size.width as f64 * ratio).round() as usize, "{}", size.name);
            assert_eq!(size.width % size.heads, 0, "{}", size.name);
        }
    }
}
