//! Features in as few bytes as they need, in memory as far as a budget goes and beyond it in a file: raw pixels are much the widest
//! rows of a judgement, and are read by blocks.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::{Mutex, PoisonError};

use crate::{EvalError, Features};

/// Rows of features, `[N, D]`, that are read a block at a time, by any number of threads.
pub trait FeatureRows: Sync {
    /// N.
    fn rows(&self) -> usize;

    /// D.
    fn dim(&self) -> usize;

    /// Writes the rows named by `rows` into `out`, `stride` ≥ D values from one to the next; what lies between is left alone.
    ///
    /// # Errors
    /// [`EvalError::Storage`] where a file cannot be read.
    fn read(&self, rows: &[usize], out: &mut [f32], stride: usize) -> Result<(), EvalError>;

    /// Shape, number of rows and finiteness: what every judgement asks for first.
    ///
    /// # Errors
    /// What is not as it should be.
    fn check(&self, what: &'static str, needed: usize) -> Result<(), EvalError>;

    /// The rows named by `rows`, in that order.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn select(&self, rows: &[usize]) -> Result<Features, EvalError> {
        let dim = self.dim();
        let mut values = vec![0.0; rows.len() * dim];
        self.read(rows, &mut values, dim)?;
        Ok(Features { rows: rows.len(), dim, values })
    }
}

impl FeatureRows for Features {
    fn rows(&self) -> usize {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read(&self, rows: &[usize], out: &mut [f32], stride: usize) -> Result<(), EvalError> {
        for (out, &row) in out.chunks_mut(stride.max(1)).zip(rows) {
            out[..self.dim].copy_from_slice(self.row(row));
        }
        Ok(())
    }

    fn check(&self, what: &'static str, needed: usize) -> Result<(), EvalError> {
        Features::check(self, what, needed)
    }
}

/// What a judgement may hold of its samples, in bytes.
#[derive(Debug)]
pub struct Memory(Cell<usize>);

impl Memory {
    /// So many bytes.
    pub fn of(bytes: usize) -> Self {
        Self(Cell::new(bytes))
    }

    fn take(&self, bytes: usize) -> bool {
        let left = self.0.get().checked_sub(bytes);
        left.is_some_and(|left| {
            self.0.set(left);
            true
        })
    }
}

/// How a value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As the 255ths that it is: pixels.
    Byte,
    /// As it is.
    Float,
}

impl Form {
    fn bytes(self) -> usize {
        if self == Self::Byte { 1 } else { 4 }
    }

    fn of(row: &[f32]) -> Self {
        if row.iter().all(|value| byte_of(*value).is_some()) { Self::Byte } else { Self::Float }
    }
}

/// The byte whose 255th part `value` is.
fn byte_of(value: f32) -> Option<u8> {
    let byte = (value * 255.0).round();
    ((0.0..=255.0).contains(&byte) && byte / 255.0 == value).then_some(byte as u8)
}

/// Bytes as 255ths.
fn widen(bytes: &[u8], out: &mut [f32]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (out, byte) in out.iter_mut().zip(bytes) {
                *out = f32::from(*byte) * (1.0 / 255.0);
            }
        },
    );
}

/// Where values lie.
#[derive(Debug)]
enum Place {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
    File(Form, Mutex<File>),
}

/// Features that a [`Store`] has taken in. A value that is kept as a byte comes back to within a rounding of f32.
#[derive(Debug)]
pub struct Stored {
    rows: usize,
    dim: usize,
    place: Place,
    not_finite: Option<EvalError>,
}

impl From<Features> for Stored {
    fn from(features: Features) -> Self {
        let Features { rows, dim, values } = features;
        let not_finite = not_finite(&values, dim, 0);
        Self { rows, dim, place: Place::Floats(values), not_finite }
    }
}

fn not_finite(values: &[f32], dim: usize, first_row: usize) -> Option<EvalError> {
    let at = values.iter().position(|value| !value.is_finite())?;
    let (row, dimension) = (first_row + at / dim.max(1), at % dim.max(1));
    Some(EvalError::NotFinite { row, dimension, value: values[at].to_string() })
}

fn failed(doing: &'static str) -> impl Fn(std::io::Error) -> EvalError {
    move |error| EvalError::Storage { doing, error: error.to_string() }
}

