//! The one text file of pytorch_DGCNN and of "How Powerful are Graph Neural Networks?" (Xu et al., ICLR 2019): the number of
//! graphs; for each graph `nodes label`; for each node `tag degree neighbours…`, nodes from 0, then its attributes if any.

use std::path::Path;

use crate::DataError;
use crate::graphs::raw::{RawGraph, RawSet, parent};
use crate::graphs::text::{Text, real, shown, whole};

/// Graphs among which one tag everywhere is no accident.
const MANY: usize = 10;

pub(crate) fn read(path: &Path) -> Result<RawSet, DataError> {
    let text = Text::read(path)?;
    let mut lines = text.lines();
    let first = lines.next().map_or("", |(_, line)| line);
    let Some(count) = whole(first).filter(|count| *count >= 0) else {
        return Err(text.bad(format!("line 1 holds {} where the number of graphs was expected", shown(first))));
    };
    if count == 0 {
        return Err(text.bad("it holds no graphs: its first line says 0"));
    }
    // Grows by what is there, whatever the first line claims.
    let mut graphs = Vec::new();
    let mut width = None;
    while (graphs.len() as i64) < count {
        let place = graphs.len();
        let Some((line, header)) = lines.next() else {
            return Err(
                text.bad(format!("line 1 promises {count} graphs, but the file ends after {place}: it is truncated"))
            );
        };
        let cells: Vec<Option<i64>> = header.split_whitespace().map(whole).collect();
        let (nodes, label) = match cells[..] {
            [Some(nodes), Some(label)] if nodes >= 0 => (nodes, label),
            _ => {
                return Err(text.bad(format!(
                    "line {line} holds {} where graph {place} was expected to begin with its number of nodes and its label",
                    shown(header)
                )));
            }
        };
        if nodes == 0 {
            return Err(text.bad(format!("line {line}: graph {place} has no nodes; remove it")));
        }
        let mut graph = RawGraph { label: Some(label), ..RawGraph::default() };
        for node in 0..nodes {
            let Some((line, cells)) = lines.next() else {
                return Err(text.bad(format!(
                    "graph {place} promises {nodes} nodes, but the file ends after {node} of them: it is truncated"
                )));
            };
            let own = self::node(&mut graph, cells, node, nodes)
                .map_err(|reason| text.bad(format!("line {line} (node {node} of graph {place}): {reason}")))?;
            let width = *width.get_or_insert(own);
            if own != width {
                return Err(text.bad(format!(
                    "line {line} (node {node} of graph {place}) has {own} attributes where the nodes before have {width}"
                )));
            }
        }
        graphs.push(graph);
    }
    if let Some((line, rest)) = lines.find(|(_, line)| !line.is_empty()) {
        return Err(text.bad(format!(
            "line 1 promises {count} graphs, but line {line} goes on with {} after the last of them",
            shown(rest)
        )));
    }
    let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    // This form has a tag for each node; sets without labels write the same everywhere.
    let one = graphs.first().and_then(|graph| graph.tags.first()).copied();
    let unlabelled = graphs.len() >= MANY && graphs.iter().flat_map(|graph| &graph.tags).all(|tag| Some(*tag) == one);
    let form = "one text file of graphs";
    Ok(RawSet { name, form, folder: parent(path), graphs, unlabelled, notes: Vec::new() })
}

/// Adds a node to its graph; returns how many attributes it has, or what is wrong.
fn node(graph: &mut RawGraph, line: &str, node: i64, nodes: i64) -> Result<usize, String> {
    let mut cells = line.split_whitespace();
    let mut next = |what: &str| {
        let cell = cells.next().ok_or_else(|| format!("expected {what}, found the end of the line"))?;
        whole(cell).ok_or_else(|| format!("{} was found where {what} was expected", shown(cell)))
    };
    graph.tags.push(next("the node's tag, a whole number")?);
    let degree = next("the number of neighbours")?;
    if degree < 0 {
        return Err(format!("{degree} was found where the number of neighbours was expected"));
    }
    for place in 0..degree {
        let neighbour = next("a neighbour's number")
            .map_err(|reason| format!("{reason} (its neighbour {} of {degree})", place.saturating_add(1)))?;
        if !(0..nodes).contains(&neighbour) {
            return Err(format!(
                "an edge leads to node {neighbour}, which does not exist: the graph has {nodes} ({})",
                if nodes == 1 { "0 alone".to_owned() } else { format!("0 to {}", nodes - 1) }
            ));
        }
        graph.edges.push((node as u32, neighbour as u32));
    }
    let before = graph.attributes.len();
    for cell in cells {
        let value = real(cell)
            .ok_or_else(|| format!("{} was found where an attribute, a finite number, was expected", shown(cell)))?;
        graph.attributes.push(value);
    }
    Ok(graph.attributes.len() - before)
}
