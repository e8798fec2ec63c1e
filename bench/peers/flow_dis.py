"""Flow of the moving scenes by a classical method, OpenCV's DIS (Kroeger et al., 2016), beside the exact one and beside no flow.

    cargo run --release -p foretell-data --example moving_pairs -- pairs 256 64 16
    pip install opencv-python-headless numpy
    python flow_dis.py pairs

The pairs are those by which `foretell train mc-jepa` judges its own flow with the same `data.image_size`, `data.frames` and ground, and
errors are averaged alike: the mean over pairs of the mean over a pair's pixels.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


def errors(found: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    error = np.linalg.norm(found - exact, axis=-1)
    moving = np.linalg.norm(exact, axis=-1) > 0
    pairs = [(e.mean(), e[m].mean()) for e, m in zip(error, moving) if m.any()]
    everywhere, where_it_moves = np.mean(pairs, axis=0)
    return {"all": round(float(everywhere), 4), "moving": round(float(where_it_moves), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help="the folder that moving_pairs wrote")
    parser.add_argument("--scale", type=int, default=1, help="enlarge frames first: DIS begins at a scale for large images")
    arguments = parser.parse_args()
    frames, exact = np.load(arguments.pairs / "frames.npy"), np.load(arguments.pairs / "flow.npy")
    rows = {"zero flow": errors(np.zeros_like(exact), exact)}
    size = frames.shape[2]
    for name, preset in PRESETS.items():
        method = cv2.DISOpticalFlow_create(preset)
        if size * arguments.scale < 128:
            # Down to whole pixels: of small frames the presets' finest scale leaves nothing.
            method.setFinestScale(0)
        found = np.empty_like(exact)
        for pair, out in zip(frames, found):
            grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in pair]
            if arguments.scale > 1:
                side = (size * arguments.scale,) * 2
                grey = [cv2.resize(image, side, interpolation=cv2.INTER_CUBIC) for image in grey]
            flow = method.calc(grey[0], grey[1], None)
            if arguments.scale > 1:
                flow = cv2.resize(flow, (size, size), interpolation=cv2.INTER_AREA) / arguments.scale
            out[:] = flow
        rows[f"DIS {name}"] = errors(found, exact)
    print(json.dumps({"pairs": len(frames), "size": size, "scale": arguments.scale, "opencv": cv2.__version__, "error_px": rows}))


if __name__ == "__main__":
    main()