impl FeatureRows for Stored {
    fn rows(&self) -> usize {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read(&self, rows: &[usize], out: &mut [f32], stride: usize) -> Result<(), EvalError> {
        let dim = self.dim;
        let (form, file) = match &self.place {
            Place::Bytes(bytes) => {
                for (out, row) in out.chunks_mut(stride.max(1)).zip(rows) {
                    widen(&bytes[row * dim..(row + 1) * dim], &mut out[..dim]);
                }
                return Ok(());
            }
            Place::Floats(values) => {
                for (out, row) in out.chunks_mut(stride.max(1)).zip(rows) {
                    out[..dim].copy_from_slice(&values[row * dim..(row + 1) * dim]);
                }
                return Ok(());
            }
            Place::File(form, file) => (*form, file),
        };
        let width = dim * form.bytes();
        let mut bytes = vec![0; rows.len() * width];
        {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let mut into = bytes.as_mut_slice();
            // Rows one after the other are one piece of the file.
            for run in rows.chunk_by(|a, b| a + 1 == *b) {
                let (here, rest) = into.split_at_mut(run.len() * width);
                let read = file.seek(SeekFrom::Start((run[0] * width) as u64)).and_then(|_| file.read_exact(here));
                read.map_err(failed("read"))?;
                into = rest;
            }
        }
        for (out, bytes) in out.chunks_mut(stride.max(1)).zip(bytes.chunks_exact(width.max(1))) {
            match form {
                Form::Byte => widen(bytes, &mut out[..dim]),
                Form::Float => {
                    let floats = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
                    out.iter_mut().zip(floats).for_each(|(out, float)| *out = float);
                }
            }
        }
        Ok(())
    }

    fn check(&self, what: &'static str, needed: usize) -> Result<(), EvalError> {
        if self.dim == 0 {
            return Err(EvalError::NoDimensions);
        }
        if self.rows < needed {
            return Err(EvalError::TooFewRows { what, needed, found: self.rows });
        }
        self.not_finite.clone().map_or(Ok(()), Err)
    }
}

/// Takes in rows one after the other. They go to memory if all that are expected have room there, else to a file without a name in
/// the system's folder for such (`TMPDIR`).
pub struct Store<'a> {
    memory: &'a Memory,
    expected: usize,
    rows: usize,
    dim: usize,
    taken: Option<Taken>,
    not_finite: Option<EvalError>,
}

/// Where rows are taken in.
enum Taken {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
    File(Form, BufWriter<File>),
}

impl<'a> Store<'a> {
    /// For about so many rows.
    pub fn new(expected: usize, memory: &'a Memory) -> Self {
        Self { memory, expected, rows: 0, dim: 0, taken: None, not_finite: None }
    }

    /// Rows that it holds.
    pub fn rows(&self) -> usize {
        self.rows
    }

    fn begin(&self, form: Form) -> Result<Taken, EvalError> {
        let values = self.expected.max(self.rows) * self.dim;
        if !self.memory.take(values.saturating_mul(form.bytes())) {
            return Ok(Taken::File(form, BufWriter::new(tempfile::tempfile().map_err(failed("make"))?)));
        }
        // As much as is wanted at once: a vector that grows by copies is for a moment there twice.
        Ok(match form {
            Form::Byte => Taken::Bytes(Vec::with_capacity(values)),
            Form::Float => Taken::Floats(Vec::with_capacity(values)),
        })
    }

    /// One more row, as wide as the others.
    ///
    /// # Errors
    /// [`EvalError::Shape`] for a row of another width, [`EvalError::Storage`] where the file cannot be written.
    pub fn push(&mut self, row: &[f32]) -> Result<(), EvalError> {
        let form = Form::of(row);
        if self.taken.is_none() {
            self.dim = row.len();
            self.taken = Some(self.begin(form)?);
        }
        if row.len() != self.dim {
            return Err(EvalError::Shape { rows: 1, dim: self.dim, found: row.len() });
        }
        if form == Form::Float && matches!(self.taken, Some(Taken::Bytes(_) | Taken::File(Form::Byte, _))) {
            self.make_floats()?;
        }
        if self.not_finite.is_none() && form == Form::Float {
            self.not_finite = not_finite(row, self.dim, self.rows);
        }
        let bytes = || row.iter().map(|value| byte_of(*value).unwrap_or(0));
        match &mut self.taken {
            Some(Taken::Bytes(held)) => held.extend(bytes()),
            Some(Taken::Floats(held)) => held.extend_from_slice(row),
            Some(Taken::File(Form::Byte, file)) => {
                file.write_all(&bytes().collect::<Vec<_>>()).map_err(failed("write"))?;
            }
            Some(Taken::File(Form::Float, file)) => {
                let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
                file.write_all(&bytes).map_err(failed("write"))?;
            }
            None => {}
        }
        self.rows += 1;
        Ok(())
    }

