"""Times one LeJEPA training step (Balestriero and LeCun, 2025). Views are made beforehand.

V views of one size, encoder, projector, (1 - lambda) invariance to the mean of the views + lambda SIGReg,
where SIGReg is taken for each view and averaged. The ViT has no class token: its latents are averaged.
"""

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import engine
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
    """Basic blocks behind one 3 x 3 convolution, no pooling. Widths 64 to 512, two blocks each and stride 1 are ResNet-18
    with the stem for small images; the default is the recipe's small one."""

    def __init__(self, widths: list[int], blocks: int, stem_stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        layers, inputs = [], widths[0]
        for stage, outputs in enumerate(widths):
            for i in range(blocks):
                layers.append(BasicBlock(inputs, outputs, 2 if stage and not i else 1))
                inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.dim = inputs

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, widths[-1]]."""
        return self.layers(F.relu(self.bn1(self.conv1(images)))).mean(dim=(2, 3))


class MeanViT(nn.Module):
    def __init__(self, image: int, patch: int, width: int, depth: int, heads: int):
        super().__init__()
        self.encoder = Encoder((image, image), patch, 3, width, depth, heads)
        self.apply(init_weights)
        self.dim = width

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images).mean(dim=1)


def projector(dim: int, hidden: list[int], out: int) -> nn.Sequential:
    layers = []
    for width in hidden:
        layers += [nn.Linear(dim, width), nn.BatchNorm1d(width), nn.ReLU()]
        dim = width
    return nn.Sequential(*layers, nn.Linear(dim, out))


def le_jepa_loss(z: Tensor, global_views: int, directions: Tensor, trade_off: float) -> Tensor:
    """z [V, B, D], the global views first."""
    invariance = (z[:global_views].mean(dim=0) - z).square().mean()
    normality = torch.stack([sigreg(view, directions) for view in z]).mean()
    return (1 - trade_off) * invariance + trade_off * normality


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--encoder", choices=("resnet", "vit"), default="resnet")
    for name, default in (
        ("image", 32), ("patch", 4), ("width", 192), ("depth", 12), ("heads", 3), ("views", 2), ("local-views", 2),
        ("blocks", 1), ("stem-stride", 2), ("out", 64), ("slices", 256), ("batch", 128), ("steps", 10),
        ("warmup", 2), ("seed", 0),
    ):  # fmt: skip
        a.add_argument(f"--{name}", type=int, default=default)
    a.add_argument("--local-size", type=int, help="side of the local views in pixels; default half")
    a.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256], help="of the resnet's stages")
    a.add_argument("--hidden", type=int, nargs="*", default=[512], help="of the projector's layers")
    a.add_argument("--channels-last", action="store_true", help="memory format of images and convolutions")
    engine.arguments(a)
    o = a.parse_args()
    o.local_size = o.local_size or o.image // 2
    run = engine.Engine(o)
    torch.manual_seed(o.seed)

    vit = o.encoder == "vit"
    if vit:
        encoder = MeanViT(o.image, o.patch, o.width, o.depth, o.heads)
    else:
        encoder = ResNet(o.widths, o.blocks, o.stem_stride)
    head = projector(encoder.dim, o.hidden, o.out)
    model = nn.ModuleList([encoder, head]).to(run.device)
    optimiser = torch.optim.AdamW(parameter_groups(model, 5e-2), lr=2e-3, fused=True)
    views = [torch.randn(o.views * o.batch, 3, o.image, o.image)]
    if o.local_views:
        views.append(torch.randn(o.local_views * o.batch, 3, o.local_size, o.local_size))
    views = [v.to(run.device) for v in views]
    if o.channels_last:
        model.to(memory_format=torch.channels_last)
        views = [v.to(memory_format=torch.channels_last) for v in views]

    def loss_of(views: list[Tensor], directions: Tensor) -> Tensor:
        z = head(torch.cat([encoder(v) for v in views])).view(o.views + o.local_views, o.batch, o.out)
        return le_jepa_loss(z.float(), o.views, directions, 0.05)

    loss_of = run.ready(loss_of)

    def step(i: int) -> float:
        directions = random_directions(o.out, o.slices, i).to(run.device)
        with run.autocast():
            loss = loss_of(views, directions)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    parameters = sum(p.numel() for p in model.parameters())
    timing.measure(step, o.warmup, o.steps, o.batch, run, system="le-jepa", config=vars(o), parameters=parameters)


if __name__ == "__main__":
    main()
