"""Times one LeJEPA training step on the CPU in f32 (Balestriero and LeCun, 2025). Views are made beforehand.

V views of one size, encoder, projector, (1 - lambda) invariance to the mean of the views + lambda SIGReg,
where SIGReg is taken for each view and averaged. The ViT has no class token: its latents are averaged.
"""

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import timing
from anti_collapse import random_directions, sigreg
from i_jepa import Encoder, init_weights, parameter_groups


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """ResNet-18 with the stem for small images (one 3 x 3 convolution, no pooling); `width` 64 is the standard."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        blocks, inputs = [], width
        for stage in range(4):
            outputs = width * 2**stage
            for i in range(2):
                blocks.append(BasicBlock(inputs, outputs, 2 if stage and not i else 1))
                inputs = outputs
        self.layers = nn.Sequential(*blocks)
        self.dim = inputs

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, 8 * width]."""
        return self.layers(F.relu(self.bn1(self.conv1(images)))).mean(dim=(2, 3))


class MeanViT(nn.Module):
    def __init__(self, image: int, patch: int, width: int, depth: int, heads: int):
        super().__init__()
        self.encoder = Encoder((image, image), patch, 3, width, depth, heads)
        self.apply(init_weights)
        self.dim = width

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images).mean(dim=1)


def projector(dim: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(dim, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
        nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
        nn.Linear(hidden, out),
    )  # fmt: skip


def le_jepa_loss(z: Tensor, global_views: int, directions: Tensor, trade_off: float) -> Tensor:
    """z [V, B, D], the global views first."""
    invariance = (z[:global_views].mean(dim=0) - z).square().mean()
    normality = torch.stack([sigreg(view, directions) for view in z]).mean()
    return (1 - trade_off) * invariance + trade_off * normality


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--encoder", choices=("resnet", "vit"), default="resnet")
    for name, default in (
        ("image", 32), ("patch", 4), ("depth", 12), ("heads", 3), ("views", 4), ("hidden", 512), ("out", 64),
        ("slices", 256), ("batch", 64), ("threads", 2), ("steps", 10), ("warmup", 2), ("seed", 0),
    ):  # fmt: skip
        a.add_argument(f"--{name}", type=int, default=default)
    a.add_argument("--width", type=int, help="default 64 for resnet, 192 for vit")
    a.add_argument("--global-views", type=int, help="views whose mean is the target; default all")
    o = a.parse_args()
    o.width = o.width or {"resnet": 64, "vit": 192}[o.encoder]
    o.global_views = o.global_views or o.views
    torch.set_num_threads(o.threads)
    torch.manual_seed(o.seed)

    vit = o.encoder == "vit"
    encoder = MeanViT(o.image, o.patch, o.width, o.depth, o.heads) if vit else ResNet(o.width)
    model = nn.Sequential(encoder, projector(encoder.dim, o.hidden, o.out))
    optimiser = torch.optim.AdamW(parameter_groups(model, 5e-2 if vit else 5e-4), lr=5e-4, fused=True)
    views = torch.randn(o.views * o.batch, 3, o.image, o.image)

    def step(i: int) -> float:
        z = model(views).view(o.views, o.batch, o.out)
        loss = le_jepa_loss(z, o.global_views, random_directions(o.out, o.slices, i), 0.05)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    parameters = sum(p.numel() for p in model.parameters())
    timing.measure(step, o.warmup, o.steps, o.batch, system="le-jepa", config=vars(o), parameters=parameters)


if __name__ == "__main__":
    main()
