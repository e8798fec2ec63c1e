"""I-JEPA in PyTorch: the peer that Foretell is measured and checked against.

Written from the published method (Assran et al., 2023, arXiv 2301.08243). Parameters carry the
names of the released checkpoints, so a state dict can be compared tensor by tensor.
Shapes: B images, N tokens of width D, K target blocks of Nt tokens, Nc context tokens.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LN_EPS = 1e-6


def sincos_1d(dim: int, position: Tensor) -> Tensor:
    """[sin(p w) | cos(p w)] with w_i = 10000^(-i/(dim/2)): halves, not interleaved."""
    omega = 10000.0 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim / 2))
    angle = position.to(torch.float64)[:, None] * omega
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def sincos_2d(dim: int, grid: tuple[int, int]) -> Tensor:
    """[1, H*W, dim] in raster order; the FIRST half of the width encodes the column, the last the row."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    halves = [sincos_1d(dim // 2, columns.flatten()), sincos_1d(dim // 2, rows.flatten())]
    return torch.cat(halves, dim=1)[None].float()


def gather_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """tokens [B, N, D], index [B, n] -> [B, n, D]."""
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(b, n, d))


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=LN_EPS)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=LN_EPS)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, channels: int, patch: int, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


class Encoder(nn.Module):
    """ViT without a class token. `context` keeps only those tokens, after the position code is added."""

    def __init__(self, image: tuple[int, int], patch: int, channels: int, dim: int, depth: int, heads: int):
        super().__init__()
        self.grid = (image[0] // patch, image[1] // patch)
        self.patch_embed = PatchEmbed(channels, patch, dim)
        self.register_buffer("pos_embed", sincos_2d(dim, self.grid))
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=LN_EPS)

    def forward(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """images [B, C, H, W], context [B, Nc] -> [B, N or Nc, D]."""
        x = self.patch_embed(images) + self.pos_embed
        if context is not None:
            x = gather_tokens(x, context)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class Predictor(nn.Module):
    """Context latents and the positions of a block -> the latents of that block, each block on its own."""

    def __init__(self, grid: tuple[int, int], dim: int, width: int, depth: int, heads: int):
        super().__init__()
        self.predictor_embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.register_buffer("predictor_pos_embed", sincos_2d(width, grid))
        self.predictor_blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.predictor_norm = nn.LayerNorm(width, eps=LN_EPS)
        self.predictor_proj = nn.Linear(width, dim)

    def forward(self, latents: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        """latents [B, Nc, D], context [B, Nc], targets [B, K, Nt] -> [B, K, Nt, D]."""
        b, k, nt = targets.shape
        position = self.predictor_pos_embed.expand(b, -1, -1)
        x = self.predictor_embed(latents) + gather_tokens(position, context)
        queries = self.mask_token + gather_tokens(position, targets.flatten(1))
        x = torch.cat([x.repeat_interleave(k, dim=0), queries.view(b * k, nt, -1)], dim=1)
        for block in self.predictor_blocks:
            x = block(x)
        x = self.predictor_norm(x[:, -nt:])
        return self.predictor_proj(x).view(b, k, nt, -1)


class IJepa(nn.Module):
    def __init__(
        self,
        image: tuple[int, int],
        patch: int,
        channels: int,
        dim: int,
        depth: int,
        heads: int,
        predictor_width: int,
        predictor_depth: int,
    ):
        super().__init__()
        self.encoder = Encoder(image, patch, channels, dim, depth, heads)
        # The predictor has the encoder's number of heads, whatever its width.
        self.predictor = Predictor(self.encoder.grid, dim, predictor_width, predictor_depth, heads)
        self.apply(init_weights)
        nn.init.trunc_normal_(self.predictor.mask_token, std=0.02)
        self.target_encoder = copy.deepcopy(self.encoder).requires_grad_(False)

    @torch.no_grad()
    def target(self, images: Tensor, targets: Tensor) -> Tensor:
        """[B, K, Nt, D]: the whole image through the target encoder, a norm without affine, then the blocks."""
        b, k, nt = targets.shape
        full = self.target_encoder(images)
        full = F.layer_norm(full, full.shape[-1:], eps=1e-5)
        return gather_tokens(full, targets.flatten(1)).view(b, k, nt, -1)

    def predict(self, images: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        return self.predictor(self.encoder(images, context), context, targets)

    def loss(self, images: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        """Smooth-L1 with beta 1, mean over every element, as in the released code (the paper says squared L2)."""
        return F.smooth_l1_loss(self.predict(images, context, targets), self.target(images, targets))

    @torch.no_grad()
    def move_target(self, momentum: float) -> None:
        target, online = list(self.target_encoder.parameters()), list(self.encoder.parameters())
        torch._foreach_lerp_(target, online, 1.0 - momentum)


def init_weights(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Biases and one-dimensional parameters are not decayed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
