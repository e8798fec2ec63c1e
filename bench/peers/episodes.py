"""Recorded episodes as the real libraries write them, converted by `docs/episodes_to_npz.py` and held against what was recorded.

    pip install h5py==3.16.0 hdf5plugin==7.1.0 'minari[create,hdf5,arrow]==0.5.4' pyarrow==26.0.1 pylance==14.0.2 lancedb==0.40.0 zarr==2.18.7 numcodecs==0.15.2 pillow==13.0.0 loguru tqdm
    pip install --no-deps stable-worldmodel==0.1.1
    python episodes.py --foretell ../../target/release/foretell

and in an environment of its own, as it asks for other versions: `pip install lerobot==0.4.4`, `python episodes.py lerobot`. `python
episodes.py zarr` also runs under zarr 3. Minari, stable-worldmodel, LeRobot and zarr write by their own code; robomimic's,
D4RL's and OGBench's layouts are written with h5py and NumPy as robomimic 0.3.0, D4RL 1.1 and OGBench 1.2 document them.

Every picture bears the numbers of its episode and step, so that a shift by one is seen whatever a JPEG or a video does to colours.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import types
import zipfile
from pathlib import Path

import numpy as np

CONVERT = Path(__file__).resolve().parents[2] / "docs/episodes_to_npz.py"
SIDE, EPISODES = 64, 12  # demo_10 comes before demo_2 by text


def steps(episode):
    return 4 + episode % 3


def picture(episode, step):
    """`[64, 64, 3]`: 16 squares, white where a bit of the episode's and step's number is set; episodes differ in the others' colour."""
    bits = [(episode * 16 + step + 1) >> bit & 1 for bit in range(16)]
    squares = np.array([(230, 230, 230) if bit else (20, 20, 20 + 10 * (episode % 8)) for bit in bits], np.uint8).reshape(4, 4, 3)
    return squares.repeat(SIDE // 4, 0).repeat(SIDE // 4, 1)


def read(pixels):
    """The numbers in a picture of any size, `[H, W, 3]`."""
    step = pixels.shape[0] // 4
    bits = [pixels[y * step + step // 2, x * step + step // 2].mean() > 128 for y in range(4) for x in range(4)]
    code = sum(int(bit) << i for i, bit in enumerate(bits)) - 1
    return code // 16, code % 16


def action(episode, step):
    return np.array([episode + step / 16, -step, 0.5], np.float32)


def place(episode, step):
    return np.array([episode, step * 0.25], np.float32)


def pictures(episode, count):
    return np.stack([picture(episode, step) for step in range(count)])


def actions(episode):
    return np.stack([action(episode, step) for step in range(steps(episode))])


def places(episode, count):
    return np.stack([place(episode, step) for step in range(count)])


def convert(source, out, *options, code=0):
    run = subprocess.run([sys.executable, CONVERT, source, *(["--out", out] if out else []), *options], capture_output=True, text=True)
    assert run.returncode == code, (run.returncode, run.stdout, run.stderr)
    assert code == 0 or run.stderr.startswith("error: ") and run.stderr.count("\n") == 1, run.stderr
    assert code == 0 or not list(Path(source).parent.glob(f".{Path(out).name}.*")) and not Path(out).exists(), "something half-written lies there"
    return run.stdout if code == 0 else run.stderr


def episode(out, number):
    return np.load(Path(out) / f"episode_{number:06d}.npz")


def check(out, more, exact, ends, side=SIDE, numbers=range(EPISODES)):
    """That each file holds its episode, step by step; `more` observations behind the last action."""
    assert len(list(Path(out).iterdir())) == len(numbers)
    for number in numbers:
        held = episode(out, number)
        seen = steps(number) + more
        assert held["observations"].dtype == np.uint8 and held["observations"].shape == (seen, side, side, 3), held["observations"].shape
        assert [read(pixels) for pixels in held["observations"]] == [(number, step) for step in range(seen)], f"episode {number} is shifted"
        if exact:
            ratio = SIDE // side
            mean = pictures(number, seen).reshape(seen, side, ratio, side, ratio, 3).mean((2, 4))
            assert np.array_equal(held["observations"], np.floor(mean + 0.5)), "other pixels than were recorded"
        rows = held["actions"]
        assert np.array_equal(rows[: steps(number) - 1 + more], actions(number)[: steps(number) - 1 + more]), f"other actions in episode {number}"
        end = "none" if "terminations" not in held else "terminal" if held["terminations"][-1] else "timeout" if held["truncations"][-1] else "cut"
        assert end == ends(number), (number, end)
        assert "terminations" not in held or not held["terminations"][:-1].any() and not held["truncations"][:-1].any()


def robomimic(folder):
    import h5py

    with h5py.File(folder / "demo.hdf5", "w") as file:
        for number in range(EPISODES):
            demo = file.create_group(f"data/demo_{number}")
            demo.attrs["num_samples"] = steps(number)
            seen = pictures(number, steps(number) + 1)
            demo["actions"], demo["states"] = actions(number), places(number, steps(number)).astype(float)
            demo["rewards"], demo["dones"] = np.zeros(steps(number)), np.arange(steps(number)) >= steps(number) - 2
            demo["obs/agentview_image"], demo["next_obs/agentview_image"] = seen[:-1], seen[1:]
            demo["obs/robot0_eye_in_hand_image"] = seen[:-1] // 2
        file["data"].attrs["total"] = sum(map(steps, range(EPISODES)))
        file["mask/train"] = np.array([b"demo_10", b"demo_2"])
    asked = convert(folder / "demo.hdf5", folder / "asked", code=2)
    assert "--observation" in asked and "robot0_eye_in_hand_image" in asked, asked
    said = convert(folder / "demo.hdf5", folder / "out", "--observation", "obs/agentview_image")
    assert "12 terminal" in said and "always 0.5" in said and "12 episodes have a flag up before" in said, said
    check(folder / "out", 1, True, lambda _: "terminal")
    assert np.array_equal(episode(folder / "out", 7)["states"], places(7, steps(7)))
    convert(folder / "demo.hdf5", folder / "mask", "--observation", "obs/agentview_image", "--mask", "train", "--size", "16")
    check(folder / "mask", 1, True, lambda _: "terminal", 16, [2, 10])
    assert "already" in subprocess.run([sys.executable, CONVERT, folder / "demo.hdf5", "--observation", "obs/agentview_image", "--out", folder / "out"], capture_output=True, text=True).stderr
    for name, spoil in (("num_samples", lambda demo: demo.attrs.update(num_samples=99)), ("no number", lambda demo: demo["actions"].write_direct(np.full_like(actions(3), np.nan)))):
        with h5py.File(folder / "demo.hdf5", "r") as good, h5py.File(folder / "bad.hdf5", "w") as bad:
            good.copy("data", bad)
            spoil(bad["data/demo_3"])
        assert name in convert(folder / "bad.hdf5", folder / "bad", "--observation", "obs/agentview_image", code=2)
    return folder / "out"


def flat(number_of_rows):
    """All episodes one behind the other, as many observations as actions."""
    return np.concatenate([pictures(e, steps(e)) for e in range(EPISODES)]), np.concatenate([actions(e) for e in range(EPISODES)]), np.cumsum([steps(e) for e in range(EPISODES)])


def d4rl(folder):
    import h5py

    seen, done, ends = flat(EPISODES)
    after = np.concatenate([pictures(e, steps(e) + 1)[1:] for e in range(EPISODES)])
    terminal = np.isin(np.arange(len(done)), ends[::2] - 1)
    timeout = np.isin(np.arange(len(done)), ends[1:-1:2] - 1)
    for name, more in (("plain", {}), ("next", {"next_observations": after})):
        with h5py.File(folder / f"{name}.hdf5", "w") as file:
            for key, value in {"observations": seen, "actions": done, "rewards": np.zeros(len(done)), "terminals": terminal, "timeouts": timeout, "infos/qpos": done, **more}.items():
                file[key] = value
        said = convert(folder / f"{name}.hdf5", folder / name)
        assert "6 terminal, 5 timeout, 1 cut" in said, said
        check(folder / name, bool(more), True, lambda e: "terminal" if e % 2 == 0 else "cut" if e == EPISODES - 1 else "timeout")
    with h5py.File(folder / "without.hdf5", "w") as file:
        file["observations"], file["actions"], file["terminals"] = np.zeros((12, 3)), np.zeros((12, 1)), np.zeros(12, bool)
    assert "--longest" in convert(folder / "without.hdf5", folder / "none", code=2)
    said = convert(folder / "without.hdf5", folder / "cut", "--longest", "4")
    assert "3 of 4 to 4 actions, 12 in all" in said, said
    with h5py.File(folder / "without.hdf5", "a") as file:
        file["observations"][10, 1] = np.nan
    said = convert(folder / "without.hdf5", folder / "hole", "--longest", "4", code=2)
    assert "`observations` of episode 2 has a hole: row 2 of 4" in said, said


def ogbench(folder):
    seen, done, ends = flat(EPISODES)
    np.savez_compressed(folder / "visual-v0.npz", observations=seen, actions=done, terminals=np.isin(np.arange(len(done)), ends - 1), qpos=done)
    convert(folder / "visual-v0.npz", folder / "out", "--size", "32")
    check(folder / "out", 0, True, lambda _: "terminal", 32)


def minari(folder):
    os.environ["MINARI_DATASETS_PATH"] = str(folder)
    import gymnasium
    from minari import DataCollector

    class Numbered(gymnasium.Env):
        observation_space = gymnasium.spaces.Dict(image=gymnasium.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8), state=gymnasium.spaces.Box(-99, 99, (2,), np.float32))
        action_space = gymnasium.spaces.Box(-99, 99, (3,), np.float32)
        episode = -1

        def look(self):
            return {"image": picture(self.episode, self.at), "state": place(self.episode, self.at)}

        def reset(self, **options):
            super().reset(**options)
            self.episode, self.at = self.episode + 1, 0
            return self.look(), {}

        def step(self, _):
            self.at += 1
            over = self.at == steps(self.episode)
            return self.look(), 0.0, over and self.episode % 2 == 0, over and self.episode % 2 == 1, {}

    for form in ("hdf5", "arrow", "parquet"):
        for lossless in (True, False):
            world = DataCollector(Numbered(), data_format=form, jpeg_encoding=not lossless)
            for number in range(EPISODES):
                world.reset()
                for step in range(steps(number)):
                    world.step(action(number, step))
            name = f"{form}{'-raw' if lossless else ''}-v0"
            world.create_dataset(dataset_id=f"numbered/{name}")
            said = convert(folder / "numbered" / name, folder / name)
            assert "6 terminal, 6 timeout" in said or "6 timeout, 6 terminal" in said, said
            check(folder / name, 1, lossless, lambda e: "timeout" if e % 2 else "terminal")
            assert np.array_equal(episode(folder / name, 10)["states"], places(10, steps(10) + 1))
    # pyarrow hands out rows by 32,768: an episode of more is still one.
    import minari as library
    from minari.data_collector.episode_buffer import EpisodeBuffer

    space, count = gymnasium.spaces.Box(-1e9, 1e9, (1,), np.float32), 70_000
    rows = np.arange(count + 1, dtype=np.float32)[:, None]
    flags = [False] * count
    long = [EpisodeBuffer(id=i, observations=rows + i, actions=rows[:-1], rewards=[0.0] * count, terminations=flags, truncations=flags, infos={}) for i in range(2)]
    library.create_dataset_from_buffers("numbered/long-v0", long, observation_space=space, action_space=space, data_format="arrow")
    assert "2 cut" in (said := convert(folder / "numbered/long-v0", folder / "long")), said
    assert all(np.array_equal(episode(folder / "long", i)["observations"], rows + i) for i in range(2))
    convert(folder / "numbered/hdf5-v0", folder / "state", "--observation", "observations/state", "--every", "2")
    assert np.array_equal(episode(folder / "state", 2)["observations"], places(2, steps(2) + 1)[::2])


def writers():
    """stable-worldmodel's own writers; the package around them imports PyTorch and worlds, which they do not use."""
    root = Path(importlib.util.find_spec("stable_worldmodel").submodule_search_locations[0])
    for name, path in (("stable_worldmodel", root), ("stable_worldmodel.data", root / "data")):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(path)]
    for name, keys in (("torch", ("Tensor",)), ("stable_worldmodel.utils", ("DEFAULT_CACHE_DIR", "HF_BASE_URL"))):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__dict__.update(dict.fromkeys(keys))
    sys.modules["stable_worldmodel.data"].formats = None
    # `data/formats/__init__.py` imports every form; only these two are wanted.
    sys.modules["stable_worldmodel.data.formats"] = types.ModuleType("stable_worldmodel.data.formats")
    sys.modules["stable_worldmodel.data.formats"].__path__ = [str(root / "data/formats")]
    from stable_worldmodel.data.formats.hdf5 import HDF5Writer
    from stable_worldmodel.data.formats.lance import LanceWriter

    return HDF5Writer, LanceWriter


def swm(folder):
    hdf5, lance = writers()
    # As `World.collect` has it: an action stands at the row that it was taken at, the last of an episode is no number.
    rows = lambda e: {"pixels": list(pictures(e, steps(e))), "action": [*actions(e)[:-1], np.full(3, np.nan, np.float32)], "proprio": list(places(e, steps(e)))}
    for name, writer in (("play.h5", hdf5), ("play.lance", lance)):
        with writer(folder / name) as file:
            file.write_episodes(map(rows, range(EPISODES)))
        said = convert(folder / name, folder / f"out-{name}")
        assert "12 episodes have a last action that is no number" in said and "ends        not said" in said, said
        check(folder / f"out-{name}", 0, writer is hdf5, lambda _: "none")
        assert np.array_equal(episode(folder / f"out-{name}", 10)["states"], places(10, steps(10)))


def zarr(folder):
    import zarr as library
    from numcodecs import Blosc

    print("zarr", library.__version__)
    seen, done, ends = flat(EPISODES)
    root = library.open_group(str(folder / "play.zarr"), mode="w", **({"zarr_format": 2} if library.__version__ >= "3" else {}))
    packed = Blosc(cname="zstd", clevel=5, shuffle=Blosc.NOSHUFFLE)
    for key, value in {"data/img": seen.astype(np.float32), "data/action": done, "data/state": done[:, :2], "meta/episode_ends": ends}.items():
        if library.__version__ >= "3":
            root.create_array(key, data=value, chunks=(5, *value.shape[1:]), compressors=packed)
        else:
            root.create_dataset(key, data=value, chunks=(5, *value.shape[1:]), compressor=packed)
    convert(folder / "play.zarr", folder / "out")
    check(folder / "out", 0, True, lambda _: "none")
    with zipfile.ZipFile(folder / "play.zarr.zip", "w") as packed:
        for path in (folder / "play.zarr").rglob("*"):
            packed.write(path, path.relative_to(folder / "play.zarr"))
    convert(folder / "play.zarr.zip", folder / "zipped")
    check(folder / "zipped", 0, True, lambda _: "none")


def lerobot(folder):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    features = {
        "observation.image": {"dtype": "video", "shape": (SIDE, SIDE, 3), "names": ["height", "width", "channels"]},
        "observation.state": {"dtype": "float32", "shape": (2,), "names": ["episode", "step"]},
        "action": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
    }
    for name, kind in (("video", "video"), ("image", "image")):
        features["observation.image"]["dtype"] = kind
        # LeRobot's own choice, AV1 at its quickest, loses whole squares of such small pictures.
        data = LeRobotDataset.create("foretell/numbered", fps=30, root=folder / name, features=features, use_videos=kind == "video", vcodec="h264")
        # Several files of several episodes each.
        data.meta.update_chunk_settings(video_files_size_in_mb=0.01, data_files_size_in_mb=0.01)
        for number in range(EPISODES):
            for step in range(steps(number)):
                data.add_frame({"observation.image": picture(number, step), "observation.state": place(number, step), "action": action(number, step), "task": "count"})
            data.save_episode()
        data.finalize()
        files = sorted(path.name for path in (folder / name).rglob("file-*.mp4" if kind == "video" else "data/*/file-*.parquet"))
        print("lerobot", kind, "files", files)
        convert(folder / name, folder / f"out-{name}")
        check(folder / f"out-{name}", 0, kind == "image", lambda _: "none")
        assert np.array_equal(episode(folder / f"out-{name}", 10)["states"], places(10, steps(10)))
    import pyarrow.parquet as parquet

    metas = sorted((folder / "video/meta/episodes").rglob("*.parquet"))

    def change(meta, how):
        table = parquet.read_table(meta)
        rows = table.to_pylist()
        how(rows)
        parquet.write_table(type(table).from_pylist(rows, schema=table.schema), meta)

    # Times that have drifted, as of videos that last longer than their frames: the lengths still find each frame.
    for meta in metas:
        change(meta, lambda rows: [row.update({"videos/observation.image/from_timestamp": row["videos/observation.image/from_timestamp"] * 1.4}) for row in rows])
    assert "lengths are followed" in (said := convert(folder / "video", folder / "drift")), said
    check(folder / "drift", 0, False, lambda _: "none")
    # Lengths that the table does not bear out.
    change(metas[0], lambda rows: [row.update(length=row["length"] + by) for row, by in zip(rows, (1, -1))])
    assert "does not hold the 5 frames of episode 0" in (said := convert(folder / "video", folder / "bad", code=2)), said


LIGHT = {"robomimic": robomimic, "d4rl": d4rl, "ogbench": ogbench, "minari": minari, "swm": swm, "zarr": zarr}
FORMS = {**LIGHT, "lerobot": lerobot}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("forms", nargs="*", metavar="FORM", help=f"of {', '.join(FORMS)}; else all but lerobot")
    parser.add_argument("--foretell", help="the program, which then inspects robomimic's episodes and takes two steps on them")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        for name in args.forms or LIGHT:
            folder = Path(root, name)
            folder.mkdir()
            out = FORMS[name](folder)
            print(name, "as recorded")
            if out and args.foretell:
                said = json.loads(subprocess.run([args.foretell, "inspect", out, "--json"], check=True, capture_output=True, text=True).stdout)
                print({key: said[key] for key in ("episodes", "ends", "action_ranges")})
                subprocess.run([args.foretell, "train", "le-wm", "--data", out, "--steps", "2", "--set", "train.batch=4", "--out", folder / "run"], check=True, capture_output=True)
                print("two steps of le-wm")


main()
