//! A set of graphs in two parts: what training, evaluation and people are given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use crate::graphs::adjacency::LeftOut;
use crate::graphs::config::{Edgeless, GraphsConfig, NodeFeatures};
use crate::graphs::folds::{self, Fold};
use crate::graphs::graph::Graph;
use crate::graphs::inputs;
use crate::graphs::motifs::{self, MotifsConfig};
use crate::graphs::raw::{self, RawGraph, RawSet, distinct};
use crate::graphs::text::bad;
use crate::graphs::view::GraphSample;
use crate::graphs::{drawing, walks};
use crate::images::labels::Factor;
use crate::modality::{Description, Meta, Modality, Opening, Unit};
use crate::{Auto, DataError, Image, Normalise, Part};

/// Longer walks say nothing new and cost time.
const LONGEST_WALK: usize = 1024;
/// Side of a picture in pixels.
const PICTURE: usize = 160;

/// Graphs, their labels and their split.
#[derive(Debug)]
pub struct Graphs {
    config: GraphsConfig,
    source: Source,
    factors: Vec<Factor>,
    /// In the parts' order; the places are those in the set. Empty for generated graphs.
    train: Vec<usize>,
    held_out: Vec<usize>,
    folds: Vec<Fold>,
    format: String,
    split: String,
    facts: Vec<(String, String)>,
    numbers: BTreeMap<String, Value>,
    notes: Vec<String>,
}

#[derive(Debug)]
enum Source {
    Listed(Vec<Listed>),
    Generated(MotifsConfig),
}

#[derive(Debug)]
struct Listed {
    name: String,
    graph: Arc<Graph>,
    /// The fold that holds it out, from 1.
    fold: Option<u32>,
    /// Made when it is first asked for: long walks take time.
    sample: OnceLock<GraphSample>,
}

impl Graphs {
    /// The generated graphs; `config.path`, `fold` and whatever files would fix are not looked at.
    pub fn generated(motifs: &MotifsConfig, config: &GraphsConfig) -> Self {
        let config = GraphsConfig {
            tags: (0..i64::from(motifs::TAGS)).collect(),
            edge_labels: Vec::new(),
            normalise: Normalise { mean: Vec::new(), std: Vec::new() },
            ..config.clone()
        };
        let (least, most) = (motifs::NODES.start(), motifs::NODES.end());
        Self {
            config,
            source: Source::Generated(motifs.clone()),
            factors: motifs::factors(),
            train: Vec::new(),
            held_out: Vec::new(),
            folds: Vec::new(),
            format: format!("generated motif graphs, seed {}", motifs.seed),
            split: "each part is drawn for itself".to_owned(),
            facts: vec![
                ("nodes".to_owned(), format!("{least} to {most}")),
                ("node labels".to_owned(), format!("{} (0 to {})", motifs::TAGS, motifs::TAGS - 1)),
            ],
            numbers: BTreeMap::from([("node_labels".to_owned(), motifs::TAGS.into())]),
            notes: Vec::new(),
        }
    }

    /// The resolved configuration.
    pub fn config(&self) -> &GraphsConfig {
        &self.config
    }

    /// F: features of a node.
    pub fn feature_width(&self) -> usize {
        inputs::feature_width(&self.config)
    }

    /// L: labels that edges may have; 0 where they have none.
    pub fn edge_classes(&self) -> usize {
        self.config.edge_labels.len()
    }

    /// All folds of the set, in places of the set; none for generated graphs and for paths given one by one.
    pub fn folds(&self) -> &[Fold] {
        &self.folds
    }

    /// Where the graphs of a part stand in the set, in the part's order; empty for generated graphs.
    pub fn places(&self, part: Part) -> &[usize] {
        match part {
            Part::Train => &self.train,
            Part::HeldOut => &self.held_out,
        }
    }

