#!/usr/bin/env bash
# One expects PyTorch Geometric's AddRandomWalkPE to give a node the same encoding however large its
# graph is. Where an edge is stated twice (as public graph sets do), it does not: up to 2,000 nodes a
# dense matrix keeps one of the two while the degree counts both, so that rows sum to less than one;
# from 2,001 nodes a sparse product adds them. The two values differ from each other and from those of
# the graph with each edge once (`coalesce` first). torch 2.15.0, torch_geometric 2.8.1,
# torch_geometric/transforms/add_positional_encoding.py.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 torch_geometric==2.8.1

"$folder/venv/bin/python" - <<'PYTHON'
import torch
import torch_geometric
from torch_geometric.data import Data
from torch_geometric.transforms import AddRandomWalkPE

print("torch", torch.__version__, "torch_geometric", torch_geometric.__version__)


def two_steps(nodes, repeat):
    """The chance that a walk of two steps from node 0 of the path 0 - 1 - 2 ends where it began."""
    edges = [(0, 1), (1, 0), (1, 2), (2, 1)] + [(0, 1), (1, 0)] * repeat
    graph = Data(edge_index=torch.tensor(edges).T, num_nodes=nodes)
    return AddRandomWalkPE(2, attr_name="walk")(graph).walk[0, 1].item()


seen = {}
for nodes in (2000, 2001):
    for repeat in (0, 1):
        seen[nodes, repeat] = round(two_steps(nodes, repeat), 4)
        print(f"{nodes} nodes, edge 0 - 1 stated {1 + repeat} time(s): {seen[nodes, repeat]}")

assert seen[2000, 0] == seen[2001, 0] == 0.5, seen
assert seen[2000, 1] == 0.1667 and seen[2001, 1] == 0.6667, seen
print("as described")
PYTHON
