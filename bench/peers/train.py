"""Trains a recipe in PyTorch for as long as is asked, and leaves a run that `foretell probe` judges.

    train.py --like RUN --data CIFAR --minutes 60|--steps N --out OUT [--masks FILE] [--threads 2] [--workers 1]

Cut off, it goes on from OUT.part with the same arguments.

Every setting is read from the config.toml of RUN, a run of foretell's on the same data, so that the two differ in nothing but
who computes. As there, a short calibration fixes the steps where minutes are asked for, and all schedules end at the last one.
Views are torchvision's, made in DataLoader workers; images are decoded once and kept. OUT is a copy of RUN with this encoder in
place of its own.
"""

import argparse
import io
import json
import math
import pathlib
import shutil
import statistics
import tarfile
import time
import tomllib

import numpy
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.transforms import InterpolationMode, v2

from anti_collapse import random_directions, sigreg_slices
from i_jepa import IJepa, gather_tokens, parameter_groups
from le_jepa import ResNet, le_jepa_loss, projector


def read_images(data: pathlib.Path) -> numpy.ndarray:
    """[N, H, W, 3] of a folder that holds train.tar."""
    images = []
    with tarfile.open(data / "train.tar") as tar:
        for member in tar:
            if member.isfile():
                images.append(numpy.asarray(Image.open(io.BytesIO(tar.extractfile(member).read())).convert("RGB")))
    return numpy.stack(images)


def view(augment: dict, size: int, normalise: dict) -> v2.Transform:
    """SimCLR's order, as foretell has it."""
    steps = [v2.RandomResizedCrop(size, augment["crop_scale"], augment["crop_aspect"], InterpolationMode.BILINEAR)]
    if augment["flip"]:
        steps.append(v2.RandomHorizontalFlip(augment["flip"]))
    if augment["jitter"]:
        colours = [augment[k] for k in ("brightness", "contrast", "saturation", "hue")]
        steps.append(v2.RandomApply([v2.ColorJitter(*colours)], augment["jitter"]))
    if augment["grey"]:
        steps.append(v2.RandomGrayscale(augment["grey"]))
    if augment["blur"] or augment["solarise"]:
        raise SystemExit("blur and solarise are not in any recipe")
    steps += [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(normalise["mean"], normalise["std"])]
    return v2.Compose(steps)


class Views(Dataset):
    def __init__(self, images: numpy.ndarray, views: list[v2.Transform]):
        self.images, self.views = images, views

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list[Tensor]:
        image = Image.fromarray(self.images[index])
        return [view(image) for view in self.views]


class Endless(Sampler):
    """Epoch after epoch without a gap."""

    def __init__(self, count: int, seed: int):
        self.count, self.seed, self.skip = count, seed, 0

    def __iter__(self):
        random = torch.Generator().manual_seed(self.seed)
        while True:
            order = torch.randperm(self.count, generator=random).tolist()
            yield from order[self.skip :]
            self.skip = max(self.skip - self.count, 0)


