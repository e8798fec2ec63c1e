//! A label atlas: which region each voxel belongs to, and a region's series as the mean over its voxels.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use xxhash_rust::xxh3::Xxh3;

use crate::DataError;
use crate::connectomes::nifti::{Affine, Nifti, NiftiHeader, bad, chained, extent, inverse};
use crate::connectomes::series::Series;

/// How far two affines may differ, in voxels over the whole image, and still be the same place.
const SAME: f64 = 0.05;

/// A volume of whole numbers; 0 is no region.
#[derive(Debug)]
pub struct Atlas {
    path: PathBuf,
    space: [usize; 3],
    affine: Option<Affine>,
    /// The numbers of the regions, rising.
    labels: Vec<i64>,
    /// Of each voxel its region from 1, or 0.
    regions: Vec<u32>,
    /// The last images' maps: most images of a study lie alike.
    maps: Mutex<Vec<(Grid, Arc<[u32]>)>>,
}

/// Where an image's voxels lie.
type Grid = ([usize; 3], Option<Affine>);

/// Maps that are kept.
const KEPT: usize = 4;
/// More regions are no atlas.
const MOST_REGIONS: usize = 20_000;

impl Atlas {
    /// Reads a volume of labels.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let file = Nifti::open(path)?;
        let NiftiHeader { space, volumes, affine, .. } = *file.header();
        if volumes != 1 {
            return Err(bad(
                path,
                format!(
                    "it has {volumes} volumes: expected an atlas of one, whose numbers say which region a voxel belongs to (of probabilities, take the region of the largest)"
                ),
            ));
        }
        let mut numbers: Vec<i64> = Vec::new();
        let mut wrong = None;
        file.volumes(|_, values| {
            let whole = |value: f64| {
                let near = value.round();
                ((value - near).abs() < 1e-3 && (0.0..=9e15).contains(&near)).then_some(near as i64)
            };
            numbers = values
                .iter()
                .map(|value| {
                    // Outside of the brain some writers have NaN.
                    let value = if value.is_nan() { 0.0 } else { *value };
                    whole(value).unwrap_or_else(|| {
                        wrong.get_or_insert(value);
                        0
                    })
                })
                .collect();
        })?;
        if let Some(value) = wrong {
            return Err(bad(
                path,
                format!(
                    "a voxel of it is {value}: expected an atlas of whole numbers from 0 on, each of which names a region"
                ),
            ));
        }
        let mut labels: Vec<i64> = numbers.iter().copied().filter(|label| *label > 0).collect();
        labels.sort_unstable();
        labels.dedup();
        if labels.len() < 2 || labels.len() > MOST_REGIONS {
            return Err(bad(
                path,
                format!("it names {} regions: expected an atlas of 2 to {MOST_REGIONS}", labels.len()),
            ));
        }
        let place = |label: &i64| labels.binary_search(label).map_or(0, |place| place as u32 + 1);
        let regions = numbers.iter().map(place).collect();
        Ok(Self { path: path.to_owned(), space, affine, labels, regions, maps: Mutex::new(Vec::new()) })
    }

    /// Changes with any label and with where it lies.
    pub(crate) fn mark(&self) -> String {
        let mut hash = Xxh3::new();
        self.labels.iter().for_each(|label| hash.update(&label.to_le_bytes()));
        self.regions.iter().for_each(|region| hash.update(&region.to_le_bytes()));
        self.space.iter().for_each(|side| hash.update(&(*side as u64).to_le_bytes()));
        self.affine.iter().flatten().flatten().for_each(|x| hash.update(&x.to_bits().to_le_bytes()));
        format!("{:016x}", hash.digest())
    }

    /// The numbers of the regions, rising.
    pub fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// Of each voxel of an image its region from 1, or 0: the atlas's own voxel where the two lie alike, otherwise the nearest one by
    /// their places in space.
    pub(crate) fn map(&self, image: &Path, header: &NiftiHeader) -> Result<Arc<[u32]>, DataError> {
        let grid: Grid = (header.space, header.affine);
        if let Ok(maps) = self.maps.lock()
            && let Some((_, map)) = maps.iter().find(|(known, _)| *known == grid)
        {
            return Ok(Arc::clone(map));
        }
        let map: Arc<[u32]> = self.mapped(image, &grid)?.into();
        if let Ok(mut maps) = self.maps.lock() {
            if maps.len() == KEPT {
                maps.remove(0);
            }
            maps.push((grid, Arc::clone(&map)));
        }
        Ok(map)
    }

    fn mapped(&self, image: &Path, (space, affine): &Grid) -> Result<Vec<u32>, DataError> {
        let apart = |what: &str| {
            bad(
                image,
                format!(
                    "{what}, and so where the atlas `{}` lies on it is not known: give both a place in space (an sform or a qform), or bring the atlas to {}",
                    self.path.display(),
                    extent(*space)
                ),
            )
        };
        let to_atlas = match (affine, &self.affine) {
            (None, None) if *space == self.space => return Ok(self.regions.clone()),
            (None, None) => {
                return Err(apart(&format!(
                    "it has {} voxels and no place in space, and the atlas has {}",
                    extent(*space),
                    extent(self.space)
                )));
            }
            (None, Some(_)) => return Err(apart("it has no place in space, and the atlas has one")),
            (Some(_), None) => return Err(apart("it has a place in space, and the atlas has none")),
            (Some(image_affine), Some(own)) => {
                let back = inverse(own)
                    .ok_or_else(|| bad(&self.path, "its place in space flattens it to a plane: set its sform"))?;
                chained(&back, image_affine)
            }
        };
        let most = space.iter().chain(&self.space).max().copied().unwrap_or(1) as f64;
        let same = *space == self.space
            && to_atlas.iter().enumerate().all(|(row, values)| {
                values.iter().enumerate().all(|(column, value)| {
                    let expected = f64::from(u8::from(row == column));
                    (value - expected).abs() * if column < 3 { most } else { 1.0 } < SAME
                })
            });
        if same {
            return Ok(self.regions.clone());
        }
        let [nx, ny, nz] = *space;
        let mut map = vec![0; nx * ny * nz];
        for z in 0..nz {
            for y in 0..ny {
                for x in 0..nx {
                    let at = [x as f64, y as f64, z as f64];
                    let inside = |axis: usize| {
                        let row = &to_atlas[axis];
                        let place = (row[0] * at[0] + row[1] * at[1] + row[2] * at[2] + row[3] + 0.5).floor();
                        (place >= 0.0 && place < self.space[axis] as f64).then_some(place as usize)
                    };
                    if let (Some(i), Some(j), Some(k)) = (inside(0), inside(1), inside(2)) {
                        map[(z * ny + y) * nx + x] = self.regions[(k * self.space[1] + j) * self.space[0] + i];
                    }
                }
            }
        }
        Ok(map)
    }

    /// Regions without a voxel in an image, from 0.
    pub(crate) fn without_voxels(&self, map: &[u32]) -> usize {
        let mut seen = vec![false; self.labels.len() + 1];
        for region in map {
            seen[*region as usize] = true;
        }
        seen[1..].iter().filter(|seen| !**seen).count()
    }

    /// The mean of each region's voxels in each volume. A region without a voxel stays, and nothing was measured of it; a voxel that is
    /// no number has no part in a mean.
    pub(crate) fn series(&self, path: &Path) -> Result<Series, DataError> {
        let file = Nifti::open(path)?;
        let header = file.header();
        let map = self.map(path, header)?;
        let regions = self.labels.len();
        if map.iter().all(|region| *region == 0) {
            return Err(bad(
                path,
                format!(
                    "no voxel of it lies in a region of the atlas `{}`: they are in different places in space; check that both are in the same (such as MNI)",
                    self.path.display()
                ),
            ));
        }
        let mut values = Vec::with_capacity(header.volumes * regions);
        file.volumes(|_, volume| {
            let (mut sums, mut counts) = (vec![0.0; regions + 1], vec![0_u32; regions + 1]);
            for (value, region) in volume.iter().zip(&*map) {
                if *region > 0 && value.is_finite() {
                    sums[*region as usize] += value;
                    counts[*region as usize] += 1;
                }
            }
            let mean = |(sum, count): (&f64, &u32)| if *count > 0 { sum / f64::from(*count) } else { f64::NAN };
            values.extend(sums.iter().zip(&counts).skip(1).map(mean));
        })?;
        Series::standardised(regions, &values).map_err(|reason| bad(path, reason))
    }
}