    /// How many samples a part has.
    fn count(&self, part: Part) -> usize {
        match (&self.source, part) {
            (Source::Generated(motifs), Part::Train) => motifs.train,
            (Source::Generated(motifs), Part::HeldOut) => motifs.held_out,
            (Source::Listed(_), part) => self.places(part).len(),
        }
    }

    fn sample(&self, graph: Arc<Graph>) -> GraphSample {
        GraphSample {
            features: inputs::features(&graph, &self.config).into(),
            walks: walks::walks(graph.adjacency(), self.config.walk).into(),
            feature_width: self.feature_width(),
            walk: self.config.walk,
            edge_classes: self.edge_classes(),
            graph,
        }
    }
}

impl Modality for Graphs {
    type Config = GraphsConfig;
    type Sample = GraphSample;
    const UNIT: Unit = Unit { one: "graph", many: "graphs" };
    const BASELINE: &'static str = "node labels";
    const MEASURED: &'static [&'static str] = &["tags", "edge_labels", "normalise", "fingerprint"];

    fn baseline_name(&self) -> &'static str {
        if self.config.tags.len() > 1 { Self::BASELINE } else { "degrees" }
    }

    fn open(config: &mut GraphsConfig, opening: &mut Opening<'_>) -> Result<Self, DataError> {
        check_walk(config)?;
        if config.path.is_empty() {
            if let Auto::Value(fold) = config.fold {
                return Err(DataError::BadSetting {
                    name: "data.fold".into(),
                    expected: "left at \"auto\" for the generated graphs, whose two parts are drawn apart",
                    found: fold.to_string(),
                });
            }
            config.node_features.resolve("data.node_features", opening.decisions, || {
                (NodeFeatures::Labels, "the generated graphs have node labels".to_owned())
            });
            config.attributes = Auto::Value(false);
            let graphs = Self::generated(&MotifsConfig::default(), config);
            *config = graphs.config.clone();
            return Ok(graphs);
        }

        let path = PathBuf::from(&config.path);
        let raw = raw::read(&path)?;
        // A single node has nothing to be joined with.
        let lost = |graph: &RawGraph| graph.edges.is_empty() && graph.tags.len() > 1;
        let lone = || raw.graphs.iter().enumerate().filter(|(_, graph)| lost(graph)).map(|(place, _)| place);
        if let (Edgeless::Fail, Some(first)) = (config.edgeless, lone().next()) {
            let (count, of) = (lone().count(), raw.graphs.len());
            return Err(bad(
                &path,
                format!(
                    "{count} of {of} graphs have several nodes and no edges, of which graph {first} (the first is 0) is one: add the edges, or set \
                     `data.edgeless` to `keep` if they have none"
                ),
            ));
        }
        let classes = classes(std::slice::from_ref(&raw));
        let labels: Vec<u32> = raw.graphs.iter().map(|graph| place_of(&classes, graph.label).unwrap_or(0)).collect();
        let from_files = folds::of_files(&raw.folder, raw.graphs.len())?;
        let brought = from_files.is_some();
        let folds = from_files.unwrap_or_else(|| folds::drawn(&labels));
        let of = if brought {
            format!("the {} in `{}/`", folds.len(), folds::FOLDER)
        } else {
            format!("{} stratified by class, drawn with seed {}", folds.len(), folds::SEED)
        };
        let fold = config.fold.resolve("data.fold", opening.decisions, || (1, format!("the first of {of}")));
        let Some(chosen) = fold.checked_sub(1).and_then(|place| folds.get(place)) else {
            return Err(DataError::BadSetting {
                name: "data.fold".into(),
                expected: "the number of a fold of this set, from 1 on",
                found: format!("{fold} of {}", folds.len()),
            });
        };

        let fingerprint = fingerprint(&raw, chosen);
        if !config.fingerprint.is_empty() && config.fingerprint != fingerprint {
            return Err(bad(
                &path,
                "they are not what this run began with (graphs, labels or folds changed); put them back, or start a new run",
            ));
        }
        config.fingerprint = fingerprint;
        if config.tags.is_empty() {
            config.tags = raw.tags();
            config.edge_labels = raw.edge_labels();
        }
        let (tags, width) = (config.tags.len(), raw.attribute_width());
        config.node_features.resolve("data.node_features", opening.decisions, || {
            if tags > 1 {
                (NodeFeatures::Labels, format!("nodes have {tags} labels"))
            } else {
                (
                    NodeFeatures::Constant,
                    "nodes have no labels, and the paper then tells nodes apart by nothing".to_owned(),
                )
            }
        });
        let attributes = config.attributes.resolve("data.attributes", opening.decisions, || match (width, tags) {
            (0, _) => (false, "nodes have none".to_owned()),
            (_, 0 | 1) => (true, format!("nodes have {width} and no labels")),
            _ => (false, format!("nodes have {width}, and the paper uses labels alone where there are any")),
        });
        if attributes && width == 0 {
            return Err(DataError::BadSetting {
                name: "data.attributes".into(),
                expected: "left at \"auto\" or set to false: the nodes have no attributes",
                found: "true".to_owned(),
            });
        }
        if attributes && config.normalise.mean.is_empty() {
            config.normalise = inputs::measure(chosen.train.iter().map(|&place| &raw.graphs[place]), width);
        }

        let split = format!("fold {fold} of {of}");
        let chosen = chosen.clone();
        let mut graphs = Self::listed(config.clone(), vec![(path, raw)], classes)?;
        let Source::Listed(listed) = &mut graphs.source else { return Ok(graphs) };
        for (number, fold) in (1..).zip(&folds) {
            fold.held_out.iter().for_each(|&place| _ = listed[place].fold.get_or_insert(number));
        }
        let never = listed.iter().filter(|graph| graph.fold.is_none()).count();
        let unused = listed.len() - chosen.train.len() - chosen.held_out.len();
        if never > 0 && folds.len() > 1 {
            graphs.notes.push(format!("{} held out in no fold", are(never)));
        }
        if unused > 0 {
            graphs.notes.push(format!("{} in neither part of fold {fold}", are(unused)));
        }
        Ok(Self { train: chosen.train, held_out: chosen.held_out, folds, split, ..graphs })
    }

    fn of_paths(config: &GraphsConfig, paths: &[PathBuf]) -> Result<Self, DataError> {
        check_walk(config)?;
        if paths.is_empty() {
            return Err(DataError::NoInputs);
        }
        let sets =
            paths.iter().map(|path| Ok((path.clone(), raw::read(path)?))).collect::<Result<Vec<_>, DataError>>()?;
        let mut config = config.clone();
        let raws = || sets.iter().map(|(_, raw)| raw);
        if config.tags.is_empty() {
            config.tags = distinct(raws().flat_map(RawSet::tags).collect::<Vec<_>>().iter());
            config.edge_labels = distinct(raws().flat_map(RawSet::edge_labels).collect::<Vec<_>>().iter());
        }
        if config.node_features == Auto::Auto {
            let labels = config.tags.len() > 1;
            config.node_features = Auto::Value(if labels { NodeFeatures::Labels } else { NodeFeatures::Constant });
        }
        if config.attributes == Auto::Auto {
            config.attributes = Auto::Value(!config.normalise.mean.is_empty());
        }
        let classes = classes(sets.iter().map(|(_, raw)| raw));
        let mut graphs = Self::listed(config, sets, classes)?;
        if let Source::Listed(listed) = &graphs.source {
            graphs.train = (0..listed.len()).collect();
        }
        Ok(graphs)
    }

    fn elsewhere(config: &GraphsConfig, path: &str) -> GraphsConfig {
        GraphsConfig { path: path.to_owned(), fold: Auto::Auto, fingerprint: String::new(), ..config.clone() }
    }

    fn source(config: &GraphsConfig) -> String {
        if config.path.is_empty() { "built-in graphs".to_owned() } else { config.path.clone() }
    }

    fn recognises(path: &Path) -> bool {
        raw::recognises(path)
    }

    fn look_as(config: GraphsConfig) -> Result<Description, DataError> {
        // What a training refuses, looking tells in a note.
        let mut config = GraphsConfig { edgeless: Edgeless::Keep, ..config };
        let mut opening = Opening { seed: 0, batch: 1, threads: 1, decisions: &mut Vec::new() };
        Self::open(&mut config, &mut opening).map(|data| data.describe())
    }

    fn describe(&self) -> Description {
        let mut facts = self.facts.clone();
        if self.config.tags.len() <= 1 {
            facts.push(("baseline".to_owned(), format!("counts of degrees (0 to {}, and more)", inputs::DEGREES - 2)));
        }
        Description {
            split: self.split.clone(),
            factors: self.factors.clone(),
            facts,
            numbers: self.numbers.clone(),
            notes: self.notes.clone(),
            ..Description::of::<Self>(&self.format, self.count(Part::Train), self.count(Part::HeldOut))
        }
    }

    fn factors(&self) -> &[Factor] {
        &self.factors
    }

    fn len(&self, part: Part) -> Option<usize> {
        Some(self.count(part))
    }

    /// The group is the fold that holds the graph out, from 1.
    fn meta(&self, part: Part, index: usize) -> Result<Meta, DataError> {
        part.holds(index, self.count(part))?;
        Ok(match &self.source {
            Source::Generated(config) => Meta {
                name: motifs::name(part, index),
                labels: motifs::labels(config, part, index).to_vec(),
                numbers: Vec::new(),
                group: None,
                bytes: None,
            },
            Source::Listed(listed) => {
                let Listed { name, graph, fold, .. } = &listed[self.places(part)[index]];
                Meta {
                    name: name.clone(),
                    labels: graph.labels().to_vec(),
                    numbers: graph.numbers().to_vec(),
                    group: *fold,
                    bytes: None,
                }
            }
        })
    }

    fn load(&self, part: Part, index: usize) -> Result<GraphSample, DataError> {
        part.holds(index, self.count(part))?;
        Ok(match &self.source {
            Source::Generated(config) => self.sample(Arc::new(motifs::generate(config, part, index))),
            Source::Listed(listed) => {
                let Listed { graph, sample, .. } = &listed[self.places(part)[index]];
                sample.get_or_init(|| self.sample(Arc::clone(graph))).clone()
            }
        })
    }

    /// Counts of node labels or degrees, not shares: they hold the graph's size as well, which alone tells much (of
    /// proteins, for instance), so this is the stronger baseline and the one of the vertex-histogram kernel.
    fn baseline(&self, sample: &GraphSample) -> Vec<f32> {
        inputs::counts(&sample.graph, &self.config)
    }

    fn picture(&self, sample: &GraphSample) -> Option<Image> {
        Some(drawing::draw(&sample.graph, PICTURE))
    }
}

