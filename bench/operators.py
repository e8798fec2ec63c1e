#!/usr/bin/env python3
"""Trains SAR-JEPA towards each operator and reads its features from few labels, as the ablation of the paper does.

    cargo build --release
    bench/operators.py --data MSTAR.tar --steps 200 --seeds 3 [--speckle 1] [--set data.image_size=64] [--jobs 2] [--json OUT]

One row for each operator and count of labels a class, then the same network untrained and raw pixels: the mean over seeds and its
standard deviation. `--speckle` multiplies every image by gamma noise of so many looks, in training and in the probe.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

OPERATORS = ["ratio-gradient", "hog", "gradient", "pixels"]


def run(args, operator, seed, place):
    out = place / f"{operator}-{seed}"
    command = [args.binary, "train", "sar-jepa", "--data", args.data, "--out", str(out), "--seed", str(seed), "--json"]
    command += ["--steps", str(args.steps), "--set", f"model.operator.kind={operator}", "--set", "train.health_every=1000000"]
    command += ["--set", f"data.speckle={args.speckle}"] if args.speckle else []
    command += [part for entry in args.set for part in ("--set", entry)]
    threads = str(max(1, (os.cpu_count() or 1) // args.jobs))
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "RAYON_NUM_THREADS": threads})
    if done.returncode != 0:
        sys.exit(f"{operator}, seed {seed}: {done.stderr.strip().splitlines()[-1]}")
    summary = json.loads(done.stdout)
    shutil.rmtree(out)
    rows = {}
    for row in summary["few_shot"]:
        name = {"trained": f"to {operator}", "pixels": "raw pixels"}.get(row["features"], row["features"])
        rows[name, f"{row['labels']} a class"] = row["accuracy"]
    for row in summary["probes"]:
        name = {"trained": f"to {operator}", "pixels": "raw pixels"}.get(row["features"], row["features"])
        rows[name, f"all, {row['probe']}"] = row["accuracy"]
    return seed, summary["seconds"], rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--speckle", type=float, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--operators", nargs="+", default=OPERATORS)
    parser.add_argument("--binary", default=str(Path(__file__).resolve().parent.parent / "target/release/foretell"))
    parser.add_argument("--json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(args.jobs) as pool:
        pairs = [(operator, seed) for seed in range(args.seeds) for operator in args.operators]
        done = list(pool.map(lambda pair: run(args, *pair, Path(place)), pairs))
    seen = {}
    for seed, _, rows in done:
        for key, accuracy in rows.items():
            # The untrained network and raw pixels are the same beside every operator: one of each for a seed.
            seen.setdefault(key, {})[seed] = accuracy
    print(f"{Path(args.data).name}, {args.steps} steps, {args.seeds} seeds, speckle {args.speckle:g}; longest {max(s for _, s, _ in done):.0f} s")
    table = []
    for (name, labels), by_seed in sorted(seen.items(), key=lambda entry: (entry[0][1], entry[0][0])):
        values = list(by_seed.values())
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        table.append({"labels": labels, "features": name, "mean": statistics.mean(values), "sd": deviation})
        print(f"  {labels:12} {name:15} {100 * table[-1]['mean']:6.2f} ± {100 * deviation:.2f}")
    if args.json:
        Path(args.json).write_text(json.dumps({**{k: v for k, v in vars(args).items() if k in ("steps", "seeds", "speckle", "set")}, "table": table}, indent=1) + "\n")


main()
