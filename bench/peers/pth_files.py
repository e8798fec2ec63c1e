"""Writes the small PyTorch files that Foretell's reader of `.pth` is tested on, and the values that it must find.

`python pth_files.py ../../crates/foretell-nn/tests/pth` rewrites them. `expected.json` names, for each file, every tensor
with its shape, its kind on disk and the bits of its numbers as float32, read back by PyTorch itself.
"""

import argparse
import collections
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from torch import nn


class Foreign:
    """A class that no reader but Python with this script knows."""

    def __init__(self):
        self.momentum = 0.9


def i_jepa() -> dict:
    """The layout of the released I-JEPA files: three state dicts of DataParallel modules, optimiser, scaler, numbers."""

    def network(width: int) -> nn.Module:
        block = nn.ModuleDict({"norm1": nn.LayerNorm(width), "mlp": nn.Linear(width, width)})
        module = nn.ModuleDict({"blocks": nn.ModuleList([block]), "norm": nn.LayerNorm(width)})
        module.register_parameter("pos_embed", nn.Parameter(torch.randn(1, 2, width), requires_grad=False))
        return nn.ModuleDict({"module": module})

    encoder, target, predictor = network(3), network(3), network(2)
    decayed = [p for p in encoder.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in encoder.parameters() if p.requires_grad and p.ndim == 1]
    groups = [{"params": decayed}, {"params": others, "WD_exclude": True, "weight_decay": 0}]
    optimiser = torch.optim.AdamW(groups)
    sum(p.square().sum() for p in encoder.parameters()).backward()
    optimiser.step()
    scaler = {"scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000, "_growth_tracker": 3}
    return {
        "encoder": encoder.state_dict(),
        "predictor": predictor.state_dict(),
        "opt": optimiser.state_dict(),
        "scaler": scaler,
        "target_encoder": target.state_dict(),
        "epoch": 300,
        "loss": np.float64(0.25),
        "batch_size": 128,
        "world_size": 16,
        "lr": 0.001,
    }


def named(value, prefix: str = "") -> dict:
    """Every tensor by the keys that lead to it."""
    if isinstance(value, torch.Tensor):
        return {prefix: value}
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else []
    found = {}
    for key, part in pairs:
        found |= named(part, f"{prefix}.{key}" if prefix else str(key))
    return found


def bits(tensor: torch.Tensor) -> list[int]:
    return tensor.detach().float().contiguous().flatten().view(torch.int32).tolist()


KINDS = {
    torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64",
    torch.int64: "I64", torch.uint8: "U8", torch.bool: "BOOL",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(5)

    grid = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4) / 8
    shared = torch.randn(6)
    halves = torch.tensor([0.0, -0.0, 1.5, -2.25, 65504.0, 6e-8, 6.1e-5, float("inf")], dtype=torch.float16)
    files = {
        "kinds.pth": {
            "single": torch.randn(2, 3),
            "half": halves,
            "brain": torch.tensor([1.0, -3.1415926, 1e30, 1e-30, 0.0, float("-inf")], dtype=torch.bfloat16),
            "double": torch.tensor([1 / 3, -1e-300, 2.5], dtype=torch.float64),
            "count": torch.tensor([3], dtype=torch.int64),
            "bytes": torch.tensor([1, 2, 250], dtype=torch.uint8),
            "truth": torch.tensor([True, False]),
            "scalar": torch.tensor(2.5),
            "empty": torch.zeros(0, 4),
        },
        "views.pth": {
            "transposed": grid.permute(2, 0, 1),
            "column": grid[:, 1:, 2],
            "every_second": grid[:, :, ::2],
            "half_of_it": grid[1],
            "row": grid[0, 1:2],
            "one": grid[1, 2, 3],
            "shared": {"first": shared[:3], "last": shared[3:], "whole": shared, "pairs": shared.view(3, 2).t()},
            "brain": grid.bfloat16().transpose(0, 2),
        },
        "i-jepa.pth.tar": i_jepa(),
        "lists.pt": {
            "classifiers": [collections.OrderedDict(weight=torch.ones(2, 2)), {"weight": torch.zeros(1)}],
            "parameter": nn.Parameter(torch.tensor([1.0, 2.0])),
            "plain": (1, True, None, "text", 2**80, -5, b"bytes", {1, 2}, torch.Size([3]), torch.float32),
            7: torch.tensor([7.0]),
        },
    }
    expected = {}
    for name, content in files.items():
        torch.save(content, folder / name)
        again = torch.load(folder / name, weights_only=False)
        expected[name] = {
            key: {"shape": list(t.shape), "kind": KINDS[t.dtype], "bits": bits(t)}
            for key, t in named(again).items()
        }
    torch.save(files["kinds.pth"], folder / "protocol-4.pth", pickle_protocol=4)
    expected["protocol-4.pth"] = expected["kinds.pth"]
    torch.serialization.set_crc32_options(False)
    torch.save(files["kinds.pth"], folder / "no-checksums.pth")
    torch.serialization.set_crc32_options(True)
    expected["no-checksums.pth"] = expected["kinds.pth"]
    (folder / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")

    module = types.ModuleType("experiment")
    Foreign.__module__, Foreign.__qualname__ = "experiment.state", "Meter"
    state = types.ModuleType("experiment.state")
    state.Meter = Foreign
    sys.modules |= {"experiment": module, "experiment.state": state}
    torch.save({"encoder": {"w": torch.ones(2)}, "meter": Foreign()}, folder / "foreign.pth")
    torch.save({"w": torch.ones(2)}, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"w": torch.ones(1).expand(1000, 1000)}, folder / "expanded.pth")
    torch.save(torch.ones(3), folder / "bare.pth")


if __name__ == "__main__":
    main()
