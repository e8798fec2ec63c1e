"""How an encoder's energy (mean absolute difference of standardised tokens) grows with the distance between two places of a dot.

    foretell record --world two-rooms --pictures 20000 --out pictures.npz
    energy.py --foretell target/release/foretell --run RUN --pictures pictures.npz

Each of 60 layouts is shown with the dot of 40 other pictures; every two pictures of one layout are a pair. RUN is a run of images.
"""

import argparse
import pathlib
import subprocess
import tempfile

import numpy as np

LAYOUTS, PLACES, WORLD = 60, 40, 65
EDGES = [0, 2, 4, 8, 12, 16, 24, 32, 48, 64]


def centre(dot: np.ndarray) -> np.ndarray:
    """[S, S] -> row and column of the dot, in pixels of the world."""
    light = dot.astype(float) - np.median(dot)
    light[light < 0.3 * light.max()] = 0
    rows, columns = np.mgrid[: dot.shape[0], : dot.shape[1]]
    return np.array([(light * rows).sum(), (light * columns).sum()]) / light.sum() * WORLD / dot.shape[0]


def ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values)).astype(float)


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("foretell", "run", "pictures"):
        a.add_argument(f"--{name}", type=pathlib.Path, required=True)
    o = a.parse_args()
    pictures, random = np.load(o.pictures)["images"], np.random.default_rng(0)
    shown, places = [], []
    for layout in range(LAYOUTS):
        for other in random.choice(len(pictures), PLACES, replace=False):
            picture = pictures[layout].copy()
            picture[..., 0] = pictures[other][..., 0]
            shown.append(picture)
            places.append(centre(pictures[other][..., 0]))
    with tempfile.TemporaryDirectory() as folder:
        data, tokens = f"{folder}/pairs.npz", f"{folder}/tokens.npz"
        np.savez(data, images=np.array(shown))
        subprocess.run([o.foretell, "embed", o.run, data, "--tokens", "--out", tokens], check=True, stdout=subprocess.DEVNULL)
        features = np.load(tokens)["features"].astype(np.float32)
    features = (features - features.mean(-1, keepdims=True)) / features.std(-1, keepdims=True)
    features = features.reshape(LAYOUTS, PLACES, *features.shape[1:])
    places = np.array(places).reshape(LAYOUTS, PLACES, 2)
    first, second = np.triu_indices(PLACES, 1)
    far = np.linalg.norm(places[:, first] - places[:, second], axis=-1).ravel()
    energy = np.concatenate([np.abs(of[first] - of[second]).mean((1, 2)) for of in features])
    for low, high in zip(EDGES, EDGES[1:]):
        among = (far >= low) & (far < high)
        print(f"{low:2d} to {high:2d} pixels: {energy[among].mean():.3f} ± {energy[among].std():.3f}, {among.sum()} pairs")
    for least in (0, 8, 16):
        among = far > least
        print(f"rank correlation beyond {least}: {np.corrcoef(ranks(far[among]), ranks(energy[among]))[0, 1]:.2f}")


if __name__ == "__main__":
    main()
