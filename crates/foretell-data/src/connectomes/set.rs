//! Recordings of regions in two parts: what training, evaluation and people are given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use crate::cache::Cache;
use crate::connectomes::atlas::Atlas;
use crate::connectomes::config::ConnectomesConfig;
use crate::connectomes::drawing;
use crate::connectomes::dynamic_graph::{DynamicGraph, Sliding};
use crate::connectomes::files::{Files, headers, look, rows};
use crate::connectomes::listing::{self, Found, Listing};
use crate::connectomes::nifti::bad;
use crate::connectomes::states::{self, StatesConfig};
use crate::connectomes::table::{Rows, Table};
use crate::images::labels::Factor;
use crate::modality::{Description, Film, Meta, Modality, OnBadSample, Opening, Part, Unit};
use crate::visit::fail;
use crate::{Auto, DataError, Decision, Image};

/// Time points of a window: the paper's, and of the generated networks, whose states last 16 or 48.
const WINDOW: usize = 50;
const GENERATED_WINDOW: usize = 30;
/// Windows that a recording should hold one after the other at least.
const IN_A_ROW: usize = 5;

/// Recordings, their labels and their split.
#[derive(Debug)]
pub struct Connectomes {
    config: ConnectomesConfig,
    sliding: Sliding,
    source: Source,
    factors: Vec<Factor>,
    told: Told,
}

/// What people are told of recordings in files.
#[derive(Debug, Default)]
struct Told {
    format: String,
    split: String,
    facts: Vec<(String, String)>,
    notes: Vec<String>,
}

#[derive(Debug)]
enum Source {
    Generated(StatesConfig),
    Files(Box<Files>),
}

impl Connectomes {
    fn generated(config: &mut ConnectomesConfig, decisions: &mut Vec<Decision>) -> Result<Self, DataError> {
        for (name, given) in [("data.atlas", &config.atlas), ("data.labels", &config.labels.join(", "))] {
            if !given.is_empty() {
                return Err(DataError::BadSetting {
                    name: name.into(),
                    expected: "empty for the built-in networks; `data.path` names recordings",
                    found: given.clone(),
                });
            }
        }
        config.networks.check().map_err(|error| error.under("data.networks"))?;
        let StatesConfig { regions, length, seed, .. } = config.networks;
        config.regions = regions;
        let window = GENERATED_WINDOW.min(length / IN_A_ROW).max(4);
        let sliding =
            slide(config, decisions, length, (window, "states of the built-in networks last 16 or 48 time points"))?;
        if sliding.count(length) == 0 {
            return Err(too_short("the built-in networks", length, sliding.window));
        }
        let told = Told {
            format: format!("generated networks that change states, seed {seed}"),
            split: "each part is drawn for itself".to_owned(),
            facts: vec![("time points".to_owned(), length.to_string())],
            notes: Vec::new(),
        };
        let source = Source::Generated(config.networks.clone());
        Ok(Self { config: config.clone(), sliding, source, factors: states::factors(), told })
    }

