//! NIfTI-1 in one file (`.nii`, `.nii.gz`): header, place in space, and its volumes one after the other.
//!
//! The standard is `nifti1.h` of the NIfTI Data Format Working Group. What a header claims is held against what the file holds before
//! memory of that size is asked for. Whether a file is compressed is told by its first bytes and not by its name.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::DataError;
use crate::kind::lfs_pointer;

/// Bytes of a header.
const HEADER: usize = 348;
/// Bytes before the first voxel at least: the header, and four that say whether it is extended.
const LEAST_OFFSET: u64 = 352;
/// A byte of gzip holds no more than so many.
const DENSEST: u64 = 1032;

/// Voxel to millimetres: three rows of a homogeneous matrix.
pub type Affine = [[f64; 4]; 3];

/// What stands before the voxels.
#[derive(Clone, Debug, PartialEq)]
pub struct NiftiHeader {
    /// Voxels along x, y and z.
    pub space: [usize; 3],
    /// Volumes.
    pub volumes: usize,
    /// From one volume to the next in seconds, where the file says so.
    pub seconds: Option<f64>,
    /// The sform where it is coded, else the qform, else nothing.
    pub affine: Option<Affine>,
    number: Number,
    big: bool,
    offset: u64,
    /// Slope and intercept; `None` where voxels are stored as they are.
    scale: Option<(f64, f64)>,
}

/// How a voxel is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl Number {
    /// By the standard's code, or what it is instead.
    fn of(code: i16) -> Result<Self, String> {
        Ok(match code {
            2 => Self::U8,
            4 => Self::I16,
            8 => Self::I32,
            16 => Self::F32,
            64 => Self::F64,
            256 => Self::I8,
            512 => Self::U16,
            768 => Self::U32,
            1024 => Self::I64,
            1280 => Self::U64,
            other => {
                let kind = match other {
                    1 => "single bits",
                    32 | 1792 | 2048 => "complex numbers",
                    128 | 2304 => "colours",
                    1536 => "128-bit numbers",
                    _ => "no kind that the standard knows",
                };
                return Err(format!(
                    "its voxels are {kind} (datatype {other}): expected whole or floating-point numbers of 8 to 64 bits; convert it, for instance with `fslmaths IN OUT -odt float`"
                ));
            }
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// The numbers in these bytes.
    fn read(self, bytes: &[u8], big: bool, out: &mut [f64]) {
        fn each<const N: usize>(bytes: &[u8], big: bool, out: &mut [f64], of: impl Fn([u8; N]) -> f64) {
            for (out, chunk) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
                let mut chunk = *chunk;
                if big {
                    chunk.reverse();
                }
                *out = of(chunk);
            }
        }
        match self {
            Self::U8 => each(bytes, big, out, |[b]| f64::from(b)),
            Self::I8 => each(bytes, big, out, |b| f64::from(i8::from_le_bytes(b))),
            Self::U16 => each(bytes, big, out, |b| f64::from(u16::from_le_bytes(b))),
            Self::I16 => each(bytes, big, out, |b| f64::from(i16::from_le_bytes(b))),
            Self::U32 => each(bytes, big, out, |b| f64::from(u32::from_le_bytes(b))),
            Self::I32 => each(bytes, big, out, |b| f64::from(i32::from_le_bytes(b))),
            Self::U64 => each(bytes, big, out, |b| u64::from_le_bytes(b) as f64),
            Self::I64 => each(bytes, big, out, |b| i64::from_le_bytes(b) as f64),
            Self::F32 => each(bytes, big, out, |b| f64::from(f32::from_le_bytes(b))),
            Self::F64 => each(bytes, big, out, f64::from_le_bytes),
        }
    }
}

/// A file whose header fits it.
#[derive(Clone, Debug)]
pub struct Nifti {
    path: PathBuf,
    header: NiftiHeader,
}

/// Why a file cannot be used, with its name.
pub(crate) fn bad(path: &Path, reason: impl Into<String>) -> DataError {
    let reason: String = reason.into();
    // What a damaged file holds may break a line.
    DataError::BadConnectome { name: path.display().to_string(), reason: reason.replace(|c: char| c.is_control(), " ") }
}

impl Nifti {
    /// Reads the header and holds it against the file's length.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let (mut bytes, length, zipped) = stream(path)?;
        let mut head = Vec::with_capacity(HEADER);
        let read = (&mut bytes).take(HEADER as u64).read_to_end(&mut head);
        if let Err(error) = read {
            return Err(bad(path, format!("its gzip stream is damaged ({error}); copy or download it again")));
        }
        let header = NiftiHeader::parse(&head).map_err(|reason| bad(path, reason))?;
        let needed = header.needed();
        let (holds, most) = if zipped { ("can hold", length.saturating_mul(DENSEST)) } else { ("holds", length) };
        match needed {
            Some(needed) if needed <= most => Ok(Self { path: path.to_owned(), header }),
            _ => Err(bad(
                path,
                format!(
                    "its header claims {} volumes of {}, {} bytes with what stands before them, and the file {holds} {most}: it was cut; copy or download it again",
                    header.volumes,
                    extent(header.space),
                    needed.map_or_else(|| "too many".to_owned(), |needed| needed.to_string()),
                ),
            )),
        }
    }

    /// What stands before the voxels.
    pub fn header(&self) -> &NiftiHeader {
        &self.header
    }

    /// Calls `each` with every volume's values in their order, x fastest.
    pub fn volumes(&self, mut each: impl FnMut(usize, &[f64])) -> Result<(), DataError> {
        let header = &self.header;
        let (mut bytes, ..) = stream(&self.path)?;
        let cut = |error: std::io::Error, volume: usize| {
            let what = if error.kind() == std::io::ErrorKind::UnexpectedEof {
                "ends".to_owned()
            } else {
                format!("is damaged ({error})")
            };
            bad(
                &self.path,
                format!("it {what} inside volume {volume} of {}; copy or download it again", header.volumes),
            )
        };
        let skipped = std::io::copy(&mut (&mut bytes).take(header.offset), &mut std::io::sink());
        if skipped.map_err(|error| cut(error, 1))? < header.offset {
            return Err(cut(std::io::ErrorKind::UnexpectedEof.into(), 1));
        }
        let voxels: usize = header.space.iter().product();
        let mut raw = vec![0; voxels * header.number.bytes()];
        let mut values = vec![0.0; voxels];
        for volume in 0..header.volumes {
            bytes.read_exact(&mut raw).map_err(|error| cut(error, volume + 1))?;
            header.number.read(&raw, header.big, &mut values);
            if let Some((slope, inter)) = header.scale {
                for value in &mut values {
                    *value = slope.mul_add(*value, inter);
                }
            }
            each(volume, &values);
        }
        // A gzip stream tells at its end whether it is whole.
        bytes.read(&mut [0]).map_err(|error| cut(error, header.volumes))?;
        Ok(())
    }
}

