//! A label atlas: which region each voxel of an image belongs to, by where both lie.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::connectomes::bad;
use crate::connectomes::nifti::Nifti;

/// Regions at most.
const MOST: usize = 10_000;

/// Whole numbers on a grid.
#[derive(Clone, Debug)]
pub struct Atlas {
    path: PathBuf,
    shape: [usize; 3],
    affine: [[f64; 4]; 3],
    /// The region of each voxel, by its place among the labels; none for label 0.
    regions: Vec<Option<u32>>,
    /// The labels of the regions, ascending.
    pub labels: Vec<i64>,
}

impl Atlas {
    /// Reads an atlas.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let image = Nifti::open(path)?;
        if image.times > 1 {
            return Err(bad(path, format!("it has {} volumes, and an atlas has one of whole numbers", image.times)));
        }
        let mut values = Vec::new();
        image.volumes(|_, volume| values.extend_from_slice(volume))?;
        let mut labels: BTreeMap<i64, u32> = BTreeMap::new();
        for value in &values {
            let label = value.round();
            if !value.is_finite() || (value - label).abs() > 1e-3 || label < 0.0 {
                return Err(bad(
                    path,
                    format!("it holds {value} where an atlas has whole numbers from 0: it is a map of something else"),
                ));
            }
            if label > 0.0 {
                labels.insert(label as i64, 0);
            }
        }
        if labels.is_empty() || labels.len() > MOST {
            return Err(bad(path, format!("it has {} labels beside 0; expected 1 to {MOST}", labels.len())));
        }
        labels.values_mut().zip(0..).for_each(|(place, number)| *place = number);
        let regions = values.iter().map(|value| labels.get(&(value.round() as i64)).copied()).collect();
        let labels = labels.into_keys().collect();
        Ok(Self { path: path.to_owned(), shape: image.shape, affine: image.affine, regions, labels })
    }

    /// The region of each voxel of an image, x fastest: that of the atlas' voxel in which its middle lies. Some regions may get none.
    pub fn on(&self, image: &Nifti) -> Result<Vec<Option<u32>>, DataError> {
        let inverse = inverted(&self.affine)
            .ok_or_else(|| bad(&self.path, "its voxels lie in a plane or a line: its header tells no places"))?;
        let [wide, deep, _] = image.shape;
        let region = |voxel: usize| {
            let at = [voxel % wide, voxel / wide % deep, voxel / (wide * deep)].map(|x| x as f64);
            let own = mapped(&inverse, mapped(&image.affine, at));
            let mut place = 0;
            for axis in (0..3).rev() {
                let x = (own[axis] + 1e-6).round();
                if x < 0.0 || x >= self.shape[axis] as f64 {
                    return None;
                }
                place = place * self.shape[axis] + x as usize;
            }
            self.regions[place]
        };
        Ok((0..image.voxels()).map(region).collect())
    }
}

fn mapped(affine: &[[f64; 4]; 3], at: [f64; 3]) -> [f64; 3] {
    affine.map(|row| row[0] * at[0] + row[1] * at[1] + row[2] * at[2] + row[3])
}

/// The way back; `None` where there is none.
fn inverted(affine: &[[f64; 4]; 3]) -> Option<[[f64; 4]; 3]> {
    let m = |row: usize, column: usize| affine[row % 3][column % 3];
    let cofactor = |row: usize, column: usize| {
        m(row + 1, column + 1) * m(row + 2, column + 2) - m(row + 1, column + 2) * m(row + 2, column + 1)
    };
    let determinant: f64 = (0..3).map(|column| m(0, column) * cofactor(0, column)).sum();
    if !(determinant.abs() > 1e-12) {
        return None;
    }
    let mut inverse = [[0.0; 4]; 3];
    for (row, out) in inverse.iter_mut().enumerate() {
        for (column, x) in out.iter_mut().take(3).enumerate() {
            *x = cofactor(column, row) / determinant;
        }
        out[3] = -(0..3).map(|column| out[column] * affine[column][3]).sum::<f64>();
    }
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_the_way_back() {
        let affine = [[-2.0, 0.1, 0.0, 90.0], [0.0, 2.5, -0.3, -126.0], [0.2, 0.0, 3.0, -72.0]];
        let inverse = inverted(&affine).unwrap();
        let at = [3.0, 7.0, 11.0];
        let back = mapped(&inverse, mapped(&affine, at));
        assert!(at.iter().zip(back).all(|(a, b)| (a - b).abs() < 1e-9), "{back:?}");
        assert!(inverted(&[[0.0; 4]; 3]).is_none());
    }
}
