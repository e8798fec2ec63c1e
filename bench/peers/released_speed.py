"""Times ViT-L of I-JEPA and V-JEPA 2 with random weights: foretell and transformers in turn, f32, loading excluded.

    released_speed.py --foretell target/release/foretell [--rounds 7] [--threads 2] [--only I-JEPA]

A round takes half a minute, so that both sides of it meet much the same machine; the line at the end has the median of the rounds' ratios, the
smallest and the largest, and the ratio of each side's best round.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy
import torch
from transformers import IJepaConfig, IJepaModel, VJEPA2Config, VJEPA2Model


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--foretell", type=pathlib.Path, required=True)
    a.add_argument("--rounds", type=int, default=7)
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--only", default="", help="works whose name has this")
    o = a.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(0)
    lengths = dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
    work = [
        ("I-JEPA ViT-L/16", IJepaModel(IJepaConfig(image_size=224, patch_size=16, **lengths)), (16, 3, 224, 224), 8, {}),
        ("V-JEPA 2 ViT-L", VJEPA2Model(VJEPA2Config(frames_per_clip=16)), (1, 16, 3, 256, 256), 1, {"skip_predictor": True}),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, model, shape, rows, options in (w for w in work if o.only in w[0]):
            place = pathlib.Path(folder) / name.replace("/", "-")
            model.eval().save_pretrained(place)
            pixels = torch.randn(shape)
            numpy.save(place / "x.npy", pixels.numpy())
            ask = ["embed", "--model", place, "--input", place / "x.npy", "--tokens", "--out", place / "y.npz", "--json"]
            with torch.inference_mode():
                model(pixels[:1], **options)
            rounds = []
            for _ in range(o.rounds):
                done = subprocess.run([o.foretell, *ask], check=True, capture_output=True, text=True)
                start = time.perf_counter()
                with torch.inference_mode():
                    parts = [model(pixels[i : i + rows], **options).last_hidden_state for i in range(0, len(pixels), rows)]
                theirs = len(pixels) / (time.perf_counter() - start)
                off = numpy.abs(numpy.load(place / "y.npz")["tokens"] - torch.cat(parts).numpy()).max()
                ours = json.loads(done.stdout)["rows_per_s"]
                rounds.append((ours, theirs))
                print(f"{name}: {ours:.3f} and {theirs:.3f} a second, {ours / theirs:.2f} times; tokens differ by {off:.1e}", flush=True)
            ratios = sorted(ours / theirs for ours, theirs in rounds)
            best = max(ours for ours, _ in rounds) / max(theirs for _, theirs in rounds)
            print(f"{name}: {statistics.median(ratios):.2f} times ({ratios[0]:.2f} to {ratios[-1]:.2f}), best to best {best:.2f}")


if __name__ == "__main__":
    main()
