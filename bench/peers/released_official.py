"""Holds the networks of `released.py` against the published code of V-JEPA 2, so that parity with them is parity with it.

    git clone https://github.com/facebookresearch/vjepa2
    python released_official.py --repo vjepa2

Sine-cosine and rotary encoders, V-JEPA's and V-JEPA 2's predictors with every mask token, all tokens in sorted order and without
the last ones, 2-AC's predictor with and without extrinsics, the attentive probe; with random weights, in f64. Nothing of the
published code is copied here: it is imported from where it was cloned.
"""

import argparse
import contextlib
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

import released
from export_parity import seeded

TOLERANCE = 1e-12


def stand_ins() -> None:
    """What the published modules import and do not need here."""
    timm, models, layers, einops = (ModuleType(n) for n in ("timm", "timm.models", "timm.models.layers", "einops"))
    layers.drop_path = lambda x, *_: x
    einops.rearrange = None
    sys.modules.update({m.__name__: m for m in (timm, models, layers, einops)})
    torch.backends.cuda.sdp_kernel = contextlib.nullcontext


def random(module: nn.Module) -> nn.Module:
    draws = seeded(5)
    for name, p in module.named_parameters():
        if not name.endswith("pos_embed"):
            p.data = 0.2 * torch.randn(p.shape, generator=draws) + float("norm" in name and name.endswith("weight"))
    return module.double().eval()


def same(theirs: nn.Module, ours: nn.Module) -> nn.Module:
    """Ours with their weights; only the probe's unused map may be missing there."""
    report = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not report.unexpected_keys, report
    assert all("xattn.proj" in name for name in report.missing_keys), report
    return ours.double().eval()


def check(what: str, theirs: Tensor, ours: Tensor, tolerance: float = TOLERANCE) -> None:
    difference = (theirs - ours).abs().max().item()
    print(f"{what}: {difference:.1e}")
    assert theirs.shape == ours.shape and difference <= tolerance, what


