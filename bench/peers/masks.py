"""The multi-block masks of I-JEPA, as the released code draws them, quirks included.

Block SIZES are drawn once for a batch, from the step; LOCATIONS are drawn for each image. One uniform
number sets a block's scale and its aspect ratio together, and the last row and column are never inside a
block. Context masks are cut to the shortest of the batch in raster order.
"""

import math

import torch
from torch import Tensor


class MultiBlock:
    def __init__(
        self,
        grid: tuple[int, int],
        targets: int = 4,
        min_keep: int = 10,
        context_scale: tuple[float, float] = (0.85, 1.0),
        target_scale: tuple[float, float] = (0.15, 0.2),
        target_aspect: tuple[float, float] = (0.75, 1.5),
    ):
        self.grid, self.targets, self.min_keep = grid, targets, min_keep
        self.context_scale, self.target_scale, self.target_aspect = context_scale, target_scale, target_aspect

    def _size(self, r: float, scale: tuple[float, float], aspect: tuple[float, float]) -> tuple[int, int]:
        rows, columns = self.grid
        area = int(rows * columns * (scale[0] + r * (scale[1] - scale[0])))
        ratio = aspect[0] + r * (aspect[1] - aspect[0])
        return min(round(math.sqrt(area * ratio)), rows - 1), min(round(math.sqrt(area / ratio)), columns - 1)

    def _block(self, size: tuple[int, int], places: torch.Generator) -> Tensor:
        """A boolean [H, W] with one block set."""
        top = torch.randint(0, self.grid[0] - size[0], (), generator=places).item()
        left = torch.randint(0, self.grid[1] - size[1], (), generator=places).item()
        block = torch.zeros(self.grid, dtype=torch.bool)
        block[top : top + size[0], left : left + size[1]] = True
        return block

    def _context(self, size: tuple[int, int], blocks: list[Tensor], places: torch.Generator) -> Tensor:
        """A block less the targets; after each 20 failures one target fewer is taken away."""
        for kept in range(len(blocks), -1, -1):
            for _ in range(20):
                context = self._block(size, places)
                for block in blocks[:kept]:
                    context = context & ~block
                if context.sum() > self.min_keep:
                    return context
        raise ValueError(f"no context block on a {self.grid} grid has more than {self.min_keep} tokens")

    def __call__(self, batch: int, step: int, places: torch.Generator) -> tuple[Tensor, Tensor]:
        """Token indices: context [B, Nc], targets [B, K, Nt]."""
        sizes = torch.Generator().manual_seed(step)
        r_target, r_context = (torch.rand((), generator=sizes).item() for _ in range(2))
        target = self._size(r_target, self.target_scale, self.target_aspect)
        context = self._size(r_context, self.context_scale, (1.0, 1.0))
        if target[0] * target[1] <= self.min_keep:
            # The released code would draw for ever here.
            raise ValueError(f"a target block of {target} has no more than {self.min_keep} tokens")
        contexts, targets = [], []
        for _ in range(batch):
            blocks = [self._block(target, places) for _ in range(self.targets)]
            targets.append(torch.stack([b.flatten().nonzero().squeeze(1) for b in blocks]))
            contexts.append(self._context(context, blocks, places).flatten().nonzero().squeeze(1))
        shortest = min(len(c) for c in contexts)
        return torch.stack([c[:shortest] for c in contexts]), torch.stack(targets)
