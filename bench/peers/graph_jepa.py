"""Graph-JEPA in PyTorch and PyTorch Geometric: the peer that Foretell is measured and checked against.

    graph_jepa.py --data MUTAG.txt [--width 512] [--batch 128] [--save-batch FILE]     times a training step, prints one JSON line
    graph_jepa.py --golden                                                            rewrites the tests' golden tensors

Written from the published method (Skenderi et al., 2025, arXiv 2309.16014). N nodes, C copies of them in P patches, M messages
within patches, B graphs, R target patches. Data: text of `n label`, then for each node `tag degree neighbours...`.
"""

import argparse
import copy
import random
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import GINEConv
from torch_geometric.utils import scatter

import engine
import timing

GOLDEN = Path(__file__).resolve().parents[2] / "crates/foretell-nn/tests/released/graph-jepa.safetensors"
# The parameters whose gradients the golden file holds.
GRADIENTS = (
    "patches.nodes.weight",
    "patches.edges.weight",
    "patches.layers.0.conv.eps",
    "patches.layers.0.output.weight",
    "patches.layers.1.conv.hidden.linear.weight",
    "patches.between.0.linear.weight",
    "walks.linear.weight",
    "encoder.blocks.0.fc1.weight",
    "predictor.layers.0.weight",
)


class Dense(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.linear(x)))


