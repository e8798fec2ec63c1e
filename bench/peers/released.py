"""The released video networks in plain PyTorch, written from their papers and formulas, with the official tensor names.

They stand where `transformers` has nothing to compare with: interleaved rotary codes, V-JEPA's sine-cosine codes in three
dimensions, the predictors of V-JEPA, 2.1 and 2-AC, the official probes.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LN_EPS = 1e-6


def code_1d(positions: Tensor, width: int) -> Tensor:
    """`[sin(p w) | cos(p w)]`, `w_i = 10000^(-i / (width / 2))`: [N] -> [N, width]."""
    half = width // 2
    omega = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = positions.double()[:, None] * omega
    return torch.cat([angles.sin(), angles.cos()], 1)


def places(frames: int, rows: int, cols: int) -> Tensor:
    """Frame, row and column of every token, [N, 3]."""
    axes = [torch.arange(n, dtype=torch.float64) for n in (frames, rows, cols)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def sincos_2d(rows: int, cols: int, width: int, first: str) -> Tensor:
    _, row, col = places(1, rows, cols).unbind(1)
    halves = [code_1d(col, width // 2), code_1d(row, width // 2)]
    return torch.cat(halves if first == "column" else halves[::-1], 1)


def sincos_3d(frames: int, rows: int, cols: int, width: int, uniform: bool) -> Tensor:
    parts = [2 * math.ceil(width / 6)] * 3 if uniform else [width // 2, width // 4, width // 4]
    axes = places(frames, rows, cols).unbind(1)
    return torch.cat([code_1d(at, part) for at, part in zip(axes, parts)], 1)[:, :width]


def turn(x: Tensor, at: Tensor, style: str) -> Tensor:
    """x [B, heads, N, head], at [B, N, 3]."""
    part = 2 * (x.shape[-1] // 3 // 2)
    omega = 10_000.0 ** (-torch.arange(part // 2, dtype=x.dtype) / (part // 2))
    done = []
    for axis in range(3):
        y = x[..., axis * part : (axis + 1) * part]
        theta = at[:, None, :, axis, None] * omega
        if style == "tiled":
            theta = torch.cat([theta, theta], -1)
        else:
            theta = theta.repeat_interleave(2, -1)
        crossed = torch.stack([-y[..., 1::2], y[..., 0::2]], -1).flatten(-2)
        done.append(y * theta.cos() + crossed * theta.sin())
    return torch.cat([*done, x[..., 3 * part :]], -1)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, at: Tensor | None, style: str | None, seen: Tensor | None) -> Tensor:
        b, n, width = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if style is not None:
            q, k = turn(q, at, style), turn(k, at, style)
        scores = q @ k.transpose(-1, -2) / math.sqrt(width / self.heads)
        if seen is not None:
            scores = scores.masked_fill(~seen, -math.inf)
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, width))


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, eps: float = LN_EPS):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps)
        self.mlp = Mlp(width, hidden)

    def forward(self, x, at=None, style=None, seen=None) -> Tensor:
        x = x + self.attn(self.norm1(x), at, style, seen)
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, width: int, tubelet: int, patch: int):
        super().__init__()
        self.proj = nn.Conv3d(3, width, (tubelet, patch, patch), (tubelet, patch, patch))

    def forward(self, clips: Tensor) -> Tensor:
        """[B, T, C, H, W] -> [B, N, D]."""
        return self.proj(clips.transpose(1, 2)).flatten(2).transpose(1, 2)


def chosen(x: Tensor, at: Tensor) -> Tensor:
    return torch.stack([rows[i] for rows, i in zip(x, at)])


class Encoder(nn.Module):
    """V-JEPA with `codes`, V-JEPA 2 with `style`, 2.1 with `levels` too."""

    def __init__(self, width, depth, heads, hidden, patch, tubelet=2, codes=None, style=None, levels=None):
        super().__init__()
        self.patch, self.tubelet, self.style, self.levels = patch, tubelet, style, levels
        self.patch_embed = PatchEmbed(width, tubelet, patch)
        if codes is not None:
            self.pos_embed = nn.Parameter(codes.float()[None], requires_grad=False)
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth))
        if levels is None:
            self.norm = nn.LayerNorm(width, LN_EPS)
        else:
            self.norms_block = nn.ModuleList(nn.LayerNorm(width, LN_EPS) for _ in levels)
            self.patch_embed_img = PatchEmbed(width, 1, patch)
            self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, width))
            self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, clips: Tensor, kept: Tensor | None = None) -> list[Tensor]:
        """The output of every block after its norm."""
        b, frames, _, height, width = clips.shape
        image = self.levels is not None and frames == 1
        times = frames if image else frames // self.tubelet
        rows, cols = height // self.patch, width // self.patch
        x = (self.patch_embed_img if image else self.patch_embed)(clips)
        at = places(times, rows, cols).to(x.dtype)
        if self.levels is not None:
            x = x + (self.img_mod_embed if image else self.video_mod_embed)
            # 16 patches on a side of 256 pixels: the grid of the pretraining.
            over = 256 // self.patch - 1
            at = at * torch.tensor([1.0, over / (rows - 1), over / (cols - 1)], dtype=x.dtype)
        if self.style is None:
            x = x + self.pos_embed[:, : x.shape[1]]
        at = at.expand(b, -1, -1)
        if kept is not None:
            x, at = chosen(x, kept), chosen(at, kept)
        outputs = []
        for i, block in enumerate(self.blocks):
            x = block(x, at, self.style)
            if self.levels is None:
                outputs.append(self.norm(x))
            else:
                norm = self.levels.index(i) if i in self.levels else -1
                outputs.append(self.norms_block[norm](x))
        return outputs


class MaskedPredictor(nn.Module):
    def __init__(self, encoder_width, width, depth, heads, hidden, tokens, levels=1, dense=False, codes=None, style=None):
        super().__init__()
        self.style, self.dense = style, dense
        out = levels * encoder_width
        self.predictor_embed = nn.Linear(encoder_width, width)
        if levels > 1:
            first = nn.Linear(out, encoder_width)
            self.predictor_embed = nn.Sequential(first, nn.GELU(), nn.Linear(encoder_width, width))
        self.mask_tokens = nn.ParameterList(nn.Parameter(torch.zeros(1, 1, width)) for _ in range(tokens))
        if codes is not None:
            self.predictor_pos_embed = nn.Parameter(codes.float()[None], requires_grad=False)
        self.predictor_blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth))
        self.predictor_norm = nn.LayerNorm(width, LN_EPS)
        self.predictor_proj = nn.Linear(width, out)
        if dense:
            self.predictor_proj_context = nn.Linear(width, out)
            self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, width))
            self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, context, context_at, targets_at, grid, token=1, image=False, chopped=None):
        """Predictions of the targets and, dense, of the context; all sorted ones but the last with `chopped`."""
        (b, seen, _), wanted = context.shape, targets_at.shape[1]
        x = self.predictor_embed(context)
        mask = self.mask_tokens[token % len(self.mask_tokens)].expand(b, wanted, -1)
        x, where = torch.cat([x, mask], 1), torch.cat([context_at, targets_at], 1)
        order = where.argsort(dim=1, stable=True)
        x, where = chosen(x, order), chosen(where, order)
        if chopped:
            x, where = x[:, :-chopped], where[:, :-chopped]
        if self.dense:
            x = x + (self.img_mod_embed if image else self.video_mod_embed)
        at = chosen(places(*grid).to(x.dtype).expand(b, -1, -1), where)
        if self.style is None:
            x = x + self.predictor_pos_embed[0, where]
        for block in self.predictor_blocks:
            x = block(x, at, self.style)
        x = self.predictor_norm(x)
        if chopped is not None:
            return self.predictor_proj(x)
        x = chosen(x, order.argsort(dim=1))
        targets = self.predictor_proj(x[:, seen:])
        return (targets, self.predictor_proj_context(x[:, :seen])) if self.dense else targets


class AcPredictor(nn.Module):
    def __init__(self, encoder_width, width, depth, heads, hidden, grid, action=7):
        super().__init__()
        self.grid = grid
        self.predictor_embed = nn.Linear(encoder_width, width)
        self.action_encoder = nn.Linear(action, width)
        self.state_encoder = nn.Linear(action, width)
        self.extrinsics_encoder = nn.Linear(action - 1, width)
        self.predictor_blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth))
        self.predictor_norm = nn.LayerNorm(width, LN_EPS)
        self.predictor_proj = nn.Linear(width, encoder_width)

    def forward(self, latents, actions, states, extrinsics=None):
        b, n, _ = latents.shape
        patches = self.grid[0] * self.grid[1]
        steps = n // patches
        extra = [self.action_encoder(actions), self.state_encoder(states)]
        if extrinsics is not None:
            extra.append(self.extrinsics_encoder(extrinsics))
        x = self.predictor_embed(latents).reshape(b, steps, patches, -1)
        x = torch.cat([torch.stack(extra, 2), x], 2).flatten(1, 2)
        # Tokens without a place in the picture are turned by time alone.
        in_time = torch.zeros(steps, len(extra), 3, dtype=x.dtype)
        in_time[:, :, 0] = torch.arange(steps)[:, None]
        at = torch.cat([in_time, places(steps, *self.grid).to(x.dtype).reshape(steps, patches, 3)], 1).flatten(0, 1)
        step = torch.arange(steps).repeat_interleave(patches + len(extra))
        for block in self.predictor_blocks:
            x = block(x, at.expand(b, -1, -1), "tiled", step[None, :] <= step[:, None])
        x = x.reshape(b, steps, len(extra) + patches, -1)[:, :, len(extra) :].flatten(1, 2)
        return self.predictor_proj(self.predictor_norm(x))


class CrossAttention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        # In V-JEPA's files, and never used.
        self.proj = nn.Linear(width, width)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        (b, asked, width), n = queries.shape, tokens.shape[1]
        q = self.q(queries).reshape(b, asked, self.heads, -1).transpose(1, 2)
        k, v = self.kv(tokens).reshape(b, n, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-1, -2) / math.sqrt(width / self.heads)).softmax(-1)
        return (scores @ v).transpose(1, 2).reshape(b, asked, width)


class CrossAttentionBlock(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, eps: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps)
        self.xattn = CrossAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps)
        self.mlp = Mlp(width, hidden)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        x = queries + self.xattn(queries, self.norm1(tokens))
        return x + self.mlp(self.norm2(x))


class AttentivePooler(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, depth: int, eps: float):
        super().__init__()
        self.query_tokens = nn.Parameter(torch.zeros(1, 1, width))
        self.cross_attention_block = CrossAttentionBlock(width, heads, hidden, eps)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, eps) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.cross_attention_block(self.query_tokens.expand(len(x), -1, -1), x)[:, 0]


class AttentiveClassifier(nn.Module):
    """The official probes' norms have PyTorch's own epsilon, 1e-5."""

    def __init__(self, width: int, heads: int, hidden: int, depth: int, classes: int, eps: float = 1e-5):
        super().__init__()
        self.pooler = AttentivePooler(width, heads, hidden, depth, eps)
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.pooler(x))
