"""Signal-JEPA as `braindecode` (1.8.1) has it: golden numbers for the tests, and the time of a step.

`python signal_jepa.py --golden` rewrites `crates/foretell-jepa/tests/parity/signal-jepa.json`: places of electrodes, and what the published
networks make of a signal when every weight is given by a formula, at their published size, so that no weight need be stored.
`python signal_jepa.py --batch 64 --channels 19 --threads 2 --steps 10` times a training step of the same networks in PyTorch.
"""

import argparse
import copy
import json
import sys
import time
import types
from pathlib import Path

import torch

# braindecode imports torchaudio for filters that this model does not use, and torchaudio is built for certain versions of PyTorch alone.
class Unused(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return torch.nn.Identity


for module in ["torchaudio", "torchaudio.functional", "torchaudio.transforms"]:
    sys.modules[module] = Unused(module)
for part in ["functional", "transforms"]:
    setattr(sys.modules["torchaudio"], part, sys.modules[f"torchaudio.{part}"])

import braindecode  # noqa: E402
from braindecode.models.signal_jepa import (  # noqa: E402
    SignalJEPA,
    SignalJEPA_Contextual,
    SignalJEPA_PostLocal,
    SignalJEPA_PreLocal,
)

GOLDEN = Path(__file__).parents[2] / "crates/foretell-jepa/tests/parity/signal-jepa.json"
PLACES = {
    "Fp1": [-0.0294367, 0.0839171, -0.00699],
    "F4": [0.0518362, 0.0543048, 0.040814],
    "T7": [-0.0841611, -0.0160187, -0.009346],
    "Cz": [0.0004009, -0.009167, 0.100244],
    "Pz": [0.0003247, -0.081115, 0.082615],
}
SAMPLES, CLASSES = 384, 3


def formula(seed, shape, bound):
    """Numbers in ±bound that any language makes alike: a multiplicative hash of their place."""
    count = 1
    for length in shape:
        count *= length
    place = torch.arange(1, count + 1, dtype=torch.int64) + seed * 1_000_003
    mixed = (place * 2_654_435_761) % 4_294_967_296
    mixed = (mixed ^ (mixed >> 15)) * 2_246_822_519 % 4_294_967_296
    mixed = mixed ^ (mixed >> 13)
    return ((mixed.double() / 4_294_967_296 - 0.5) * 2 * bound).float().reshape(shape)


def fill(module):
    """Every parameter by its place among the sorted names: norms near 1, the rest small. The places' codes stay as they begin."""
    for seed, (name, parameter) in enumerate(sorted(module.named_parameters())):
        if name == "pos_encoder.pos_encoder_spat.weight":
            continue
        values = formula(seed, parameter.shape, 0.1)
        is_norm = parameter.dim() == 1 and name.endswith("weight")
        parameter.data = values + 1 if is_norm else values
    return module.eval()


def channels(places):
    return [{"ch_name": name, "loc": place} for name, place in places.items()]


def golden():
    x = formula(777, [2, len(PLACES), SAMPLES], 3.0)
    common = {"chs_info": channels(PLACES), "n_times": SAMPLES, "sfreq": 128}
    with torch.no_grad():
        whole = fill(SignalJEPA(**common))
        context = whole(x)
        local = whole.feature_encoder(x)
        asked = formula(778, [2, 4, 64], 1.0)
        decoded = whole.transformer.decoder(asked, context)
        heads = {}
        for name, kind in [
            ("pre-local", SignalJEPA_PreLocal),
            ("post-local", SignalJEPA_PostLocal),
            ("contextual", SignalJEPA_Contextual),
        ]:
            network = fill(kind(n_outputs=CLASSES, **common))
            names = sorted(name for name, _ in network.named_parameters())
            heads[name] = {"names": names, "logits": network(x).flatten().tolist()}
        # The codes as they begin, and a scale that shows what the norm of the first convolution loses.
        codes = whole.pos_encoder.pos_encoder_spat.weight
        louder = x.clone()
        louder[:, 0] *= 10
        lost = (whole.feature_encoder(louder) - local).abs().max().item()
    numbers = {
        "braindecode": braindecode.__version__,
        "torch": torch.__version__,
        "places": list(PLACES.values()),
        "samples": SAMPLES,
        "tokens": local.shape[1] // len(PLACES),
        "codes": codes.flatten().tolist(),
        "local": local[0].flatten().tolist(),
        "context": context.flatten().tolist(),
        "decoded": decoded.flatten().tolist(),
        "heads": heads,
        "ten times louder": lost,
        "names": sorted(name for name, _ in whole.named_parameters()),
    }
    GOLDEN.write_text(json.dumps(numbers, indent=None, separators=(",", ":")) + "\n")
    print(f"{GOLDEN}: {GOLDEN.stat().st_size} bytes; a norm that loses how strong an electrode is moves tokens by {lost:.2e}")


def step(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    places = {f"E{i}": torch.nn.functional.normalize(torch.randn(3), dim=0).tolist() for i in range(args.channels)}
    student = SignalJEPA(
        chs_info=channels(places),
        n_times=args.samples,
        sfreq=128,
        transformer__num_encoder_layers=args.depth,
        transformer__num_decoder_layers=args.decoder,
    )
    # The same hidden width as on the other side.
    for layer in [*student.transformer.encoder.layers, *student.transformer.decoder.layers]:
        layer.linear1, layer.linear2 = torch.nn.Linear(64, args.hidden), torch.nn.Linear(args.hidden, 64)
    teacher = copy.deepcopy(student).requires_grad_(False).eval()
    student.eval()  # without dropout
    mask = torch.nn.Parameter(torch.zeros(1, 1, 64))
    optimiser = torch.optim.AdamW([*student.parameters(), mask], lr=1e-3)
    locations = torch.tensor(list(places.values()))
    tokens = student.feature_encoder.n_times_out(args.samples)
    print(f"{sum(p.numel() for p in student.parameters())} parameters", file=sys.stderr)
    times = []
    for _ in range(args.steps + 2):
        x = torch.randn(args.batch, args.channels, args.samples)
        begin = time.perf_counter()
        # One ball for the whole batch: PyTorch would otherwise pad.
        centre = torch.randint(args.channels, [1])
        inside = (locations - locations[centre]).norm(dim=1) <= 0.8
        seen = (~inside).nonzero().flatten()
        hidden = inside.nonzero().flatten()
        features = x[:, seen].reshape(-1, 1, args.samples)
        for layer in list(student.feature_encoder)[1:-1]:
            features = layer(features)
        local = features.transpose(1, 2).reshape(args.batch, len(seen) * tokens, 64)
        ids = seen[None].expand(args.batch, -1)
        context = student.transformer.encoder(local + student.pos_encoder(local, ids))
        blank = mask.expand(args.batch, len(hidden) * tokens, 64)
        asked = blank + student.pos_encoder(blank, hidden[None].expand(args.batch, -1))
        predicted = student.transformer.decoder(asked, context)
        with torch.no_grad():
            target = teacher(x).reshape(args.batch, args.channels, tokens, 64)[:, hidden].reshape(predicted.shape)
        loss = (predicted - target).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            for old, new in zip(teacher.parameters(), student.parameters()):
                old.lerp_(new, 0.01)
        times.append(time.perf_counter() - begin)
    times = sorted(times[2:])
    print(json.dumps({"median_s": times[len(times) // 2], "torch": torch.__version__, **vars(args)}))


parser = argparse.ArgumentParser()
parser.add_argument("--golden", action="store_true")
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--channels", type=int, default=19)
parser.add_argument("--samples", type=int, default=512)
parser.add_argument("--depth", type=int, default=4)
parser.add_argument("--decoder", type=int, default=2)
parser.add_argument("--hidden", type=int, default=256)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=10)
args = parser.parse_args()
golden() if args.golden else step(args)
