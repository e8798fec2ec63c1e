//! Where the channels of pictures lie, told from what is possible: shapes alone say it for nearly all that people save.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The order of a picture's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// `[H, W, C]`, as pictures are decoded.
    ChannelsLast,
    /// `[C, H, W]`, as PyTorch takes them.
    ChannelsFirst,
}

impl fmt::Display for Layout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::ChannelsLast => "channels-last",
            Self::ChannelsFirst => "channels-first",
        })
    }
}

/// More are most likely a side.
const MOST_CHANNELS: usize = 16;

impl Layout {
    /// `[C, H, W]` of a picture with these axes.
    pub(crate) fn channels_first(self, [a, b, c]: [usize; 3]) -> [usize; 3] {
        match self {
            Self::ChannelsLast => [c, a, b],
            Self::ChannelsFirst => [a, b, c],
        }
    }

    /// The layout of pictures with these axes; nothing where both are as likely. Grey, colour and colour with a fourth
    /// channel (1, 3 and 4) tell most. Of two readings that have them, the one with square pictures is taken; without any,
    /// the one with few channels of square pictures (stacked frames); and where nothing speaks for either, channels are last.
    pub(crate) fn of(axes @ [first, _, last]: [usize; 3]) -> Option<Self> {
        let usual = |channels: usize| matches!(channels, 1 | 3 | 4);
        let square = |layout: Self| {
            let [_, height, width] = layout.channels_first(axes);
            height == width
        };
        let few = |layout: Self| {
            let [channels, height, width] = layout.channels_first(axes);
            channels <= MOST_CHANNELS && channels < height.min(width)
        };
        let prefer = |last: u8, first: u8| match last.cmp(&first) {
            std::cmp::Ordering::Greater => Some(Self::ChannelsLast),
            std::cmp::Ordering::Less => Some(Self::ChannelsFirst),
            std::cmp::Ordering::Equal => None,
        };
        let both = [Self::ChannelsLast, Self::ChannelsFirst];
        match (usual(last), usual(first)) {
            (true, false) => Some(Self::ChannelsLast),
            (false, true) => Some(Self::ChannelsFirst),
            // A single row or column of pixels.
            (true, true) if first == 1 && last == 1 => Some(Self::ChannelsLast),
            (true, true) => {
                let [last, first] = both.map(|layout| u8::from(square(layout)));
                prefer(last, first)
            }
            (false, false) => {
                let [last, first] = both.map(|layout| 2 * u8::from(few(layout)) + u8::from(square(layout)));
                if last + first == 0 { Some(Self::ChannelsLast) } else { prefer(last, first) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_lie_where_they_are_possible() {
        use Layout::{ChannelsFirst, ChannelsLast};
        for (axes, layout) in [
            ([64, 64, 3], Some(ChannelsLast)),
            ([3, 64, 64], Some(ChannelsFirst)),
            ([4, 84, 84], Some(ChannelsFirst)),
            ([84, 84, 4], Some(ChannelsLast)),
            ([1, 28, 28], Some(ChannelsFirst)),
            ([28, 28, 1], Some(ChannelsLast)),
            ([9, 84, 84], Some(ChannelsFirst)),
            ([84, 84, 9], Some(ChannelsLast)),
            ([2, 60, 80], Some(ChannelsFirst)),
            ([3, 60, 80], Some(ChannelsFirst)),
            ([7, 7, 3], Some(ChannelsLast)),
            ([2, 3, 3], Some(ChannelsLast)),
            ([4, 4, 3], Some(ChannelsLast)),
            ([3, 4, 4], Some(ChannelsFirst)),
            ([8, 8, 12], Some(ChannelsLast)),
            ([1, 40, 1], Some(ChannelsLast)),
            ([20, 30, 40], Some(ChannelsLast)),
            ([3, 3, 3], None),
            ([3, 64, 3], None),
            ([1, 64, 3], None),
            ([64, 64, 64], None),
        ] {
            assert_eq!(Layout::of(axes), layout, "{axes:?}");
        }
    }
}
