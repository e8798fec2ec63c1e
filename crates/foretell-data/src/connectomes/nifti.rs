//! NIfTI-1: one file (`.nii`, `.nii.gz`) or a header and its image (`.hdr`, `.img`), in either byte order, read volume by volume.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::DataError;
use crate::connectomes::bad;

/// Bytes of the header.
const HEADER: usize = 348;
/// Voxels of a volume at most: a head in half millimetres has a tenth.
const MOST: u64 = 1 << 28;

/// How a voxel is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    U8,
    I8,
    I16,
    U16,
    I32,
    U32,
    I64,
    F32,
    F64,
}

impl Number {
    fn of(code: i16) -> Option<Self> {
        Some(match code {
            2 => Self::U8,
            4 => Self::I16,
            8 => Self::I32,
            16 => Self::F32,
            64 => Self::F64,
            256 => Self::I8,
            512 => Self::U16,
            768 => Self::U32,
            1024 => Self::I64,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    fn read(self, bytes: &[u8], big: bool) -> f64 {
        let mut own = [0_u8; 8];
        for (place, byte) in bytes.iter().enumerate() {
            own[if big { bytes.len() - 1 - place } else { place }] = *byte;
        }
        let [a, b, c, d, ..] = own;
        match self {
            Self::U8 => f64::from(a),
            Self::I8 => f64::from(a as i8),
            Self::I16 => f64::from(i16::from_le_bytes([a, b])),
            Self::U16 => f64::from(u16::from_le_bytes([a, b])),
            Self::I32 => f64::from(i32::from_le_bytes([a, b, c, d])),
            Self::U32 => f64::from(u32::from_le_bytes([a, b, c, d])),
            Self::I64 => i64::from_le_bytes(own) as f64,
            Self::F32 => f64::from(f32::from_le_bytes([a, b, c, d])),
            Self::F64 => f64::from_le_bytes(own),
        }
    }
}

/// An image of which the header is in memory.
#[derive(Clone, Debug)]
pub struct Nifti {
    path: PathBuf,
    data: PathBuf,
    offset: u64,
    big: bool,
    number: Number,
    /// Voxels along x, y and z.
    pub shape: [usize; 3],
    /// Volumes.
    pub times: usize,
    /// Seconds between two volumes; `None` where the header does not tell.
    pub seconds: Option<f64>,
    /// From a voxel's numbers to a place in the scanner or a template, in mm: three rows of four. The sform where it has a code, or else the
    /// qform, or else the voxels' sizes alone, as the standard has it.
    pub affine: [[f64; 4]; 3],
    /// A stored number times this plus the second; `None` where the slope is 0 or no number, which means that nothing is scaled.
    pub scaling: Option<(f64, f64)>,
}

/// Whether a file begins like a gzip member.
fn is_gzip(path: &Path) -> io::Result<bool> {
    let mut head = [0; 2];
    let read = File::open(path)?.read(&mut head)?;
    Ok(read == 2 && head == [0x1F, 0x8B])
}

fn stream(path: &Path) -> io::Result<Box<dyn Read>> {
    let file = BufReader::new(File::open(path)?);
    Ok(if is_gzip(path)? { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

impl Nifti {
    /// Whether a path's name is that of such an image.
    pub(crate) fn may_be(path: &Path) -> bool {
        let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        [".nii", ".nii.gz", ".hdr"].iter().any(|end| name.ends_with(end))
    }

    /// Reads the header.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let reading = |source| DataError::reading(path, source);
        let mut header = Vec::new();
        stream(path).map_err(reading)?.take(HEADER as u64).read_to_end(&mut header).map_err(|source| {
            match source.kind() {
                io::ErrorKind::NotFound => DataError::reading(path, source),
                _ => bad(path, "its gzip stream is damaged within the header; copy it again"),
            }
        })?;
        if header.len() < HEADER {
            let found = if header.is_empty() {
                "it is empty".to_owned()
            } else {
                format!("it ends after {} bytes", header.len())
            };
            return Err(bad(path, format!("{found}; a header of NIfTI-1 has 348: it was cut, or is none")));
        }
        let word = |at: usize| [header[at], header[at + 1]];
        let four = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
        let big = match (i32::from_le_bytes(four(0)), i32::from_be_bytes(four(0))) {
            (348, _) => false,
            (_, 348) => true,
            (540, _) | (_, 540) => {
                return Err(bad(
                    path,
                    "it is NIfTI-2, which is not read: write NIfTI-1, for instance with `nibabel.Nifti1Image.from_image`",
                ));
            }
            (found, _) => {
                return Err(bad(path, format!("it begins with {found} where NIfTI-1 has 348: it is another format")));
            }
        };
        let short = |at: usize| if big { i16::from_be_bytes(word(at)) } else { i16::from_le_bytes(word(at)) };
        let float =
            |at: usize| f64::from(if big { f32::from_be_bytes(four(at)) } else { f32::from_le_bytes(four(at)) });
        let alone = match &header[344..348] {
            b"n+1\0" => true,
            b"ni1\0" => false,
            magic => {
                let magic: String = magic.iter().flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
                return Err(bad(
                    path,
                    format!(
                        "it has `{magic}` where NIfTI-1 has `n+1` or `ni1`: older Analyze files do not tell where they lie"
                    ),
                ));
            }
        };
        let axes = short(40);
        let lengths: Vec<i64> = (1..8).map(|axis| i64::from(short(40 + 2 * axis))).collect();
        if !(1..=7).contains(&axes) || lengths.iter().take(axes as usize).any(|length| *length < 1) {
            return Err(bad(
                path,
                format!("its header tells of {axes} axes of {lengths:?}: it is damaged; copy it again"),
            ));
        }
        let length = |axis: usize| if axis < axes as usize { lengths[axis] as usize } else { 1 };
        if (4..7).any(|axis| length(axis) > 1) {
            return Err(bad(path, format!("it has {axes} axes, and three of space and one of time are read")));
        }
        let shape = [length(0), length(1), length(2)];
        if shape.iter().map(|length| *length as u64).product::<u64>() > MOST {
            return Err(bad(path, format!("a volume of {shape:?} voxels is larger than any head")));
        }
        let number = Number::of(short(70)).ok_or_else(|| {
            bad(
                path,
                format!(
                    "its voxels are of type {}, which is not read; expected whole or floating-point numbers",
                    short(70)
                ),
            )
        })?;
        let data = if alone { path.to_owned() } else { image_of(path) };
        if !data.is_file() {
            return Err(bad(path, format!("its voxels should lie in `{}`, and there is no such file", data.display())));
        }
        let offset = float(108);
        let least = if alone { 352.0 } else { 0.0 };
        if !(offset.is_finite() && (0.0..1e9).contains(&offset)) {
            return Err(bad(path, format!("its voxels begin at byte {offset}: it is damaged; copy it again")));
        }
        let (slope, intercept) = (float(112), float(116));
        let scaling =
            (slope != 0.0 && slope.is_finite()).then(|| (slope, if intercept.is_finite() { intercept } else { 0.0 }));
        let sizes: Vec<f64> = (0..5).map(|axis| float(76 + 4 * axis)).collect();
        let unit = match header[123] & 0x38 {
            16 => 1e-3,
            24 => 1e-6,
            _ => 1.0,
        };
        let seconds = (sizes[4] > 0.0 && sizes[4].is_finite()).then(|| sizes[4] * unit);
        let millimetres = match header[123] & 7 {
            1 => 1e3,
            3 => 1e-3,
            _ => 1.0,
        };
        let mut affine = if short(254) > 0 {
            [280, 296, 312].map(|row| [0, 1, 2, 3].map(|column| float(row + 4 * column)))
        } else if short(252) > 0 {
            turned([float(256), float(260), float(264)], [float(268), float(272), float(276)], &sizes)
        } else {
            [0, 1, 2].map(|axis| {
                let mut row = [0.0; 4];
                row[axis] = sizes[axis + 1];
                row
            })
        };
        affine.iter_mut().flatten().for_each(|x| *x *= millimetres);
        if affine.iter().flatten().any(|x| !x.is_finite()) {
            return Err(bad(
                path,
                "where its voxels lie is told in numbers that are none: it is damaged; copy it again",
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            data,
            offset: offset.max(least) as u64,
            big,
            number,
            shape,
            times: length(3),
            seconds,
            affine,
            scaling,
        })
    }

    /// Voxels of a volume.
    pub fn voxels(&self) -> usize {
        self.shape.iter().product()
    }

    /// Calls `take` with each volume's values, x fastest, in the order of time.
    pub fn volumes(&self, mut take: impl FnMut(usize, &[f32])) -> Result<(), DataError> {
        let reading = |source| DataError::reading(&self.data, source);
        let mut stream = stream(&self.data).map_err(reading)?;
        let cut = |time: usize| {
            let times = self.times;
            bad(
                &self.path,
                format!("it ends within volume {time} (the first is 0) of {times}: it was cut; copy it again"),
            )
        };
        let skipped = io::copy(&mut (&mut stream).take(self.offset), &mut io::sink()).map_err(|_| cut(0))?;
        if skipped < self.offset {
            return Err(cut(0));
        }
        let each = self.number.bytes();
        let length = self.voxels() * each;
        let mut bytes = Vec::new();
        let mut values = Vec::new();
        for time in 0..self.times {
            bytes.clear();
            let read = (&mut stream).take(length as u64).read_to_end(&mut bytes).map_err(|_| cut(time))?;
            if read < length {
                return Err(cut(time));
            }
            let (slope, intercept) = self.scaling.unwrap_or((1.0, 0.0));
            values.clear();
            values.extend(
                bytes.chunks_exact(each).map(|bytes| (self.number.read(bytes, self.big) * slope + intercept) as f32),
            );
            take(time, &values);
        }
        Ok(())
    }
}

/// The image beside a header: `a.hdr` and `a.img`.
fn image_of(header: &Path) -> PathBuf {
    header.with_extension("img")
}

/// The qform: a rotation by the quaternion (√(1 − b² − c² − d²), b, c, d), voxels' sizes, and an offset.
fn turned([b, c, d]: [f64; 3], offset: [f64; 3], sizes: &[f64]) -> [[f64; 4]; 3] {
    let square = b * b + c * c + d * d;
    // Rounding may bring the three beyond 1: a half turn.
    let (a, b, c, d) = if square > 1.0 {
        let length = square.sqrt();
        (0.0, b / length, c / length, d / length)
    } else {
        ((1.0 - square).sqrt(), b, c, d)
    };
    let flip = if sizes[0] < 0.0 { -1.0 } else { 1.0 };
    let scale = [sizes[1], sizes[2], flip * sizes[3]];
    let rotation = [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ];
    [0, 1, 2]
        .map(|row| [rotation[row][0] * scale[0], rotation[row][1] * scale[1], rotation[row][2] * scale[2], offset[row]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quaternion_turns_as_the_standard_says() {
        // Half a turn about z: x and y change their signs.
        let rows = turned([0.0, 0.0, 1.0], [10.0, 20.0, 30.0], &[1.0, 2.0, 3.0, 4.0, 1.0]);
        let wanted = [[-2.0, 0.0, 0.0, 10.0], [0.0, -3.0, 0.0, 20.0], [0.0, 0.0, 4.0, 30.0]];
        assert!(rows.iter().flatten().zip(wanted.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-12), "{rows:?}");
        // qfac of −1 turns the third axis over.
        assert_eq!(turned([0.0; 3], [0.0; 3], &[-1.0, 1.0, 1.0, 1.0, 1.0])[2][2], -1.0);
    }
}