class LeJepa(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.m, backbone = config["model"], config["model"]["backbone"]
        if backbone["kind"] != "resnet":
            raise SystemExit("the recipes' LeJEPA has a residual network")
        self.encoder = ResNet(backbone["widths"], backbone["blocks"], backbone["stem_stride"])
        self.head = projector(self.encoder.dim, self.m["projector"], self.m["code_width"])
        size, normalise = config["data"]["image_size"], config["data"]["normalise"]
        self.views = [view(self.m["global"], size, normalise)] * self.m["global_views"]
        self.views += [view(self.m["local"], self.m["local_size"], normalise)] * self.m["local_views"]

    def loss(self, views: list[Tensor], step: int) -> Tensor:
        whole, parts = views[: self.m["global_views"]], views[self.m["global_views"] :]
        maps = self.encoder(torch.cat(whole))
        if parts:
            # Running averages are for whole images.
            norms = [n for n in self.encoder.modules() if isinstance(n, nn.BatchNorm2d)]
            for norm in norms:
                norm.momentum = 0.0
            maps = torch.cat([maps, self.encoder(torch.cat(parts))])
            for norm in norms:
                norm.momentum = 0.1
        z = self.head(maps).view(len(views), -1, self.m["code_width"])
        directions = random_directions(self.m["code_width"], self.m["slices"], step)
        return le_jepa_loss(z, len(whole), directions, self.m["lambda"])

    def advance(self, samples: int) -> None:
        pass

    def kept(self) -> dict[str, Tensor]:
        tensors, blocks = {}, self.m["backbone"]["blocks"]
        for name, tensor in self.encoder.state_dict().items():
            part, _, rest = name.partition(".")
            if name.endswith("num_batches_tracked"):
                continue
            if part == "layers":
                index, _, rest = rest.partition(".")
                name = f"layers.{int(index) // blocks}.{int(index) % blocks}.{rest}"
                name = name.replace("downsample.0.", "downsample.conv.").replace("downsample.1.", "downsample.bn.")
            tensors[name] = tensor
        return tensors


class MaskedJepa(nn.Module):
    def __init__(self, config: dict, masks: pathlib.Path):
        super().__init__()
        self.m = config["model"]
        side = config["data"]["image_size"]
        sizes = [self.m[k] for k in ("width", "depth", "heads", "predictor_width", "predictor_depth")]
        self.net = IJepa((side, side), self.m["patch"], len(config["data"]["normalise"]["mean"]), *sizes)
        # Unit variance out of unit variance in, as foretell draws it.
        proj = self.net.encoder.patch_embed.proj
        nn.init.trunc_normal_(proj.weight, std=proj.weight[0].numel() ** -0.5)
        self.net.target_encoder.load_state_dict(self.net.encoder.state_dict())
        self.views = [view(self.m["augment"], side, config["data"]["normalise"])]
        self.masks = [(torch.tensor(m["context"]), torch.tensor(m["targets"])) for m in json.loads(masks.read_text())]

    def loss(self, views: list[Tensor], step: int) -> Tensor:
        images, (context, targets) = views[0], self.masks[step % len(self.masks)]
        b, k, nt = targets.shape
        with torch.no_grad():
            full = self.net.target_encoder(images)
            full = F.layer_norm(full, full.shape[-1:], eps=1e-5)
            centred = full - full.mean(dim=0)
            full = centred / (centred.square().mean(dim=0) + 1e-5).sqrt()
            full = gather_tokens(full, targets.flatten(1)).view(b, k, nt, -1)
        latents = self.net.encoder(images, context)
        loss = F.smooth_l1_loss(self.net.predictor(latents, context, targets), full)
        directions = random_directions(latents.shape[-1], 256, step)
        places = torch.stack([sigreg_slices(latents[:, i], directions).mean() for i in range(latents.shape[1])])
        return loss + self.m["sigreg"] * places.mean()

    def advance(self, samples: int) -> None:
        self.net.move_target(0.5 ** (samples / self.half_life))

    def kept(self) -> dict[str, Tensor]:
        return dict(self.net.target_encoder.state_dict())


def schedule(step: int, steps: int, warmup: int, peak: float, last: float) -> float:
    """Step counts from 1; see foretell's `Schedule`."""
    if step <= warmup:
        return peak * (0.01 + 0.99 * step / warmup)
    first = int(warmup == 0)
    through = (step - warmup - first) / max(steps - warmup - first, 1)
    return last + (peak - last) * 0.5 * (1 + math.cos(math.pi * min(through, 1.0)))


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__)
    for name in ("like", "data", "out"):
        a.add_argument(f"--{name}", type=pathlib.Path, required=True)
    a.add_argument("--masks", type=pathlib.Path, help="I-JEPA: as `foretell bench step --save-masks` writes them")
    budget = a.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float)
    budget.add_argument("--steps", type=int)
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--workers", type=int, default=1)
    o = a.parse_args()
    config = tomllib.loads((o.like / "config.toml").read_text())
    torch.set_num_threads(o.threads)
    torch.manual_seed(config["seed"])
    t = config["train"]
    model = LeJepa(config) if config["system"] == "le-jepa" else MaskedJepa(config, o.masks)
    model.half_life = 1e9
    optimiser = torch.optim.AdamW(
        parameter_groups(model, t["weight_decay"]), lr=0.0, betas=(t["beta1"], t["beta2"]), fused=True
    )
    data = Views(read_images(o.data), model.views)
    sampler = Endless(len(data), config["seed"])
    queue = {"num_workers": o.workers, "prefetch_factor": 4 if o.workers else None}
    batches = iter(DataLoader(data, t["batch"], sampler=sampler, **queue))

    def take(step: int, lr: float, weight_decay: float) -> float:
        for group in optimiser.param_groups:
            group["lr"] = lr
            group["weight_decay"] = weight_decay if group["weight_decay"] > 0 else 0.0
        loss = model.loss(next(batches), step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), t["clip"])
        optimiser.step()
        model.advance(t["batch"])
        return loss.item()

    # Calibration at a rate so small that nothing is learnt, with the loader in its stride.
    for step in range(10):
        take(step, 1e-9, t["weight_decay"])
    times = []
    for step in range(30):
        start = time.perf_counter()
        take(step, 1e-9, t["weight_decay"])
        times.append(time.perf_counter() - start)
    steps = o.steps or int(o.minutes * 60 / statistics.mean(times))
    model.half_life = min(max(steps * t["batch"] // 12, 1), 350_000)
    optimiser.state.clear()
    if config["system"] == "i-jepa":
        model.net.target_encoder.load_state_dict(model.net.encoder.state_dict())
    print(f"{steps} steps of {t['batch']}; calibration: {1e3 * statistics.mean(times):.0f} ms a step", flush=True)
    kept, done, before = o.out.with_suffix(".part"), 0, 0.0
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        done, before = state["step"], state["seconds"]
        sampler.skip = done * t["batch"]
        batches = iter(DataLoader(data, t["batch"], sampler=sampler, **queue))
        print(f"goes on behind step {done}", flush=True)
    start = time.perf_counter() - before
    for step in range(done + 1, steps + 1):
        lr = schedule(step, steps, round(t["warmup"] * steps), t["lr"], t["lr"] * t["final_lr"])
        decay = schedule(step, steps, 0, t["weight_decay"], t["final_weight_decay"])
        loss = take(step, lr, decay)
        if step % 50 == 0 or step == steps:
            seconds = time.perf_counter() - start
            print(f"step {step}/{steps}  {step * t['batch'] / seconds:.0f} images/s  {seconds:.0f} s  loss {loss:.4f}", flush=True)
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step, "seconds": seconds}
            torch.save(state, kept)
    shutil.copytree(o.like, o.out)
    save_file({k: v.contiguous() for k, v in model.kept().items()}, o.out / "encoder.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main()
