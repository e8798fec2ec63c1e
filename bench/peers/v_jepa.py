"""V-JEPA, V-JEPA 2 and 2.1 in PyTorch: the peers that Foretell is measured and checked against.

Written from the published methods (arXiv 2404.08471, 2506.09985, 2603.14482). Parameters carry the names of the released checkpoints,
`levels_embed` apart (released as the first map of `predictor_embed`). `python v_jepa.py` times a training step of V-JEPA.
Shapes: B clips of T frames, N = (T/t)(S/p)^2 tokens of width D in the order (time, row, column), Nc context and Nt target tokens.
"""

import argparse
import copy
import json
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import engine
import timing
from i_jepa import LN_EPS, Mlp, gather_tokens, parameter_groups, sincos_1d

Grid = tuple[int, int, int]


@dataclass
class Sizes:
    frames: int = 16
    image: int = 96
    tubelet: int = 2
    patch: int = 8
    channels: int = 3
    dim: int = 192
    depth: int = 12
    heads: int = 3
    predictor_dim: int = 96
    predictor_depth: int = 6
    predictor_heads: int = 3
    mask_tokens: int = 2
    rope: str | None = None  # None: added codes; "tiled" as V-JEPA 2 was trained; "interleaved": a rotation
    levels: tuple[int, ...] | None = None  # of V-JEPA 2.1
    spread: int | None = None  # the side over which rows and columns are spread

    def grid(self, frames: int | None = None, tubelet: int | None = None) -> Grid:
        side = self.image // self.patch
        return ((frames or self.frames) // (tubelet or self.tubelet), side, side)


def places(ids: Tensor, grid: Grid) -> Tensor:
    """[..] -> [.., 3]: time, row, column."""
    _, rows, columns = grid
    return torch.stack([ids // (rows * columns), ids // columns % rows, ids % columns], dim=-1)


def sincos_3d(dim: int, grid: Grid) -> Tensor:
    """[1, N, dim] with uniform power: three parts of 2 ceil(dim / 6), cut to the width."""
    n = grid[0] * grid[1] * grid[2]
    part = 2 * -(-dim // 6)
    at = places(torch.arange(n), grid)
    return torch.cat([sincos_1d(part, at[:, axis]) for axis in range(3)], dim=1)[None, :, :dim].float()


def turn(x: Tensor, at: Tensor, style: str) -> Tensor:
    """x [B, heads, N, d] by angles of at [B, N]: neighbours are pairs; tiled angles are not those of a pair."""
    d = x.shape[-1]
    omega = 10000.0 ** (-torch.arange(d // 2, dtype=x.dtype, device=x.device) / (d / 2))
    angle = at.to(x.dtype)[:, None, :, None] * omega
    angle = torch.cat([angle, angle], -1) if style == "tiled" else angle.repeat_interleave(2, -1)
    pairs = x.unflatten(-1, (-1, 2))
    other = torch.stack([-pairs[..., 1], pairs[..., 0]], -1).flatten(-2)
    return x * angle.cos() + other * angle.sin()


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int, rope: str | None):
        super().__init__()
        self.heads, self.rope = heads, rope
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def turned(self, x: Tensor, at: Tensor) -> Tensor:
        part = 2 * (x.shape[-1] // 3 // 2)
        cut = [turn(x[..., i * part : (i + 1) * part], at[..., i], self.rope) for i in range(3)]
        return torch.cat([*cut, x[..., 3 * part :]], -1)

    def forward(self, x: Tensor, at: Tensor | None) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        if self.rope:
            q, k = self.turned(q, at), self.turned(k, at)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, rope: str | None):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=LN_EPS)
        self.attn = Attention(dim, heads, rope)
        self.norm2 = nn.LayerNorm(dim, eps=LN_EPS)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x: Tensor, at: Tensor | None) -> Tensor:
        x = x + self.attn(self.norm1(x), at)
        return x + self.mlp(self.norm2(x))


class TubeletEmbed(nn.Module):
    def __init__(self, channels: int, tubelet: int, patch: int, dim: int):
        super().__init__()
        size = (tubelet, patch, patch)
        self.proj = nn.Conv3d(channels, dim, kernel_size=size, stride=size)

    def forward(self, clips: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, N, D]."""
        return self.proj(clips).flatten(2).transpose(1, 2)


def spread_over(at: Tensor, grid: Grid, side: int | None) -> Tensor:
    """Rows and columns as those of a grid of this side."""
    at = at.double()
    if side is None:
        return at
    scale = [1.0] + [(side - 1) / (of - 1) if of > 1 else 1.0 for of in grid[1:]]
    return at * torch.tensor(scale, dtype=at.dtype, device=at.device)


class Encoder(nn.Module):
    def __init__(self, s: Sizes):
        super().__init__()
        self.s = s
        self.patch_embed = TubeletEmbed(s.channels, s.tubelet, s.patch, s.dim)
        if s.levels:
            self.patch_embed_img = TubeletEmbed(s.channels, 1, s.patch, s.dim)
            self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, s.dim))
            self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, s.dim))
            self.norms_block = nn.ModuleList(nn.LayerNorm(s.dim, eps=LN_EPS) for _ in s.levels)
        else:
            self.norm = nn.LayerNorm(s.dim, eps=LN_EPS)
        if not s.rope:
            self.register_buffer("pos_embed", sincos_3d(s.dim, s.grid()))
        self.blocks = nn.ModuleList(Block(s.dim, s.heads, s.rope) for _ in range(s.depth))

    def forward(self, clips: Tensor, kept: Tensor | None = None) -> Tensor:
        """clips [B, C, T, H, W], kept [B, Nc] -> [B, N or Nc, levels D]."""
        s = self.s
        image = s.levels is not None and clips.shape[2] == 1
        if image:
            x, grid = self.patch_embed_img(clips) + self.img_mod_embed, s.grid(1, 1)
        else:
            x, grid = self.patch_embed(clips), s.grid(clips.shape[2])
            x = x + self.video_mod_embed if s.levels else x
        if not s.rope:
            x = x + self.pos_embed
        ids = torch.arange(x.shape[1], device=x.device).expand(x.shape[0], -1)
        if kept is not None:
            x, ids = gather_tokens(x, kept), kept
        at = spread_over(places(ids, grid), grid, s.spread).to(x.dtype) if s.rope else None
        outputs = []
        for i, block in enumerate(self.blocks):
            x = block(x, at)
            if s.levels and i in s.levels:
                outputs.append(self.norms_block[s.levels.index(i)](x))
        return torch.cat(outputs, -1) if s.levels else self.norm(x)


class Predictor(nn.Module):
    def __init__(self, s: Sizes):
        super().__init__()
        self.s, width, levels = s, s.predictor_dim, len(s.levels or (0,))
        if s.levels:
            self.levels_embed = nn.Linear(levels * s.dim, s.dim)
            self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, width))
            self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, width))
            self.predictor_proj_context = nn.Linear(width, levels * s.dim)
        self.predictor_embed = nn.Linear(s.dim, width)
        self.mask_tokens = nn.ParameterList(nn.Parameter(torch.zeros(1, 1, width)) for _ in range(s.mask_tokens))
        if not s.rope:
            self.register_buffer("predictor_pos_embed", sincos_3d(width, s.grid()))
        self.predictor_blocks = nn.ModuleList(Block(width, s.predictor_heads, s.rope) for _ in range(s.predictor_depth))
        self.predictor_norm = nn.LayerNorm(width, eps=LN_EPS)
        self.predictor_proj = nn.Linear(width, levels * s.dim)

    def forward(self, latents: Tensor, context: Tensor, targets: Tensor, token: int, frames: int) -> tuple[Tensor, Tensor | None]:
        """latents [B, Nc, levels D] -> those of the targets [B, Nt, levels D] and, with levels, of the context [B, Nc, levels D]."""
        s, seen = self.s, context.shape[1]
        image = s.levels is not None and frames == 1
        if s.levels:
            latents = F.gelu(self.levels_embed(latents))
        x = self.predictor_embed(latents)
        asked = self.mask_tokens[token].expand(*targets.shape, -1)
        ids = torch.cat([context, targets], 1)
        x = torch.cat([x, asked], 1)
        if s.levels:
            x = x + (self.img_mod_embed if image else self.video_mod_embed)
        at = None
        if s.rope:
            grid = s.grid(1, 1) if image else s.grid(frames)
            at = spread_over(places(ids, grid), grid, s.spread).to(x.dtype)
        else:
            x = x + gather_tokens(self.predictor_pos_embed.expand(len(x), -1, -1), ids)
        # The order of rows makes no difference to attention: the released code sorts them and brings them back.
        for block in self.predictor_blocks:
            x = block(x, at)
        x = self.predictor_norm(x)
        of_context = self.predictor_proj_context(x[:, :seen]) if s.levels else None
        return self.predictor_proj(x[:, seen:]), of_context


def layer_norm_levels(x: Tensor, dim: int) -> Tensor:
    return F.layer_norm(x.unflatten(-1, (-1, dim)), (dim,), eps=1e-5).flatten(-2)


def root_of_distance(context: Tensor, targets: Tensor, grid: Grid) -> Tensor:
    """[B, Nc]: the root of the distance in the grid from the nearest target."""
    return torch.cdist(places(context, grid).double(), places(targets, grid).double()).min(-1).values.sqrt()


class VJepa(nn.Module):
    def __init__(self, s: Sizes):
        super().__init__()
        self.s = s
        self.encoder, self.predictor = Encoder(s), Predictor(s)
        self.apply(init_weights)
        self.target_encoder = copy.deepcopy(self.encoder).requires_grad_(False)

    @torch.no_grad()
    def target(self, clips: Tensor) -> Tensor:
        return layer_norm_levels(self.target_encoder(clips), self.s.dim)

    def loss(self, clips: Tensor, masks: list[tuple[Tensor, Tensor]], context_weight: float = 0.0, one_token: bool = False) -> Tensor:
        """The encoder runs once for each mask set, the target encoder once: the mean over mask sets of the mean absolute difference."""
        whole, frames = self.target(clips), clips.shape[2]
        grid = self.s.grid(1, 1) if self.s.levels and frames == 1 else self.s.grid(frames)
        total = 0.0
        for i, (context, targets) in enumerate(masks):
            latents = self.encoder(clips, context)
            hidden, seen = self.predictor(latents, context, targets, 0 if one_token else i, frames)
            total = total + (hidden - gather_tokens(whole, targets)).abs().mean()
            if context_weight > 0:
                weights = 1.0 / root_of_distance(context, targets, grid).to(seen.dtype)
                off = (seen - gather_tokens(whole, context)).abs() * weights[..., None]
                total = total + context_weight * off.mean()
        return total / len(masks)

    @torch.no_grad()
    def move_target(self, momentum: float) -> None:
        torch._foreach_lerp_(list(self.target_encoder.parameters()), list(self.encoder.parameters()), 1.0 - momentum)


def init_weights(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Conv3d)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("frames", 16), ("image", 96), ("patch", 8), ("tubelet", 2), ("width", 192), ("depth", 12), ("heads", 3), ("predictor-width", 96),
        ("predictor-depth", 6), ("batch", 8), ("steps", 8), ("warmup", 2), ("seed", 0),
    ):  # fmt: skip
        a.add_argument(f"--{name}", type=int, default=default)
    a.add_argument("--masks", required=True, help="a JSON file of masks, as `foretell bench step --save-masks` writes it")
    a.add_argument("--rope", choices=["tiled", "interleaved"], help="V-JEPA 2 in place of V-JEPA")
    engine.arguments(a)
    o = a.parse_args()
    run = engine.Engine(o)
    torch.manual_seed(o.seed)
    sizes = Sizes(o.frames, o.image, o.tubelet, o.patch, 3, o.width, o.depth, o.heads, o.predictor_width, o.predictor_depth, o.heads, rope=o.rope)
    model = VJepa(sizes).to(run.device)
    optimiser = torch.optim.AdamW(parameter_groups(model, 0.04), lr=1e-3, fused=True)
    with open(o.masks) as file:
        steps = [[(torch.tensor(s["context"]), torch.tensor(s["target"])) for s in step["sets"]] for step in json.load(file)]
    steps = [[tuple(part.to(run.device) for part in s) for s in sets] for sets in steps]
    clips = torch.randn(o.batch, 3, o.frames, o.image, o.image).to(run.device)
    loss_of = run.ready(model.loss)

    def step(i: int) -> float:
        with run.autocast():
            loss = loss_of(clips, steps[i])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        model.move_target(0.998)
        return loss.item()

    timing.measure(
        step, o.warmup, o.steps, o.batch, run, system="v-jepa", config=vars(o),
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        context_tokens=[[context.shape[1] for context, _ in sets] for sets in steps[o.warmup :]],
    )  # fmt: skip


if __name__ == "__main__":
    main()
