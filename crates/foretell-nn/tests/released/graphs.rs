//! The networks of Graph-JEPA against PyTorch Geometric's: `bench/peers/graph_jepa.py` made the golden file, of a ring with a chord,
//! a node without an edge, a path, and a graph of more nodes than parts.

use burn::module::Module;
use burn::tensor::Device;
use foretell_data::random::{Stream, rng};
use foretell_nn::Init;
use foretell_nn::graph::{Dense, PatchNetwork, PatchNetworkConfig, PatchTransformer, Patched};
use foretell_nn::layers::Pass;
use foretell_nn::weights::{NamedTensors, load_whole};
use foretell_ops as ops;

use crate::golden::Golden;

fn lengths(golden: &Golden, name: &str) -> Vec<usize> {
    golden.indices(name).iter().map(|len| *len as usize).collect()
}

fn patched(golden: &Golden) -> Patched {
    let copies = golden.indices("input.copies");
    let messages: Vec<[u32; 3]> = golden
        .indices("input.messages")
        .chunks_exact(3)
        .map(|message| [copies[message[0] as usize], message[1], message[2]])
        .collect();
    let graphs = ops::Sets::of_lengths(&lengths(golden, "input.patch_counts"));
    let [nodes, _] = golden.tensor::<2>("input.nodes").dims();
    let [kinds, _] = golden.tensor::<2>("input.edges").dims();
    Patched {
        messages: ops::Messages::new(nodes, copies.to_vec(), kinds, &messages),
        patches: ops::Segments::new(golden.indices("input.patch").to_vec(), graphs.rows()),
        overlaps: ops::Pairs::new(&graphs, golden.values("input.overlaps").to_vec()),
        graphs,
    }
}

/// A network with the file's weights, all of them used.
fn loaded<M: Module>(golden: &Golden, module: M, prefix: &str) -> M {
    let own = golden.weights().into_iter().filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_owned(), t)));
    load_whole(module, own.collect::<NamedTensors>()).unwrap()
}

fn network(golden: &Golden) -> PatchNetwork {
    let config = PatchNetworkConfig { node_features: 3, edge_features: 4, width: 16, depth: 2 };
    loaded(golden, config.init(&mut rng(0, Stream::Init, 0, 0), &Device::flex()), "patches.")
}

fn transformer(golden: &Golden) -> PatchTransformer {
    let mut rng = rng(0, Stream::Init, 0, 1);
    loaded(golden, PatchTransformer::new(16, 2, 2, &mut rng, &Device::flex()), "target_encoder.")
}

#[test]
fn a_gine_layer_is_that_of_pytorch_geometric() {
    let golden = Golden::alone("graph-jepa");
    let (network, graphs) = (network(&golden), patched(&golden));
    let nodes = network.nodes.forward(golden.tensor::<2>("input.nodes"));
    let edges = network.edges.forward(golden.tensor::<2>("input.edges"));
    let conv = &network.layers[0].conv;
    golden
        .check("output.kept.gine", conv.forward(nodes.clone(), edges.clone(), &graphs.messages, &mut Pass::Evaluation));
    golden.differs("output.kept.gine", conv.forward(nodes, edges * -1.0, &graphs.messages, &mut Pass::Evaluation));
}

#[test]
fn a_block_weighs_attention_by_overlaps() {
    let golden = Golden::alone("graph-jepa");
    let (transformer, graphs) = (transformer(&golden), patched(&golden));
    let block =
        |overlaps| transformer.blocks[0].forward(golden.tensor::<2>("output.kept.patches"), &graphs.graphs, overlaps);
    golden.check("output.kept.block", block(Some(&graphs.overlaps)));
    golden.differs("output.kept.block", block(None));
}

#[test]
fn patches_and_graphs_are_encoded_as_in_pytorch() {
    let golden = Golden::alone("graph-jepa");
    let graphs = patched(&golden);
    let (nodes, edges) = (golden.tensor::<2>("input.nodes"), golden.tensor::<2>("input.edges"));
    let patches = network(&golden).forward(nodes, edges, &graphs, &mut Pass::Evaluation);
    golden.check("output.kept.patches", patches.clone());
    let mut rng = rng(0, Stream::Init, 0, 2);
    let walks = loaded(&golden, Dense::new(5, 16, &mut Init::new(&mut rng, &Device::flex())), "walks.");
    let codes = walks.forward(golden.tensor::<2>("input.walks"), &mut Pass::Evaluation);
    let tokens = transformer(&golden).forward(patches + codes, &graphs.graphs, Some(&graphs.overlaps));
    golden.check("output.kept.tokens", tokens.clone());
    golden.check("output.kept.features", ops::segment_mean(tokens, &ops::Segments::of_sets(&graphs.graphs)));
}
