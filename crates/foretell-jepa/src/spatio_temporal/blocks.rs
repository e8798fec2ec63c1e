//! Which regions of a window are hidden: several blocks, of which those regions are seen that lie in none.

use foretell_data::connectomes::WindowGraph;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// What makes regions a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlocksBy {
    /// The window's own edges: a region and those around it. What neighbours say of a hidden region is hidden with it, whatever the
    /// order of the atlas. Ours.
    #[default]
    Edges,
    /// The order of the atlas: regions of neighbouring numbers, as published. Of an atlas in no order these are random regions.
    Official,
}

/// How regions are hidden.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlocksConfig {
    /// Blocks of a window, K.
    pub count: usize,
    /// The share of regions in a block, at least and at most.
    pub share: (f64, f64),
    /// What makes regions a block.
    pub by: BlocksBy,
}

impl Default for BlocksConfig {
    fn default() -> Self {
        Self { count: 4, share: (0.1, 0.3), by: BlocksBy::default() }
    }
}

/// Regions that are seen at least, however the blocks fall.
const LEAST_SEEN: usize = 2;

impl BlocksConfig {
    /// An error in a sentence unless every setting is within its range; settings are called `before`.
    pub fn check(&self, before: &str) -> Result<(), String> {
        let (least, most) = self.share;
        if self.count == 0 {
            return Err(format!("`{before}.count` is 0: at least 1 block must be hidden"));
        }
        if !(least > 0.0 && least <= most && most <= 0.9) {
            return Err(format!(
                "`{before}.share` is [{least}, {most}]: expected two shares above 0 and at most 0.9, the smaller first"
            ));
        }
        Ok(())
    }

    /// Blocks of regions of a window; none of a window of too few. A block that would leave fewer than two regions to be seen is left
    /// out, unless it is the first, which is then smaller.
    pub fn draw(&self, graph: &WindowGraph, rng: &mut impl Rng) -> Vec<Vec<u32>> {
        let there: Vec<u32> =
            (0..graph.present.len() as u32).filter(|region| graph.present[*region as usize]).collect();
        let mut hidden = vec![false; graph.present.len()];
        let mut seen = there.len();
        let mut blocks = Vec::new();
        for _ in 0..self.count {
            let share =
                if self.share.0 < self.share.1 { rng.random_range(self.share.0..self.share.1) } else { self.share.0 };
            let mut size = ((share * there.len() as f64).round() as usize).clamp(1, there.len().max(1));
            if blocks.is_empty() {
                size = size.min(there.len().saturating_sub(LEAST_SEEN));
            }
            if size == 0 {
                return blocks;
            }
            let block = match self.by {
                BlocksBy::Official => {
                    let start = rng.random_range(0..=there.len() - size);
                    there[start..start + size].to_vec()
                }
                BlocksBy::Edges => around(graph, &there, size, rng),
            };
            let more = block.iter().filter(|region| !hidden[**region as usize]).count();
            if seen - more < LEAST_SEEN {
                continue;
            }
            seen -= more;
            for region in &block {
                hidden[*region as usize] = true;
            }
            blocks.push(block);
        }
        blocks
    }
}

/// A region and those that a search along edges meets first, their neighbours in an order that is drawn; where it ends it begins anew.
fn around(graph: &WindowGraph, there: &[u32], size: usize, rng: &mut impl Rng) -> Vec<u32> {
    let mut neighbours = vec![Vec::new(); graph.present.len()];
    for (u, v) in &graph.edges {
        neighbours[*u as usize].push(*v);
        neighbours[*v as usize].push(*u);
    }
    let mut met = vec![false; graph.present.len()];
    let (mut block, mut place) = (Vec::with_capacity(size), 0);
    while block.len() < size {
        if place == block.len() {
            let left: Vec<u32> = there.iter().copied().filter(|region| !met[*region as usize]).collect();
            let region = left[rng.random_range(0..left.len())];
            met[region as usize] = true;
            block.push(region);
            continue;
        }
        let around = &mut neighbours[block[place] as usize];
        place += 1;
        for last in (0..around.len()).rev() {
            around.swap(last, rng.random_range(0..=last));
            let region = around[last];
            if block.len() < size && !std::mem::replace(&mut met[region as usize], true) {
                block.push(region);
            }
        }
    }
    block.sort_unstable();
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretell_data::random::{Stream, rng};

    /// Two cliques of eight regions, in turns by their numbers, and four regions that were not measured.
    fn graph() -> WindowGraph {
        let mut edges = Vec::new();
        for u in 0..16_u32 {
            edges.extend((u + 1..16).filter(|v| v % 2 == u % 2).map(|v| (u, v)));
        }
        WindowGraph { present: (0..20).map(|region| region < 16).collect(), edges }
    }

    fn draws(by: BlocksBy, share: (f64, f64)) -> impl Iterator<Item = Vec<Vec<u32>>> {
        let config = BlocksConfig { count: 4, share, by };
        (0..200).map(move |index| config.draw(&graph(), &mut rng(3, Stream::Mask, 1, index)))
    }

    #[test]
    fn blocks_are_of_the_size_asked_for_and_hide_neither_all_nor_what_is_not_there() {
        for by in [BlocksBy::Edges, BlocksBy::Official] {
            for blocks in draws(by, (0.1, 0.6)) {
                let hidden: std::collections::BTreeSet<u32> = blocks.iter().flatten().copied().collect();
                assert!(!blocks.is_empty() && hidden.len() <= 14 && hidden.iter().all(|region| *region < 16));
                for block in blocks {
                    assert!(
                        (2..=10).contains(&block.len()) && block.windows(2).all(|pair| pair[0] < pair[1]),
                        "{block:?}"
                    );
                }
            }
        }
    }

    /// As published, a block is a run of numbers, whatever joins the regions; ours stays on one side where it fits.
    #[test]
    fn official_blocks_follow_the_order_of_the_atlas_and_ours_the_edges() {
        let run = |block: &Vec<u32>| block.windows(2).all(|pair| pair[1] == pair[0] + 1);
        assert!(draws(BlocksBy::Official, (0.2, 0.3)).flatten().all(|block| run(&block)));
        let one_side = |block: &Vec<u32>| block.iter().all(|region| region % 2 == block[0] % 2);
        assert!(draws(BlocksBy::Edges, (0.2, 0.3)).flatten().all(|block| one_side(&block)));
        assert!(!draws(BlocksBy::Official, (0.2, 0.3)).flatten().any(|block| one_side(&block)));
    }

    #[test]
    fn a_window_of_too_few_regions_hides_none() {
        let few = WindowGraph { present: vec![true, false, true], edges: vec![(0, 2)] };
        assert!(BlocksConfig::default().draw(&few, &mut rng(0, Stream::Mask, 0, 0)).is_empty());
    }
}
