"""Terms against collapse and label-free ranks as published libraries ship them: lightly 1.6.0, stable-pretraining 0.1.8.

Rewrites `crates/foretell-jepa/tests/parity/lightly.safetensors` (values and gradients of SIGReg, VICReg, Barlow Twins, VISReg) and
`crates/foretell-eval/tests/stable-pretraining.json` (LiDAR, RankMe). The libraries' own classes are called; nothing of them is
computed here. Their random directions are caught where they are drawn.

    pip install lightly==1.6.0 stable-pretraining==0.1.8 safetensors
    python shipped.py
"""

import json
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import torch
from lightly.loss.barlow_twins_loss import BarlowTwinsLoss
from lightly.loss.lejepa_loss import LeJEPALoss, SIGReg
from lightly.loss.vicreg_loss import VICRegLoss
from lightly.loss.visreg_loss import VISRegLoss
from safetensors.torch import save_file
from stable_pretraining.callbacks.lidar import LiDAR
from stable_pretraining.callbacks.rankme import RankMe

CRATES = Path(__file__).resolve().parents[2] / "crates"


class Caught:
    """`torch.randn` that keeps the last directions it drew, normalised as the libraries do."""

    def __init__(self):
        self.draw, self.directions = torch.randn, None

    def __call__(self, *args, **kwargs):
        drawn = self.draw(*args, **kwargs)
        self.directions = (drawn / drawn.norm(p=2, dim=0)).clone()
        return drawn


def losses():
    """Codes [V, N, D] of four views, two of them global, far from N(0, I); each loss with its gradient with respect to all codes."""
    out = {}
    torch.manual_seed(23)
    views, samples, width = 4, 24, 10
    shared = torch.randn(1, samples, width)
    base = (shared + 0.5 * torch.randn(views, samples, width)) @ torch.randn(width, width) * 0.3 + 0.2
    out["codes"] = base

    def record(name, loss):
        z = base.clone().requires_grad_()
        caught = Caught()
        with patch("torch.randn", caught):
            value = loss(z)
        value.backward()
        out[f"{name}.value"], out[f"{name}.gradient"] = value.detach().reshape(1), z.grad.clone()
        if caught.directions is not None:
            out[f"{name}.directions"] = caught.directions

    record("sigreg", lambda z: SIGReg(num_vectors=12)(z))
    record("lejepa", lambda z: LeJEPALoss(lambda_param=0.05, sigreg_num_vectors=12)(local_proj=z[2:], global_proj=z[:2]))
    record("vicreg", lambda z: VICRegLoss()(z[0], z[1]))
    record("barlow", lambda z: BarlowTwinsLoss()(z[0], z[1]))
    for part in ("total", "pred", "scale", "shape", "center"):
        torch.manual_seed(24)
        loss = VISRegLoss(num_slices=12)
        record(f"visreg.{part}", lambda z: getattr(loss.forward_components(local_proj=z[2:], global_proj=z[:2]), part))
    return {name: tensor.contiguous() for name, tensor in out.items()}


def ranks():
    """Both callbacks as they run, on small features; RankMe logs its figure, so the log is read."""
    torch.manual_seed(25)
    samples, views, width = 20, 4, 6
    features = torch.randn(samples, 1, width) * torch.tensor([2.0, 1.0, 1.0, 0.5, 0.1, 0.02]) + 0.2 * torch.randn(samples, views, width)
    rows = features.reshape(samples * views, width)
    lidar = LiDAR("lidar", "z", samples * views, width, n_classes=samples, samples_per_class=views)
    rank = RankMe("rankme", "z", samples * views, width)
    logged = {}
    rank._target_queue = SimpleNamespace(data=rows)
    module = SimpleNamespace(log=lambda name, value, **_: logged.update({name: value}))
    rank.on_validation_batch_end(SimpleNamespace(global_rank=0), module, {}, {}, 0)
    return {
        "libraries": {"stable-pretraining": version("stable-pretraining"), "torch": torch.__version__},
        "samples": samples,
        "views": views,
        "width": width,
        "rows": [float(x) for x in rows.flatten()],
        "lidar": lidar._compute_lidar(rows)["lidar"],
        "lidar_f64": lidar._compute_lidar(rows.double())["lidar"],
        "rankme": logged["rankme"],
    }


if __name__ == "__main__":
    libraries = {name: version(name) for name in ("lightly", "torch")}
    save_file(losses(), CRATES / "foretell-jepa/tests/parity/lightly.safetensors", metadata=libraries)
    (CRATES / "foretell-eval/tests/stable-pretraining.json").write_text(json.dumps(ranks(), indent=1) + "\n")