/// `91 × 109 × 91`
pub(crate) fn extent([x, y, z]: [usize; 3]) -> String {
    format!("{x} × {y} × {z}")
}

/// The bytes of a file as they were before they were compressed, the file's length, and whether it is compressed.
fn stream(path: &Path) -> Result<(Box<dyn Read>, u64, bool), DataError> {
    let file = File::open(path).map_err(|source| DataError::reading(path, source))?;
    let length = file.metadata().map_err(|source| DataError::reading(path, source))?.len();
    let mut magic = [0; 2];
    let zipped = length > 1
        && crate::read_exact_at(&file, &mut magic, 0).map_err(|source| DataError::reading(path, source)).is_ok()
        && magic == [0x1F, 0x8B];
    let file = BufReader::with_capacity(1 << 18, file);
    Ok((
        if zipped { Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(file))) } else { Box::new(file) },
        length,
        zipped,
    ))
}

/// Fields by their byte.
struct Fields<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes[at..at + N]);
        if self.big {
            out.reverse();
        }
        out
    }

    fn short(&self, at: usize) -> i16 {
        i16::from_le_bytes(self.array(at))
    }

    fn float(&self, at: usize) -> f64 {
        f64::from(f32::from_le_bytes(self.array(at)))
    }

    fn floats<const N: usize>(&self, at: usize) -> [f64; N] {
        std::array::from_fn(|i| self.float(at + 4 * i))
    }
}

impl NiftiHeader {
    /// Bytes of the whole file before it was compressed; `None` if no file is so long.
    fn needed(&self) -> Option<u64> {
        let counts = self.space.iter().chain([&self.volumes]).map(|count| *count as u64);
        let bytes = counts.chain([self.number.bytes() as u64]).try_fold(1_u64, u64::checked_mul)?;
        bytes.checked_add(self.offset)
    }

