"""Writes the golden tensors that Foretell's parity tests read.

Every input and parameter is exact in f32. Every output is computed in f64 from those and rounded to f32
once, so a file holds the right answer rather than one library's rounding. Scalars have shape [1].
"""

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import IJepaConfig, IJepaModel

import anti_collapse
from i_jepa import LN_EPS, Encoder, IJepa

DEFAULT_OUT = Path(__file__).resolve().parents[2] / "crates/foretell-jepa/tests/parity"
LARGEST = 400_000  # bytes: these files are checked in


class Golden(dict):
    """Named tensors of one file; floats become f32, scalars [1]."""

    def put(self, name: str, tensor: Tensor) -> Tensor:
        stored = tensor.detach().to(torch.float32 if tensor.is_floating_point() else torch.int64)
        self[name] = stored.reshape(stored.shape or (1,)).contiguous().clone()
        return tensor

    def write(self, path: Path) -> None:
        # One entry only: several would be written in a random order, and the file would not be reproducible.
        note = "bench/peers/export_parity.py: inputs exact in f32, outputs computed in f64 and rounded once"
        save_file(self, path, metadata={"source": note})
        size = path.stat().st_size
        assert size < LARGEST, f"{path.name}: {size} bytes"
        print(f"{path.name}: {size} bytes, {len(self)} tensors")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, draws: torch.Generator) -> Tensor:
    """f64 values that are exact in f32."""
    return torch.randn(*shape, generator=draws).double()


def exact(tensor: Tensor) -> Tensor:
    """The nearest values that f32 holds, in f64."""
    return tensor.float().double()


def leaf(tensor: Tensor) -> Tensor:
    return tensor.clone().requires_grad_()


@torch.no_grad()
def randomise(module: nn.Module, draws: torch.Generator) -> None:
    """Every parameter away from its neutral value: a swapped norm or a lost bias must show."""
    for name, p in module.named_parameters():
        noise = torch.randn(p.shape, generator=draws)
        if "norm" in name:
            p.copy_(0.25 * noise + (1.0 if name.endswith("weight") else 0.0))
        elif name.endswith("bias"):
            p.copy_(0.25 * noise)
        elif name.endswith("mask_token"):
            p.copy_(0.5 * noise)
        else:
            p.copy_(noise / p[0].numel() ** 0.5)


# I-JEPA ------------------------------------------------------------------------------------------------------

GRADIENTS = (
    "encoder.blocks.0.attn.qkv.weight",
    "encoder.patch_embed.proj.weight",
    "encoder.norm.weight",
    "predictor.mask_token",
    "predictor.predictor_blocks.1.mlp.fc2.bias",
)


def i_jepa(model: IJepa, images: Tensor, context: Tensor, targets: Tensor) -> Golden:
    """All tensors, inputs, outputs and a few gradients of one training loss."""
    golden = Golden()
    for name, tensor in model.state_dict().items():
        golden.put(name, tensor)
    model = model.double()
    golden.put("input.images", images)
    golden.put("input.context", context)
    golden.put("input.targets", targets)
    golden.put("output.encoder_full", model.encoder(images))
    golden.put("output.encoder_context", model.encoder(images, context))
    golden.put("output.target", model.target(images, targets))
    golden.put("output.predictions", model.predict(images, context, targets))
    golden.put("output.loss", model.loss(images, context, targets)).backward()
    parameters = dict(model.named_parameters())
    for name in GRADIENTS:
        golden.put(f"grad.{name}", parameters[name].grad)
    return golden


def square() -> tuple[IJepa, Tensor, Tensor, Tensor]:
    draws = seeded(1)
    model = IJepa((32, 32), 8, 3, 48, depth=2, heads=3, predictor_width=24, predictor_depth=2)
    randomise(model, draws)
    context = torch.tensor([[2, 3, 8, 9, 13, 15], [0, 1, 3, 4, 8, 12]])
    # 2 x 2 blocks of the 4 x 4 grid; the second image's overlap.
    targets = torch.tensor([[[0, 1, 4, 5], [6, 7, 10, 11]], [[9, 10, 13, 14], [6, 7, 10, 11]]])
    return model, normal(2, 3, 32, 32, draws=draws), context, targets


def odd() -> tuple[IJepa, Tensor, Tensor, Tensor]:
    draws = seeded(2)
    model = IJepa((12, 20), 4, 1, 40, depth=1, heads=5, predictor_width=20, predictor_depth=2)
    randomise(model, draws)
    # A 3 x 5 grid: row and column cannot be confused. Index sets, not blocks, and not in raster order.
    context = torch.tensor([[0, 2, 3, 9, 11, 12, 14], [4, 1, 5, 10, 8, 13, 6]])
    targets = torch.tensor([[[1, 6], [4, 8], [13, 7]], [[0, 14], [2, 7], [12, 3]]])
    return model, normal(2, 1, 12, 20, draws=draws), context, targets