    fn files(
        config: &mut ConnectomesConfig,
        listing: Listing,
        decisions: &mut Vec<Decision>,
    ) -> Result<Self, DataError> {
        let Listing { found, images, factors, split, mut notes, subjects } = listing;
        let atlas = match (images, config.atlas.is_empty()) {
            (true, false) => Some(Atlas::open(Path::new(&config.atlas))?),
            (false, true) => None,
            (true, true) => {
                return Err(bad(
                    &found[0].path,
                    "it is a volume, and no atlas says which of its voxels are a region: name a NIfTI-1 file of labels as `data.atlas`",
                ));
            }
            (false, false) => {
                return Err(bad(
                    &found[0].path,
                    "it is a table of regions, which needs no atlas: leave `data.atlas` empty",
                ));
            }
        };
        if let Some(atlas) = &atlas {
            let mark = atlas.mark();
            if !config.atlas_mark.is_empty() && config.atlas_mark != mark {
                return Err(bad(
                    Path::new(&config.atlas),
                    "it is another atlas (`data.atlas`) than the one that the run learnt from, by its labels or where it lies: put that one back, or train anew",
                ));
            }
            config.atlas_mark = mark;
        }
        let (mut lengths, mut regions, mut first_error) = (vec![None; found.len()], None::<(usize, usize)>, None);
        let mut shapes = Vec::new();
        let mut bare = 0;
        for (place, file) in found.iter().enumerate() {
            let seen = match &atlas {
                Some(atlas) => look(atlas, &file.path).map(|(length, without)| {
                    bare += usize::from(without > 0);
                    lengths[place] = Some(length);
                }),
                None => Table::read(&file.path).and_then(|table| {
                    alike(&mut config.names, &table.names, &file.path)?;
                    shapes.push((place, table.rows, table.columns, table.told));
                    Ok(())
                }),
            };
            match seen {
                Ok(()) => {}
                Err(error) if config.on_bad_sample == OnBadSample::Skip => _ = first_error.get_or_insert(error),
                Err(error) => return Err(fail(error, file.name.clone())),
            }
        }
        if let Some(atlas) = &atlas {
            regions = Some((0, atlas.labels().len()));
        } else {
            rows(config, &shapes, &found, decisions)?;
            let otherwise = if let Auto::Value(rows) = config.rows { rows } else { Rows::Regions };
            for (place, height, width, told) in &shapes {
                let (own, length) =
                    if told.unwrap_or(otherwise) == Rows::Regions { (*height, *width) } else { (*width, *height) };
                let (first, expected) = *regions.get_or_insert((*place, own));
                if own != expected {
                    return Err(bad(
                        &found[*place].path,
                        format!(
                            "it has {own} regions, and `{}` has {expected}: expected recordings of one atlas (`data.rows` says which axis of a table is regions)",
                            found[first].name
                        ),
                    ));
                }
                lengths[*place] = Some(length);
            }
        }
        let known: Vec<usize> = lengths.iter().flatten().copied().collect();
        let (Some(shortest), Some((_, regions))) = (known.iter().min().copied(), regions) else {
            return Err(first_error.unwrap_or(DataError::NoInputs));
        };
        if config.regions != 0 && config.regions != regions {
            return Err(bad(
                &found[0].path,
                format!(
                    "it has {regions} regions, and the network was made for {}: expected recordings of the same atlas",
                    config.regions
                ),
            ));
        }
        config.regions = regions;
        let sliding = slide(config, decisions, shortest, (WINDOW, "ST-JEMA's"))?;
        let is_short = |length: &usize| sliding.count(*length) == 0;
        let tolerated = config.on_bad_sample == OnBadSample::Skip && !known.iter().all(is_short);
        if let Some(place) = (0..found.len()).find(|place| !tolerated && lengths[*place].as_ref().is_some_and(is_short))
        {
            return Err(too_short(&found[place].name, lengths[place].unwrap_or(0), sliding.window));
        }
        if bare > 0 {
            notes.push(format!("in {bare} of {} recordings some of the atlas's regions have no voxel: they stay, and nothing was measured of them", found.len()));
        }
        let longest = known.iter().max().copied().unwrap_or(shortest);
        let mut facts = vec![
            ("subjects".to_owned(), subjects.to_string()),
            (
                "time points".to_owned(),
                if shortest == longest { shortest.to_string() } else { format!("{shortest} to {longest}") },
            ),
        ];
        if let Some(path) = Some(&config.atlas).filter(|path| !path.is_empty()) {
            facts.push(("atlas".to_owned(), path.clone()));
        }
        let format = if images { "NIfTI-1 volumes under an atlas" } else { "tables of regions and time" }.to_owned();
        let parts = [Part::Train, Part::HeldOut]
            .map(|part| (0..found.len()).filter(|place| found[*place].part == part).collect());
        let cache = Cache::new(found.len(), config.cache_mb << 20);
        let source = Source::Files(Box::new(Files { found, lengths, parts, atlas, cache }));
        Ok(Self { config: config.clone(), sliding, source, factors, told: Told { format, split, facts, notes } })
    }

    /// The resolved configuration.
    pub fn config(&self) -> &ConnectomesConfig {
        &self.config
    }

    /// How windows slide.
    pub fn sliding(&self) -> &Sliding {
        &self.sliding
    }

    /// The fewest windows of a recording whose length is known.
    pub fn fewest_windows(&self) -> usize {
        match &self.source {
            Source::Generated(networks) => self.sliding.count(networks.length),
            // Of those that are passed over there is none.
            Source::Files(files) => {
                let counts = files.lengths.iter().flatten().map(|length| self.sliding.count(*length));
                counts.filter(|count| *count > 0).min().unwrap_or(0)
            }
        }
    }