    /// Of the first 348 bytes; an error in words that go on from the file's name.
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        if let Some(pointer) = lfs_pointer(bytes) {
            return Err(pointer);
        }
        if bytes.is_empty() {
            return Err("it is empty; copy or download it again".to_owned());
        }
        let big = match bytes.first_chunk::<4>().map(|size| (i32::from_le_bytes(*size), i32::from_be_bytes(*size))) {
            Some((348, _)) => false,
            Some((_, 348)) => true,
            Some((540, _) | (_, 540)) => {
                return Err("it is NIfTI-2 (or CIFTI, which is built on it): expected NIfTI-1; bring surfaces to region series, and volumes to NIfTI-1 with `nibabel.save(nibabel.Nifti1Image.from_image(image), OUT)`".to_owned());
            }
            _ => {
                return Err("it is no NIfTI-1: its first number is not 348, the length of a header".to_owned());
            }
        };
        if bytes.len() < HEADER {
            return Err(format!(
                "it ends inside its header, after {} of {HEADER} bytes; copy or download it again",
                bytes.len()
            ));
        }
        let fields = Fields { bytes, big };
        match &bytes[344..348] {
            b"n+1\0" => {}
            b"ni1\0" => {
                return Err("its voxels lie in a second file (`.hdr` and `.img`): expected both in one `.nii`; join them with `fslchfiletype NIFTI_GZ`".to_owned());
            }
            _ => return Err("it has the length of a NIfTI-1 header and not its mark `n+1` (Analyze 7.5 looks like this, and does not say which side is left): convert it to NIfTI-1 with the program that wrote it".to_owned()),
        }
        let axes = fields.short(40);
        if !(1..=7).contains(&axes) {
            return Err(format!("it claims {axes} axes: expected 3 or 4; it is damaged"));
        }
        let mut dims = [1_usize; 7];
        for (axis, dim) in dims.iter_mut().enumerate().take(axes as usize) {
            let length = fields.short(42 + 2 * axis);
            *dim = usize::try_from(length).ok().filter(|length| *length > 0).ok_or_else(|| {
                format!("axis {} of {axes} is {length} long: expected 1 or more; it is damaged, or the images were stacked wrongly", axis + 1)
            })?;
        }
        if dims[4..].iter().any(|dim| *dim > 1) {
            return Err(format!(
                "it has the shape {:?}: expected three axes of space and one of time; save one volume after the other on the fourth axis",
                &dims[..axes as usize]
            ));
        }
        let number = Number::of(fields.short(70))?;
        let bits = fields.short(72);
        if usize::try_from(bits) != Ok(8 * number.bytes()) {
            return Err(format!(
                "it says {bits} bits of a voxel, and its datatype has {}: it is damaged",
                8 * number.bytes()
            ));
        }
        let start = fields.float(108);
        if !(start.fract() == 0.0 && (LEAST_OFFSET as f64..=1e15).contains(&start)) {
            return Err(format!(
                "its voxels begin at byte {start}: expected a whole number from {LEAST_OFFSET} on; write it again with the program that made it"
            ));
        }
        let (slope, inter) = (fields.float(112), fields.float(116));
        // The standard: a slope of 0 scales nothing. Many writers leave NaN there.
        let scale = if slope == 0.0 || !slope.is_finite() {
            None
        } else if inter.is_finite() {
            Some((slope, inter)).filter(|scale| *scale != (1.0, 0.0))
        } else {
            return Err(format!(
                "its values are scaled by {slope} and shifted by {inter}, which leaves no number: set `scl_inter`"
            ));
        };
        let pixdim: [f64; 8] = fields.floats(76);
        let affine = if fields.short(254) > 0 {
            Some([280, 296, 312].map(|at| fields.floats(at)))
        } else if fields.short(252) > 0 {
            Some(of_quaternion(fields.floats(256), fields.floats(268), &pixdim))
        } else {
            None
        };
        if affine.is_some_and(|rows| rows.iter().flatten().any(|x| !x.is_finite())) {
            return Err(
                "its place in space is no number (sform or qform): write it again with the program that made it"
                    .to_owned(),
            );
        }
        // Bits 3 to 5 of the units: seconds, milliseconds or microseconds.
        let unit = match bytes[123] & 0x38 {
            16 => 1e-3,
            24 => 1e-6,
            _ => 1.0,
        };
        let seconds = Some(pixdim[4] * unit).filter(|s| *s > 0.0 && s.is_finite());
        Ok(Self {
            space: [dims[0], dims[1], dims[2]],
            volumes: dims[3],
            seconds,
            affine,
            number,
            big,
            offset: start as u64,
            scale,
        })
    }
}

