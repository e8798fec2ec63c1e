"""Times a training step and prints one JSON line."""

import json
import resource
import statistics
import time
from collections.abc import Callable

import torch

from engine import Engine


def measure(step: Callable[[int], float], warmup: int, steps: int, images: int, engine: Engine, **facts: object) -> None:
    """`step(i)` trains on `images` images and returns its loss; the first `warmup` calls are not counted."""
    times = []
    for i in range(warmup + steps):
        start = time.perf_counter()
        loss = step(i)
        times.append((time.perf_counter() - start) * 1e3)
    times = times[warmup:]
    median = statistics.median(times)
    report = {
        **facts,
        **engine.facts(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "step_ms": round(median, 2),
        "step_ms_all": [round(t, 2) for t in times],
        "images_per_s": round(images / median * 1e3, 2),
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),  # the peak
        "loss": loss,
    }
    print(json.dumps(report))
