"""Writes what the parity tests of V-JEPA, V-JEPA 2 and 2.1 read: the loss and the gradient of every parameter of a training step.

Weights, clips and masks are functions of their names that the tests compute too, so that no file holds them: exact in f32. The step is
computed in f64 and rounded to f32 once.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from v_jepa import Sizes, VJepa

DEFAULT_OUT = Path(__file__).resolve().parents[2] / "crates/foretell-jepa/tests/parity"


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
    elif len(shape) > 1 and "token" not in name and "mod_embed" not in name:
        x = 2 * x / (torch.Size(shape[1:]).numel() ** 0.5)
    return x.float().double()


def pixels(name: str, shape: tuple[int, ...]) -> Tensor:
    return (3 * numbers(name, torch.Size(shape).numel())).reshape(shape).float().double()


def masks(grid: tuple[int, int, int], clips: int, sets: int) -> list[tuple[Tensor, Tensor]]:
    """Tubes of other places in each set and clip, as many in each clip of a set."""
    frames, rows, columns = grid
    area, found = rows * columns, []
    for s in range(sets):
        context, targets = [], []
        for b in range(clips):
            hidden = {(2 * b + 3 * s + 2 * j) % area for j in range(area // 2 + s)}
            ids = range(frames * area)
            context.append([i for i in ids if i % area not in hidden])
            targets.append([i for i in ids if i % area in hidden])
        found.append((torch.tensor(context), torch.tensor(targets)))
    return found


def step(name: str, sizes: Sizes, out: Path, context_weight: float = 0.0, images: bool = False, one_token: bool = False) -> None:
    model = VJepa(sizes)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(value(key, tuple(parameter.shape)))
    model = model.double()
    clips = pixels("clips", (3, sizes.channels, sizes.frames, sizes.image, sizes.image))
    loss = model.loss(clips, masks(sizes.grid(), 3, 2), context_weight, one_token)
    if images:
        pictures = pixels("images", (2, sizes.channels, 1, sizes.image, sizes.image))
        of_images = model.loss(pictures, masks(sizes.grid(1, 1), 2, 1), context_weight, one_token)
        loss = 3 / 5 * loss + 2 / 5 * of_images
    loss.backward()
    golden = {"loss": loss.detach().reshape(1)}
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            golden[f"grad.{key}"] = parameter.grad
    golden = {key: tensor.float().contiguous() for key, tensor in golden.items()}
    path = out / f"{name}.safetensors"
    note = "bench/peers/v_jepa_parity.py: computed in f64 and rounded once"
    save_file(golden, path, metadata={"source": note})
    print(f"{path.name}: {path.stat().st_size} bytes, {len(golden)} tensors, loss {loss.item():.6f}")


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--out", type=Path, default=DEFAULT_OUT)
    out = a.parse_args().out
    small = dict(frames=4, image=12, tubelet=2, patch=4, channels=2, dim=16, depth=2, heads=2, predictor_dim=8, predictor_depth=1, predictor_heads=1)
    step("v-jepa", Sizes(**small), out)
    step("v-jepa-2", Sizes(**small, rope="tiled"), out, one_token=True)
    step("v-jepa-2-1", Sizes(**small, rope="interleaved", levels=(0, 1), spread=16), out, context_weight=0.5, images=True)


if __name__ == "__main__":
    main()