/// The standard's method 2: a rotation as quaternion, the sizes of a voxel, and a shift; `pixdim[0]` turns z round where it is −1.
fn of_quaternion([b, c, d]: [f64; 3], shift: [f64; 3], pixdim: &[f64; 8]) -> Affine {
    let squares = b * b + c * c + d * d;
    // A half turn whose quaternion was rounded.
    let ([b, c, d], a) = if squares > 1.0 - 1e-7 {
        let length = squares.sqrt();
        ([b / length, c / length, d / length], 0.0)
    } else {
        ([b, c, d], (1.0 - squares).sqrt())
    };
    let z = if pixdim[0] < 0.0 { -pixdim[3] } else { pixdim[3] };
    let sizes = [pixdim[1], pixdim[2], z];
    let rotation = [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - c * c - b * b],
    ];
    std::array::from_fn(|row| {
        std::array::from_fn(|column| if column < 3 { rotation[row][column] * sizes[column] } else { shift[row] })
    })
}

/// The way back: millimetres to voxel. `None` where an affine flattens space.
pub(crate) fn inverse(affine: &Affine) -> Option<Affine> {
    let [a, b, c] = *affine;
    let minor = |i: usize, j: usize, u: &[f64; 4], v: &[f64; 4]| u[i] * v[j] - u[j] * v[i];
    let determinant = a[0] * minor(1, 2, &b, &c) - a[1] * minor(0, 2, &b, &c) + a[2] * minor(0, 1, &b, &c);
    let largest = affine.iter().flat_map(|row| &row[..3]).fold(0.0_f64, |most, x| most.max(x.abs()));
    if determinant.abs() <= 1e-12 * largest.powi(3) || !determinant.is_finite() {
        return None;
    }
    let mut out = [
        [minor(1, 2, &b, &c), -minor(1, 2, &a, &c), minor(1, 2, &a, &b), 0.0],
        [-minor(0, 2, &b, &c), minor(0, 2, &a, &c), -minor(0, 2, &a, &b), 0.0],
        [minor(0, 1, &b, &c), -minor(0, 1, &a, &c), minor(0, 1, &a, &b), 0.0],
    ];
    for row in &mut out {
        for x in row.iter_mut() {
            *x /= determinant;
        }
        row[3] = -(row[0] * a[3] + row[1] * b[3] + row[2] * c[3]);
    }
    Some(out)
}

/// One affine after another: `first` of what `second` gives.
pub(crate) fn chained(first: &Affine, second: &Affine) -> Affine {
    std::array::from_fn(|row| {
        std::array::from_fn(|column| {
            let sum: f64 = (0..3).map(|k| first[row][k] * second[k][column]).sum();
            if column == 3 { sum + first[row][3] } else { sum }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_affine_and_its_inverse_are_nothing() {
        let affine = [[-3.0, 0.1, 0.0, 90.0], [0.0, 3.1, 0.4, -126.0], [0.2, 0.0, 2.9, -72.0]];
        let nothing = chained(&inverse(&affine).unwrap(), &affine);
        for (row, values) in nothing.iter().enumerate() {
            for (column, value) in values.iter().enumerate() {
                assert!((value - f64::from(u8::from(row == column))).abs() < 1e-12, "{nothing:?}");
            }
        }
        assert_eq!(inverse(&[[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]), None);
    }

    /// A quarter turn about z: (a, b, c, d) = (√½, 0, 0, √½).
    #[test]
    fn a_quaternion_turns_and_minus_one_turns_z_round() {
        let half = 0.5_f64.sqrt();
        let got = of_quaternion([0.0, 0.0, half], [1.0, 2.0, 3.0], &[-1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0]);
        let expected = [[0.0, -3.0, 0.0, 1.0], [2.0, 0.0, 0.0, 2.0], [0.0, 0.0, -4.0, 3.0]];
        assert!(got.iter().flatten().zip(expected.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?}");
    }
}
