"""Times one I-JEPA training step. Images and masks are made beforehand."""

import argparse
import json

import torch

import engine
import timing
from i_jepa import IJepa, parameter_groups
from masks import MultiBlock


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("image", 32), ("patch", 4), ("width", 192), ("depth", 12), ("heads", 3), ("predictor-width", 96),
        ("predictor-depth", 6), ("batch", 128), ("steps", 10), ("warmup", 2), ("seed", 0),
    ):  # fmt: skip
        a.add_argument(f"--{name}", type=int, default=default)
    a.add_argument("--min-keep", type=int, help="default 10, and 4 where the grid is 8 x 8 or smaller")
    a.add_argument("--masks", help="a JSON file of masks, as `foretell bench step --save-masks` writes it")
    engine.arguments(a)
    o = a.parse_args()
    run = engine.Engine(o)
    torch.manual_seed(o.seed)

    model = IJepa((o.image, o.image), o.patch, 3, o.width, o.depth, o.heads, o.predictor_width, o.predictor_depth)
    model.to(run.device)
    optimiser = torch.optim.AdamW(parameter_groups(model, 0.05), lr=1e-3, fused=True)
    grid = model.encoder.grid
    # On 8 x 8 a target block has 9 or 10 tokens: "more than 10" would never come true.
    min_keep = o.min_keep or (4 if min(grid) <= 8 else 10)
    if o.masks:
        with open(o.masks) as file:
            masks = [(torch.tensor(m["context"]), torch.tensor(m["targets"])) for m in json.load(file)]
    else:
        collate, places = MultiBlock(grid, min_keep=min_keep), torch.Generator().manual_seed(o.seed)
        masks = [collate(o.batch, i, places) for i in range(o.warmup + o.steps)]
    masks = [tuple(part.to(run.device) for part in both) for both in masks]
    images = torch.randn(o.batch, 3, o.image, o.image).to(run.device)
    loss_of = run.ready(model.loss)

    def step(i: int) -> float:
        with run.autocast():
            loss = loss_of(images, *masks[i])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        model.move_target(0.996)
        return loss.item()

    counted = masks[o.warmup :]
    timing.measure(
        step,
        o.warmup,
        o.steps,
        o.batch,
        run,
        system="i-jepa",
        config={**vars(o), "min_keep": min_keep},
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        context_tokens=[context.shape[1] for context, _ in counted],
        target_tokens=[targets.shape[2] for _, targets in counted],
    )


if __name__ == "__main__":
    main()
