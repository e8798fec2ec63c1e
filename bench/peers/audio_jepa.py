"""Audio-JEPA and the design study in PyTorch: values and gradients that ours are held against, and the time of a step.

    python audio_jepa.py --golden    # rewrites crates/foretell-jepa/tests/parity/audio-jepa.safetensors
    python audio_jepa.py --masks masks.json --threads 2 --batch 16 --steps 10

The masks are those that `foretell bench step audio-jepa --save-masks masks.json` wrote; bench/compare --only sound does both in turn.
Written from arXiv 2507.02915 and 2405.08679 and from what their code computes. A spectrogram is a picture of one channel: bands by moments.
"""

import argparse
import json

import torch
from torch import Tensor
from torch.nn import functional as F

import engine
import timing
from export_parity import DEFAULT_OUT, Golden, normal, randomise, seeded
from i_jepa import Block, IJepa, gather_tokens, parameter_groups

GRADIENTS = ("encoder.blocks.0.attn.qkv.weight", "encoder.patch_embed.proj.weight", "predictor.mask_token")


def target(model: IJepa, images: Tensor, targets: Tensor, teacher: str) -> Tensor:
    """[B, 1, Nt, D]: of a teacher that hears all ("output": its output is masked), or the hidden tokens alone ("input")."""
    with torch.no_grad():
        flat = targets.flatten(1)
        if teacher == "input":
            return model.target_encoder(images, flat)[:, None]
        return gather_tokens(model.target_encoder(images), flat)[:, None]


def on_the_whole_grid(model: IJepa, latents: Tensor, context: Tensor, targets: Tensor) -> Tensor:
    """The study's predictor: mask tokens everywhere, the context's in their places, read where it is asked."""
    p = model.predictor
    b, n = len(latents), p.predictor_pos_embed.shape[1]
    x = p.mask_token.expand(b, n, -1)
    x = x.scatter(1, context[..., None].expand(-1, -1, x.shape[-1]), p.predictor_embed(latents)) + p.predictor_pos_embed
    for block in p.predictor_blocks:
        x = block(x)
    return p.predictor_proj(p.predictor_norm(gather_tokens(x, targets.flatten(1))))[:, None]


def distance(loss: str, predictions: Tensor, t: Tensor) -> Tensor:
    if loss == "cosine":
        # The released norm_mse: standardised over the width, then 2 - 2 cos.
        t = (t - t.mean(-1, keepdim=True)) / (t.var(-1, keepdim=True) + 1e-6).sqrt()
        return (2 - 2 * (F.normalize(predictions, dim=-1) * F.normalize(t, dim=-1)).sum(-1)).mean()
    t = F.layer_norm(t, t.shape[-1:], eps=1e-5)
    return F.smooth_l1_loss(predictions, t) if loss == "smooth-l1" else F.mse_loss(predictions, t)


def spared(block: Block, x: Tensor, attends: Tensor) -> Tensor:
    """A block in which some tokens attend to nothing, written as an attention whose rows are taken out one by one."""
    h = block.norm1(x)
    b, n, d = x.shape
    heads = block.attn.heads
    q, k, v = block.attn.qkv(h).view(b, n, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
    weights = ((q @ k.transpose(-1, -2)) / (d // heads) ** 0.5).softmax(-1)
    found = block.attn.proj((weights @ v).transpose(1, 2).reshape(b, n, d))
    out = torch.stack([torch.stack([x[i, t] + (found[i, t] if attends[i, t] else 0) for t in range(n)]) for i in range(b)])
    return out + block.mlp(block.norm2(out))


def golden() -> None:
    draws, stored = seeded(24), Golden()
    model = IJepa((12, 20), 4, 1, 16, depth=1, heads=2, predictor_width=8, predictor_depth=1)
    randomise(model, draws)
    for name, tensor in model.state_dict().items():
        stored.put(name, tensor)
    model = model.double()
    images = normal(2, 1, 12, 20, draws=draws)
    # Of 3 x 5 tokens seven are seen and the other eight predicted, in one set.
    order = [torch.randperm(15, generator=draws) for _ in range(2)]
    context = torch.stack([o[:7].sort().values for o in order])
    targets = torch.stack([o[7:].sort().values for o in order])[:, None]
    for name, tensor in (("images", images), ("context", context), ("targets", targets)):
        stored.put(f"input.{name}", tensor)
    whole = on_the_whole_grid(model, model.encoder(images, context), context, targets)
    asked = model.predict(images, context, targets)
    assert torch.allclose(whole, asked), "with nothing unused the study's predictor is I-JEPA's"
    parameters = dict(model.named_parameters())
    for teacher in ("output", "input"):
        for loss in ("smooth-l1", "l2", "cosine"):
            model.zero_grad()
            value = distance(loss, model.predict(images, context, targets), target(model, images, targets, teacher))
            value.backward()
            stored.put(f"output.{teacher}.{loss}", value)
            for name in GRADIENTS:
                stored.put(f"grad.{teacher}.{loss}.{name}", parameters[name].grad)
    block = model.encoder.blocks[0]
    x, probe = normal(2, 6, 16, draws=draws).requires_grad_(), normal(2, 6, 16, draws=draws)
    attends = torch.rand(2, 6, generator=draws) < 0.6
    model.zero_grad()
    out = spared(block, x, attends)
    (out * probe).mean().backward()
    for name, tensor in (("x", x), ("probe", probe), ("attends", attends[..., None].double())):
        stored.put(f"spared.{name}", tensor)
    stored.put("spared.output", out)
    stored.put("spared.grad.x", x.grad)
    stored.put("spared.grad.qkv", block.attn.qkv.weight.grad)
    stored.write(DEFAULT_OUT / "audio-jepa.safetensors")


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--golden", action="store_true")
    for name, default in (
        ("bands", 128), ("frames", 1024), ("patch", 16), ("width", 192), ("depth", 12), ("heads", 3), ("predictor-width", 96),
        ("predictor-depth", 6), ("batch", 16), ("steps", 10), ("warmup", 2), ("seed", 0),
    ):  # fmt: skip
        a.add_argument(f"--{name}", type=int, default=default)
    a.add_argument("--masks", help="a JSON file of masks, as `foretell bench step --save-masks` writes it")
    engine.arguments(a)
    o = a.parse_args()
    if o.golden:
        return golden()
    run = engine.Engine(o)
    torch.manual_seed(o.seed)
    model = IJepa((o.bands, o.frames), o.patch, 1, o.width, o.depth, o.heads, o.predictor_width, o.predictor_depth)
    model.to(run.device)
    optimiser = torch.optim.AdamW(parameter_groups(model, 0.05), lr=1e-3, fused=True)
    with open(o.masks) as file:
        masks = [(torch.tensor(m["context"]), torch.tensor(m["targets"])) for m in json.load(file)]
    masks = [tuple(part.to(run.device) for part in both) for both in masks]
    images = torch.randn(o.batch, 1, o.bands, o.frames).to(run.device)
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
        step, o.warmup, o.steps, o.batch, run, system="audio-jepa", config=vars(o),
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        context_tokens=[context.shape[1] for context, _ in counted],
        target_tokens=[targets.shape[2] for _, targets in counted],
    )


if __name__ == "__main__":
    main()