impl Graphs {
    /// Of sets that were read, with the config's tags; in no part yet.
    fn listed(config: GraphsConfig, sets: Vec<(PathBuf, RawSet)>, classes: Vec<i64>) -> Result<Self, DataError> {
        let factors = if classes.is_empty() {
            Vec::new()
        } else {
            vec![Factor { name: "class".to_owned(), classes: classes.iter().map(i64::to_string).collect() }]
        };
        let (mut listed, mut notes, mut left_out) = (Vec::new(), Vec::new(), LeftOut::default());
        let format = match &sets[..] {
            [(_, set)] => set.form.to_owned(),
            sets => format!("{} sets of graphs", sets.len()),
        };
        let mut width = 0;
        for (path, set) in sets {
            if set.unlabelled && config.tags.len() > 1 && config.node_features == Auto::Value(NodeFeatures::Labels) {
                let expected = config.tags.len();
                return Err(bad(
                    &path,
                    format!("its nodes have no labels, and the network was made for nodes with {expected} of them"),
                ));
            }
            notes.extend(set.notes);
            for (place, raw) in set.graphs.into_iter().enumerate() {
                width = raw.attributes.len() / raw.tags.len();
                let (graph, dropped) = known(raw, &config, &classes)
                    .and_then(|(graph, dropped)| {
                        inputs::check_attributes(&graph, &config)?;
                        Ok((graph, dropped))
                    })
                    .map_err(|reason| bad(&path, format!("graph {place} (the first is 0): {reason}")))?;
                left_out.loops += dropped.loops;
                left_out.repeats += dropped.repeats;
                let name = format!("{}/{place}", set.name);
                listed.push(Listed { name, graph: Arc::new(graph), fold: None, sample: OnceLock::new() });
            }
        }
        let all = || listed.iter().map(|listed: &Listed| &*listed.graph);
        let edgeless = all().filter(|graph| graph.edges() == 0).count();
        if edgeless > 0 {
            notes.push(format!(
                "{} without edges: nothing passes between their nodes, and their walk encodings are 0; to train on several nodes without \
                 edges, set `data.edgeless` to `keep`",
                are(edgeless)
            ));
        }
        let lone = all().filter(|graph| graph.nodes() == 1).count();
        if lone > 0 {
            notes.push(format!("{} of a single node: there is no other part to predict", are(lone)));
        }
        if left_out.repeats > 0 {
            notes.push(format!("edges that are listed {} times too often are one edge each", left_out.repeats));
        }
        if left_out.loops > 0 {
            notes.push(format!("{} edges from a node to itself are left out", left_out.loops));
        }
        let isolated: usize = all()
            .map(|graph| (0..graph.nodes() as u32).filter(|&node| graph.adjacency().degree(node) == 0).count())
            .sum();
        let (tags, edge_labels) = (config.tags.len(), config.edge_labels.len());
        let few = |values: &[i64]| match values {
            [] | [_] => "none".to_owned(),
            [first, .., last] => format!("{} ({first} to {last})", values.len()),
        };
        let mut facts = vec![
            ("nodes".to_owned(), spread(all().map(Graph::nodes))),
            ("edges".to_owned(), spread(all().map(Graph::edges))),
            ("node labels".to_owned(), if tags > 1 { few(&config.tags) } else { "none".to_owned() }),
        ];
        if edge_labels > 0 {
            facts.push(("edge labels".to_owned(), few(&config.edge_labels)));
        }
        if width > 0 {
            let used = if config.attributes == Auto::Value(true) { "used" } else { "not used" };
            facts.push(("attributes".to_owned(), format!("{width} for each node, {used}")));
        }
        let sum = |count: fn(&Graph) -> usize| Value::from(all().map(count).sum::<usize>());
        let numbers = BTreeMap::from([
            ("nodes".to_owned(), sum(Graph::nodes)),
            ("edges".to_owned(), sum(Graph::edges)),
            ("node_labels".to_owned(), if tags > 1 { tags } else { 0 }.into()),
            ("edge_labels".to_owned(), edge_labels.into()),
            ("attributes".to_owned(), width.into()),
        ]);
        if isolated > 0 {
            facts.push(("isolated nodes".to_owned(), isolated.to_string()));
        }
        Ok(Self {
            config,
            source: Source::Listed(listed),
            factors,
            train: Vec::new(),
            held_out: Vec::new(),
            folds: Vec::new(),
            format,
            split: "all in one part".to_owned(),
            facts,
            numbers,
            notes,
        })
    }
}

