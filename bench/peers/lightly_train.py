"""LeJEPA and I-JEPA of lightly 1.6.0 as it ships them, trained for so many minutes; leaves a run that `foretell probe` judges.

    lightly_train.py --like RUN --data CIFAR --minutes 12 --out OUT [--threads 1] [--workers 0] [--masks paper]

lightly's own: the views (DINOTransform, IJEPATransform), the masks (IJEPAMaskCollator), the networks of I-JEPA
(MaskedVisionTransformerTIMM, IJEPAPredictorTIMM), the losses (LeJEPALoss; smooth L1 as in its example) and the teacher's average
(update_momentum, 0.996 to 1), all with their default arguments but for the pixels' mean and deviation and for sizes of images, crops, patches and networks, which are those
of RUN, a run of foretell's. Its collator's default masks are not I-JEPA's: on 8 x 8 patches they leave about 6 for the context and hide two blocks
of 26; `--masks paper` gives it the published scales, as its user can. lightly has no residual network for LeJEPA: it is the one of RUN, with RUN's projector. The optimiser and its schedule are
RUN's too, for lightly leaves them to its user. The steps are fixed by a calibration, so that schedules end with the time.

    pip install lightly==1.6.0 timm torch torchvision safetensors
"""

import argparse
import copy
import pathlib
import shutil
import statistics
import time
import tomllib
from importlib.metadata import version

import torch
from lightly.data.ijepa_collate import IJEPAMaskCollator
from lightly.loss.lejepa_loss import LeJEPALoss
from lightly.models import utils
from lightly.models.modules.ijepa_timm import IJEPAPredictorTIMM
from lightly.models.modules.masked_vision_transformer_timm import MaskedVisionTransformerTIMM
from lightly.transforms.dino_transform import DINOTransform
from lightly.transforms.ijepa_transform import IJEPATransform
from lightly.utils.scheduler import cosine_schedule
from PIL import Image
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from i_jepa import parameter_groups
from le_jepa import ResNet, projector
from train import Endless, LeJepa as OurLeJepa, read_images, schedule


class Viewed(Dataset):
    def __init__(self, images, transform):
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        return self.transform(Image.fromarray(self.images[index]))


class LeJepa(nn.Module):
    collate = None

    def __init__(self, config: dict):
        super().__init__()
        self.m = config["model"]
        backbone, size = self.m["backbone"], config["data"]["image_size"]
        self.encoder = ResNet(backbone["widths"], backbone["blocks"], backbone["stem_stride"])
        self.head = projector(self.encoder.dim, self.m["projector"], self.m["code_width"])
        self.transform = DINOTransform(
            global_crop_size=size, local_crop_size=self.m["local_size"], n_local_views=self.m["local_views"],
            normalize=config["data"]["normalise"],
        )
        self.criterion = LeJEPALoss()

    def loss(self, batch: list[Tensor]) -> Tensor:
        whole, parts = torch.cat(batch[:2]), batch[2:]
        codes = lambda views, count: self.head(self.encoder(views)).view(count, -1, self.m["code_width"])
        local = codes(torch.cat(parts), len(parts)) if parts else torch.empty(0, len(batch[0]), self.m["code_width"])
        return self.criterion(local_proj=local, global_proj=codes(whole, 2))

    def advance(self, step: int, steps: int) -> None:
        pass

    def kept(self) -> dict[str, Tensor]:
        return OurLeJepa.kept(self)


