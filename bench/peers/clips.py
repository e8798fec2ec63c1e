"""Writes the small clips and pictures that Foretell's readers and resizer are tested on, beside what others make of them.

`python clips.py ../../crates/foretell-data/tests/clips` rewrites them. y4m files are made and decoded by FFmpeg (`--ffmpeg`),
the GIF is made by Pillow and decoded by FFmpeg, resized pictures are Pillow's. Expected frames are raw RGB, one after the
other. FFmpeg stretches the chroma of odd sizes, so those are cut out of even ones.
"""

import argparse
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT, FRAMES = 16, 10, 3


def y4m(folder: Path, ffmpeg: str) -> None:
    source = f"testsrc2=size=64x40:rate=1:duration={FRAMES}"
    kinds = [
        ("420", "yuv420p", []),
        ("422", "yuv422p", []),
        ("444", "yuv444p", []),
        ("444-full", "yuv444p", ["-color_range", "pc"]),
        ("mono", "gray", []),
    ]
    for name, layout, more in kinds:
        path = folder / f"{name}.y4m"
        whole = "full" if name == "444-full" else "tv"
        convert = f"scale={WIDTH}:{HEIGHT}:out_color_matrix=bt601:out_range={whole},format={layout}"
        run = [ffmpeg, "-v", "error", "-y", "-f", "lavfi", "-i", source, "-vf", convert, *more, "-strict", "-1", path]
        subprocess.run(run, check=True)
        decode = "scale=in_color_matrix=bt601:flags=neighbor+accurate_rnd+full_chroma_inp+full_chroma_int,format=rgb24"
        path.with_suffix(".rgb").write_bytes(decoded(ffmpeg, path, "-vf", decode))
    odd(folder)


def decoded(ffmpeg: str, path: Path, *how: str) -> bytes:
    run = [ffmpeg, "-v", "error", "-i", path, *how, "-f", "rawvideo", "-"]
    return subprocess.run(run, check=True, capture_output=True).stdout


def odd(folder: Path) -> None:
    """The 4:2:0 clip without its last column and row of luma: chroma stays as it is."""
    header, rest = (folder / "420.y4m").read_bytes().split(b"\n", 1)
    frames = rest.split(b"FRAME\n")[1:]
    luma = WIDTH * HEIGHT
    with (folder / "420-odd.y4m").open("wb") as file:
        file.write(header.replace(b"W16 H10", b"W15 H9") + b"\n")
        for frame in frames:
            cut = np.frombuffer(frame[:luma], np.uint8).reshape(HEIGHT, WIDTH)[:-1, :-1]
            file.write(b"FRAME\n" + cut.tobytes() + frame[luma:])
    whole = np.frombuffer((folder / "420.rgb").read_bytes(), np.uint8).reshape(FRAMES, HEIGHT, WIDTH, 3)
    (folder / "420-odd.rgb").write_bytes(whole[:, :-1, :-1].tobytes())


def gif(folder: Path, ffmpeg: str) -> None:
    rng = np.random.default_rng(3)
    first = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
    frames = [Image.fromarray(first).quantize(32)]
    for at in [(2, 1), (5, 4), (0, 6), (7, 0)]:
        patch = Image.new("RGBA", (12, 10), (0, 0, 0, 0))
        patch.paste(Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)), at)
        frames.append(patch)
    path = folder / "disposals.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], disposal=[1, 2, 3, 1, 1], loop=0, optimize=False)
    raw = decoded(ffmpeg, path, "-fps_mode", "passthrough", "-pix_fmt", "rgba")
    rgba = np.frombuffer(raw, np.uint8).reshape(-1, 10, 12, 4)
    assert len(rgba) == 5 and {0, 255} == set(rgba[..., 3].flatten().tolist())
    path.with_suffix(".rgb").write_bytes(np.where(rgba[..., 3:] == 255, rgba[..., :3], 255).astype(np.uint8).tobytes())


def resized(folder: Path) -> None:
    rng = np.random.default_rng(4)
    y, x = np.mgrid[0:29, 0:41]
    waves = np.stack([np.sin(x / 3 + y / 5), np.cos(x * y / 40), np.sign(np.sin(x * 1.3))], axis=2) * 90 + 128
    picture = Image.fromarray((waves + rng.normal(0, 12, waves.shape)).clip(0, 255).astype(np.uint8))
    picture.save(folder / "picture.png")
    for name, filter in [("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC)]:
        for size in [(17, 23), (5, 7), (52, 40), (41, 12)]:
            picture.resize(size, filter).save(folder / f"{name}-{size[0]}x{size[1]}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ffmpeg", default="ffmpeg")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    y4m(arguments.folder, arguments.ffmpeg)
    gif(arguments.folder, arguments.ffmpeg)
    resized(arguments.folder)


if __name__ == "__main__":
    main()
