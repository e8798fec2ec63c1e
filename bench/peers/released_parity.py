"""Writes the golden files that Foretell's tests of the released networks read.

Models of `transformers` with random weights, as `save_pretrained` writes them, and for what it lacks the networks of
`released.py` under the official names. Weights and inputs are exact in bf16, which halves the files; outputs are computed in f64.
Each case is a safetensors file (`weights.*` under the published names, `input.*`, `output.*`) beside a JSON file that says
what a user would say: a folder's config.json, or what an official file cannot show.

    python released_parity.py                     rewrites crates/foretell-nn/tests/released
    python released_parity.py --out DIR --width 192 --heads 3 --depth 12 --crop 64 --patch 16 --frames 8
    FORETELL_PARITY=DIR cargo test --release --workspace --test released -- --nocapture
"""

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    IJepaConfig,
    IJepaForImageClassification,
    IJepaModel,
    VJEPA2Config,
    VJEPA2ForVideoClassification,
    VJEPA2Model,
)

import export_parity
import released
from export_parity import Golden, randomise, seeded

DEFAULT_OUT = Path(__file__).resolve().parents[2] / "crates/foretell-nn/tests/released"


class Case(Golden):
    """One case: its tensors, and what a user would say of it."""

    def __init__(self, name: str, told: dict):
        super().__init__()
        self.name, self.told = name, told

    def put(self, name: str, tensor: Tensor) -> Tensor:
        super().put(name, tensor)
        if tensor.is_floating_point() and not name.startswith("output."):
            short = tensor.detach().bfloat16()
            assert torch.equal(short.double(), tensor.detach().double()), f"{name} is not exact in bf16"
            self[name] = short.reshape(self[name].shape).contiguous().clone()
        return tensor

    def weights(self, module: nn.Module, prefix: str = "") -> None:
        for name, tensor in module.state_dict().items():
            self.put(f"weights.{prefix}{name}", tensor)

    def save(self, out: Path, largest: int | None) -> int:
        path = out / f"{self.name}.safetensors"
        note = "bench/peers/released_parity.py: inputs exact in bf16, outputs computed in f64 and rounded to f32 once"
        save_file(self, path, metadata={"source": note})
        path.with_suffix(".json").write_text(json.dumps(self.told, indent=1) + "\n")
        size = path.stat().st_size
        assert largest is None or size < largest, f"{path.name}: {size} bytes"
        print(f"{path.name}: {size} bytes, {len(self)} tensors")
        return size


def normal(*shape: int, draws: torch.Generator) -> Tensor:
    """f64 values that are exact in bf16."""
    return export_parity.normal(*shape, draws=draws).bfloat16().double()


def ready(module: nn.Module, seed: int) -> nn.Module:
    """Random weights, every one away from its neutral value."""
    draws = seeded(seed)
    randomise(module, draws)
    for name, p in module.named_parameters():
        if "mask_token" in name or "mod_embed" in name or "query_token" in name:
            p.data = 0.5 * torch.randn(p.shape, generator=draws)
        p.data = p.data.bfloat16().float()
    return module.eval()


def folder(case: Case, model: nn.Module, renamed: bool) -> None:
    """What `save_pretrained` leaves: the published names, or with `renamed` those that the model has in memory."""
    with tempfile.TemporaryDirectory() as where:
        model.save_pretrained(where)
        case.told.update(json.loads(Path(where, "config.json").read_text()))
        tensors = model.state_dict() if renamed else load_file(Path(where, "model.safetensors"))
    for name, tensor in tensors.items():
        case.put(f"weights.{name}", tensor)


def subsets(batch: int, tokens: int, context: int, targets: int, seed: int) -> tuple[Tensor, Tensor]:
    """Tokens in no order, disjoint within a sample."""
    draws = seeded(seed)
    rows = torch.stack([torch.randperm(tokens, generator=draws)[: context + targets] for _ in range(batch)])
    return rows[:, :context].contiguous(), rows[:, context:].contiguous()


def i_jepa(s: SimpleNamespace, name: str, classifier: bool) -> Case:
    height, width = s.crop, s.crop + s.patch
    config = IJepaConfig(
        hidden_size=s.width,
        num_hidden_layers=s.depth,
        num_attention_heads=s.heads,
        intermediate_size=5 * s.width // 2,
        image_size=[height, width],
        patch_size=s.patch,
        layer_norm_eps=1e-6,
    )
    if classifier:
        config.id2label = {0: "cat", 1: "dog", 2: "boat"}
        config.label2id = {"cat": 0, "dog": 1, "boat": 2}
    model = ready((IJepaForImageClassification if classifier else IJepaModel)(config), 11)
    case = Case(name, {})
    folder(case, model, renamed=classifier)
    images = case.put("input.clips", normal(2, 1, 3, height, width, draws=seeded(12)))[:, 0]
    model = model.double()
    if classifier:
        case.put("output.logits", model(pixel_values=images).logits)
    else:
        case.put("output.tokens", model(pixel_values=images).last_hidden_state)
    return case