    /// States that time points have, where that is known; 0 elsewhere.
    pub fn states(&self) -> usize {
        if matches!(self.source, Source::Generated(_)) { states::STATES } else { 0 }
    }

    fn count(&self, part: Part) -> usize {
        match (&self.source, part) {
            (Source::Generated(networks), Part::Train) => networks.train,
            (Source::Generated(networks), Part::HeldOut) => networks.held_out,
            (Source::Files(files), part) => files.places(part).len(),
        }
    }
}

/// An error unless a table's regions have the names that are known, in their order; the first names are taken.
fn alike(known: &mut Vec<String>, names: &[String], path: &Path) -> Result<(), DataError> {
    if known.is_empty() {
        *known = names.to_vec();
    }
    if names.is_empty() || known.len() != names.len() {
        return Ok(());
    }
    match known.iter().zip(names).position(|(known, own)| known != own) {
        Some(place) => Err(bad(
            path,
            format!(
                "its region {} is called `{}`, and the others' is `{}`: expected the same regions in the same order in all tables",
                place + 1,
                names[place],
                known[place]
            ),
        )),
        None => Ok(()),
    }
}

/// Resolves how windows slide.
fn slide(
    config: &mut ConnectomesConfig,
    decisions: &mut Vec<Decision>,
    shortest: usize,
    (usual, why): (usize, &str),
) -> Result<Sliding, DataError> {
    config.check()?;
    let window = config.window.resolve("data.window", decisions, || {
        let few = (shortest / IN_A_ROW).max(4);
        if few < usual {
            (few, format!("a fifth of the shortest recording's {shortest} time points"))
        } else {
            (usual, why.to_owned())
        }
    });
    let stride =
        config.stride.resolve("data.stride", decisions, || ((window / 3).max(1), "a third of a window".to_owned()));
    let ConnectomesConfig { correlation, density, edges, .. } = *config;
    Ok(Sliding { window, stride, correlation, density, edges })
}

fn too_short(name: &str, length: usize, window: usize) -> DataError {
    DataError::BadConnectome {
        name: name.to_owned(),
        reason: format!(
            "it has {length} time points, and a window takes {window}: set a smaller `data.window`, or leave it out"
        ),
    }
}

/// Changes with any file, label and with the split.
fn fingerprint(listing: &Listing, config: &ConnectomesConfig) -> String {
    let mut hash = Xxh3::new();
    for Found { name, bytes, group, part, labels, .. } in &listing.found {
        hash.update(name.as_bytes());
        for word in
            [*bytes, u64::from(*group), *part as u64].into_iter().chain(labels.iter().map(|label| u64::from(*label)))
        {
            hash.update(&word.to_le_bytes());
        }
    }
    let atlas = std::fs::metadata(&config.atlas).map_or(0, |atlas| atlas.len());
    hash.update(&atlas.to_le_bytes());
    format!("{:016x}", hash.digest())
}

fn atlas_of(config: &ConnectomesConfig) -> Option<&Path> {
    Some(Path::new(&config.atlas)).filter(|path| !path.as_os_str().is_empty())
}

