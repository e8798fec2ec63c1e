"""TS-JEPA and LeNEPA in PyTorch: the peer that Foretell is measured and checked against.

    ts_jepa.py [--steps-of-series 320] [--batch 64]      times a training step, prints one JSON line
    ts_jepa.py --golden                                  rewrites the tests' losses and gradients

Written from the published methods (Ennadir et al., 2025, arXiv 2509.25449; Chemeris et al., 2026, arXiv 2607.00958). B series of T steps
and C channels, N patches of p steps, tokens of width D. Golden weights and series are functions of their names; computed in f64.
"""

import argparse
import copy
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

import engine
import timing

GOLDEN = Path(__file__).resolve().parents[2] / "crates/foretell-jepa/tests/parity"


def codes(places: Tensor, width: int) -> Tensor:
    """[..] -> [.., width]: sines, then cosines."""
    omega = 1.0 / 10000 ** (torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    angles = places.double()[..., None] * omega
    return torch.cat([angles.sin(), angles.cos()], -1)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.proj(y.transpose(1, 2).reshape(b, n, d))


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = Attention(width, heads), Mlp(width, 4 * width)

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        x = x + self.attn(self.norm1(x), causal)
        return x + self.mlp(self.norm2(x))


class Tokenizer(nn.Module):
    """Patches [B, N, C, p] -> [B, N, D]. What no whole kernel reaches is filled up with zeros, or never seen."""

    def __init__(self, channels: int, patch: int, kernel: int, width: int, filled: bool, holes: bool):
        super().__init__()
        self.kernel = kernel
        self.missing = -patch % kernel if filled else 0
        kernels = (patch + self.missing) // kernel
        self.proj = nn.Conv1d(channels, width, kernel, kernel)
        self.fc = nn.Linear(width * kernels, width)
        self.holes = nn.Linear(kernels * channels * kernel, width) if holes else None

    def forward(self, patches: Tensor, known: Tensor) -> Tensor:
        b, n, c, p = patches.shape
        x = F.pad(torch.where(known, patches, 0.0), (0, self.missing)).reshape(b * n, c, -1)
        tokens = self.fc(self.proj(x).flatten(1)).view(b, n, -1)
        if self.holes is not None:
            unknown = F.pad((~known).to(x.dtype), (0, self.missing), value=1.0)
            # kernel by kernel: [kernels, C, k]
            unknown = unknown.reshape(b * n, c, -1, self.kernel).transpose(1, 2).flatten(1)
            tokens = tokens + self.holes(unknown).view(b, n, -1)
        return tokens


class Encoder(nn.Module):
    def __init__(self, tokenizer: Tokenizer, width: int, depth: int, heads: int, causal: bool = False):
        super().__init__()
        self.tokenizer, self.causal = tokenizer, causal
        self.predictor_blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.encoder_norm = nn.LayerNorm(width)

    def hidden(self, tokens: Tensor, places: Tensor) -> Tensor:
        x = tokens + codes(places, tokens.shape[-1]).to(tokens)
        for block in self.predictor_blocks:
            x = block(x, self.causal)
        return self.encoder_norm(x)


class Predictor(nn.Module):
    def __init__(self, encoder_width: int, width: int, depth: int, heads: int):
        super().__init__()
        self.predictor_embed = nn.Linear(encoder_width, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.predictor_blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.predictor_norm = nn.LayerNorm(width)
        self.predictor_proj = nn.Linear(width, encoder_width)

    def forward(self, context: Tensor, seen: Tensor, hidden: Tensor) -> Tensor:
        x = self.predictor_embed(context)
        width = x.shape[-1]
        asked = self.mask_token + codes(hidden, width).to(x)
        x = torch.cat([x + codes(seen, width).to(x), asked], 1)
        for block in self.predictor_blocks:
            x = block(x)
        return self.predictor_proj(self.predictor_norm(x[:, seen.shape[1] :]))


def rows(x: Tensor, places: Tensor, official: bool) -> Tensor:
    """Tokens [B, N, D] at places [B, K] -> [B, K, D]: of each sample, or of the first as a gather whose index has one row for each mask."""
    if official:
        index = places[:, None, :, None].expand(-1, 1, -1, x.shape[-1])
        return torch.cat([torch.gather(x, 1, one) for one in index], 0)
    return torch.gather(x, 1, places[..., None].expand(-1, -1, x.shape[-1]))


class TsJepa(nn.Module):
    def __init__(self, encoder: Encoder, predictor: Predictor, official: bool):
        super().__init__()
        self.encoder, self.predictor, self.official = encoder, predictor, official
        self.target_encoder = copy.deepcopy(encoder).requires_grad_(False)

    def loss(self, patches: Tensor, known: Tensor, seen: Tensor, hidden: Tensor) -> Tensor:
        places = torch.arange(patches.shape[1])[None].expand(len(patches), -1)
        with torch.no_grad():
            target = self.target_encoder.hidden(self.target_encoder.tokenizer(patches, known), places)
            target = F.layer_norm(target, target.shape[-1:])
            if not self.official:
                target = (target - target.mean(0)) / (target.var(0, unbiased=False) + 1e-5).sqrt()
            target = rows(target, hidden, self.official)
        tokens = rows(self.encoder.tokenizer(patches, known), seen, self.official)
        context = self.encoder.hidden(tokens, seen)
        return (self.predictor(context, seen, hidden) - target).abs().mean()


def sigreg(x: Tensor, directions: Tensor) -> Tensor:
    """[V, N, K] along [K, M]: the mean over views and directions of N times the Epps-Pulley statistic on [0, 3]."""
    t = torch.linspace(0, 3, 17, dtype=x.dtype)
    weight = torch.full((17,), 2 * 3 / 16, dtype=x.dtype)
    weight[[0, -1]] = 3 / 16
    phi = (-t.square() / 2).exp()
    u = (x @ directions)[..., None] * t
    off = (u.cos().mean(1) - phi).square() + u.sin().mean(1).square()
    return (off @ (weight * phi)).mean() * x.shape[1]


class LeNepa(nn.Module):
    def __init__(self, encoder: Encoder, widths: list[int], weights: tuple[float, float]):
        super().__init__()
        self.encoder, self.weights = encoder, weights
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        self.norms = nn.ModuleList(nn.BatchNorm1d(b) for b in widths[1:-1])

    def project(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        x = x.reshape(b * n, d)
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i < len(self.norms):
                x = F.relu(self.norms[i](x))
        return x.view(b, n, -1)

    def loss(self, patches: Tensor, known: Tensor, directions: Tensor) -> Tensor:
        places = torch.arange(patches.shape[1])[None].expand(len(patches), -1)
        embedded = self.encoder.tokenizer(patches, known)
        said = self.project(self.encoder.hidden(embedded, places))
        target = self.project(embedded)
        both = torch.cat([target, said])
        loss = (said[:, :-1] - target[:, 1:]).square().mean()
        over_batch, over_time = self.weights
        return loss + over_batch * sigreg(both.transpose(0, 1), directions) + over_time * sigreg(both, directions)


def numbers(name: str, count: int) -> Tensor:
    """`count` numbers in (-0.5, 0.5): a linear congruence begun from the name."""
    seed = sum((i + 1) * byte for i, byte in enumerate(name.encode())) % 9973
    k = torch.arange(count, dtype=torch.int64)
    return ((k * 7919 + seed * 31 + k * k % 1511 * 17) % 2003).double() / 2003 - 0.5


def value(name: str, shape: tuple[int, ...]) -> Tensor:
    """A parameter: norms around 1, biases and tokens of this order, maps by their inputs."""
    x = numbers(name, torch.Size(shape).numel()).reshape(shape)
    if "norm" in name and name.endswith("weight"):
        x = 1 + x
    elif len(shape) > 1 and not name.endswith("mask_token"):
        x = 2 * x / (torch.Size(shape[1:]).numel() ** 0.5)
    return x.float().double()


def given(model: nn.Module, rename=lambda name: name) -> nn.Module:
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(value(rename(key), tuple(parameter.shape)))
    return model.double()


def series(channels: int, holes: bool) -> tuple[Tensor, Tensor]:
    """Three series of five patches of 8 steps, [3, 5, C, 8]; in holes nothing is known."""
    count = 3 * 40 * channels
    x = (3 * numbers("series", count)).float().double().view(3, 40, channels)
    known = torch.ones(count, dtype=torch.bool)
    if holes:
        k = torch.arange(count)
        known = k * k % 11 != 1
    patched = lambda t: t.view(3, 5, 8, channels).transpose(2, 3)
    return patched(x), patched(known.view(3, 40, channels))


def write(name: str, model: nn.Module, loss: Tensor, rename=lambda name: name) -> None:
    loss.backward()
    golden = {"loss": loss.detach().reshape(1)}
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            golden[f"grad.{rename(key)}"] = parameter.grad
    golden = {key: tensor.float().contiguous() for key, tensor in golden.items()}
    path = GOLDEN / f"{name}.safetensors"
    save_file(golden, path, metadata={"source": "bench/peers/ts_jepa.py: computed in f64 and rounded once"})
    print(f"{path.name}: {path.stat().st_size} bytes, {len(golden)} tensors, loss {loss.item():.6f}")


def golden() -> None:
    hidden = torch.tensor([sorted((2 * b + 2 * j) % 5 for j in range(3)) for b in range(3)])
    seen = torch.tensor([[i for i in range(5) if i not in row] for row in hidden.tolist()])
    for name, official in (("ts-jepa", False), ("ts-jepa-official", True)):
        channels = 1 if official else 2
        tokenizer = Tokenizer(channels, 8, 3, 16, filled=not official, holes=not official)
        model = given(TsJepa(Encoder(tokenizer, 16, 2, 2), Predictor(16, 8, 1, 2), official))
        # The average begins as a copy.
        model.target_encoder.load_state_dict(model.encoder.state_dict())
        write(name, model, model.loss(*series(channels, not official), seen, hidden))
    directions = (2 * numbers("directions", 6 * 5)).view(6, 5).float().double()
    model = LeNepa(Encoder(Tokenizer(2, 8, 3, 16, True, True), 16, 2, 2, causal=True), [16, 12, 6], (0.5, 0.25))
    projected = lambda name: name if name.startswith("encoder.") else f"projector.{name}"
    write("le-nepa", given(model, projected), model.loss(*series(2, True), directions), projected)


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("steps-of-series", 320), ("patch", 32), ("width", 128), ("depth", 4), ("heads", 4), ("predictor-width", 64),
        ("predictor-depth", 2), ("batch", 64), ("steps", 10), ("warmup", 2), ("seed", 0),
    ):  # fmt: skip
        a.add_argument(f"--{name}", type=int, default=default)
    a.add_argument("--golden", action="store_true", help="rewrite the tests' losses and gradients")
    engine.arguments(a)
    o = a.parse_args()
    if o.golden:
        return golden()
    run = engine.Engine(o)
    torch.manual_seed(o.seed)
    tokenizer = Tokenizer(1, o.patch, 3, o.width, filled=True, holes=True)
    predictor = Predictor(o.width, o.predictor_width, o.predictor_depth, o.heads)
    model = TsJepa(Encoder(tokenizer, o.width, o.depth, o.heads), predictor, official=False)
    learns = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learns, lr=1e-3, weight_decay=0.04, fused=True)
    n = o.steps_of_series // o.patch
    count = int(0.7 * n + 1e-9)
    batches = []
    for _ in range(o.warmup + o.steps):
        order = torch.rand(o.batch, n).argsort(1)
        batches.append((torch.randn(o.batch, n, 1, o.patch), order[:, count:].sort(1).values, order[:, :count].sort(1).values))
    known = torch.ones(o.batch, n, 1, o.patch, dtype=torch.bool)
    loss_of = run.ready(model.loss)

    def step(i: int) -> float:
        patches, seen, hidden = batches[i]
        loss = loss_of(patches, known, seen, hidden)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learns, 3.0)
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(model.target_encoder.parameters()), list(model.encoder.parameters()), 0.004)
        return loss.item()

    parameters = sum(p.numel() for p in learns)
    timing.measure(step, o.warmup, o.steps, o.batch, run, system="ts-jepa", config=vars(o), parameters=parameters)


if __name__ == "__main__":
    main()
