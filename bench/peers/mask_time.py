"""Times the released mask sampler for a batch, in Python."""

import argparse
import json
import statistics
import time

import torch

from masks import MultiBlock


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__)
    for name, default in (("grid", 14), ("batch", 128), ("steps", 10)):
        a.add_argument(f"--{name}", type=int, default=default)
    o = a.parse_args()
    torch.set_num_threads(1)  # single numbers are drawn: more threads only cost
    collate = MultiBlock((o.grid, o.grid), min_keep=4 if o.grid <= 8 else 10)
    places, times = torch.Generator().manual_seed(0), []
    for i in range(o.steps + 1):
        start = time.perf_counter()
        collate(o.batch, i, places)
        times.append((time.perf_counter() - start) * 1e3)
    print(json.dumps({**vars(o), "batch_ms": statistics.median(times[1:])}))


if __name__ == "__main__":
    main()