def v_jepa_2_config(s: SimpleNamespace, depth: int, **others) -> VJEPA2Config:
    # 28 wide with 2 heads: two of a head's fourteen values are left as they are.
    return VJEPA2Config(
        patch_size=s.patch,
        crop_size=s.crop,
        frames_per_clip=s.frames,
        tubelet_size=2,
        hidden_size=s.width + 2 * s.heads,
        num_attention_heads=s.heads,
        num_hidden_layers=depth,
        mlp_ratio=24 / 11,
        pred_hidden_size=12 * s.predictor_heads,
        pred_num_attention_heads=s.predictor_heads,
        pred_num_hidden_layers=depth,
        pred_num_mask_tokens=3,
        pred_mlp_ratio=2.0,
        **others,
    )


@torch.no_grad()
def v_jepa_2(s: SimpleNamespace) -> Case:
    model = ready(VJEPA2Model(v_jepa_2_config(s, s.depth)), 21)
    case = Case("v-jepa-2", {})
    folder(case, model, renamed=False)
    model = model.double()
    clips = case.put("input.clips", normal(2, s.frames, 3, s.crop, s.crop, draws=seeded(22)))
    tokens = case.put("output.tokens", model(pixel_values_videos=clips, skip_predictor=True).last_hidden_state)
    n = tokens.shape[1]
    context, targets = subsets(2, n, n // 2, n // 4, 23)
    case.put("input.context", context), case.put("input.targets", targets)
    predicted = model(pixel_values_videos=clips, context_mask=[context], target_mask=[targets]).predictor_output
    case.put("output.predicted", predicted.last_hidden_state)
    # Every token from every token, as without masks.
    whole = model(pixel_values_videos=clips).predictor_output
    case.put("output.predicted_whole", whole.last_hidden_state)
    embeddings = model.predictor.embeddings
    embeddings.forward = partial(type(embeddings).forward, embeddings, mask_index=5)
    other = model(pixel_values_videos=clips, context_mask=[context], target_mask=[targets]).predictor_output
    case.put("output.predicted_with_token_5", other.last_hidden_state)
    # One frame, and frames that are no crop: rows and columns are counted by the crop all the same.
    image = case.put("input.image", clips[:1, :1].contiguous())
    case.put("output.image_tokens", model(pixel_values_videos=image, skip_predictor=True).last_hidden_state)
    wide = case.put("input.wide", normal(1, 2, 3, s.crop, s.crop + 2 * s.patch, draws=seeded(24)))
    case.put("output.wide_tokens", model(pixel_values_videos=wide, skip_predictor=True).last_hidden_state)
    return case


@torch.no_grad()
def v_jepa_2_classifier(s: SimpleNamespace) -> Case:
    config = v_jepa_2_config(s, 1, num_pooler_layers=1)
    config.id2label = {i: label for i, label in enumerate(("fall", "roll", "jump", "rest"))}
    config.label2id = {label: i for i, label in config.id2label.items()}
    model = ready(VJEPA2ForVideoClassification(config), 31)
    case = Case("v-jepa-2-classifier", {})
    folder(case, model, renamed=False)
    model = model.double()
    clips = case.put("input.clips", normal(1, s.frames, 3, s.crop, s.crop, draws=seeded(32)))
    case.put("output.logits", model(pixel_values_videos=clips).logits)
    return case


@torch.no_grad()
def official_v_jepa(s: SimpleNamespace) -> Case:
    rows, times = s.crop // s.patch, 8
    hidden = 2 * s.width
    case = Case("official-v-jepa", {"heads": s.heads, "predictor_heads": s.heads})
    codes = partial(released.sincos_3d, times, rows, rows, uniform=True)
    networks = {}
    for seed, which in ((41, "encoder"), (42, "target_encoder")):
        encoder = released.Encoder(s.width, 1, s.heads, hidden, s.patch, codes=codes(width=s.width))
        networks[which] = ready(encoder, seed)
        encoder.pos_embed.data = codes(width=s.width).bfloat16().float()[None]
    width = 12 * s.heads
    predictor = released.MaskedPredictor(s.width, width, 1, s.heads, 2 * width, 2, codes=codes(width=width))
    networks["predictor"] = ready(predictor, 43)
    predictor.predictor_pos_embed.data = codes(width=width).bfloat16().float()[None]
    for which, network in networks.items():
        case.weights(network, f"{which}.module.backbone.")
        network.double()
    clips = case.put("input.clips", normal(2, 4, 3, s.crop, s.crop, draws=seeded(44)))
    n = 2 * rows * rows
    context, targets = subsets(2, n, n // 2, n // 4, 45)
    case.put("input.context", context), case.put("input.targets", targets)
    case.put("output.tokens", networks["encoder"](clips)[-1])
    case.put("output.target_tokens", networks["target_encoder"](clips)[-1])
    seen = case.put("output.context_tokens", networks["encoder"](clips, context)[-1])
    for token in (0, 1):
        predicted = networks["predictor"](seen, context, targets, (times, rows, rows), token)
        case.put(f"output.predicted_{token}", predicted)
    return case


@torch.no_grad()
def official_v_jepa_2(s: SimpleNamespace) -> Case:
    case = Case("official-v-jepa-2", {"heads": s.heads, "predictor_heads": s.predictor_heads, "crop": s.crop})
    rows, times = s.crop // s.patch, s.frames // 2
    encoder = ready(released.Encoder(s.width, 1, s.heads, 2 * s.width, s.patch, style="tiled"), 51)
    width = 12 * s.predictor_heads
    predictor = released.MaskedPredictor(s.width, width, 2, s.predictor_heads, 2 * width, 10, style="tiled")
    ready(predictor, 52)
    case.weights(encoder, "encoder.module.backbone.")
    case.weights(predictor, "predictor.module.backbone.")
    # Left over in the released files.
    case.put("weights.encoder.module.backbone.pos_embed", normal(1, 4, s.width, draws=seeded(53)))
    case.put("weights.predictor.module.backbone.predictor_pos_embed", normal(1, 4, width, draws=seeded(54)))
    encoder, predictor = encoder.double(), predictor.double()
    clips = case.put("input.clips", normal(2, s.frames, 3, s.crop, s.crop, draws=seeded(55)))
    n = times * rows * rows
    context, targets = subsets(2, n, n // 2, n // 4, 56)
    case.put("input.context", context), case.put("input.targets", targets)
    seen = case.put("output.context_tokens", encoder(clips, context)[-1])
    grid = (times, rows, rows)
    case.put("output.predicted", predictor(seen, context, targets, grid))
    case.put("output.sorted", predictor(seen, context, targets, grid, chopped=0))
    case.put("output.chopped", predictor(seen, context, targets, grid, chopped=3))
    wide = case.put("input.wide", normal(1, 2, 3, s.crop, s.crop + s.patch, draws=seeded(57)))
    case.put("output.wide_tokens", encoder(wide)[-1])
    encoder.style = "interleaved"
    case.put("output.interleaved_wide_tokens", encoder(wide)[-1])
    return case


@torch.no_grad()
def official_v_jepa_2_1(s: SimpleNamespace) -> Case:
    told = {"heads": 1, "predictor_heads": 1, "crop": s.crop}
    case = Case("official-v-jepa-2-1", told)
    levels, rows, times, width = [2, 5, 8, 11], s.crop // s.patch, s.frames // 2, 12
    encoder = ready(released.Encoder(width, 12, 1, 24, s.patch, style="interleaved", levels=levels), 61)
    predictor = released.MaskedPredictor(width, 12, 2, 1, 24, 8, levels=4, dense=True, style="interleaved")
    ready(predictor, 62)
    case.weights(encoder, "target_encoder.module.backbone.")
    case.weights(predictor, "predictor.module.backbone.")
    encoder, predictor = encoder.double(), predictor.double()
    clips = case.put("input.clips", normal(1, s.frames, 3, s.crop, s.crop, draws=seeded(63)))
    n = times * rows * rows
    context, targets = subsets(1, n, n // 2, n // 4, 64)
    case.put("input.context", context), case.put("input.targets", targets)

    def side_by_side(outputs: list[Tensor]) -> Tensor:
        return torch.cat([outputs[i] for i in levels], 2)

    outputs = encoder(clips)
    case.put("output.tokens", outputs[-1])
    case.put("output.layer_3", outputs[3])
    seen = side_by_side(encoder(clips, context))
    case.put("output.context_levels", seen)
    predicted, of_context = predictor(seen, context, targets, (times, rows, rows))
    case.put("output.predicted", predicted), case.put("output.predicted_context", of_context)
    image = case.put("input.image", normal(1, 1, 3, s.crop, s.crop, draws=seeded(65)))
    n = rows * rows
    context, targets = subsets(1, n, n // 2, n // 4, 66)
    case.put("input.image_context", context), case.put("input.image_targets", targets)
    case.put("output.image_tokens", encoder(image)[-1])
    seen = side_by_side(encoder(image, context))
    predicted, _ = predictor(seen, context, targets, (1, rows, rows), image=True)
    case.put("output.image_predicted", predicted)
    return case


@torch.no_grad()
def official_ac(s: SimpleNamespace) -> Case:
    case = Case("official-v-jepa-2-ac", {"heads": 1, "predictor_heads": s.heads, "crop": s.crop})
    rows = s.crop // s.patch
    encoder = ready(released.Encoder(12, 1, 1, 24, s.patch, style="tiled"), 71)
    predictor = released.AcPredictor(12, s.width, s.depth, s.heads, 2 * s.width, (rows, rows))
    ready(predictor, 72)
    case.weights(encoder, "encoder.module.backbone.")
    case.weights(predictor, "predictor.module.backbone.")
    predictor = predictor.double()
    draws = seeded(73)
    latents = case.put("input.latents", normal(2, 3 * rows * rows, 12, draws=draws))
    actions, states = (case.put(f"input.{name}", normal(2, 3, 7, draws=draws)) for name in ("actions", "states"))
    extrinsics = case.put("input.extrinsics", normal(2, 3, 6, draws=draws))
    case.put("output.predicted", predictor(latents, actions, states))
    case.put("output.predicted_with_extrinsics", predictor(latents, actions, states, extrinsics))
    return case


@torch.no_grad()
def official_probe(s: SimpleNamespace) -> Case:
    case = Case("official-probe", {"heads": s.heads})
    probe = ready(released.AttentiveClassifier(s.width, s.heads, 2 * s.width, 1, 5), 81)
    case.weights(probe, "classifiers.0.module.")
    tokens = case.put("input.tokens", normal(2, 7, s.width, draws=seeded(82)))
    case.put("output.logits", probe.double()(tokens))
    return case


def codes() -> Case:
    case = Case("codes", {})
    for width in (8, 24, 32):
        for first in ("column", "row"):
            case.put(f"output.2d.3.5.{width}.{first}", released.sincos_2d(3, 5, width, first))
        for uniform in (False, True):
            case.put(f"output.3d.2.3.5.{width}.{str(uniform).lower()}", released.sincos_3d(2, 3, 5, width, uniform))
    return case


@torch.no_grad()
def peers_agree(s: SimpleNamespace) -> None:
    """The networks of `released.py` and transformers', with the same weights."""
    theirs = ready(VJEPA2Model(v_jepa_2_config(s, s.depth)), 21).double()
    config = theirs.config
    width, heads = config.hidden_size, config.num_attention_heads
    ours = released.Encoder(width, s.depth, heads, int(width * config.mlp_ratio), s.patch, style="tiled").double()
    own = {}
    for name, tensor in theirs.encoder.state_dict().items():
        name = name.replace("embeddings.patch_embeddings", "patch_embed").replace("layernorm", "norm")
        own[name.replace("layer.", "blocks.").replace("attention.", "attn.")] = tensor
    for kind in ("weight", "bias"):
        for i in range(s.depth):
            parts = [own.pop(f"blocks.{i}.attn.{part}.{kind}") for part in ("query", "key", "value")]
            own[f"blocks.{i}.attn.qkv.{kind}"] = torch.cat(parts)
    ours.load_state_dict(own)
    clips = normal(2, s.frames, 3, s.crop, s.crop, draws=seeded(22))
    difference = (theirs(clips, skip_predictor=True).last_hidden_state - ours(clips)[-1]).abs().max().item()
    assert difference < 1e-10, difference
    ours.style = "interleaved"
    other = (theirs(clips, skip_predictor=True).last_hidden_state - ours(clips)[-1]).abs().max().item()
    assert other > 1e-2, f"interleaved codes change nothing: {other}"
    print(f"transformers and released.py: {difference:.1e}; with interleaved codes {other:.1e}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=DEFAULT_OUT)
    arguments.add_argument("--width", type=int, default=24)
    arguments.add_argument("--heads", type=int, default=2)
    arguments.add_argument("--predictor-heads", type=int, default=2)
    arguments.add_argument("--depth", type=int, default=2)
    arguments.add_argument("--crop", type=int, default=16)
    arguments.add_argument("--patch", type=int, default=4)
    arguments.add_argument("--frames", type=int, default=4)
    parsed = arguments.parse_args()
    s = SimpleNamespace(**vars(parsed))
    s.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    peers_agree(s)
    cases = [
        i_jepa(s, "i-jepa", classifier=False),
        i_jepa(s, "i-jepa-classifier", classifier=True),
        v_jepa_2(s),
        v_jepa_2_classifier(s),
        official_v_jepa(s),
        official_v_jepa_2(s),
        official_v_jepa_2_1(s),
        official_ac(s),
        official_probe(s),
        codes(),
    ]
    checked_in = s.out.resolve() == DEFAULT_OUT
    total = sum(case.save(s.out, 120_000 if checked_in else None) for case in cases)
    print(f"{total} bytes in all")
    assert not checked_in or total < 700_000


if __name__ == "__main__":
    main()
