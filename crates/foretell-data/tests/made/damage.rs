//! Damage to valid files, a function of the seed: what a reader must survive with a sentence. `FORETELL_DAMAGE_CASES` asks for
//! more cases than a test does by itself.

#![allow(dead_code, reason = "each test binary uses its own share")]

use std::panic::{AssertUnwindSafe, catch_unwind};

/// A small generator (SplitMix64), so that a case can be had again by its number.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// A place in a file: its beginning and its end, where headers and directories are, come as often as all the rest.
fn place(draw: &mut Draw, length: usize) -> usize {
    match draw.below(4) {
        0 => draw.below(length.min(256)),
        1 => length.saturating_sub(1 + draw.below(length.min(256))),
        _ => draw.below(length),
    }
}

/// The file with one to four damages.
pub(crate) fn damaged(draw: &mut Draw, files: &[Vec<u8>]) -> Vec<u8> {
    const LOUD: [u64; 8] = [0, 1, 0x7F, 0xFF, 0x7FFF_FFFF, 0xFFFF_FFFF, u64::MAX >> 1, u64::MAX];
    let mut bytes = files[draw.below(files.len())].clone();
    for _ in 0..=draw.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = place(draw, bytes.len());
        match draw.below(8) {
            0..=2 => bytes[at] ^= 1 << draw.below(8),
            3 => bytes.truncate(at),
            4 => {
                let (loud, width) = (LOUD[draw.below(LOUD.len())].to_le_bytes(), 1 << draw.below(4));
                let big_endian = draw.below(2) == 0;
                for (i, byte) in bytes[at..].iter_mut().take(width).enumerate() {
                    *byte = loud[if big_endian { width - 1 - i } else { i }];
                }
            }
            5 => {
                let other = &files[draw.below(files.len())];
                let from = place(draw, other.len());
                let part = &other[from..other.len().min(from + 1 + draw.below(64))];
                let end = if draw.below(2) == 0 { at } else { bytes.len().min(at + part.len()) };
                bytes.splice(at..end, part.iter().copied());
            }
            6 => {
                let end = bytes.len().min(at + 1 + draw.below(32));
                bytes.drain(at..end);
            }
            // Text headers: another digit, from here on the first.
            _ => {
                if let Some(digit) = bytes[at..].iter_mut().take(64).find(|byte| byte.is_ascii_digit()) {
                    *digit = b'0' + draw.below(10) as u8;
                }
            }
        }
    }
    bytes
}

/// How many cases to try.
pub(crate) fn cases(by_itself: usize) -> usize {
    std::env::var("FORETELL_DAMAGE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(by_itself)
}

/// Calls `read` with damaged files; whatever it answers is right, unless it panics or the process has come to hold more than
/// `most` bytes.
pub(crate) fn survives(seed: u64, files: &[Vec<u8>], by_itself: usize, most: u64, mut read: impl FnMut(&[u8])) {
    for case in 0..cases(by_itself) {
        let mut draw = Draw::new(seed ^ (case as u64).wrapping_mul(0xD134_2543_DE82_EF95));
        let bytes = damaged(&mut draw, files);
        let outcome = catch_unwind(AssertUnwindSafe(|| read(&bytes)));
        assert!(outcome.is_ok(), "case {case} of seed {seed} panicked on {} bytes: {:02x?}", bytes.len(), &bytes);
    }
    if let Some(peak) = peak_bytes() {
        assert!(peak < most, "the process held {peak} bytes at its highest");
    }
}

/// The most that the process held, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}
