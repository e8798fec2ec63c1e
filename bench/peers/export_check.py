"""Holds what `foretell export` writes against what the run itself computes.

`python export_check.py RUN` exports the run both ways into a temporary folder and prints the largest differences between the tokens of
`foretell embed --tokens`, of transformers (`IJepaModel`), of ONNX Runtime and, where it is installed (`pip install tract`), of tract,
for pictures of the run's size; and between pixels as `embed` and as transformers' processor prepare pictures of other sizes.

`python export_check.py --small` does so for the small file that Foretell's tests hold their own against, and rewrites
`crates/foretell/tests/export/small.safetensors` with ONNX Runtime's tokens.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from PIL import Image
from safetensors.numpy import save_file
from transformers import AutoImageProcessor, IJepaModel

ROOT = Path(__file__).resolve().parents[2]
HELD = ROOT / "crates/foretell/tests/export"
LIMIT = 1e-4


def report(what: str, ours: np.ndarray, theirs: np.ndarray, limit: float = LIMIT) -> None:
    assert ours.shape == theirs.shape, f"{what}: {ours.shape} and {theirs.shape}"
    difference = np.abs(ours - theirs).max()
    print(f"{what}: {difference:.1e} at most, of values up to {np.abs(theirs).max():.2f}, shape {list(ours.shape)}")
    assert difference <= limit, f"{what}: more than {limit}"


def checked(path: Path) -> None:
    """The file is valid and all shapes follow, with a free batch."""
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(path)
    version = model.opset_import[0].version
    operators = sorted({node.op_type for node in model.graph.node})
    print(f"{path.name}: opset {version}, {len(model.graph.node)} nodes: {', '.join(operators)}")


def with_onnx_runtime(path: Path, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["last_hidden_state"], {"pixel_values": pixels})[0]


def with_tract(path: Path, pixels: np.ndarray) -> np.ndarray | None:
    try:
        import tract
    except ImportError:
        return None
    model = tract.onnx().load(str(path)).into_model().into_runnable()
    return model.run([pixels])[0].to_numpy()


def run_both(path: Path, pixels: np.ndarray, ours: np.ndarray | None) -> np.ndarray:
    """Tokens by ONNX Runtime, all at once and alone, and by tract."""
    tokens = with_onnx_runtime(path, pixels)
    if ours is not None:
        report("embed and ONNX Runtime", ours, tokens)
    report("ONNX Runtime: one of a batch, and alone", tokens[:1], with_onnx_runtime(path, pixels[:1]))
    theirs = with_tract(path, pixels)
    if theirs is None:
        print("tract: not installed")
    else:
        report("tract and ONNX Runtime", theirs, tokens)
    return tokens


def pictures(folder: Path, sizes: list[tuple[int, int]]) -> list[Path]:
    """Smooth random pictures, height by width."""
    draws, paths = np.random.default_rng(0), []
    for i, (height, width) in enumerate(sizes):
        coarse = Image.fromarray(draws.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        paths.append(folder / f"{i:02}.png")
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(paths[-1])
    return paths


def check(run: Path, binary: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        folder, file, tokens = scratch / "hf", scratch / "run.onnx", scratch / "tokens.npz"

        def foretell(*arguments: object) -> None:
            subprocess.run([binary, *map(str, arguments)], check=True)

        foretell("export", run, "--format", "hf", "--out", folder)
        foretell("export", run, "--format", "onnx", "--out", file)
        model, loading = IJepaModel.from_pretrained(folder, output_loading_info=True)
        assert not any(loading[fault] for fault in ("missing_keys", "unexpected_keys", "mismatched_keys")), loading
        processor = AutoImageProcessor.from_pretrained(folder)
        size = model.config.image_size

        (scratch / "exact").mkdir()
        paths = pictures(scratch / "exact", [(size, size)] * 8)
        pixels = processor(images=[Image.open(path) for path in paths], return_tensors="np")["pixel_values"]
        foretell("embed", run, scratch / "exact", "--tokens", "--out", tokens)
        ours = np.load(tokens)["features"]
        with torch.no_grad():
            theirs = model.eval()(torch.from_numpy(pixels)).last_hidden_state.numpy()
        report("embed and transformers", ours, theirs)
        checked(file)
        run_both(file, pixels, ours)

        (scratch / "other").mkdir()
        paths = pictures(scratch / "other", [(3 * size, 2 * size), (size + 5, 4 * size), (size // 2, size)])
        pixels = processor(images=[Image.open(path) for path in paths], return_tensors="np")["pixel_values"]
        foretell("embed", run, scratch / "other", "--tokens", "--out", tokens)
        ours = np.load(tokens)["features"]
        with torch.no_grad():
            theirs = model(torch.from_numpy(pixels)).last_hidden_state.numpy()
        cosine = (ours * theirs).sum(-1) / np.linalg.norm(ours, axis=-1) / np.linalg.norm(theirs, axis=-1)
        print(f"pictures of other sizes, resized by either: cosine of tokens {cosine.min():.4f} at least")


def small() -> None:
    file = HELD / "small.onnx"
    checked(file)
    pixels = np.random.default_rng(0).standard_normal((2, 3, 8, 12)).astype(np.float32)
    tokens = run_both(file, pixels, None)
    save_file({"pixel_values": pixels, "last_hidden_state": tokens}, HELD / "small.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="a finished run of i-jepa, or of le-jepa with a transformer")
    parser.add_argument("--small", action="store_true", help="check and rewrite the tests' file instead")
    parser.add_argument("--foretell", type=Path, default=ROOT / "target/release/foretell", help="the binary")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.small:
        small()
    elif arguments.run:
        check(arguments.run, arguments.foretell)
    else:
        parser.error("a run, or --small")


if __name__ == "__main__":
    main()