def transformers_layout(encoder: Encoder) -> dict[str, Tensor]:
    """The encoder's tensors under the names of checkpoints published for transformers' IJepaModel."""
    theirs = {}
    for name, tensor in encoder.state_dict().items():
        if name.startswith("blocks."):
            _, i, rest = name.split(".", 2)
            part, kind = rest.rsplit(".", 1)
            layer = f"encoder.layer.{i}"
            if part == "attn.qkv":
                for role, rows in zip(("query", "key", "value"), tensor.chunk(3)):
                    theirs[f"{layer}.attention.attention.{role}.{kind}"] = rows.contiguous()
                continue
            part = {
                "norm1": "layernorm_before",
                "norm2": "layernorm_after",
                "attn.proj": "attention.output.dense",
                "mlp.fc1": "intermediate.dense",
                "mlp.fc2": "output.dense",
            }[part]
            theirs[f"{layer}.{part}.{kind}"] = tensor
        elif name == "pos_embed":
            theirs["embeddings.position_embeddings"] = tensor
        elif name.startswith("patch_embed.proj"):
            theirs[name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")] = tensor
        else:
            theirs[name.replace("norm.", "layernorm.")] = tensor
    return theirs


def i_jepa_transformers(encoder: Encoder, images: Tensor) -> Golden:
    """transformers reads the same weights from a checkpoint on disk and runs them."""
    encoder = encoder.float()
    theirs = transformers_layout(encoder)
    config = IJepaConfig(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=192,
        image_size=32,
        patch_size=8,
        layer_norm_eps=LN_EPS,
        architectures=["IJepaModel"],
    )
    with tempfile.TemporaryDirectory() as folder:
        save_file(theirs, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        Path(folder, "config.json").write_text(json.dumps(config.to_dict()))
        model, report = IJepaModel.from_pretrained(
            folder, dtype=torch.float32, add_pooling_layer=False, output_loading_info=True
        )
    for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[fault], f"{fault}: {report[fault]}"
    assert torch.equal(model.embeddings.position_embeddings, encoder.pos_embed)
    encoder, model = encoder.double(), model.double().eval()
    with torch.no_grad():
        hidden = model(pixel_values=images).last_hidden_state
        difference = (hidden - encoder(images)).abs().max().item()
    assert difference <= 1e-5, f"transformers and this encoder differ by {difference}"
    print(f"transformers' IJepaModel and this encoder: largest difference {difference:.1e}")
    golden = Golden()
    for name, tensor in theirs.items():
        golden.put(f"hf.{name}", tensor)
    golden.put("input.images", images)
    golden.put("output.hf_last_hidden_state", hidden)
    return golden


# Terms against collapse --------------------------------------------------------------------------------------


def collapse_terms() -> Golden:
    draws, golden = seeded(3), Golden()

    # Neither centred nor white, so that the gradient is not small.
    z = leaf(exact(0.5 + 1.5 * normal(64, 16, draws=draws)))
    directions = F.normalize(torch.randn(16, 8, generator=draws), dim=0).double()
    golden.put("sigreg.z", z)
    golden.put("sigreg.directions", directions)
    golden.put("sigreg.slices", anti_collapse.sigreg_slices(z, directions))
    golden.put("sigreg.value", anti_collapse.sigreg(z, directions)).backward()
    golden.put("sigreg.grad_z", z.grad)
    collapsed = golden.put("sigreg.value_at_zero", anti_collapse.sigreg(torch.zeros_like(z), directions))
    assert abs(collapsed.item() / 64 - 0.4020) < 5e-5

    # Standard deviations on both sides of the hinge at 1, and features that correlate.
    spread = torch.linspace(0.5, 1.5, 12)
    mixing = torch.eye(12) + 0.3 * torch.randn(12, 12, generator=draws)
    a = torch.randn(32, 12, generator=draws) @ mixing * spread
    b = a + 0.5 * torch.randn(32, 12, generator=draws)
    for name, function in (("vicreg", anti_collapse.vicreg), ("barlow", anti_collapse.barlow)):
        first, second = leaf(a.double()), leaf(b.double())
        golden.put(f"{name}.z", first)
        golden.put(f"{name}.z_prime", second)
        golden.put(f"{name}.value", function(first, second)).backward()
        golden.put(f"{name}.grad_z", first.grad)
        golden.put(f"{name}.grad_z_prime", second.grad)
    terms = anti_collapse.vicreg_terms(a.double(), b.double())
    for part, value in zip(("invariance", "variance", "covariance"), terms):
        assert value > 0
        golden.put(f"vicreg.{part}", value)
    return golden


# Operations --------------------------------------------------------------------------------------------------


def record(golden: Golden, op: str, function, inputs: dict[str, Tensor], draws: torch.Generator) -> None:
    """Stores `op.{input}`, `op.y`, a random `op.grad_y` and `op.grad_{input}`."""
    leaves = {name: leaf(tensor) for name, tensor in inputs.items()}
    y = function(**leaves)
    grad_y = normal(*y.shape, draws=draws)
    y.backward(grad_y)
    golden.put(f"{op}.y", y)
    golden.put(f"{op}.grad_y", grad_y)
    for name, tensor in leaves.items():
        golden.put(f"{op}.{name}", tensor)
        golden.put(f"{op}.grad_{name}", tensor.grad)


def conv2d(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    return F.conv2d(x, weight, bias, stride, padding)


def latent_losses(golden: Golden, draws: torch.Generator) -> None:
    """Means over every element; cosine is the mean over tokens of 1 - cos."""
    prediction, target = normal(2, 5, 6, draws=draws), normal(2, 5, 6, draws=draws)
    sides = (prediction - target).abs() < 1
    assert sides.any() and not sides.all(), "smooth-L1 needs both its branches"
    losses = {
        "smooth_l1": F.smooth_l1_loss,
        "l1": F.l1_loss,
        "l2": F.mse_loss,
        "cosine": lambda p, t: (1 - F.cosine_similarity(p, t, dim=-1)).mean(),
    }
    golden.put("loss.prediction", prediction)
    golden.put("loss.target", target)
    for name, function in losses.items():
        p = leaf(prediction)
        golden.put(f"loss.{name}.value", function(p, target)).backward()
        golden.put(f"loss.{name}.grad_prediction", p.grad)


def adamw(golden: Golden, draws: torch.Generator) -> None:
    parameter = leaf(normal(5, 3, draws=draws))
    grads = normal(3, 5, 3, draws=draws)
    golden.put("adamw.parameter", parameter)
    golden.put("adamw.grads", grads)
    optimiser = torch.optim.AdamW([parameter], lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)
    after = []
    for grad in grads:
        parameter.grad = grad
        optimiser.step()
        after.append(parameter.detach().clone())
    golden.put("adamw.after", torch.stack(after))
    state = optimiser.state[parameter]
    golden.put("adamw.first_moment", state["exp_avg"])
    golden.put("adamw.second_moment", state["exp_avg_sq"])


def operations() -> Golden:
    draws, golden = seeded(4), Golden()

    def tensor(*shape: int) -> Tensor:
        return normal(*shape, draws=draws)

    inputs = {"x": tensor(2, 5, 12), "weight": tensor(12), "bias": tensor(12)}

    def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.layer_norm(x, (12,), weight, bias, LN_EPS)

    record(golden, "layer_norm", layer_norm, inputs, draws)
    record(golden, "gelu", lambda x: F.gelu(x), {"x": exact(3 * tensor(4, 8))}, draws)

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.transpose(-1, -2) * 5**-0.5).softmax(dim=-1) @ v

    record(golden, "attention", attention, {name: tensor(2, 3, 7, 5) for name in "qkv"}, draws)

    for kernel, stride, padding in ((3, 1, 1), (3, 2, 1), (4, 4, 0)):
        inputs = {"x": tensor(2, 3, 8, 12), "weight": tensor(5, 3, kernel, kernel), "bias": tensor(5)}
        convolve = partial(conv2d, stride=stride, padding=padding)
        record(golden, f"conv2d_k{kernel}s{stride}p{padding}", convolve, inputs, draws)

    mean, variance = tensor(4), exact(tensor(4).square() + 0.5)
    golden.put("batch_norm2d.running_mean_before", mean)
    golden.put("batch_norm2d.running_var_before", variance)

    def normalise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.batch_norm(x, mean, variance, weight, bias, training=True, momentum=0.1, eps=1e-5)

    inputs = {"x": exact(2 * tensor(3, 4, 5, 6) + 1), "weight": tensor(4), "bias": tensor(4)}
    record(golden, "batch_norm2d", normalise, inputs, draws)
    golden.put("batch_norm2d.running_mean_after", mean)
    golden.put("batch_norm2d.running_var_after", variance)

    latent_losses(golden, draws)
    adamw(golden, draws)
    return golden


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=DEFAULT_OUT)
    out: Path = arguments.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    model, images, context, targets = square()
    golden = i_jepa(model, images, context, targets)
    # One file would be too large: the target encoder and the predictor lie beside it.
    apart = ("target_encoder.", "predictor.")
    beside = Golden({name: golden.pop(name) for name in list(golden) if name.startswith(apart)})
    golden.write(out / "i-jepa.safetensors")
    beside.write(out / "i-jepa-target-predictor.safetensors")
    i_jepa_transformers(model.encoder, images).write(out / "ijepa-hf.safetensors")
    i_jepa(*odd()).write(out / "i-jepa-odd.safetensors")
    collapse_terms().write(out / "sigreg.safetensors")
    operations().write(out / "ops.safetensors")


if __name__ == "__main__":
    main()
