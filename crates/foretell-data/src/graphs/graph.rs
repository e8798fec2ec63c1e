//! One graph with what is known of its nodes, its edges and itself.

use crate::DataError;
use crate::graphs::adjacency::{Adjacency, LeftOut};

/// A simple undirected graph with one tag a node.
///
/// Repeated edges are one edge: the first label given in an arc's own direction stands. An edge from a node to itself is
/// left out, as PyTorch Geometric's reader does: a node's own state enters a GNN's layer anyway, and a walk that may stay
/// where it is would say little of what is around. Isolated nodes stay, and a graph without edges is a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    tags: Vec<u32>,
    attributes: Vec<f32>,
    adjacency: Adjacency,
    edge_labels: Vec<u32>,
    labels: Vec<u32>,
    numbers: Vec<f32>,
}

impl Graph {
    /// Of tags `[N]` and edges, each in one direction or in both; `edge_labels` has one for each of `edges`, or none at all.
    pub fn new(tags: Vec<u32>, edges: &[(u32, u32)], edge_labels: &[u32]) -> Result<Self, DataError> {
        let bad = |reason| Err(DataError::BadGraphs { name: "a graph".to_owned(), reason });
        let nodes = tags.len();
        if nodes == 0 {
            return bad("expected at least one node, found none".to_owned());
        }
        if let Some((u, v)) = edges.iter().find(|(u, v)| *u.max(v) as usize >= nodes) {
            return bad(format!("the edge {u} – {v} leads to a node that does not exist: there are {nodes}, from 0"));
        }
        if !edge_labels.is_empty() && edge_labels.len() != edges.len() {
            return bad(format!("expected a label for each of {} edges, found {}", edges.len(), edge_labels.len()));
        }
        Ok(Self::counted(tags, edges, edge_labels).0)
    }

    /// The same for a reader that has checked its input, with what was left out.
    pub(crate) fn counted(tags: Vec<u32>, edges: &[(u32, u32)], edge_labels: &[u32]) -> (Self, LeftOut) {
        let (adjacency, places, left_out) = Adjacency::new(tags.len(), edges);
        let edge_labels = match edge_labels {
            [] => Vec::new(),
            labels => places.iter().map(|&place| labels[place as usize]).collect(),
        };
        let nothing = (Vec::new(), Vec::new(), Vec::new());
        let (attributes, labels, numbers) = nothing;
        (Self { tags, attributes, adjacency, edge_labels, labels, numbers }, left_out)
    }

    /// With attributes `[N, W]`, row by row.
    pub fn with_attributes(self, attributes: Vec<f32>) -> Result<Self, DataError> {
        if attributes.len().is_multiple_of(self.nodes()) {
            return Ok(Self { attributes, ..self });
        }
        Err(DataError::BadGraphs {
            name: "a graph".to_owned(),
            reason: format!(
                "{} attributes are not the same number for each of {} nodes",
                attributes.len(),
                self.nodes()
            ),
        })
    }

    /// With a label for each factor of its set.
    pub fn with_labels(self, labels: Vec<u32>) -> Self {
        Self { labels, ..self }
    }

    /// With numbers to predict by regression.
    pub fn with_numbers(self, numbers: Vec<f32>) -> Self {
        Self { numbers, ..self }
    }

    /// N.
    pub fn nodes(&self) -> usize {
        self.tags.len()
    }

    /// E, each edge counted once.
    pub fn edges(&self) -> usize {
        self.adjacency.edges()
    }

    /// `[N]`: each node's tag, an index into its set's tags.
    pub fn tags(&self) -> &[u32] {
        &self.tags
    }

    /// `[N, W]` as they stand in the file; empty without attributes.
    pub fn attributes(&self) -> &[f32] {
        &self.attributes
    }

    /// W: attributes of each node.
    pub fn attribute_width(&self) -> usize {
        self.attributes.len() / self.nodes()
    }

    /// The edges.
    pub fn adjacency(&self) -> &Adjacency {
        &self.adjacency
    }

    /// `[2 E]`: the label of each arc, an index into its set's edge labels; empty without labels.
    pub fn edge_labels(&self) -> &[u32] {
        &self.edge_labels
    }

    /// One label for each factor of its set.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Numbers to predict by regression, where its set has them.
    pub fn numbers(&self) -> &[f32] {
        &self.numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_label_in_an_arcs_own_direction_stands() {
        let graph = Graph::new(vec![0; 3], &[(0, 1), (1, 0), (0, 1), (2, 1), (2, 2)], &[5, 6, 7, 8, 9]).unwrap();
        assert_eq!(graph.edges(), 2);
        // 0 → 1, 1 → 0, 1 → 2, 2 → 1.
        assert_eq!(graph.edge_labels(), [5, 6, 8, 8]);
    }

    #[test]
    fn what_is_no_graph_is_refused() {
        let refused = |result: Result<Graph, DataError>| result.unwrap_err().to_string();
        assert!(refused(Graph::new(Vec::new(), &[], &[])).contains("at least one node"));
        assert!(refused(Graph::new(vec![0; 2], &[(0, 2)], &[])).contains("0 – 2 leads to a node that does not exist"));
        assert!(refused(Graph::new(vec![0; 2], &[(0, 1)], &[1, 2])).contains("each of 1 edges, found 2"));
        let graph = Graph::new(vec![0; 2], &[], &[]).unwrap();
        assert!(refused(graph.with_attributes(vec![1.0; 3])).contains("3 attributes"));
    }
}
