//! Recordings in files: what their headers and first looks say, and how one is read.

use std::collections::BTreeSet;
use std::path::Path;

use crate::cache::Cache;
use crate::connectomes::atlas::Atlas;
use crate::connectomes::config::ConnectomesConfig;
use crate::connectomes::listing::{Found, Listing};
use crate::connectomes::nifti::{Nifti, bad, extent};
use crate::connectomes::series::Series;
use crate::connectomes::set::Connectomes;
use crate::connectomes::table::{Rows, Table};
use crate::modality::{Description, Part};
use crate::{Auto, DataError, Decision};

/// Recordings in files.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) found: Vec<Found>,
    /// Time points of each, where that is known.
    pub(super) lengths: Vec<Option<usize>>,
    /// Places in `found`, of either part.
    pub(super) parts: [Vec<usize>; 2],
    pub(super) atlas: Option<Atlas>,
    pub(super) cache: Cache<Series>,
}

impl Files {
    pub(super) fn places(&self, part: Part) -> &[usize] {
        &self.parts[part as usize]
    }

    pub(super) fn read(&self, place: usize, config: &ConnectomesConfig) -> Result<Series, DataError> {
        if let Some(series) = self.cache.get(place) {
            return Ok(series);
        }
        let path = &self.found[place].path;
        let series = if let Some(atlas) = &self.atlas {
            atlas.series(path)?
        } else {
            let table = Table::read(path)?;
            let rows = table.told.unwrap_or(if let Auto::Value(rows) = config.rows { rows } else { Rows::Regions });
            let (values, regions) = table.over_time(rows);
            Series::standardised(regions, &values).map_err(|reason| bad(path, reason))?
        };
        if series.regions() != config.regions {
            return Err(bad(
                path,
                format!(
                    "it has {} regions, and the others have {}: expected recordings of one atlas",
                    series.regions(),
                    config.regions
                ),
            ));
        }
        self.cache.keep(place, 4 * series.values().len(), &series);
        Ok(series)
    }
}

/// Volumes of an image, and how many regions have no voxel in it.
pub(super) fn look(atlas: &Atlas, path: &Path) -> Result<(usize, usize), DataError> {
    let file = Nifti::open(path)?;
    let header = file.header();
    if header.volumes < 2 {
        return Err(bad(path, "it is one volume and no recording: expected several volumes, one for each time point"));
    }
    Ok((header.volumes, atlas.without_voxels(&atlas.map(path, header)?)))
}

/// What volumes are like, as their headers say.
pub(super) fn headers(listing: Listing) -> Result<Description, DataError> {
    let (mut space, mut volumes) = (BTreeSet::new(), (usize::MAX, 0));
    for found in &listing.found {
        let file = Nifti::open(&found.path)?;
        space.insert(extent(file.header().space));
        volumes = (volumes.0.min(file.header().volumes), volumes.1.max(file.header().volumes));
    }
    let count = |part| listing.found.iter().filter(|found| found.part == part).count();
    let facts = vec![
        ("voxels".to_owned(), space.into_iter().collect::<Vec<_>>().join(", ")),
        (
            "volumes".to_owned(),
            if volumes.0 == volumes.1 { volumes.0.to_string() } else { format!("{} to {}", volumes.0, volumes.1) },
        ),
        ("subjects".to_owned(), listing.subjects.to_string()),
    ];
    let mut notes = listing.notes;
    notes.push("to bring voxels to regions, name a NIfTI-1 file of labels as `data.atlas`".to_owned());
    let (train, held_out) = (count(Part::Train), count(Part::HeldOut));
    Ok(Description {
        split: listing.split,
        factors: listing.factors,
        facts,
        notes,
        ..Description::of::<Connectomes>("NIfTI-1 volumes", train, held_out)
    })
}

/// Resolves what rows of tables without names are, from those that have some and from what is alike in all.
pub(super) fn rows(
    config: &mut ConnectomesConfig,
    shapes: &[(usize, usize, usize, Option<Rows>)],
    found: &[Found],
    decisions: &mut Vec<Decision>,
) -> Result<(), DataError> {
    let told = |wanted: Rows| shapes.iter().find(|(.., told)| *told == Some(wanted)).map(|(place, ..)| &found[*place]);
    if let (Some(regions), Some(time)) = (told(Rows::Regions), told(Rows::Time)) {
        return Err(bad(
            &time.path,
            format!(
                "its names say that rows are time points, and those of `{}` that they are regions: expected one form",
                regions.name
            ),
        ));
    }
    if let Auto::Value(asked) = config.rows
        && let Some(other) = told(if asked == Rows::Regions { Rows::Time } else { Rows::Regions })
    {
        return Err(bad(
            &other.path,
            format!("its names say otherwise than `data.rows`, which is {asked}: leave that at \"auto\""),
        ));
    }
    let Some((_, height, width, _)) = shapes.first() else { return Ok(()) };
    config.rows.resolve("data.rows", decisions, || {
        if told(Rows::Regions).is_some() {
            return (Rows::Regions, "the tables' names say so".to_owned());
        }
        if told(Rows::Time).is_some() {
            return (Rows::Time, "the tables' names say so".to_owned());
        }
        let same_height = shapes.iter().all(|(_, own, ..)| own == height);
        let same_width = shapes.iter().all(|(_, _, own, _)| own == width);
        match (same_height, same_width) {
            (false, true) => (Rows::Time, format!("all tables have {width} columns, and their rows differ in number")),
            (true, false) => (Rows::Regions, format!("all tables have {height} rows, and their columns differ in number")),
            _ => (Rows::Regions, format!("no name says otherwise: {height} regions of {width} time points; set `time` where it is the other way round")),
        }
    });
    Ok(())
}
