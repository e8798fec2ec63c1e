"""Writes the golden tensors of V-JEPA 2-AC's training: predictions, loss and gradients of the predictor.

Written from the published method (Assran et al., 2025, arXiv 2506.09985, section 3): a block-causal transformer over each
step's tokens [action, pose, patches] with rotary codes of time, row and column; layer norm without weights behind it; the
mean absolute error of every step from the recorded ones, and of steps rolled out from the first frame.
`official`: the tokens themselves, tiled angles, poses as recorded, the first rolled-out step counted again.
`ours`: the change of the tokens, whole rotations, poses predicted on the way, each step counted once.
Inputs and parameters are exact in f32; outputs are computed in f64 and rounded once.
Shapes: B windows of T frames of N tokens, D wide; P the predictor's width; A numbers of an action, S of a pose.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

DEFAULT_OUT = Path(__file__).resolve().parents[2] / "crates/foretell-jepa/tests/parity"
LARGEST = 400_000  # bytes: these files are checked in


@dataclass
class Case:
    official: bool
    roll_out: int
    encoder_width: int = 12
    rows: int = 2
    cols: int = 3
    width: int = 24
    heads: int = 2
    depth: int = 2
    action: int = 3
    pose: int = 3
    frames: int = 4
    batch: int = 2
    roll_out_weight: float = 1.0
    pose_weight: float = 0.0


CASES = {
    "v-jepa-2-ac-official": Case(official=True, roll_out=2),
    "v-jepa-2-ac": Case(official=False, roll_out=3, action=5, roll_out_weight=0.5, pose_weight=2.0),
}


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor, angles: Tensor, mask: Tensor) -> Tensor:
        b, t, width = x.shape
        packed = self.attn["qkv"](self.norm1(x)).reshape(b, t, 3, self.heads, width // self.heads)
        q, k, v = (part.transpose(1, 2) for part in packed.unbind(2))
        q, k = turned(q, angles), turned(k, angles)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.attn["proj"](out.transpose(1, 2).reshape(b, t, width))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """x [.., T, H], angles [T, H]: neighbours are turned together, each by its own angle."""
    swapped = torch.stack([-x[..., 1::2], x[..., 0::2]], dim=-1).flatten(-2)
    return x * angles.cos() + swapped * angles.sin()


class Predictor(nn.Module):
    def __init__(self, case: Case):
        super().__init__()
        self.case = case
        self.predictor_embed = nn.Linear(case.encoder_width, case.width)
        self.action_encoder = nn.Linear(case.action, case.width)
        self.state_encoder = nn.Linear(case.pose, case.width)
        self.predictor_blocks = nn.ModuleList(Block(case.width, case.heads) for _ in range(case.depth))
        self.predictor_norm = nn.LayerNorm(case.width, eps=1e-6)
        self.predictor_proj = nn.Linear(case.width, case.encoder_width)

    def angles(self, steps: int) -> Tensor:
        """[steps * (2 + N), H]; action and pose are turned by time alone."""
        head = self.case.width // self.case.heads
        axis = 2 * (head // 3 // 2)
        frequencies = 10_000 ** -(torch.arange(axis // 2).double() / (axis // 2))
        rows = []
        for t in range(steps):
            patches = [(t, r, c) for r in range(self.case.rows) for c in range(self.case.cols)]
            for place in [(t, 0, 0), (t, 0, 0), *patches]:
                parts = []
                for at in place:
                    by = at * frequencies
                    parts.append(torch.cat([by, by]) if self.case.official else by.repeat_interleave(2))
                rows.append(torch.cat([*parts, torch.zeros(head - 3 * axis).double()]))
        return torch.stack(rows)

    def forward(self, latents: Tensor, actions: Tensor, poses: Tensor) -> tuple[Tensor, Tensor]:
        """latents [B, T, N, D], actions [B, T, A], poses [B, T, S] -> what follows each, and the poses' tokens [B, T, P]."""
        b, t, n, _ = latents.shape
        extra = torch.stack([self.action_encoder(actions), self.state_encoder(poses)], dim=2)
        x = torch.cat([extra, self.predictor_embed(latents)], dim=2).flatten(1, 2)
        step = torch.arange(t).repeat_interleave(2 + n)
        mask = step[None, :] <= step[:, None]
        for block in self.predictor_blocks:
            x = block(x, self.angles(t), mask)
        x = self.predictor_norm(x).reshape(b, t, 2 + n, -1)
        said = self.predictor_proj(x[:, :, 2:])
        return (said if self.case.official else latents + said), x[:, :, 1]


