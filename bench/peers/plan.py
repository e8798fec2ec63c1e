"""Times one planning step on the CPU in f32: observations to latents, then the cross-entropy method in them.

The networks are EB-JEPA's of the CPU recipe with random weights: three strided convolutions, a GRU whose state is the
latent, one layer norm for both; with `--head` those of foretell's own models. All episodes and candidates go through the model in one batch.
"""

import argparse
import json
import resource
import statistics
import time

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def __init__(self, side: int, width: int, action: int):
        super().__init__()
        layers, channels = [], 2
        for outputs in (16, 32, 32):
            layers += [nn.Conv2d(channels, outputs, 3, stride=2, padding=1), nn.ReLU()]
            channels, side = outputs, -(-side // 2)
        self.convs = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * side * side, width))
        self.norm = nn.LayerNorm(width)
        self.cell = nn.GRUCell(action, width)

    def encode(self, seen: Tensor) -> Tensor:
        return self.norm(self.convs(seen))

    def roll(self, now: Tensor, actions: Tensor, goal: Tensor) -> Tensor:
        """`now` [N, D], `actions` [H, N, A], `goal` [N, D]: the sum over the horizon of mean squared differences, [N]."""
        cost = torch.zeros(now.shape[0])
        for action in actions:
            now = self.norm(self.cell(action, now))
            cost += (now - goal).square().mean(1)
        return cost


class Hoisted(Model):
    """The same with the actions' share of the gates computed for all steps at once."""

    def roll(self, now: Tensor, actions: Tensor, goal: Tensor) -> Tensor:
        cell, cost = self.cell, torch.zeros(now.shape[0])
        for of_action in nn.functional.linear(actions, cell.weight_ih, cell.bias_ih):
            ir, iz, inn = of_action.chunk(3, 1)
            hr, hz, hn = nn.functional.linear(now, cell.weight_hh, cell.bias_hh).chunk(3, 1)
            reset, update = torch.sigmoid(ir + hr), torch.sigmoid(iz + hz)
            candidate = torch.tanh(torch.addcmul(inn, reset, hn))
            now = self.norm(torch.lerp(candidate, now, update))
            cost += (now - goal).square().mean(1)
        return cost


class Told(Model):
    """As foretell's own models: hidden layers in the encoder, a mixer before the GRU, a head that tells the steps to the goal."""

    def __init__(self, side: int, width: int, action: int):
        super().__init__(side, width, action)
        flat = self.convs[-1].in_features
        hidden = [nn.Linear(flat, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, width)]
        self.convs = nn.Sequential(*self.convs[:-1], *hidden)
        self.mixer, self.cell = nn.Linear(action + width, 128), nn.GRUCell(128, width)
        self.start, self.goal, self.hidden, self.out = nn.Linear(width, 256), nn.Linear(width, 256), nn.Linear(256, 256), nn.Linear(256, 1)

    def roll(self, now: Tensor, actions: Tensor, goal: Tensor) -> Tensor:
        cost, wanted = torch.zeros(now.shape[0]), self.goal(goal)
        for action in actions:
            now = self.norm(self.cell(torch.relu(self.mixer(torch.cat([action, now], 1))), now))
            cost += 20 * self.out(torch.relu(self.hidden(torch.relu(self.start(now) + wanted)))).squeeze(1)
        return cost


def within_reach(actions: Tensor, reach: float) -> Tensor:
    return actions * (reach / actions.norm(dim=-1, keepdim=True)).clamp(max=1)


def plan(model: Model, seen: Tensor, goals: Tensor, o: argparse.Namespace) -> Tensor:
    """The first actions [E, A] of a plan for each episode."""
    episodes, wide = seen.shape[0], o.samples
    now = model.encode(seen).repeat_interleave(wide, 0)
    goal = goals.repeat_interleave(wide, 0)
    mean = torch.zeros(episodes, 1, o.horizon, o.action)
    spread = torch.full_like(mean, 0.6 * o.reach)
    for _ in range(o.iterations):
        noise = torch.randn(episodes, wide, o.horizon, o.action)
        noise[:, 0] = 0
        candidates = within_reach(mean + spread * noise, o.reach)
        actions = candidates.reshape(episodes * wide, o.horizon, o.action).transpose(0, 1).contiguous()
        cost = model.roll(now, actions, goal).reshape(episodes, wide)
        best = cost.topk(o.elites, dim=1, largest=False).indices
        elites = candidates.gather(1, best[:, :, None, None].expand(-1, -1, o.horizon, o.action))
        mean = elites.mean(1, keepdim=True)
        spread = elites.std(1, keepdim=True, unbiased=False).clamp(min=0.02 * o.reach)
    return mean[:, 0, 0]


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("episodes", 8), ("samples", 128), ("iterations", 8), ("elites", 16), ("horizon", 32), ("image", 32),
        ("width", 128), ("action", 2), ("threads", 2), ("steps", 10), ("warmup", 2),
    ):  # fmt: skip
        a.add_argument(f"--{name}", type=int, default=default)
    a.add_argument("--reach", type=float, default=2.45)
    a.add_argument("--hoisted", action="store_true", help="the actions' share of the gates for all steps at once")
    a.add_argument("--head", action="store_true", help="foretell's own networks, which measure by steps")
    o = a.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(0)
    model = (Told if o.head else Hoisted if o.hoisted else Model)(o.image, o.width, o.action).eval()
    times = []
    with torch.inference_mode():
        seen, goals = torch.randn(2, o.episodes, 2, o.image, o.image)
        goals = model.encode(goals)
        for _ in range(o.warmup + o.steps):
            start = time.perf_counter()
            plan(model, seen, goals, o)
            times.append((time.perf_counter() - start) * 1e3)
    times = times[o.warmup :]
    report = {
        **vars(o),
        "torch": torch.__version__,
        "calls": o.episodes * o.samples * o.iterations * o.horizon,
        "plan_ms": round(statistics.median(times), 2),
        "plan_ms_all": [round(t, 2) for t in times],
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