    /// The rows so far were bytes, and one that is not has come.
    fn make_floats(&mut self) -> Result<(), EvalError> {
        let rows = std::mem::take(&mut self.rows);
        let held = Stored { rows, dim: self.dim, place: place(self.taken.take())?, not_finite: None };
        self.taken = Some(self.begin(Form::Float)?);
        let mut row = vec![0.0; self.dim];
        for index in 0..rows {
            held.read(&[index], &mut row, self.dim)?;
            match &mut self.taken {
                Some(Taken::Floats(floats)) => floats.extend_from_slice(&row),
                Some(Taken::File(_, file)) => {
                    let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
                    file.write_all(&bytes).map_err(failed("write"))?;
                }
                _ => {}
            }
        }
        self.rows = rows;
        Ok(())
    }

    /// What was taken in.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(self) -> Result<Stored, EvalError> {
        Ok(Stored { rows: self.rows, dim: self.dim, place: place(self.taken)?, not_finite: self.not_finite })
    }
}

fn place(taken: Option<Taken>) -> Result<Place, EvalError> {
    Ok(match taken {
        Some(Taken::Bytes(bytes)) => Place::Bytes(bytes),
        Some(Taken::Floats(floats)) => Place::Floats(floats),
        Some(Taken::File(form, file)) => {
            let file = file.into_inner().map_err(|error| failed("write")(error.into_error()))?;
            Place::File(form, Mutex::new(file))
        }
        None => Place::Floats(Vec::new()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::tests::normal;

    fn stored(features: &Features, memory: usize) -> Stored {
        let memory = Memory::of(memory);
        let mut store = Store::new(features.rows, &memory);
        features.values.chunks_exact(features.dim).for_each(|row| store.push(row).unwrap());
        store.finish().unwrap()
    }

    fn pixels(rows: usize, dim: usize) -> Features {
        let values = (0..rows * dim).map(|i| (i * 37 % 256) as f32 / 255.0).collect();
        Features::new(rows, dim, values).unwrap()
    }

    #[test]
    fn rows_come_back_from_memory_and_from_a_file() {
        let order = [3, 4, 5, 0, 6, 2, 2];
        for features in [normal(7, 5, 1), pixels(7, 300)] {
            let wide = features.values.len() * 4;
            for memory in [wide, wide / 4, 10] {
                let stored = stored(&features, memory);
                let in_file = matches!(stored.place, Place::File(..));
                let bytes = features.dim == 300;
                assert_eq!(in_file, memory < if bytes { wide / 4 } else { wide }, "{memory} of {wide}");
                let (found, right) = (FeatureRows::select(&stored, &order).unwrap(), features.select(&order));
                let near = |(a, b): (&f32, &f32)| (a - b).abs() <= if bytes { f32::EPSILON * b } else { 0.0 };
                assert!(found.values.iter().zip(&right.values).all(near));
                let mut apart = vec![9.0; 7 * (features.dim + 3)];
                stored.read(&order, &mut apart, features.dim + 3).unwrap();
                for (row, apart) in found.values.chunks_exact(features.dim).zip(apart.chunks(features.dim + 3)) {
                    assert_eq!((row, &apart[features.dim..]), (&apart[..features.dim], [9.0; 3].as_slice()));
                }
            }
        }
    }

    #[test]
    fn one_row_that_is_no_byte_makes_all_floats() {
        for memory in [1 << 20, 50] {
            let mut features = pixels(6, 20);
            features.values[87] = 0.123_456_7;
            let stored = stored(&features, memory);
            let found = FeatureRows::select(&stored, &[0, 1, 2, 3, 4, 5]).unwrap();
            assert_eq!(found.values[80..], features.values[80..], "from that row on the very values");
            assert!(found.values.iter().zip(&features.values).all(|(a, b)| (a - b).abs() < 1e-7));
        }
    }

    #[test]
    fn what_is_not_finite_is_named_and_widths_are_kept() {
        let mut features = normal(9, 4, 2);
        features.values[4 * 6 + 3] = f32::INFINITY;
        let error = stored(&features, 1).check("this", 2).unwrap_err();
        assert_eq!(error, EvalError::NotFinite { row: 6, dimension: 3, value: "inf".into() });
        assert_eq!(Stored::from(features).check("this", 2).unwrap_err(), error);
        let memory = Memory::of(1000);
        let mut store = Store::new(2, &memory);
        store.push(&[1.0, 2.0]).unwrap();
        assert!(matches!(store.push(&[1.0]), Err(EvalError::Shape { dim: 2, found: 1, .. })));
        let none = Store::new(2, &memory).finish().unwrap();
        assert_eq!(none.check("this", 0), Err(EvalError::NoDimensions));
    }
}
