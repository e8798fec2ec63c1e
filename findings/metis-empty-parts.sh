#!/usr/bin/env bash
# One expects METIS to use the parts it is asked for as far as the nodes reach. Up to eight parts
# (pymetis then bisects) it does. From nine parts (k-way) a ring of six nodes comes back whole, in one
# part, with a cut of 0 that reads like a perfect partition, and a ring of sixteen nodes asked for
# sixteen parts fills seven. Graph sets of molecules are full of such sizes, and Graph-JEPA asks for
# 32 parts: an encoder then sees one token a graph. pymetis 2025.2.2.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pymetis==2025.2.2

"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import pymetis

print("pymetis", version("pymetis"))
seen = {}
for nodes, parts in ((6, 8), (6, 9), (6, 32), (16, 8), (16, 9), (16, 16)):
    ring = [[(node - 1) % nodes, (node + 1) % nodes] for node in range(nodes)]
    cut, membership = pymetis.part_graph(parts, adjacency=ring)
    seen[nodes, parts] = (len(set(membership)), cut)
    print(f"{nodes} nodes, {parts} parts asked: {seen[nodes, parts][0]} used, cut {cut}")

assert seen[6, 8] == (6, 6) and seen[16, 8][0] == 8, seen
assert seen[6, 9] == (1, 0) and seen[6, 32] == (1, 0), seen
assert seen[16, 16][0] < 16 and seen[16, 9][0] < 9, seen
print("as described")
PYTHON
