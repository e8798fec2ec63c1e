"""Times one SAR-JEPA training step. Images, masks and (unless --operator-in-step) targets are made beforehand.

Written from the published method (Li et al., 2024, arXiv 2311.15153): hidden patches are mask tokens at the encoder's
input, a narrow decoder predicts from all tokens what a fixed operator makes of the hidden ones, mean squared error on those.
As in Foretell, tokens carry a fixed sine code of their place; there is no class token and no relative bias.
Shapes: R rows (images, or windows of them) of V seen and H hidden tokens, D wide; K numbers for each.
"""

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import engine
import timing
from i_jepa import LN_EPS, Block, PatchEmbed, gather_tokens, init_weights, parameter_groups, sincos_2d

SCALES = (5, 9, 13, 17)


def ratio_gradient(images: Tensor, scales: tuple[int, ...] = SCALES, offset: float = 1e-2) -> Tensor:
    """[B, C, H, W] in 0 to 1 -> [B, C, S, H, W]: length of the log ratios of left to right and top to bottom half windows, which
    share their middle line."""
    maps = []
    for k in scales:
        x = F.pad(images + offset, (k, k, k, k), mode="reflect")
        side, half = 2 * k + 1, k + 1

        def means(height: int, width: int, x: Tensor = x) -> Tensor:
            return F.avg_pool2d(x, (height, width), stride=1)

        upright, level = means(side, half), means(half, side)
        columns, rows = images.shape[-1], images.shape[-2]
        across = torch.log(upright[..., :columns] / upright[..., k : k + columns])
        down = torch.log(level[..., :rows, :] / level[..., k : k + rows, :])
        maps.append(torch.sqrt(across**2 + down**2))
    return torch.stack(maps, dim=2)


def patchify(maps: Tensor, patch: int) -> Tensor:
    """[B, M, H, W] -> [B, N, M * patch * patch], raster order, each patch [M, patch, patch]."""
    return F.unfold(maps, patch, stride=patch).transpose(1, 2)


class Encoder(nn.Module):
    """A ViT that sees some patches and, at other places, a mask token."""

    def __init__(self, image: tuple[int, int], patch: int, channels: int, dim: int, depth: int, heads: int):
        super().__init__()
        self.grid = (image[0] // patch, image[1] // patch)
        self.patch_embed = PatchEmbed(channels, patch, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.register_buffer("pos_embed", sincos_2d(dim, self.grid))
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=LN_EPS)

    def forward(self, images: Tensor, seen: Tensor, hidden: Tensor) -> Tensor:
        """images [B, C, H, W], seen [R, V], hidden [R, H] -> [R, V + H, D]."""
        rows = seen.shape[0]
        tokens = self.patch_embed(images).repeat_interleave(rows // images.shape[0], dim=0)
        codes = self.pos_embed.expand(rows, -1, -1)
        x = torch.cat(
            [gather_tokens(tokens, seen) + gather_tokens(codes, seen), self.mask_token + gather_tokens(codes, hidden)],
            dim=1,
        )
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class Decoder(nn.Module):
    def __init__(self, grid: tuple[int, int], dim: int, width: int, depth: int, heads: int, outputs: int):
        super().__init__()
        self.decoder_embed = nn.Linear(dim, width)
        self.register_buffer("decoder_pos_embed", sincos_2d(width, grid))
        self.decoder_blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.decoder_norm = nn.LayerNorm(width, eps=LN_EPS)
        self.decoder_pred = nn.Linear(width, outputs)

    def forward(self, tokens: Tensor, seen: Tensor, hidden: Tensor) -> Tensor:
        """tokens [R, V + H, D] -> [R, H, K]."""
        at = torch.cat([seen, hidden], dim=1)
        x = self.decoder_embed(tokens) + gather_tokens(self.decoder_pos_embed.expand(len(at), -1, -1), at)
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x[:, seen.shape[1] :]))


