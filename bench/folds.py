#!/usr/bin/env python3
"""Trains and judges on each fold of graph sets, as the papers of this field evaluate: pre-training anew for every fold.

    cargo build --release
    bench/folds.py --data SETS/MUTAG --epochs 50 --seeds 5 [--set model.targets=3] [--jobs 2] [--json OUT]

One row for each head and kind of features: the mean over seeds of the mean over folds, the standard deviation of the latter over
seeds, and the mean over seeds of the deviation over folds (what the Graph-JEPA paper prints behind ±).
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


def run(args, fold, seed, place):
    out = place / f"fold-{fold}-seed-{seed}"
    command = [args.binary, "train", "graph-jepa", "--data", args.data, "--out", str(out), "--seed", str(seed), "--json"]
    command += ["--epochs", str(args.epochs), "--set", f"data.fold={fold}", "--set", "train.health_every=1000000"]
    command += [part for entry in args.set for part in ("--set", entry)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "RAYON_NUM_THREADS": "1"})
    if done.returncode != 0:
        sys.exit(f"fold {fold}, seed {seed}: {done.stderr.strip().splitlines()[-1]}")
    summary = json.loads(done.stdout)
    shutil.rmtree(out)
    rows = {(row["probe"], row["features"]): row["accuracy"] for row in summary["probes"]}
    rows |= {("ridge", row["features"]): row["accuracy"] for row in summary["ridge"]}
    rows[("chance", "")] = summary["chance"][0]["accuracy"]
    return (fold, seed), rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=float, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--binary", default=str(Path(__file__).resolve().parent.parent / "target/release/foretell"))
    parser.add_argument("--json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(args.jobs) as pool:
        pairs = [(fold, seed) for seed in range(args.seeds) for fold in range(1, args.folds + 1)]
        done = dict(pool.map(lambda pair: run(args, *pair, Path(place)), pairs))
    table = []
    for key in next(iter(done.values())):
        by_seed = [[done[fold, seed][key] for fold in range(1, args.folds + 1)] for seed in range(args.seeds)]
        means = [statistics.mean(folds) for folds in by_seed]
        over_seeds = statistics.stdev(means) if len(means) > 1 else 0.0
        over_folds = statistics.mean(statistics.stdev(folds) if len(folds) > 1 else 0.0 for folds in by_seed)
        table.append({"head": key[0], "features": key[1], "mean": statistics.mean(means), "sd_seeds": over_seeds, "sd_folds": over_folds})
    print(f"{Path(args.data).name}, {args.folds} folds, {args.seeds} seeds, {args.epochs:g} epochs")
    for row in table:
        print(f"  {row['head']:7} {row['features']:12} {100 * row['mean']:6.2f} ± {100 * row['sd_seeds']:.2f} over seeds, {100 * row['sd_folds']:.2f} over folds")
    if args.json:
        Path(args.json).write_text(json.dumps({"data": Path(args.data).name, "epochs": args.epochs, "set": args.set, "table": table}, indent=1) + "\n")


main()