class IJepa(nn.Module):
    def __init__(self, config: dict, masks: str):
        super().__init__()
        m, size = config["model"], config["data"]["image_size"]
        vit = VisionTransformer(
            img_size=size, patch_size=m["patch"], embed_dim=m["width"], depth=m["depth"], num_heads=m["heads"],
            class_token=False, num_classes=0, global_pool="avg", fc_norm=False,
        )
        self.encoder = MaskedVisionTransformerTIMM(vit=vit)
        self.teacher = copy.deepcopy(self.encoder)
        utils.deactivate_requires_grad(self.teacher)
        self.predictor = IJEPAPredictorTIMM(
            num_patches=vit.patch_embed.num_patches, depth=m["predictor_depth"], mlp_dim=m["width"],
            predictor_embed_dim=m["predictor_width"], num_heads=m["heads"],
        )
        self.transform = IJEPATransform(input_size=size, normalize=config["data"]["normalise"])
        published = {"enc_mask_scale": (0.85, 1.0), "pred_mask_scale": (0.15, 0.2), "aspect_ratio": (0.75, 1.5), "npred": 4}
        scales = published if masks == "paper" else {}
        self.collate = IJEPAMaskCollator(input_size=size, patch_size=m["patch"], **scales)
        self.tokens = []

    def loss(self, batch) -> Tensor:
        images, context, targets = batch
        self.tokens.append((context[0].shape[1], targets[0].shape[1]))
        with torch.no_grad():
            seen = self.teacher.encode(images)
            seen = F.layer_norm(seen, (seen.size(-1),))
            wanted = utils.repeat_interleave_batch(utils.apply_masks(seen, targets), len(images), repeat=len(context))
        # One context for each image, as the collator's default has it.
        latents = self.encoder.encode(images, idx_keep=context[0])
        return F.smooth_l1_loss(self.predictor(latents, context, targets), wanted)

    def advance(self, step: int, steps: int) -> None:
        utils.update_momentum(self.encoder, self.teacher, cosine_schedule(step, steps, 0.996, 1.0))

    def kept(self) -> dict[str, Tensor]:
        return {name.removeprefix("vit."): t for name, t in self.teacher.state_dict().items() if name.startswith("vit.")}


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__)
    for name in ("like", "data", "out"):
        a.add_argument(f"--{name}", type=pathlib.Path, required=True)
    a.add_argument("--minutes", type=float, required=True)
    a.add_argument("--threads", type=int, default=1)
    a.add_argument("--workers", type=int, default=0)
    a.add_argument("--masks", choices=("default", "paper"), default="default")
    o = a.parse_args()
    config = tomllib.loads((o.like / "config.toml").read_text())
    torch.set_num_threads(o.threads)
    torch.manual_seed(config["seed"])
    t = config["train"]
    model = LeJepa(config) if config["system"] == "le-jepa" else IJepa(config, o.masks)
    fresh = copy.deepcopy(model.state_dict())
    learnt = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameter_groups(model, t["weight_decay"]), lr=0.0, betas=(t["beta1"], t["beta2"]), fused=True)
    data = Viewed(read_images(o.data), model.transform)
    queue = {"num_workers": o.workers, "prefetch_factor": 4 if o.workers else None}
    loader = DataLoader(data, t["batch"], sampler=Endless(len(data), config["seed"]), collate_fn=model.collate, **queue)
    batches = iter(loader)

    def take(lr: float, weight_decay: float) -> float:
        for group in optimiser.param_groups:
            group["lr"] = lr
            group["weight_decay"] = weight_decay if group["weight_decay"] > 0 else 0.0
        loss = model.loss(next(batches))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for _, p in learnt], t["clip"])
        optimiser.step()
        return loss.item()

    for _ in range(5):
        take(1e-9, t["weight_decay"])
    times = []
    for _ in range(15):
        start = time.perf_counter()
        take(1e-9, t["weight_decay"])
        times.append(time.perf_counter() - start)
    steps = int(o.minutes * 60 / statistics.mean(times))
    model.load_state_dict(fresh)
    optimiser.state.clear()
    print(f"lightly {version('lightly')}: {steps} steps of {t['batch']}; {1e3 * statistics.mean(times):.0f} ms a step", flush=True)
    start = time.perf_counter()
    for step in range(1, steps + 1):
        lr = schedule(step, steps, round(t["warmup"] * steps), t["lr"], t["lr"] * t["final_lr"])
        loss = take(lr, schedule(step, steps, 0, t["weight_decay"], t["final_weight_decay"]))
        model.advance(step, steps)
        if step % 50 == 0 or step == steps:
            seconds = time.perf_counter() - start
            print(f"step {step}/{steps}  {step * t['batch'] / seconds:.1f} images/s  {seconds:.0f} s  loss {loss:.4f}", flush=True)
    if tokens := getattr(model, "tokens", None):
        context, target = (statistics.mean(counts) for counts in zip(*tokens))
        print(f"tokens of a context {context:.1f}, of a target {target:.1f}", flush=True)
    shutil.copytree(o.like, o.out)
    save_file({k: v.contiguous() for k, v in model.kept().items()}, o.out / "encoder.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main()
