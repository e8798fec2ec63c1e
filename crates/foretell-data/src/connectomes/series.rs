//! Courses of regions: from an image and an atlas, or from a table.

use std::path::Path;

use crate::DataError;
use crate::connectomes::atlas::Atlas;
use crate::connectomes::bad;
use crate::connectomes::config::Orientation;
use crate::connectomes::nifti::Nifti;

/// Regions and times of a table at most.
const MOST: usize = 1 << 24;
/// Longer tables are none.
const LONGEST: u64 = 1 << 30;

/// R courses of T times.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionSeries {
    /// `[R, T]`; zeros where a region is [missing](Self::present).
    pub values: Vec<f32>,
    /// T
    pub times: usize,
    /// Whether each region has a course: one has none without a voxel, or where a table has a hole.
    pub present: Vec<bool>,
    /// Seconds between two times, where that is known.
    pub seconds: Option<f64>,
}

impl RegionSeries {
    /// R
    pub fn regions(&self) -> usize {
        self.present.len()
    }

    /// The mean of each region's voxels at each time. Voxels that are no numbers do not count.
    pub fn of_image(image: &Nifti, atlas: &Atlas) -> Result<Self, DataError> {
        let (regions, times) = (atlas.labels.len(), image.times);
        let of = atlas.on(image)?;
        let mut values = vec![0.0; regions * times];
        let mut present = vec![true; regions];
        image.volumes(|time, volume| {
            let (mut sums, mut counts) = (vec![0.0_f64; regions], vec![0_u32; regions]);
            for (value, region) in volume.iter().zip(&of).filter(|(value, _)| value.is_finite()) {
                if let Some(region) = region {
                    sums[*region as usize] += f64::from(*value);
                    counts[*region as usize] += 1;
                }
            }
            for region in 0..regions {
                if counts[region] == 0 {
                    present[region] = false;
                } else {
                    values[region * times + time] = (sums[region] / f64::from(counts[region])) as f32;
                }
            }
        })?;
        Ok(Self { values, times, present, seconds: image.seconds }.without_holes())
    }

    /// A table of numbers between commas, semicolons or tabs. Cells that are empty, `n/a` or `NaN` are holes.
    pub fn of_table(path: &Path, orientation: Orientation) -> Result<Self, DataError> {
        let reading = |source| DataError::reading(path, source);
        if std::fs::metadata(path).map_err(reading)?.len() > LONGEST {
            return Err(bad(path, "it has more than 1 GiB of text"));
        }
        let bytes = std::fs::read(path).map_err(reading)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            bad(
                path,
                format!(
                    "expected a table of numbers as text, found other bytes from byte {} on",
                    error.utf8_error().valid_up_to()
                ),
            )
        })?;
        let text = text.trim_start_matches('\u{feff}');
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).collect();
        let first = *lines.first().ok_or_else(|| bad(path, "it is empty; expected a table of regions by times"))?;
        let separator = ['\t', ';', ','].into_iter().find(|separator| first.contains(*separator)).unwrap_or(' ');
        let cells = |line: &str| -> Vec<String> {
            let line = line.trim();
            let cells: Vec<&str> =
                if separator == ' ' { line.split_whitespace().collect() } else { line.split(separator).collect() };
            cells.into_iter().map(|cell| cell.trim().trim_matches('"').to_owned()).collect()
        };
        let number = |cell: &str| -> Option<f32> {
            match cell {
                "" | "n/a" | "N/A" | "NA" => Some(f32::NAN),
                cell => cell.parse::<f32>().ok(),
            }
        };
        let has_names = cells(first).iter().any(|cell| number(cell).is_none());
        let mut width = None;
        let mut rows: Vec<Vec<f32>> = Vec::new();
        for (line, text) in lines.iter().enumerate().skip(usize::from(has_names)) {
            let row = cells(text);
            let expected = *width.get_or_insert(row.len());
            if row.len() != expected {
                return Err(bad(
                    path,
                    format!("line {} has {} cells, and the ones before it {expected}", line + 1, row.len()),
                ));
            }
            let row: Option<Vec<f32>> = row.iter().map(|cell| number(cell)).collect();
            rows.push(row.ok_or_else(|| bad(path, format!("line {} holds a cell that is no number", line + 1)))?);
        }
        let (height, width) = (rows.len(), width.unwrap_or(0));
        if height == 0 || width == 0 || height * width > MOST {
            return Err(bad(
                path,
                format!("it has {height} rows of {width} numbers; expected a table of regions by times"),
            ));
        }
        let columns = match orientation {
            Orientation::Auto => has_names,
            Orientation::RegionsInColumns => true,
            Orientation::RegionsInRows => false,
        };
        let (regions, times) = if columns { (width, height) } else { (height, width) };
        let value = |region: usize, time: usize| if columns { rows[time][region] } else { rows[region][time] };
        let values = (0..regions).flat_map(|region| (0..times).map(move |time| (region, time)));
        let values = values.map(|(region, time)| value(region, time)).collect();
        Ok(Self { values, times, present: vec![true; regions], seconds: None }.without_holes())
    }

    /// Regions with a hole have no course: a zero in its place would be a value.
    fn without_holes(mut self) -> Self {
        for (course, present) in self.values.chunks_exact_mut(self.times.max(1)).zip(&mut self.present) {
            *present &= course.iter().all(|x| x.is_finite());
            if !*present {
                course.fill(0.0);
            }
        }
        self
    }
}
