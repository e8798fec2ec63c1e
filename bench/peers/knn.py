"""Exact nearest neighbours by cosine of random rows: scikit-learn's brute force or faiss's flat index; one JSON line.

Scaling the rows to length 1 is part of what is timed, and so is building the index, as both are on our side.
"""

import argparse
import json
import os
import resource
import statistics
import time

parser = argparse.ArgumentParser()
parser.add_argument("library", choices=["sklearn", "faiss"])
parser.add_argument("--gallery", type=int, default=50_000)
parser.add_argument("--queries", type=int, default=10_000)
parser.add_argument("--width", type=int, default=768)
parser.add_argument("--neighbours", type=int, default=20)
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--threads", type=int, default=os.cpu_count())
o = parser.parse_args()
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(o.threads)

import numpy as np  # noqa: E402  after the number of threads

noise = np.random.default_rng(0)
gallery, queries = (noise.random((rows, o.width), dtype=np.float32) - 0.5 for rows in (o.gallery, o.queries))

if o.library == "faiss":
    import faiss

    faiss.omp_set_num_threads(o.threads)
    version = faiss.__version__

    def search():
        a, b = gallery.copy(), queries.copy()
        faiss.normalize_L2(a)
        faiss.normalize_L2(b)
        index = faiss.IndexFlatIP(o.width)
        index.add(a)
        return index.search(b, o.neighbours)[1]
else:
    import sklearn
    from sklearn.neighbors import NearestNeighbors

    version = sklearn.__version__

    def search():
        index = NearestNeighbors(n_neighbors=o.neighbours, algorithm="brute", metric="cosine").fit(gallery)
        return index.kneighbors(queries, return_distance=False)


search()
times = []
for _ in range(o.steps):
    start = time.perf_counter()
    search()
    times.append((time.perf_counter() - start) * 1e3)
ms = statistics.median(times)
print(json.dumps({
    "library": o.library,
    "version": version,
    "threads": o.threads,
    "search_ms": round(ms, 2),
    "queries_per_s": round(o.queries / ms * 1e3, 2),
    "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    "search_ms_all": [round(t, 2) for t in times],
}))