def dense(norm: partial) -> None:
    """V-JEPA 2.1, of clips and of single images, as its hub makes it."""
    from app.vjepa_2_1.models.predictor import VisionTransformerPredictor
    from app.vjepa_2_1.models.vision_transformer import VisionTransformer

    levels, width, draws = [2, 5, 8, 11], 12, seeded(7)
    # Patches of 16 pixels: the published code knows the grid of the pretraining for these and for 14 alone.
    shape = {"img_size": (64, 64), "patch_size": 16, "num_frames": 4, "num_heads": 1, "mlp_ratio": 2, "norm_layer": norm}
    shape |= {"embed_dim": width, "depth": 12, "use_rope": True, "img_temporal_dim_size": 1}
    encoder = random(VisionTransformer(**shape, interpolate_rope=True))
    tokens = {"use_mask_tokens": True, "num_mask_tokens": 8, "predictor_embed_dim": 12, "return_all_tokens": True}
    predictor = random(VisionTransformerPredictor(**shape, **tokens))
    ours = same(encoder, released.Encoder(width, 12, 1, 24, 16, style="interleaved", levels=levels))
    foretold = same(predictor, released.MaskedPredictor(width, 12, 12, 1, 24, 8, levels=4, dense=True, style="interleaved"))
    for what, frames in (("clips", 4), ("single images", 1)):
        image, clips = frames == 1, torch.randn(2, frames, 3, 64, 64, generator=draws).double()
        grid = (1 if image else 2, 4, 4)
        n = 16 * grid[0]
        order = torch.stack([torch.randperm(n, generator=draws) for _ in range(2)])
        context, targets = order[:, : n // 2], order[:, n // 2 : n // 2 + 5]
        check(f"2.1's encoder of {what}", encoder(clips.transpose(1, 2)), ours(clips)[-1])
        seen = encoder(clips.transpose(1, 2), context, training=True)
        check("its levels of some tokens", seen, torch.cat([ours(clips, context)[i] for i in levels], 2))
        theirs = predictor(seen, context, targets, mod="image" if image else "video")
        predicted = foretold(seen, context, targets, grid, image=image)
        for head, a, b in zip(("targets", "context"), theirs, predicted):
            check(f"its predictor of {what}, {head}", a, b)


@torch.no_grad()
def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--repo", type=Path, required=True)
    repo = arguments.parse_args().repo.resolve()
    sys.path.insert(0, str(repo))
    stand_ins()
    torch.set_num_threads(1)
    from src.models.ac_predictor import VisionTransformerPredictorAC
    from src.models.attentive_pooler import AttentiveClassifier
    from src.models.predictor import VisionTransformerPredictor
    from src.models.vision_transformer import VisionTransformer

    norm = partial(nn.LayerNorm, eps=released.LN_EPS)
    shape = {"img_size": (16, 16), "patch_size": 4, "num_frames": 4, "depth": 2, "num_heads": 2, "mlp_ratio": 2, "norm_layer": norm}
    draws = seeded(6)
    clips = torch.randn(2, 4, 3, 16, 16, generator=draws).double()
    wide = torch.randn(1, 4, 3, 16, 24, generator=draws).double()
    # Disjoint, so that no two tokens tie.
    order = torch.stack([torch.randperm(32, generator=draws) for _ in range(2)])
    context, targets, grid = order[:, :12], order[:, 12:20], (2, 4, 4)

    def theirs_of(encoder: nn.Module, clips: Tensor, kept: Tensor | None = None) -> Tensor:
        return encoder(clips.transpose(1, 2), kept)

    image = VisionTransformer(**{**shape, "num_frames": 1}, embed_dim=24)
    check("codes of images", image.pos_embed[0].double(), released.sincos_2d(4, 4, 24, "row"), 1e-6)
    for uniform in (True, False):
        encoder = random(VisionTransformer(**shape, embed_dim=24, uniform_power=uniform))
        codes = released.sincos_3d(*grid, 24, uniform)
        check(f"codes of clips, uniform power {uniform}", encoder.pos_embed[0], codes, 1e-6)
        ours = same(encoder, released.Encoder(24, 2, 2, 48, 4, codes=codes))
        check("sine-cosine encoder", theirs_of(encoder, clips), ours(clips)[-1])
        seen = theirs_of(encoder, clips, context)
        check("sine-cosine encoder of some tokens", seen, ours(clips, context)[-1])
        tokens = {"use_mask_tokens": True, "num_mask_tokens": 2, "predictor_embed_dim": 24}
        predictor = random(VisionTransformerPredictor(**shape, embed_dim=24, uniform_power=uniform, **tokens))
        ours = same(predictor, released.MaskedPredictor(24, 24, 2, 2, 48, 2, codes=codes))
        for token in (0, 1, 3):
            predicted = predictor(seen, context, targets, mask_index=token)
            check(f"V-JEPA's predictor, mask token {token}", predicted, ours(seen, context, targets, grid, token))

    encoder = random(VisionTransformer(**shape, embed_dim=28, use_rope=True))
    ours = same(encoder, released.Encoder(28, 2, 2, 56, 4, style="tiled"))
    check("rotary encoder", theirs_of(encoder, clips), ours(clips)[-1])
    check("rotary encoder of a wide clip", theirs_of(encoder, wide), ours(wide)[-1])
    seen = theirs_of(encoder, clips, context)
    check("rotary encoder of some tokens", seen, ours(clips, context)[-1])
    tokens = {"use_mask_tokens": True, "num_mask_tokens": 10, "predictor_embed_dim": 24, "use_rope": True}
    for chopped in (None, 0, 3):
        every = {} if chopped is None else {"return_all_tokens": True, "chop_last_n_tokens": chopped}
        predictor = random(VisionTransformerPredictor(**shape, embed_dim=28, **tokens, **every))
        ours = same(predictor, released.MaskedPredictor(28, 24, 2, 2, 48, 10, style="tiled"))
        what = "asked tokens" if chopped is None else f"sorted tokens but {chopped}"
        predicted = ours(seen, context, targets, grid, chopped=chopped)
        check(f"V-JEPA 2's predictor, {what}", predictor(seen, context, targets), predicted)

    latents, actions, states, extrinsics = (
        torch.randn(2, *size, generator=draws).double() for size in ((48, 12), (3, 7), (3, 7), (3, 6))
    )
    for more in (None, extrinsics):
        of_robots = {**shape, "num_frames": 6, "embed_dim": 12, "predictor_embed_dim": 24}
        predictor = random(VisionTransformerPredictorAC(**of_robots, use_extrinsics=more is not None))
        ours = same(predictor, released.AcPredictor(12, 24, 2, 2, 48, (4, 4)))
        what = "without" if more is None else "with"
        predicted = predictor(latents, actions, states, more)
        check(f"2-AC's predictor {what} extrinsics", predicted, ours(latents, actions, states, more))

    if (repo / "app/vjepa_2_1").is_dir():
        dense(norm)
    else:
        print("V-JEPA 2.1 is not in this clone and was not checked")

    probe = random(AttentiveClassifier(embed_dim=24, num_heads=2, mlp_ratio=2, depth=2, num_classes=5))
    ours = same(probe, released.AttentiveClassifier(24, 2, 48, 1, 5))
    tokens = torch.randn(2, 7, 24, generator=draws).double()
    check("attentive probe", probe(tokens), ours(tokens))


if __name__ == "__main__":
    main()