/// A graph with its tags as indices, or what does not fit the configuration.
fn known(raw: RawGraph, config: &GraphsConfig, classes: &[i64]) -> Result<(Graph, LeftOut), String> {
    let number = |values: &[i64], value: i64, what: &str| {
        place_of(values, Some(value)).ok_or_else(|| {
            format!("the {what} label {value} is none of the {} that the network was made for", values.len())
        })
    };
    let tags = raw.tags.iter().map(|&tag| number(&config.tags, tag, "node")).collect::<Result<Vec<u32>, String>>()?;
    let edge_labels = if config.edge_labels.is_empty() {
        Vec::new()
    } else if raw.edge_labels.len() < raw.edges.len() {
        return Err(format!(
            "its edges have no labels, and the network was made for edges with {}",
            config.edge_labels.len()
        ));
    } else {
        let labels = raw.edge_labels.iter().map(|&label| number(&config.edge_labels, label, "edge"));
        labels.collect::<Result<Vec<u32>, String>>()?
    };
    let (width, expected) = (raw.attributes.len() / tags.len(), config.normalise.mean.len());
    if config.attributes == Auto::Value(true) && width != expected {
        return Err(format!("its nodes have {width} attributes, and the network was made for {expected}"));
    }
    let (graph, left_out) = Graph::counted(tags, &raw.edges, &edge_labels);
    let graph = graph
        .with_attributes(raw.attributes)
        .map_err(|error| error.to_string())?
        .with_labels(place_of(classes, raw.label).into_iter().collect())
        .with_numbers(raw.numbers);
    Ok((graph, left_out))
}

