//! The original form of the TU sets (Morris et al., 2020): one edge of all graphs a line in `NAME_A.txt`, the graph of each
//! node in `NAME_graph_indicator.txt`, and companions with labels and attributes. Everything counts from 1.

use std::path::Path;

use crate::DataError;
use crate::graphs::raw::{RawGraph, RawSet, optional};
use crate::graphs::text::{Text, bad, real, shown, whole};

pub(crate) fn read(folder: &Path, name: &str) -> Result<RawSet, DataError> {
    let path = |what: &str| folder.join(format!("{name}_{what}.txt"));
    let indicator_text = Text::read(&path("graph_indicator"))?;
    let indicator = indicator_text.column("the number of the node's graph")?;
    if indicator.is_empty() {
        return Err(indicator_text.bad("it holds no nodes, so there are no graphs"));
    }
    let nodes = indicator.len();

    let labels = optional(&path("graph_labels"))?;
    let numbers = optional(&path("graph_attributes"))?;
    let (count, counted_by) = match (&labels, &numbers) {
        (Some(text), _) => (text.lines().len(), "graph_labels"),
        (None, Some(text)) => (text.lines().len(), "graph_attributes"),
        (None, None) => {
            return Err(bad(
                folder,
                format!(
                    "the graphs' labels are missing: expected `{name}_graph_labels.txt` with one line for each graph"
                ),
            ));
        }
    };
    // A line for each graph is there, so this allocates no more than was read.
    let mut graphs = vec![RawGraph::default(); count];
    let mut within = Vec::with_capacity(nodes);
    for (line, &graph) in (1..).zip(&indicator) {
        let place = graph.checked_sub(1).and_then(|place| usize::try_from(place).ok());
        let Some(own) = place.and_then(|place| graphs.get_mut(place)) else {
            return Err(indicator_text.bad(format!(
                "line {line} puts a node into graph {graph}, but `{name}_{counted_by}.txt` has {count} lines, one for each graph from 1 on"
            )));
        };
        within.push(own.tags.len() as u32);
        own.tags.push(0);
    }
    if let Some(place) = graphs.iter().position(|graph| graph.tags.is_empty()) {
        return Err(indicator_text.bad(format!(
            "graph {} has no nodes, though `{name}_{counted_by}.txt` has {count} lines, one for each graph",
            place + 1
        )));
    }

    if let Some(text) = labels {
        for (graph, label) in graphs.iter_mut().zip(text.column("a graph's label, a whole number")?) {
            graph.label = Some(label);
        }
    }
    if let Some(text) = numbers {
        rows(&text, count, "graph", |line, values| graphs[line].numbers.extend(values))?;
    }
    let node_labels = optional(&path("node_labels"))?;
    let unlabelled = node_labels.is_none();
    if let Some(text) = node_labels {
        let tags = text.column("a node's label, one whole number,")?;
        same_count(&text, tags.len(), nodes, "nodes", "graph_indicator")?;
        for ((&graph, &node), tag) in indicator.iter().zip(&within).zip(tags) {
            graphs[graph as usize - 1].tags[node as usize] = tag;
        }
    }
    if let Some(text) = optional(&path("node_attributes"))? {
        let mut all = Vec::new();
        let width = rows(&text, nodes, "node", |_, values| all.extend(values))?;
        for (graph, tags) in graphs.iter_mut().map(|graph| (&mut graph.attributes, &graph.tags)) {
            graph.resize(tags.len() * width, 0.0);
        }
        for ((&graph, &node), row) in indicator.iter().zip(&within).zip(all.chunks_exact(width)) {
            graphs[graph as usize - 1].attributes[node as usize * width..][..width].copy_from_slice(row);
        }
    }

    let edges = Text::read(&path("A"))?;
    let edge_labels = optional(&path("edge_labels"))?;
    let edge_labels = match &edge_labels {
        Some(text) => {
            let labels = text.column("an edge's label, one whole number,")?;
            same_count(text, labels.len(), edges.lines().len(), "edges", "A")?;
            labels
        }
        None => Vec::new(),
    };
    for (line, cells) in edges.lines() {
        let ends: Vec<&str> = cells.split(',').map(str::trim).collect();
        let [from, to] = ends[..] else {
            return Err(edges.bad(format!(
                "line {line} holds {} where an edge, two numbers with a comma between, was expected",
                shown(cells)
            )));
        };
        let end = |cell: &str| {
            let node = whole(cell).ok_or_else(|| {
                edges.bad(format!("line {line} names the node {}, which is no whole number", shown(cell)))
            })?;
            match usize::try_from(node) {
                Ok(node @ 1..) if node <= nodes => Ok(node - 1),
                _ => Err(edges.bad(format!(
                    "line {line}: an edge leads to node {node}, which does not exist: there are {nodes} (1 to {nodes})"
                ))),
            }
        };
        let (from, to) = (end(from)?, end(to)?);
        let (graph, other) = (indicator[from], indicator[to]);
        if graph != other {
            return Err(edges.bad(format!(
                "line {line} joins node {} of graph {graph} with node {} of graph {other}; an edge lies in one graph",
                from + 1,
                to + 1
            )));
        }
        let own = &mut graphs[graph as usize - 1];
        own.edges.push((within[from], within[to]));
        own.edge_labels.extend(edge_labels.get(line - 1));
    }

    let mut notes = Vec::new();
    if path("edge_attributes").exists() {
        notes.push(format!("`{name}_edge_attributes.txt` is left untouched: edges have labels alone"));
    }
    let form = "a TU folder of graphs";
    Ok(RawSet { name: name.to_owned(), form, folder: folder.to_owned(), graphs, unlabelled, notes })
}

/// Hands over each line's numbers; returns how many a line has, the same for all.
fn rows(text: &Text, lines: usize, of: &str, mut take: impl FnMut(usize, Vec<f32>)) -> Result<usize, DataError> {
    let found = text.lines().len();
    let companion = if of == "graph" { "graph_labels" } else { "graph_indicator" };
    same_count(text, found, lines, &format!("{of}s"), companion)?;
    let mut width = None;
    for (line, cells) in text.lines() {
        let values = cells
            .split(',')
            .map(|cell| {
                real(cell).ok_or_else(|| {
                    text.bad(format!("line {line} holds {} where a finite number was expected", shown(cell.trim())))
                })
            })
            .collect::<Result<Vec<f32>, _>>()?;
        let width = *width.get_or_insert(values.len());
        if values.len() != width {
            return Err(
                text.bad(format!("line {line} has {} numbers where the lines before have {width}", values.len()))
            );
        }
        take(line - 1, values);
    }
    Ok(width.unwrap_or(0))
}

fn same_count(text: &Text, found: usize, expected: usize, what: &str, companion: &str) -> Result<(), DataError> {
    if found == expected {
        return Ok(());
    }
    Err(text.bad(format!(
        "it has {found} lines, but `…_{companion}.txt` has {expected} {what}; each needs exactly one line"
    )))
}