impl Modality for Connectomes {
    type Config = ConnectomesConfig;
    type Sample = DynamicGraph;
    const UNIT: Unit = Unit { one: "recording", many: "recordings" };
    const BASELINE: &'static str = "static correlations";
    const MEASURED: &'static [&'static str] = &["regions", "names", "atlas_mark", "fingerprint"];
    const PATHS: &'static [&'static str] = &["atlas"];

    fn open(config: &mut ConnectomesConfig, opening: &mut Opening<'_>) -> Result<Self, DataError> {
        config.check()?;
        if config.path.is_empty() {
            return Self::generated(config, opening.decisions);
        }
        let listing = Listing::open(Path::new(&config.path), atlas_of(config), &config.labels)?;
        let fingerprint = fingerprint(&listing, config);
        if !config.fingerprint.is_empty() && config.fingerprint != fingerprint {
            return Err(DataError::changed(Self::UNIT, &config.path));
        }
        config.fingerprint = fingerprint;
        let opened = Self::files(config, listing, opening.decisions)?;
        Ok(Self { config: config.clone(), ..opened })
    }

    fn of_paths(config: &ConnectomesConfig, paths: &[PathBuf]) -> Result<Self, DataError> {
        if paths.is_empty() {
            return Err(DataError::NoInputs);
        }
        let listing = Listing::of_paths(paths, atlas_of(config))?;
        Self::files(&mut config.clone(), listing, &mut Vec::new())
    }

    fn elsewhere(config: &ConnectomesConfig, path: &str) -> ConnectomesConfig {
        ConnectomesConfig { path: path.to_owned(), fingerprint: String::new(), ..config.clone() }
    }

    fn source(config: &ConnectomesConfig) -> String {
        if config.path.is_empty() { "built-in networks".to_owned() } else { config.path.clone() }
    }

    fn recognises(path: &Path) -> bool {
        listing::recognises(path)
    }

    /// Of volumes without an atlas what their headers say.
    fn look_as(mut config: ConnectomesConfig) -> Result<Description, DataError> {
        let mut opening = Opening { seed: 0, batch: 1, threads: 1, decisions: &mut Vec::new() };
        if !config.path.is_empty() && config.atlas.is_empty() {
            let listing = Listing::open(Path::new(&config.path), None, &config.labels)?;
            if listing.images {
                return headers(listing);
            }
        }
        Self::open(&mut config, &mut opening).map(|data| data.describe())
    }

    fn describe(&self) -> Description {
        let Sliding { window, stride, correlation, density, .. } = self.sliding;
        let mut facts = vec![("regions".to_owned(), self.config.regions.to_string())];
        facts.extend(self.told.facts.clone());
        facts.push((
            "windows".to_owned(),
            format!("{window} time points, every {stride}: {} at least of a recording", self.fewest_windows()),
        ));
        let how = match correlation {
            crate::connectomes::Correlation::Pearson => "Pearson's",
            crate::connectomes::Correlation::LedoitWolf => "shrunk after Ledoit and Wolf",
        };
        facts.push((
            "edges".to_owned(),
            format!("the greatest {} % of correlations, {how}", (1e4 * density).round() / 100.0),
        ));
        let numbers = BTreeMap::from([
            ("regions".to_owned(), Value::from(self.config.regions)),
            ("window".to_owned(), window.into()),
            ("stride".to_owned(), stride.into()),
            ("fewest_windows".to_owned(), self.fewest_windows().into()),
        ]);
        Description {
            split: self.told.split.clone(),
            factors: self.factors.clone(),
            facts,
            numbers,
            notes: self.told.notes.clone(),
            ..Description::of::<Self>(&self.told.format, self.count(Part::Train), self.count(Part::HeldOut))
        }
    }

    fn cautions(&self) -> Vec<String> {
        self.told.notes.clone()
    }

    fn factors(&self) -> &[Factor] {
        &self.factors
    }

    fn len(&self, part: Part) -> Option<usize> {
        Some(self.count(part))
    }

    /// The group is the subject.
    fn meta(&self, part: Part, index: usize) -> Result<Meta, DataError> {
        part.holds(index, self.count(part))?;
        Ok(match &self.source {
            Source::Generated(networks) => Meta {
                name: states::name(part, index),
                labels: states::labels(networks, part, index).to_vec(),
                ..Meta::default()
            },
            Source::Files(files) => {
                let found = &files.found[files.places(part)[index]];
                Meta {
                    name: found.name.clone(),
                    labels: found.labels.clone(),
                    group: Some(found.group),
                    bytes: Some(found.bytes),
                    ..Meta::default()
                }
            }
        })
    }

    fn load(&self, part: Part, index: usize) -> Result<DynamicGraph, DataError> {
        part.holds(index, self.count(part))?;
        let (series, states) = match &self.source {
            Source::Generated(networks) => {
                let (series, states) = states::generate(networks, part, index)?;
                (series, Some(states))
            }
            Source::Files(files) => (files.read(files.places(part)[index], &self.config)?, None),
        };
        let graph = DynamicGraph::new(series, self.sliding, states);
        if graph.windows() == 0 {
            let name = self.meta(part, index)?.name;
            return Err(too_short(&name, graph.series().length(), self.sliding.window));
        }
        Ok(graph)
    }

    /// Correlations of the whole recording, which is what most studies of connectomes read: what is not in them is what changes.
    fn baseline(&self, sample: &DynamicGraph) -> Vec<f32> {
        sample.fixed()
    }

    fn picture(&self, sample: &DynamicGraph) -> Option<Image> {
        drawing::picture(sample)
    }

    fn film(&self, sample: &DynamicGraph) -> Option<Film> {
        drawing::film(sample)
    }

    fn on_bad(&self) -> OnBadSample {
        self.config.on_bad_sample
    }
}