/// The classes of sets, ascending; none if a graph has no label.
fn classes<'a>(sets: impl IntoIterator<Item = &'a RawSet>) -> Vec<i64> {
    let labels: Option<Vec<i64>> = sets.into_iter().flat_map(|set| &set.graphs).map(|graph| graph.label).collect();
    labels.map_or_else(Vec::new, |labels| distinct(labels.iter()))
}

fn place_of(values: &[i64], value: Option<i64>) -> Option<u32> {
    values.binary_search(&value?).ok().map(|place| place as u32)
}

/// Changes with any graph, label, attribute and with the split.
fn fingerprint(raw: &RawSet, fold: &Fold) -> String {
    let mut hash = Xxh3::new();
    let mut word = |word: u64| hash.update(&word.to_le_bytes());
    for graph in &raw.graphs {
        word(graph.tags.len() as u64);
        graph.tags.iter().for_each(|&tag| word(tag as u64));
        graph.attributes.iter().for_each(|value| word(value.to_bits().into()));
        word(graph.edges.len() as u64);
        graph.edges.iter().for_each(|&(u, v)| word(u64::from(u) << 32 | u64::from(v)));
        graph.edge_labels.iter().for_each(|&label| word(label as u64));
        word(graph.label.map_or(u64::MAX, |label| label as u64));
        graph.numbers.iter().for_each(|value| word(value.to_bits().into()));
    }
    for part in [&fold.train, &fold.held_out] {
        word(part.len() as u64);
        for &place in part {
            word(place as u64);
        }
    }
    format!("{:016x}", hash.digest())
}

fn check_walk(config: &GraphsConfig) -> Result<(), DataError> {
    if (1..=LONGEST_WALK).contains(&config.walk) {
        return Ok(());
    }
    Err(DataError::BadSetting { name: "data.walk".into(), expected: "1 to 1024 steps", found: config.walk.to_string() })
}

/// `17.9 on average, 10 to 28`
fn spread(counts: impl Iterator<Item = usize> + Clone) -> String {
    let (least, most) = (counts.clone().min().unwrap_or(0), counts.clone().max().unwrap_or(0));
    let mean = counts.clone().sum::<usize>() as f64 / counts.count().max(1) as f64;
    format!("{mean:.1} on average, {least} to {most}")
}

/// `1 graph is`, `5 graphs are`
fn are(count: usize) -> String {
    format!("{} {}", Graphs::UNIT.counted(count), if count == 1 { "is" } else { "are" })
}