class SarJepa(nn.Module):
    def __init__(
        self,
        image: tuple[int, int],
        patch: int,
        channels: int,
        dim: int,
        depth: int,
        heads: int,
        decoder_width: int,
        decoder_depth: int,
        decoder_heads: int,
    ):
        super().__init__()
        self.patch = patch
        outputs = channels * len(SCALES) * patch * patch
        self.encoder = Encoder(image, patch, channels, dim, depth, heads)
        self.decoder = Decoder(self.encoder.grid, dim, decoder_width, decoder_depth, decoder_heads, outputs)
        self.apply(init_weights)
        nn.init.trunc_normal_(self.encoder.mask_token, std=0.02)

    def target(self, images: Tensor, hidden: Tensor) -> Tensor:
        """images in 0 to 1, hidden [R, H] -> [R, H, K]."""
        maps = patchify(ratio_gradient(images).flatten(1, 2), self.patch)
        return gather_tokens(maps.repeat_interleave(len(hidden) // len(images), dim=0), hidden)

    def loss(self, images: Tensor, seen: Tensor, hidden: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(self.decoder(self.encoder(images, seen, hidden), seen, hidden), target)


def random_masks(batch: int, tokens: int, share: float) -> tuple[Tensor, Tensor]:
    """Seen and hidden places of a batch, each [B, ..]."""
    order = torch.rand(batch, tokens).argsort(dim=1)
    hidden = round(share * tokens)
    return order[:, hidden:].sort(dim=1).values, order[:, :hidden].sort(dim=1).values


def window_masks(batch: int, grid: tuple[int, int], windows: int, side: int, share: float) -> tuple[Tensor, Tensor]:
    """Windows at the same places in every image of the batch, one row for each: row b * windows + k."""
    height, width = min(side, grid[0]), min(side, grid[1])
    tops, lefts = torch.randperm(grid[0] - height + 1), torch.randperm(grid[1] - width + 1)
    inside = torch.arange(height)[:, None] * grid[1] + torch.arange(width)
    corners = [tops[k % len(tops)] * grid[1] + lefts[k % len(lefts)] for k in range(windows)]
    places = torch.stack([(corner + inside).flatten() for corner in corners]).repeat(batch, 1)
    seen, hidden = random_masks(batch * windows, height * width, share)
    return places.gather(1, seen), places.gather(1, hidden)


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("image", 64), ("patch", 8), ("channels", 1), ("width", 192), ("depth", 6), ("heads", 3), ("decoder-width", 96),
        ("decoder-depth", 3), ("decoder-heads", 3), ("windows", 0), ("side", 7), ("batch", 64), ("steps", 10),
        ("warmup", 2), ("seed", 0),
    ):  # fmt: skip
        a.add_argument(f"--{name}", type=int, default=default)
    a.add_argument("--share", type=float, default=0.8, help="of the tokens that is hidden")
    a.add_argument("--operator-in-step", action="store_true", help="compute the targets in each step")
    engine.arguments(a)
    o = a.parse_args()
    run = engine.Engine(o)
    torch.manual_seed(o.seed)

    sizes = (o.width, o.depth, o.heads, o.decoder_width, o.decoder_depth, o.decoder_heads)
    model = SarJepa((o.image, o.image), o.patch, o.channels, *sizes).to(run.device)
    optimiser = torch.optim.AdamW(parameter_groups(model, 0.05), lr=1e-3, fused=True)
    grid = model.encoder.grid

    def draw() -> tuple[Tensor, Tensor]:
        if o.windows:
            return window_masks(o.batch, grid, o.windows, o.side, o.share)
        return random_masks(o.batch, grid[0] * grid[1], o.share)

    masks = [tuple(part.to(run.device) for part in draw()) for _ in range(o.warmup + o.steps)]
    images = torch.rand(o.batch, o.channels, o.image, o.image).to(run.device)
    targets = [model.target(images, hidden) for _, hidden in masks]
    loss_of = run.ready(model.loss)

    def step(i: int) -> float:
        target = model.target(images, masks[i][1]) if o.operator_in_step else targets[i]
        with run.autocast():
            loss = loss_of(images, *masks[i], target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    timing.measure(
        step,
        o.warmup,
        o.steps,
        o.batch,
        run,
        system="sar-jepa",
        config=vars(o),
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        seen_tokens=masks[0][0].shape[1],
        hidden_tokens=masks[0][1].shape[1],
    )


if __name__ == "__main__":
    main()