class Mlp(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.hidden = Dense(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.hidden(x))


class Layer(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv = GINEConv(Mlp(width), train_eps=True)
        self.norm = nn.BatchNorm1d(width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        return self.output(F.relu(self.norm(self.conv(x, edge_index, edges))) + x)


class Patches(nn.Module):
    """The GNN over patches: [P, D]."""

    def __init__(self, node_features: int, edge_features: int, width: int, depth: int):
        super().__init__()
        self.nodes = nn.Linear(node_features, width)
        self.edges = nn.Linear(edge_features, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(depth))
        self.between = nn.ModuleList(Dense(width, width) for _ in range(depth - 1))

    def forward(self, g: dict) -> Tensor:
        copies, patch, count = g["copies"], g["patch"], len(g["walks"])
        x = self.nodes(g["nodes"])[copies]
        edges = self.edges(g["edges"])[g["kinds"]]
        for i, layer in enumerate(self.layers):
            if i > 0:
                x = x + self.between[i - 1](scatter(x, patch, 0, count, "mean"))[patch]
                x = scatter(x, copies, 0, len(g["nodes"]), "mean")[copies]
            x = layer(x, edges, g["edge_index"])
        return scatter(x, patch, 0, count, "mean")


class Block(nn.Module):
    """Rows padded to [B, L, D]; `real` [B, L] says which are; `overlaps` [B, L, L] weigh the probabilities."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, real: Tensor, overlaps: Tensor | None) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / (d // self.heads) ** 0.5
        p = scores.masked_fill(~real[:, None, None, :], -torch.inf).softmax(-1)
        if overlaps is not None:
            p = p * overlaps[:, None]
        x = x + self.proj((p @ v).transpose(1, 2).reshape(b, n, d))
        return x + self.fc2(F.relu(self.fc1(self.norm2(x))))


class Transformer(nn.Module):
    def __init__(self, width: int, depth: int, heads: int):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))

    def forward(self, rows: Tensor, counts: list[int], overlaps: Tensor | None) -> Tensor:
        """[T, D] of sets of these lengths -> [T, D]; `overlaps` [B, L, L]."""
        longest = max(counts)
        real = torch.arange(longest, device=rows.device) < torch.tensor(counts, device=rows.device)[:, None]
        x = rows.new_zeros(len(counts), longest, rows.shape[-1])
        x[real] = rows
        for block in self.blocks:
            x = block(x, real, overlaps)
        return x[real]


class GraphJepa(nn.Module):
    def __init__(self, node_features: int, edge_features: int, walk: int, width: int, layers: int, depth: int, heads: int):
        super().__init__()
        self.patches = Patches(node_features, edge_features, width, layers)
        self.walks = Dense(walk, width)
        self.encoder = Transformer(width, depth, heads)
        self.target_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.predictor = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
        )

    def predict(self, g: dict) -> tuple[Tensor, Tensor, Tensor]:
        """Predictions and targets on the hyperbola, [R, 2], and the target encoder's latents, [R, D]."""
        vectors, codes = self.patches(g), self.walks(g["walks"])
        with torch.no_grad():
            latents = self.target_encoder(vectors[g["targets"]], g["target_counts"], g["target_overlaps"])
            alpha = latents.mean(-1, keepdim=True).clamp(-10, 10)
            targets = torch.cat([alpha.cosh(), alpha.sinh()], -1)
        seen = vectors[g["context"]] + codes[g["context"]]
        context = self.encoder(seen, [1] * len(seen), None)
        predictions = self.predictor(context[g["graph"]] + codes[g["targets"]])
        return predictions, targets, latents

    def loss(self, g: dict) -> Tensor:
        predictions, targets, _ = self.predict(g)
        return F.smooth_l1_loss(predictions, targets)

    def encode(self, g: dict) -> Tensor:
        """Every patch's latent, [P, D]."""
        return self.target_encoder(self.patches(g) + self.walks(g["walks"]), g["patch_counts"], g["overlaps"])

    @torch.no_grad()
    def move_target(self, momentum: float) -> None:
        torch._foreach_lerp_(list(self.target_encoder.parameters()), list(self.encoder.parameters()), 1.0 - momentum)

    def named(self) -> dict[str, Tensor]:
        """Parameters and buffers by foretell's names."""
        named = {}
        for name, tensor in self.state_dict().items():
            if name.startswith("predictor."):
                _, index, rest = name.split(".")
                name = f"predictor.layers.{int(index) // 2}.{rest}"
            if not name.endswith("num_batches_tracked"):
                named[name.replace(".conv.nn.", ".conv.")] = tensor
        return named


def read_graphs(path: Path) -> list[tuple[list[int], list[list[int]]]]:
    """Tags and neighbours of each graph's nodes."""
    numbers = iter(path.read_text().split())
    graphs = []
    for _ in range(int(next(numbers))):
        n, _ = int(next(numbers)), next(numbers)
        tags, neighbours = [], []
        for _ in range(n):
            tags.append(int(next(numbers)))
            neighbours.append([int(next(numbers)) for _ in range(int(next(numbers)))])
        graphs.append((tags, neighbours))
    return graphs


def random_walks(neighbours: list[list[int]], k: int) -> Tensor:
    """[N, k]: probabilities of return after 1 to k steps."""
    n = len(neighbours)
    walk = torch.zeros(n, n, dtype=torch.float64)
    for v, others in enumerate(neighbours):
        for u in others:
            walk[v, u] = 1 / len(others)
    power, diagonals = torch.eye(n, dtype=torch.float64), []
    for _ in range(k):
        power = power @ walk
        diagonals.append(power.diagonal())
    return torch.stack(diagonals, 1)


def cut(neighbours: list[list[int]], parts: int, draw: random.Random) -> list[list[int]]:
    """Parts of much the same size by chance (as good as METIS by the paper's table), and each part's neighbours."""
    order = list(range(len(neighbours)))
    draw.shuffle(order)
    patches = []
    for i in range(min(parts, len(order))):
        own = order[i :: min(parts, len(order))]
        patches.append(sorted(set(own).union(*(neighbours[v] for v in own))))
    return patches


def pack(graphs: list, tags: int, parts: int, k: int, targets: int, draw: random.Random, kinds: int = 0) -> dict[str, Tensor]:
    """A batch as plain tensors. `kinds`: features of edges, one-hot by the sum of their ends; 0: edges have none."""
    nodes, walks, copies, patch_of, messages, overlaps = [], [], [], [], [], []
    patch_counts, context, chosen, target_counts = [], [], [], []
    for tag, neighbours in graphs:
        first_node, first_patch = sum(map(len, nodes)), len(walks)
        nodes.append(F.one_hot(torch.tensor(tag), tags).double())
        steps, patches = random_walks(neighbours, k), cut(neighbours, parts, draw)
        for i, patch in enumerate(patches):
            place = {v: len(copies) + j for j, v in enumerate(patch)}
            for v in patch:
                messages += [
                    [place[u], place[v], (u + v) % kinds if kinds else 0] for u in sorted(set(neighbours[v])) if u in place
                ]
            copies += [first_node + v for v in patch]
            patch_of += [first_patch + i] * len(patch)
            walks.append(steps[patch].amax(0))
            overlaps += [len(set(patch) & set(other)) for other in patches]
        patch_counts.append(len(patches))
        seen = draw.randrange(len(patches))
        others = [i for i in range(len(patches)) if i != seen] or [seen]
        others = draw.sample(others, min(targets, len(others)))
        context.append(first_patch + seen)
        chosen += [first_patch + i for i in others]
        target_counts.append(len(others))
    return {
        "nodes": torch.cat(nodes),
        "edges": torch.eye(kinds).double() if kinds else torch.zeros(1, 1).double(),
        "walks": torch.stack(walks),
        "copies": torch.tensor(copies),
        "patch": torch.tensor(patch_of),
        "messages": torch.tensor(messages).view(-1, 3),
        "overlaps": torch.tensor(overlaps).double(),
        "node_counts": torch.tensor([len(tag) for tag, _ in graphs]),
        "patch_counts": torch.tensor(patch_counts),
        "context": torch.tensor(context),
        "targets": torch.tensor(chosen),
        "target_counts": torch.tensor(target_counts),
    }


def ready(batch: dict[str, Tensor], dtype: torch.dtype) -> dict:
    """What the networks take of it."""
    g = {k: v.to(dtype) if v.is_floating_point() else v for k, v in batch.items()}
    g["edge_index"], g["kinds"] = g["messages"].T[:2].contiguous(), g["messages"].T[2].contiguous()
    g["patch_counts"], g["target_counts"] = g["patch_counts"].tolist(), g["target_counts"].tolist()
    g["graph"] = torch.repeat_interleave(torch.arange(len(g["target_counts"])), torch.tensor(g["target_counts"]))
    most, most_targets = max(g["patch_counts"]), max(g["target_counts"])
    padded = torch.zeros(len(g["patch_counts"]), most, most, dtype=dtype)
    hidden = torch.zeros(len(g["patch_counts"]), most_targets, most_targets, dtype=dtype)
    at, first, of = 0, 0, 0
    for i, (n, m) in enumerate(zip(g["patch_counts"], g["target_counts"])):
        padded[i, :n, :n] = g["overlaps"][at : at + n * n].view(n, n)
        own = g["targets"][of : of + m] - first
        hidden[i, :m, :m] = padded[i][own][:, own]
        at, first, of = at + n * n, first + n, of + m
    g["overlaps"], g["target_overlaps"] = padded, hidden
    return g


def golden() -> None:
    """Inputs and weights are exact in f32, outputs computed in f64."""
    torch.manual_seed(7)
    torch.set_default_dtype(torch.float64)

    def ring(n: int, *chords: tuple[int, int]) -> list[list[int]]:
        edges = [(v, (v + 1) % n) for v in range(n)] + list(chords)
        return [sorted({b for a, b in edges if a == v} | {a for a, b in edges if b == v}) for v in range(n)]

    graphs = [
        ([0, 1, 2, 0, 1, 2, 1], ring(7, (0, 3))),
        ([0], [[]]),  # one node without an edge
        ([1, 1, 0], [[1], [0, 2], [1]]),  # a path
        ([2] * 11, [*ring(9, (2, 6), (1, 5)), [], []]),  # more nodes than parts, two of them alone
    ]
    batch = pack(graphs, 3, 6, 5, 2, random.Random(3), kinds=4)
    short = lambda t: t.float().double() if t.is_floating_point() else t
    batch = {k: short(v) for k, v in batch.items()}
    model = GraphJepa(3, 4, 5, 16, 2, 2, 2)
    draws = torch.Generator().manual_seed(11)
    for name, tensor in model.named().items():
        noise = torch.randn(tensor.shape, generator=draws, dtype=torch.float64)
        if name.endswith("running_var"):
            noise = 1 + 0.5 * noise.tanh()
        elif name.endswith("norm.weight") or name.endswith("norm1.weight") or name.endswith("norm2.weight"):
            noise = 1 + 0.2 * noise
        else:
            noise = noise / (tensor.shape[-1] ** 0.5 if tensor.ndim > 1 else 3)
        tensor.copy_(short(noise))
    g = ready(batch, torch.float64)
    tensors = {f"input.{k}": v for k, v in batch.items()}
    tensors |= {f"weights.{k}": v.clone() for k, v in model.named().items()}
    model.eval()
    with torch.no_grad():
        tensors["output.kept.patches"] = model.patches(g)
        tensors["output.kept.tokens"] = model.encode(g)
        of = torch.repeat_interleave(torch.arange(len(graphs)), torch.tensor(g["patch_counts"]))
        tensors["output.kept.features"] = scatter(tensors["output.kept.tokens"], of, 0, len(graphs), "mean")
        x = model.patches.nodes(g["nodes"])[g["copies"]]
        edges = model.patches.edges(g["edges"])[g["kinds"]]
        tensors["output.kept.gine"] = model.patches.layers[0].conv(x, g["edge_index"], edges)
        block, rows = model.target_encoder.blocks[0], tensors["output.kept.patches"]
        real = torch.arange(max(g["patch_counts"])) < torch.tensor(g["patch_counts"])[:, None]
        padded = rows.new_zeros(*real.shape, rows.shape[-1])
        padded[real] = rows
        tensors["output.kept.block"] = block(padded, real, g["overlaps"])[real]
    model.train()
    predictions, targets, latents = model.predict(g)
    loss = F.smooth_l1_loss(predictions, targets)
    loss.backward()
    tensors |= {"output.predictions": predictions, "output.targets": targets, "output.latents": latents, "output.loss": loss[None]}
    parameters = {p.data_ptr(): p for p in model.parameters()}
    for name in GRADIENTS:
        tensors[f"gradient.{name}"] = parameters[model.named()[name].data_ptr()].grad
    out = {k: (v.detach().float() if v.is_floating_point() else v).contiguous() for k, v in tensors.items()}
    note = "bench/peers/graph_jepa.py: inputs exact in f32, outputs computed in f64 and rounded to f32 once"
    save_file(out, GOLDEN, {"source": note})
    print(f"{GOLDEN.name}: {GOLDEN.stat().st_size} bytes, {len(out)} tensors, loss {loss.item():.6f}")


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--data", type=Path, help="a set of graphs in text")
    a.add_argument("--golden", action="store_true", help="rewrite the tests' file")
    a.add_argument("--save-batch", type=Path, help="keep the batches for the other side")
    a.add_argument("--load-batch", type=Path, help="take those that were kept")
    for name, default in (
        ("width", 512), ("layers", 2), ("depth", 4), ("heads", 8), ("parts", 32), ("walk", 15), ("targets", 3), ("batch", 128),
        ("steps", 10), ("warmup", 2), ("seed", 0),
    ):  # fmt: skip
        a.add_argument(f"--{name}", type=int, default=default)
    engine.arguments(a)
    o = a.parse_args()
    if o.golden:
        return golden()
    run = engine.Engine(o)
    torch.manual_seed(o.seed)
    draw = random.Random(o.seed)
    graphs = read_graphs(o.data)
    tags = 1 + max(max(tag) for tag, _ in graphs)
    if o.load_batch:
        kept = load_file(o.load_batch)
        batches = [{k.split(".", 1)[1]: v for k, v in kept.items() if k.startswith(f"{i}.")} for i in range(4)]
    else:
        # A few batches in turn: graphs are cut beforehand, as images are decoded beforehand where other steps are timed.
        batches = [pack(draw.sample(graphs, min(o.batch, len(graphs))), tags, o.parts, o.walk, o.targets, draw) for _ in range(4)]
    if o.save_batch:
        flat = {f"{i}.{k}": (v.float() if v.is_floating_point() else v).contiguous() for i, b in enumerate(batches) for k, v in b.items()}
        save_file(flat, o.save_batch)
    model = GraphJepa(tags, 1, o.walk, o.width, o.layers, o.depth, o.heads)
    model.to(run.device)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=5e-4, fused=True)
    move = lambda g: {k: v.to(run.device) if isinstance(v, Tensor) else v for k, v in g.items()}
    batches = [move(ready(b, torch.float32)) for b in batches]
    loss_of = run.ready(model.loss)

    def step(i: int) -> float:
        with run.autocast():
            loss = loss_of(batches[i % len(batches)])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        model.move_target(0.996)
        return loss.item()

    config = {k: str(v) if isinstance(v, Path) else v for k, v in vars(o).items()}
    rows = {"nodes": len(batches[0]["nodes"]), "copies": len(batches[0]["copies"]), "patches": len(batches[0]["walks"])}
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    timing.measure(step, o.warmup, o.steps, o.batch, run, system="graph-jepa", config=config, parameters=trained, **rows)


if __name__ == "__main__":
    main()
