"""Times ViT-L of I-JEPA and V-JEPA 2 with random weights: foretell and transformers in turn, f32, loading excluded.

    released_speed.py --foretell target/release/foretell [--rounds 2] [--threads 2]
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import numpy
import torch
from transformers import IJepaConfig, IJepaModel, VJEPA2Config, VJEPA2Model


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--foretell", type=pathlib.Path, required=True)
    a.add_argument("--rounds", type=int, default=2)
    a.add_argument("--threads", type=int, default=2)
    o = a.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(0)
    lengths = dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
    work = [
        ("I-JEPA ViT-L/16", IJepaModel(IJepaConfig(image_size=224, patch_size=16, **lengths)), (16, 3, 224, 224), 8, {}),
        ("V-JEPA 2 ViT-L", VJEPA2Model(VJEPA2Config(frames_per_clip=16)), (2, 16, 3, 256, 256), 1, {"skip_predictor": True}),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, model, shape, rows, options in work:
            place = pathlib.Path(folder) / name.replace("/", "-")
            model.eval().save_pretrained(place)
            pixels = torch.randn(shape)
            numpy.save(place / "x.npy", pixels.numpy())
            ask = ["embed", "--model", place, "--input", place / "x.npy", "--tokens", "--out", place / "y.npz", "--json"]
            for _ in range(o.rounds):
                done = subprocess.run([o.foretell, *ask], check=True, capture_output=True, text=True)
                start = time.perf_counter()
                with torch.inference_mode():
                    parts = [model(pixels[i : i + rows], **options).last_hidden_state for i in range(0, len(pixels), rows)]
                theirs = len(pixels) / (time.perf_counter() - start)
                off = numpy.abs(numpy.load(place / "y.npz")["tokens"] - torch.cat(parts).numpy()).max()
                ours = json.loads(done.stdout)["rows_per_s"]
                print(f"{name}: {ours:.3f} and {theirs:.3f} a second, {ours / theirs:.2f} times; tokens differ by {off:.1e}", flush=True)


if __name__ == "__main__":
    main()
