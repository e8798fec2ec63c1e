"""ST-JEMA (Choi et al., arXiv 2403.06432) in PyTorch, from the paper's description: losses and gradients for
`crates/foretell-jepa/tests/jepa/st_jema.rs`. No code was released; this is ours, on dense matrices where the Rust code packs rows.

    pip install torch safetensors numpy
    python bench/peers/st_jema.py crates/foretell-jepa/tests/parity/st-jema.safetensors
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch import nn

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
N, D, LAYERS, WINDOW, STRIDE, LENGTH, B = 7, 6, 2, 8, 3, 40, 3
GAMMA, NODES, EDGES = 0.4, 1.0, 0.25  # γ, λ_n, λ_a


class Gin(nn.Module):
    def __init__(self):
        super().__init__()
        self.epsilon = nn.Parameter(torch.tensor([0.1]))
        self.linear1, self.norm1 = nn.Linear(D, D), nn.BatchNorm1d(D)
        self.linear2, self.norm2 = nn.Linear(D, D), nn.BatchNorm1d(D)

    def forward(self, h, a):
        h = (a + (1 + self.epsilon) * torch.eye(len(a))) @ h
        return F.relu(self.norm2(self.linear2(F.relu(self.norm1(self.linear1(h))))))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.time, self.input = nn.GRU(N, D), nn.Linear(N + D, D)
        self.layers = nn.ModuleList(Gin() for _ in range(LAYERS))

    def codes(self, signals):
        """[S, L, N] -> states [S, L, D]"""
        return self.time(signals)[0]

    def forward(self, codes, adjacency, seen):
        """Codes [G, D], adjacency [G, N, N], seen [G, N] -> [rows, D]: the rows of all windows are one block-diagonal graph."""
        names = torch.eye(N).expand(len(codes), N, N)
        x = torch.cat([names, codes[:, None].expand(-1, N, -1)], -1)[seen]
        a = torch.block_diag(*[m[s][:, s] for m, s in zip(adjacency, seen)])
        h = self.input(x)
        for layer in self.layers:
            h = layer(h, a)
        return h


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.places1, self.places2 = nn.LayerNorm(D), nn.Linear(N, N), nn.Linear(N, N)
        self.norm2, self.features1, self.features2 = nn.LayerNorm(D), nn.Linear(D, D), nn.Linear(D, D)

    def forward(self, x):
        x = x + self.places2(F.gelu(self.places1(self.norm1(x).mT))).mT
        return x + self.features2(F.gelu(self.features1(self.norm2(x))))


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks, self.norm, self.output = nn.ModuleList([Block()]), nn.LayerNorm(D), nn.Linear(D, D)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.output(self.norm(x))


class Networks(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.target_encoder = Encoder(), Encoder()
        self.mask_token = nn.Parameter(torch.randn(1, D))
        self.between = nn.Linear(2 * D, D)
        self.node_decoder, self.edge_decoder = Mixer(), Mixer()


networks = Networks()
series = torch.randn(B, LENGTH, N)
series = (series - series.mean(1, keepdim=True)) / series.std(1, unbiased=False, keepdim=True)
count = (LENGTH - WINDOW) // STRIDE + 1
rng = np.random.default_rng(1)
gap = -(-WINDOW // STRIDE)
moments, triples, blocks = [], [], []
for b in range(B):
    t = int(rng.integers(gap, count - gap))
    chosen = [t, int(rng.integers(0, t - gap + 1)), int(rng.integers(t + gap, count))]
    triples.append([len(moments) + i for i in range(3)])
    for w in chosen:
        moments.append((b, w))
        # Two blocks that may overlap.
        blocks.append([sorted(rng.choice(N, size, replace=False).tolist()) for size in (1 + int(rng.integers(0, 2)), 2)])
G = len(moments)
hidden = torch.zeros(G, N, dtype=torch.bool)
for g, own in enumerate(blocks):
    for block in own:
        hidden[g, block] = True


def graph(b, w):
    x = series[b, w * STRIDE : w * STRIDE + WINDOW].numpy()
    c = np.corrcoef(x.T)
    pairs = sorted(((c[u, v], u, v) for u in range(N) for v in range(u + 1, N)), key=lambda p: -p[0])
    a = torch.zeros(N, N)
    for _, u, v in pairs[: round(0.3 * len(pairs))]:
        a[u, v] = a[v, u] = 1
    return a


adjacency = torch.stack([graph(b, w) for b, w in moments])


def bce(p, a):
    return -(a * p.log() + (1 - a) * (1 - p).log())


def pairs_of(windows, official):
    """Weights of pairs within blocks, all together 1."""
    w = torch.zeros(len(windows), N, N)
    for i, g in enumerate(windows):
        for block in blocks[g]:
            for u in block:
                for v in block:
                    w[i, u, v] += official or u != v
    return w / w.sum()


def losses(official):
    networks.train()
    for m in networks.modules():
        if isinstance(m, nn.BatchNorm1d):
            m.track_running_stats = False
            m.running_mean = m.running_var = None
    windows = torch.stack([series[b, w * STRIDE : w * STRIDE + WINDOW] for b, w in moments], 1)  # [Γ, G, N]
    ends = [w * STRIDE + WINDOW - 1 for _, w in moments]

    def codes(encoder, masked):
        if official:
            states = encoder.codes(series.transpose(0, 1))
            return torch.stack([states[e, b] for e, (b, _) in zip(ends, moments)])
        return encoder.codes(windows * (~hidden if masked else 1.0))[-1]

    everything = torch.ones(G, N, dtype=torch.bool)
    with torch.no_grad():
        target = networks.target_encoder(codes(networks.target_encoder, False), adjacency, everything).reshape(G, N, D)
    if not official:
        target = F.layer_norm(target, (D,), eps=1e-5)
        target = (target - target.mean(0)) / (target.var(0, unbiased=False) + 1e-5).sqrt()
    rows = networks.encoder(codes(networks.encoder, True), adjacency, ~hidden)
    filled = networks.mask_token.expand(G, N, D).clone()
    filled[~hidden] = rows
    index = [(g, v) for g, own in enumerate(blocks) for block in own for v in block]
    at = lambda x, index: torch.stack([x[g, v] for g, v in index])
    space = F.mse_loss(at(networks.node_decoder(filled), index), at(target, index))
    a = adjacency + torch.eye(N) if official else adjacency
    h = networks.edge_decoder(filled)
    space_links = (pairs_of(range(G), official) * bce((h @ h.mT).sigmoid(), a)).sum()
    mid, early, late = (torch.tensor([t[i] for t in triples]) for i in range(3))
    told = networks.between(torch.cat([filled[early], filled[late]], -1))
    between = torch.where(hidden[mid][..., None], told, filled[mid])
    place = {int(g): j for j, g in enumerate(mid)}
    own = [(place[g], v) for g, v in index if g in place]
    time = F.mse_loss(at(networks.node_decoder(between), own), at(target[mid], own))
    p = ((h[early] @ h[late].mT).sigmoid() + (h[late] @ h[early].mT).sigmoid()) / 2
    time_links = (pairs_of(mid.tolist(), official) * bce(p, a[mid])).sum()
    total = GAMMA * (NODES * space + EDGES * space_links) + (1 - GAMMA) * (NODES * time + EDGES * time_links)
    return total, [space, space_links, time, time_links], at(networks.node_decoder(filled), index), at(target, index)


tensors = {"input.series": series.numpy(), "input.adjacency": adjacency.numpy()}
# Running averages, as the Rust network holds them; the losses use none.
for name, value in networks.state_dict().items():
    if "num_batches" not in name:
        tensors["weights." + name.replace("_l0", "")] = value.numpy().copy()
for kind in ("ours", "official"):
    total, terms, predictions, targets = losses(kind == "official")
    networks.zero_grad()
    total.backward()
    tensors[f"{kind}.loss"] = np.array([total.item()])
    tensors[f"{kind}.terms"] = np.array([t.item() for t in terms])
    tensors[f"{kind}.predictions"] = predictions.detach().numpy()
    tensors[f"{kind}.targets"] = targets.detach().numpy()
    for name, p in networks.named_parameters():
        if p.grad is not None:
            tensors[f"{kind}.gradient." + name.replace("_l0", "")] = p.grad.numpy().copy()
tensors = {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in tensors.items()}
ints = lambda x: np.array(x, dtype=np.int64)
tensors["input.moments"] = ints(moments)
tensors["input.triples"] = ints(triples)
# Window, block and region of each hidden place.
tensors["input.blocks"] = ints([(g, k, v) for g, own in enumerate(blocks) for k, block in enumerate(own) for v in block])
save_file(tensors, sys.argv[1])
print({k: float(v[0]) for k, v in tensors.items() if k.endswith(".loss")}, len(tensors))
