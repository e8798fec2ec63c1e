"""LaT-PFN in PyTorch: rewrites the loss and gradients that the tests hold Foretell's against.

    lat_pfn.py

Written from the published method (Verdenius et al., 2024, arXiv 2405.10093): no dropout and no muP. Weights and series are functions of
their names; computed in f64. B families of N context and M held-out series of L steps, the last H of which are asked for.
"""

import copy
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ts_jepa import given, numbers

GOLDEN = Path(__file__).resolve().parents[2] / "crates/foretell-jepa/tests/parity/lat-pfn.safetensors"
WIDTH, DILATIONS, HEADS, HIDDEN, LAYERS, BINS, NUMBERS = 8, 2, 2, 16, 2, 12, 10
FAMILIES, CONTEXT, HELD_OUT, HISTORY, HORIZON = 2, 3, 2, 9, 5


class MobileBlock(nn.Module):
    def __init__(self, inputs: int, dilation: int, first: bool):
        super().__init__()
        self.conv = nn.Conv1d(inputs, inputs, 3, padding=dilation, dilation=dilation, groups=inputs, padding_mode="replicate" if first else "zeros")
        self.depthwise_norm = nn.BatchNorm1d(inputs)
        self.pointwise = nn.Linear(inputs, WIDTH)
        self.pointwise_norm = nn.BatchNorm1d(WIDTH)
        self.proj = nn.Linear(inputs, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        norm = lambda norm, x: norm(x.transpose(1, 2)).transpose(1, 2)
        y = F.gelu(norm(self.depthwise_norm, self.conv(x.transpose(1, 2)).transpose(1, 2)))
        return F.gelu(norm(self.pointwise_norm, self.pointwise(y))) + self.proj(x)


class FeedForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(F.gelu(self.linear(x)))


def attention() -> nn.MultiheadAttention:
    return nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)


class AttentionBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn, self.norm, self.linear, self.after = attention(), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x, x, x)[0]
        return x + self.after(F.gelu(self.linear(self.norm(x))))


class Embedder(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(MobileBlock(3 if i == 0 else WIDTH, 2**i, i == 0) for i in range(DILATIONS + 1))
        self.ff, self.attention, self.output = FeedForward(), AttentionBlock(), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.output(self.attention(self.ff(x)))


class Summary(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj, self.query = FeedForward(), nn.Parameter(torch.zeros(3, WIDTH))
        self.embedding, self.embedding_norm = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)
        self.attn = attention()
        self.output, self.output_norm = nn.Linear(3 * WIDTH, WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.embedding_norm(self.embedding(self.proj(x))))
        found = self.attn(self.query.expand(len(x), -1, -1), x, x)[0]
        return F.gelu(self.output_norm(self.output(found.flatten(1))))


class Head(nn.Module):
    def __init__(self, layers: int, outputs: int):
        super().__init__()
        self.layers, self.output = nn.ModuleList(FeedForward() for _ in range(layers)), nn.Linear(WIDTH, outputs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.output(x)


class LatPfn(nn.Module):
    def __init__(self):
        super().__init__()
        options = dict(d_model=WIDTH, nhead=HEADS, dim_feedforward=HIDDEN, dropout=0.0, batch_first=True)
        self.embedder, self.summary = Embedder(), Summary()
        self.encoder = nn.ModuleList(nn.TransformerEncoderLayer(**options) for _ in range(LAYERS))
        self.decoder = nn.ModuleList(nn.TransformerDecoderLayer(**options) for _ in range(LAYERS))
        self.head, self.identify = Head(LAYERS, BINS), Head(2, NUMBERS)


def renamed(name: str) -> str:
    """Foretell's name."""
    return name.replace("in_proj_", "in_proj.").replace("conv.weight", "depthwise").replace("conv.bias", "depthwise_bias")


def main() -> None:
    model = LatPfn()
    # A depthwise kernel is [C, 1, 3] here and [C, 3] there: as many numbers.
    given(model, lambda name: f"model.{renamed(name)}")
    teacher = copy.deepcopy(model.embedder).requires_grad_(False)
    length = HISTORY + HORIZON
    inputs = lambda name, count: (3 * numbers(name, count * length * 3)).view(count, length, 3).float().double()
    held = FAMILIES * HELD_OUT
    known = model.summary(model.embedder(inputs("context", FAMILIES * CONTEXT)))
    embedded = model.embedder(inputs("asked", held))
    seen, asked = embedded[:, :HISTORY], embedded[:, HISTORY:]
    context = known.view(FAMILIES, CONTEXT, WIDTH)
    for layer in model.encoder:
        context = layer(context)
    x = asked.reshape(FAMILIES, HELD_OUT * HORIZON, WIDTH)
    alone = ~torch.eye(HELD_OUT * HORIZON, dtype=torch.bool)
    for layer in model.decoder:
        x = layer(x, context, tgt_mask=alone)
    predicted = x.reshape(held, HORIZON, WIDTH)
    with torch.no_grad():
        target = F.layer_norm(teacher(inputs("whole", held))[:, HISTORY:], (WIDTH,))
    noise = (0.1 * numbers("noise", held * HORIZON * WIDTH)).view(held, HORIZON, WIDTH).float().double()
    logits = model.head(predicted.detach() + noise).view(-1, BINS)
    bins = torch.arange(held * HORIZON) * 7 % BINS
    decoded = F.cross_entropy(logits, bins, label_smoothing=0.01)
    latent = (predicted - target).square().mean()
    own = model.summary(torch.cat([seen, predicted], 1))
    made = (numbers("numbers", FAMILIES * NUMBERS) + 0.5).view(FAMILIES, NUMBERS).float().double()
    said = model.identify(torch.cat([known, own]))
    wanted = torch.cat([made.repeat_interleave(CONTEXT, 0), made.repeat_interleave(HELD_OUT, 0)])
    identified = (said - wanted).square().mean()
    loss = decoded + latent + 0.1 * identified
    loss.backward()
    golden = {"loss": loss.detach().reshape(1), "latent": latent.detach().reshape(1), "bins": decoded.detach().reshape(1)}
    for key, parameter in model.named_parameters():
        gradient = parameter.grad
        golden[f"grad.model.{renamed(key)}"] = gradient.view(-1, 3) if gradient.shape[1:] == (1, 3) else gradient
    golden = {key: tensor.float().contiguous() for key, tensor in golden.items()}
    save_file(golden, GOLDEN, metadata={"source": "bench/peers/lat_pfn.py: computed in f64 and rounded once"})
    print(f"{GOLDEN.name}: {GOLDEN.stat().st_size} bytes, {len(golden)} tensors, loss {loss.item():.6f}")


if __name__ == "__main__":
    main()