class Networks(nn.Module):
    def __init__(self, case: Case):
        super().__init__()
        self.case = case
        self.predictor = Predictor(case)
        self.pose = None if case.official else nn.Linear(case.width, case.pose)

    def step(self, latents: Tensor, actions: Tensor, poses: Tensor) -> tuple[Tensor, Tensor]:
        said, tokens = self.predictor(latents, actions, poses)
        moved = actions if self.pose is None else self.pose(tokens)
        return F.layer_norm(said, said.shape[-1:]), poses + moved

    def loss(self, latents: Tensor, actions: Tensor, poses: Tensor) -> dict[str, Tensor]:
        """latents [B, T, N, D], actions [B, T - 1, A], poses [B, T, S]."""
        case = self.case
        forced, next_poses = self.step(latents[:, :-1], actions, poses[:, :-1])
        seen = torch.cat([latents[:, :1], forced[:, :1]], dim=1)
        along = torch.cat([poses[:, :1], next_poses[:, :1]], dim=1)
        for k in range(2, case.roll_out + 1):
            told = poses[:, :k] if case.official else along
            said, moved = self.step(seen, actions[:, :k], told)
            seen, along = torch.cat([seen, said[:, -1:]], dim=1), torch.cat([along, moved[:, -1:]], dim=1)
        first = 1 if case.official else 2
        prediction = F.l1_loss(forced, latents[:, 1:])
        roll_out = F.l1_loss(seen[:, first:], latents[:, first : case.roll_out + 1])
        loss = prediction + case.roll_out_weight * roll_out
        terms = {"forced": forced, "rolled": seen[:, 1:], "prediction": prediction, "roll_out": roll_out}
        if self.pose is not None:
            terms["pose"] = F.l1_loss(next_poses, poses[:, 1:])
            loss = loss + case.pose_weight * terms["pose"]
        return {**terms, "loss": loss}


def export(name: str, case: Case, out: Path) -> None:
    draws = torch.Generator().manual_seed(11)

    def exact(*shape: int, scale: float = 1.0) -> Tensor:
        return (scale * torch.randn(*shape, generator=draws)).double()

    networks = Networks(case).double()
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter.copy_(exact(*parameter.shape, scale=0.3))
    tokens = case.rows * case.cols
    latents = F.layer_norm(exact(case.batch, case.frames, tokens, case.encoder_width), [case.encoder_width]).float().double()
    actions, poses = exact(case.batch, case.frames - 1, case.action), exact(case.batch, case.frames, case.pose)
    found = networks.loss(latents, actions, poses)
    found["loss"].backward()
    tensors = {"input.latents": latents.flatten(1, 2), "input.actions": actions, "input.poses": poses}
    tensors |= {f"output.{key}": value.flatten(1, 2) if value.dim() == 4 else value for key, value in found.items()}
    tensors |= {key: value for key, value in networks.named_parameters()}
    tensors |= {f"gradient.{key}": value.grad for key, value in networks.named_parameters()}
    stored = {key: value.detach().float().reshape(value.shape or (1,)).contiguous() for key, value in tensors.items()}
    path = out / f"{name}.safetensors"
    save_file(stored, path, metadata={"source": "bench/peers/v_jepa_2_ac.py: inputs exact in f32, outputs in f64"})
    size = path.stat().st_size
    assert size < LARGEST, f"{path.name}: {size} bytes"
    print(f"{path.name}: {size} bytes, {len(stored)} tensors, loss {found['loss'].item():.6f}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=DEFAULT_OUT)
    out = arguments.parse_args().out
    for name, case in CASES.items():
        export(name, case, out)


if __name__ == "__main__":
    main()
