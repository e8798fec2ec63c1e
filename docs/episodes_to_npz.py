"""Recorded episodes of other tools as the `.npz` files that Foretell reads, one for each episode.

    python docs/episodes_to_npz.py SOURCE                     # say what lies there
    python docs/episodes_to_npz.py SOURCE --out EPISODES      # and write it

The form is told by what lies there, never by a name alone; only its own libraries are needed:

| form | needs |
|---|---|
| robomimic, D4RL, OGBench, Minari, stable-worldmodel in HDF5 | h5py (Blosc inside: hdf5plugin; JPEG inside: pillow) |
| D4RL or OGBench in `.npz` | |
| Minari in Arrow or parquet | pyarrow (JPEG inside: pillow) |
| stable-worldmodel in Lance | pylance, pillow |
| LeRobot 3 | pyarrow, av for videos, pillow for images in tables |
| zarr replay buffers (Diffusion Policy) | zarr |

A row is found by its place in its episode and the lengths that the source states, never by its time. What does not fit is told in
one sentence (exit code 2), and nothing is written then: files lie in a hidden folder until all are there.
"""

import argparse
import io
import json
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections import Counter, defaultdict
from importlib import import_module
from pathlib import Path

import numpy as np

TERMINAL = ("terminals", "terminal", "terminations", "terminated", "dones", "done", "is_terminal", "next.done")
TIMEOUT = ("timeouts", "timeout", "truncations", "truncated", "is_truncated")
# Numbers that say where a row stands or what it was worth, and nothing of what was seen or done.
BESIDE = {*TERMINAL, *TIMEOUT, "rewards", "reward", "next.reward", "next.success", "success", "timestamp", "frame_index", "episode_index", "index", "task_index", "episode_idx", "step_idx", "ep_len", "ep_offset", "seed", "id"}
STATES = ("observation.state", "states", "state", "proprio")
BLOCK = 32 << 20


class Refused(Exception):
    """One sentence: what was expected, what was found, what helps."""


def need(module, package=None):
    try:
        return import_module(module)
    except ImportError as error:
        raise Refused(f"this form is read with `{module}`, which is not installed: `pip install {package or module}`") from error


def decoded(data):
    """The picture `[H, W]` or `[H, W, C]` in the bytes of a JPEG or PNG."""
    return np.asarray(need("PIL.Image", "pillow").open(io.BytesIO(bytes(data))))


def is_jpeg(row):
    return len(row) > 3 and bytes(row[:3]) == b"\xff\xd8\xff"


class Column:
    """What one row of it is: a shape, a type, and whether it is a picture."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype = tuple(int(n) for n in shape), np.dtype(dtype)
        sides = sorted(self.shape)[-2:]
        deep = len(self.shape) == 3 and min(self.shape) <= 16
        self.picture = deep and sides[0] > 4 or len(self.shape) == 2 and self.dtype == np.uint8 and sides[0] >= 16

    def __str__(self):
        return f"{self.dtype} {list(self.shape)}"


class Source:
    """Episodes of any form. A form says `form`, `columns`, `flags`, `numbers` (how its episodes are called), `length` and `fetch`."""

    form, columns, flags, numbers, notes = "", {}, {}, [], ()

    def length(self, episode, key):
        """Rows of a column in an episode."""
        raise NotImplementedError

    def fetch(self, episode, key, start, stop):
        """These rows `[stop - start, …]`, counted from the episode's first."""
        raise NotImplementedError

    def whole(self, episode, key):
        return self.fetch(episode, key, 0, self.length(episode, key))

    def ended(self, episode):
        """`terminal`, `timeout` or `cut` by the flags of the last row; nothing where there are none."""
        if not self.flags:
            return None
        up = lambda names: any(self.whole(episode, key).ravel()[-1:].any() for key in self.flags if key in names)
        return "terminal" if up(TERMINAL) else "timeout" if up(TIMEOUT) else "cut"

    def sort_out(self, columns):
        """Flags apart from what could be seen or done; other rows' numbers and texts left out."""
        numeric = {key: column for key, column in columns.items() if column.dtype.kind in "biuf"}
        name = lambda key: key.rsplit("/", 1)[-1]
        self.flags = [key for key in numeric if key in (*TERMINAL, *TIMEOUT)]
        self.columns = {key: column for key, column in numeric.items() if name(key) not in BESIDE}


class Flat(Source):
    """Episodes one behind the other in the same columns, from `starts[i]` to `stops[i]`."""

    def bound(self, starts, stops, rows):
        self.starts, self.stops = [[int(row) for row in all_] for all_ in (starts, stops)]
        if any(not 0 <= a <= b <= rows for a, b in zip(self.starts, self.stops)):
            raise Refused(f"an episode is said to reach beyond the {rows} rows that there are")
        self.numbers = list(range(len(self.starts)))
        inside = sum(b - a for a, b in zip(self.starts, self.stops))
        self.notes = [f"{rows - inside} rows belong to no episode"] if inside < rows else []

    def length(self, episode, key):
        return self.stops[episode] - self.starts[episode]

    def fetch(self, episode, key, start, stop):
        return self.rows(key, self.starts[episode] + start, self.starts[episode] + stop)


class Forward:
    """Rows that come one after the other, such as a video's frames: taken in order, begun anew where that goes back."""

    def __init__(self, begin):
        self.begin, self.at, self.rows = begin, 0, None

    def take(self, start, stop):
        if self.rows is None or start < self.at:
            self.rows, self.at = self.begin(), 0
        taken = []
        while self.at < stop:
            row = next(self.rows, None)
            if row is None:
                raise Refused(f"it ends at row {self.at}, and row {stop - 1} was asked for")
            if self.at >= start:
                taken.append(row)
            self.at += 1
        return np.stack(taken)


# --- HDF5 ---------------------------------------------------------------------------------------------------------------------------


def leaves(group, prefix=""):
    """Arrays below a group by their paths."""
    for key, value in group.items():
        path = f"{prefix}{key}"
        if hasattr(value, "shape"):
            yield path, value
        else:
            yield from leaves(value, f"{path}/")


def hdf5_column(array):
    if array.shape[0] and (array.dtype.kind == "O" or array.dtype == np.uint8 and array.ndim == 2) and is_jpeg(head := array[0]):
        picture = decoded(head)
        return Column(picture.shape, picture.dtype)
    return Column(array.shape[1:], array.dtype)


def hdf5_rows(array, start, stop):
    rows = array[start:stop]
    packed = rows.dtype.kind == "O" or rows.dtype == np.uint8 and rows.ndim == 2
    return np.stack([decoded(row) for row in rows]) if packed and len(rows) and is_jpeg(rows[0]) else rows


class Groups(Source):
    """HDF5 with a group for each episode: robomimic's `demo_N`, Minari's `episode_N`; in the order of N."""

    def __init__(self, form, parent, names, following=None):
        self.form, self.parent, self.following = form, parent, following
        self.names = sorted(names, key=lambda name: int(name.rsplit("_", 1)[-1]))
        self.numbers = [int(name.rsplit("_", 1)[-1]) for name in self.names]
        self.unlike = defaultdict(set)
        self.sort_out({key: hdf5_column(a) for key, a in leaves(parent[self.names[0]]) if a.ndim and not key.startswith("next_")})

    def array(self, episode, key):
        if key not in (group := self.parent[self.names[episode]]):
            raise Refused(f"{self.names[episode]} has no `{key}`, which {self.names[0]} has")
        return group[key]

    def beyond(self, episode, key):
        """What is seen behind the last action (`next_obs` of robomimic), if that agrees with the rows before."""
        head, _, rest = key.partition("/")
        path = f"next_{head}/{rest}"
        if head != self.following or path not in (group := self.parent[self.names[episode]]):
            return None
        if follows(self.array(episode, key), group[path]):
            return group[path]
        self.unlike[key].add(episode)
        return None

    def length(self, episode, key):
        return len(self.array(episode, key)) + (self.beyond(episode, key) is not None)

    def fetch(self, episode, key, start, stop):
        array = self.array(episode, key)
        rows = hdf5_rows(array, start, min(stop, len(array)))
        if stop > len(array):
            rows = np.concatenate([rows, hdf5_rows(self.beyond(episode, key), -1, None)])
        return rows


def follows(now, after):
    """Whether `after` is `now` one row later, at the first, middle and last rows that have one."""
    count = len(now)
    looks = {row for row in (0, (count - 1) // 2, count - 2) if 0 <= row < count - 1}
    return len(after) == count and all(np.array_equal(after[row], now[row + 1]) for row in looks)


def hdf5(path, args):
    h5py = need("h5py")
    try:
        import_module("hdf5plugin")
    except ImportError:
        pass  # Only needed where a column is packed with Blosc and the like.
    file = h5py.File(path, "r")
    if any(key.startswith("demo_") for key in file.get("data", ())):
        masks = sorted(file.get("mask", ()))
        if args.mask and args.mask not in masks:
            raise Refused(f"`--mask {args.mask}`: it has {', '.join(masks) or 'no masks'}")
        names = [name.decode() for name in file[f"mask/{args.mask}"][:]] if args.mask else list(file["data"])
        if not names:
            raise Refused(f"mask `{args.mask}` names no demonstration")
        source = Groups("robomimic HDF5", file["data"], names, following="obs")
        source.notes = [f"masks {', '.join(masks)}: `--mask NAME` takes one"] if masks and not args.mask else []
        for name in source.names:
            said, found = file["data"][name].attrs.get("num_samples"), len(file["data"][name]["actions"])
            if said is not None and said != found:
                raise Refused(f"{name} holds {found} actions, and its `num_samples` says {said}")
        return source
    if names := [key for key in file if re.fullmatch(r"episode_\d+", key)]:
        return Groups("Minari HDF5", file, names)
    if "ep_len" in file and "ep_offset" in file:
        return Arrays("stable-worldmodel HDF5", {key: a for key, a in file.items() if key not in ("ep_len", "ep_offset")}, args, (file["ep_offset"][:], file["ep_len"][:]))
    if "actions" in file:
        return Arrays("D4RL HDF5", dict(leaves(file)), args)
    raise Refused(f"{path} is HDF5 of no form that is known: it holds {', '.join(file)[:200]}")


class Arrays(Flat):
    """Flat columns in which flags (D4RL, OGBench), lengths (stable-worldmodel) or ends (Diffusion Policy) tell episodes."""

    def __init__(self, form, arrays, args, spans=None):
        self.form, self.unlike = form, defaultdict(set)
        action = next((arrays[key] for key in ("actions", "action") if key in arrays), None)
        if action is None:
            raise Refused(f"it has no `actions`: it holds {', '.join(arrays)[:200]}")
        if not action.ndim or not action.shape[0]:
            raise Refused(f"its actions have the shape {list(action.shape)}: expected rows, one for each step")
        if args.mask:
            raise Refused(f"`--mask {args.mask}`: masks are of robomimic, and this is {form}")
        rows = action.shape[0]
        for key, a in arrays.items():
            if key in (*TERMINAL, *TIMEOUT) and int(np.prod(a.shape)) != rows:
                raise Refused(f"`{key}` has the shape {list(a.shape)}, and there are {rows} actions: expected one flag for each")
        self.arrays = {key: a for key, a in arrays.items() if a.ndim and a.shape[0] == rows}
        self.after = {key[5:]: a for key, a in self.arrays.items() if key.startswith("next_")}
        self.sort_out({key: hdf5_column(a) for key, a in self.arrays.items() if not key.startswith("next_")})
        notes = []
        if spans is None:
            spans = self.by_flags(rows, args, notes)
        self.bound(spans[0], np.add(*spans), rows)
        self.notes += notes

    def by_flags(self, rows, args, notes):
        up = np.zeros(rows, bool)
        for key in self.flags:
            up |= self.arrays[key][:].reshape(rows) != 0
        ends, start = [], 0
        for row in range(rows):
            if up[row] or args.longest and row + 1 - start == args.longest:
                ends.append(row + 1)
                start = row + 1
        if not ends:
            raise Refused("nothing in it says where episodes end (no flag of `terminals` or `timeouts` is up): give the most steps of an episode with `--longest N`")
        if not any(key in TIMEOUT for key in self.flags) and not args.longest and self.form.startswith("D4RL"):
            notes.append("it has no `timeouts`: episodes that were cut off for time run into the next, unless `--longest N` cuts them")
        if ends[-1] < rows:
            ends.append(rows)
        return np.array([0, *ends[:-1]]), np.diff([0, *ends])

    def rows(self, key, start, stop):
        return hdf5_rows(self.arrays[key], start, stop)

    def beyond(self, episode, key):
        if key not in self.after:
            return None
        window = slice(self.starts[episode], self.stops[episode])
        if follows(View(self.arrays[key], window), View(self.after[key], window)):
            return self.after[key]
        self.unlike[key].add(episode)
        return None

    def length(self, episode, key):
        return super().length(episode, key) + (self.beyond(episode, key) is not None)

    def fetch(self, episode, key, start, stop):
        rows = super().fetch(episode, key, start, min(stop, super().length(episode, key)))
        if stop > super().length(episode, key):
            rows = np.concatenate([rows, hdf5_rows(self.after[key], self.stops[episode] - 1, self.stops[episode])])
        return rows


class View:
    """A stretch of rows, read one by one."""

    def __init__(self, array, window):
        self.array, self.window = array, window

    def __len__(self):
        return self.window.stop - self.window.start

    def __getitem__(self, row):
        return self.array[self.window.start + row]


class Member:
    """An array of an `.npz`, read in order without holding it."""

    def __init__(self, path, name):
        self.path, self.name = path, name
        with zipfile.ZipFile(path).open(name) as file:
            self.shape, fortran, self.dtype = self.header(file)
        if fortran and len(self.shape) > 1:
            raise Refused(f"`{name}` lies in Fortran order: save it anew with `numpy.ascontiguousarray`")
        self.ndim, self.forward = len(self.shape), Forward(self.begin)

    @staticmethod
    def header(file):
        version = np.lib.format.read_magic(file)
        return (np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)

    def begin(self):
        with zipfile.ZipFile(self.path).open(self.name) as file:
            self.header(file)
            size = int(np.prod(self.shape[1:], dtype=int)) * self.dtype.itemsize
            for _ in range(self.shape[0]):
                yield np.frombuffer(file.read(size), self.dtype).reshape(self.shape[1:])

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        start, stop, _ = rows.indices(len(self)) if isinstance(rows, slice) else (rows, rows + 1, 1)
        taken = self.forward.take(start, stop)
        return taken if isinstance(rows, slice) else taken[0]


def npz(path, args):
    members = {name.removesuffix(".npy"): Member(path, name) for name in zipfile.ZipFile(path).namelist() if name.endswith(".npy")}
    # Of the following observations only the last is new, and looking for it would read the file twice over.
    return Arrays("D4RL or OGBench .npz", {key: a for key, a in members.items() if not key.startswith("next_")}, args)


# --- zarr, Lance, Arrow -------------------------------------------------------------------------------------------------------------


def zarr_buffer(path, args):
    library = need("zarr")
    zipped = getattr(library, "ZipStore", None) or library.storage.ZipStore
    store = library.open(zipped(str(path), mode="r") if path.is_file() else str(path), mode="r")
    if "meta/episode_ends" not in store or "data" not in store:
        raise Refused(f"{path} is a zarr store and no replay buffer: expected `data/…` and `meta/episode_ends`")
    ends = np.asarray(store["meta/episode_ends"][:], dtype=int)
    starts = np.concatenate([[0], ends[:-1]]).astype(int)
    if (ends < starts).any():
        raise Refused("`meta/episode_ends` does not rise")
    return Arrays("zarr replay buffer", {key: store[f"data/{key}"] for key in sorted(store["data"].array_keys())}, args, (starts, ends - starts))


def arrow_column(field):
    pa = need("pyarrow")
    if pa.types.is_fixed_size_list(field):
        return Column((field.list_size,), field.value_type.to_pandas_dtype())
    if pa.types.is_integer(field) or pa.types.is_floating(field) or pa.types.is_boolean(field):
        return Column((), field.to_pandas_dtype())
    return Column((), object)


def arrow_rows(column, key):
    """The rows of an Arrow column as numbers or pictures."""
    pa = need("pyarrow")
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_struct(column.type):  # an image of Hugging Face's `datasets`
        column = column.field("bytes")
    if column.null_count:
        raise Refused(f"`{key}` has {column.null_count} rows without a value")
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return np.stack([decoded(value.as_py()) for value in column])
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
    if pa.types.is_list(column.type):
        return np.array(column.to_pylist())
    return column.to_numpy(zero_copy_only=False)


class Lance(Flat):
    """A table of stable-worldmodel: `episode_idx`, `step_idx` and a column for each thing."""

    form = "stable-worldmodel Lance"

    def __init__(self, path):
        tables = [path] if path.suffix == ".lance" else sorted(path.glob("*.lance"))
        if len(tables) != 1:
            raise Refused(f"{path} holds {len(tables)} tables: give one of {', '.join(t.name for t in tables)}")
        self.table = need("lance", "pylance").dataset(str(tables[0]))
        names = self.table.schema.names
        if not {"episode_idx", "step_idx"} <= set(names):
            raise Refused(f"{tables[0]} has no `episode_idx` and `step_idx`: it holds {', '.join(names)}")
        order = self.table.to_table(columns=["episode_idx", "step_idx"])
        episodes, steps = order["episode_idx"].to_numpy(), order["step_idx"].to_numpy()
        starts = np.flatnonzero(np.diff(episodes, prepend=episodes[:1] - 1))
        stops = np.append(starts[1:], len(episodes))
        if len(np.unique(episodes)) != len(starts):
            raise Refused("the rows of an episode do not lie together")
        if not np.array_equal(steps, np.concatenate([np.arange(b - a) for a, b in zip(starts, stops)] or [[]])):
            raise Refused("`step_idx` does not count the rows of each episode from 0")
        self.bound(starts, stops, len(episodes))
        self.numbers = [int(episodes[start]) for start in starts]
        pa, columns = need("pyarrow"), {}
        for field in self.table.schema:
            columns[field.name] = arrow_column(field.type)
            if pa.types.is_binary(field.type) and len(episodes):
                columns[field.name] = Column((first := self.rows(field.name, 0, 1)).shape[1:], first.dtype)
        self.sort_out(columns)

    def rows(self, key, start, stop):
        return arrow_rows(self.table.take(list(range(start, stop)), columns=[key])[key], key)


class MinariArrow(Source):
    """A folder for each episode; what is filled up behind the last action is no action."""

    def __init__(self, folder, about):
        self.form = f"Minari {about['data_format']}"
        self.folder, self.format, self.held = folder, about["data_format"], (None, None)
        self.numbers = sorted(int(part.name) for part in folder.iterdir() if part.name.isdigit())
        if not self.numbers:
            raise Refused(f"{folder} holds no episode")
        self.spaces = {role: json.loads(about.get(f"{name}_space", "null")) for role, name in (("observations", "observation"), ("actions", "action"))}
        self.sort_out({key: Column((first := self.fetch(0, key, 0, 1)).shape[1:], first.dtype) for key in self.keys(0)})

    def table(self, episode):
        if self.held[0] != episode:
            data = need("pyarrow.dataset", "pyarrow")
            skipped = ["_", ".", "metadata.json"]
            table = data.dataset(self.folder / str(self.numbers[episode]), format=self.format, ignore_prefixes=skipped).to_table(use_threads=False)
            while any(str(field.type).startswith("struct") for field in table.schema):
                names = [name.replace(".", "/", 1) if "/" not in name else name.replace(".", "/") for name in table.flatten().column_names]
                table = table.flatten().rename_columns(names)
            self.held = (episode, table)
        return self.held[1]

    def keys(self, episode):
        known = lambda name: name.split("/")[0] in ("observations", "actions") or name in (*TERMINAL, *TIMEOUT)
        return [name for name in self.table(episode).column_names if known(name)]

    def shape(self, key):
        role, *path = key.split("/")
        space = self.spaces.get(role)
        for part in path:
            inner = (space or {}).get("subspaces") or {}
            space = inner[int(part)] if isinstance(inner, list) else inner.get(part)
        return (space or {}).get("shape")

    def length(self, episode, key):
        rows = len(self.table(episode))
        about = self.folder / str(self.numbers[episode]) / "metadata.json"
        steps = json.loads(about.read_text()).get("total_steps", rows - 1) if about.is_file() else rows - 1
        return rows if key.startswith("observations") else steps

    def fetch(self, episode, key, start, stop):
        rows = arrow_rows(self.table(episode)[key].slice(start, stop - start), key)
        shape = self.shape(key)
        packed = shape and rows.ndim == 2 and int(np.prod(shape)) == rows.shape[1]
        return rows.reshape(len(rows), *shape) if packed else rows


def minari(folder, args):
    about = json.loads((folder / "metadata.json").read_text())
    return hdf5(folder / "main_data.hdf5", args) if about["data_format"] == "hdf5" else MinariArrow(folder, about)


# --- LeRobot ------------------------------------------------------------------------------------------------------------------------


class LeRobot(Source):
    """LeRobot 3: many episodes in a table and in a video. A frame's place in its file is the sum of the lengths before it there."""

    form = "LeRobot 3"

    def __init__(self, root):
        parquet = need("pyarrow.parquet", "pyarrow")
        self.root, self.info = root, json.loads((root / "meta/info.json").read_text())
        version = self.info.get("codebase_version", "")
        if not version.startswith("v3"):
            raise Refused(f"it is LeRobot {version}: bring it to 3 with `python -m lerobot.datasets.v30.convert_dataset_v21_to_v30 --repo-id=ID --root={root}`")
        features = self.info["features"]
        self.video = [key for key, feature in features.items() if feature["dtype"] == "video"]
        self.image = [key for key, feature in features.items() if feature["dtype"] == "image"]
        self.meta = []
        for file in sorted((root / "meta/episodes").glob("*/*.parquet")):
            names = parquet.ParquetFile(file).schema_arrow.names
            wanted = [name for name in names if name in ("episode_index", "length") or name.startswith(("data/", "dataset_", "videos/"))]
            self.meta += parquet.read_table(file, columns=wanted).to_pylist()
        self.meta.sort(key=lambda row: row["episode_index"])
        self.numbers = [row["episode_index"] for row in self.meta]
        if not self.meta:
            raise Refused(f"{root / 'meta/episodes'} holds no episode")
        self.open, self.tables, self.checked, self.places = {}, (None, None), set(), {}
        last = lambda shape: shape if shape[-1] <= 4 else [*shape[1:], shape[0]]
        pictures = {key: Column(last(features[key]["shape"]), np.uint8) for key in self.video + self.image}
        kinds = {key: f["dtype"] for key, f in features.items() if key not in pictures and f["dtype"] not in ("string", "language")}
        shape = lambda key: () if list(features[key]["shape"]) == [1] else features[key]["shape"]
        self.sort_out({**{key: Column(shape(key), kind) for key, kind in kinds.items()}, **pictures})

    def length(self, episode, key):
        return self.meta[episode]["length"]

    def place(self, episode, prefix, order):
        """The file of an episode, how many rows of others lie before it there, and all episodes of that file."""
        if prefix not in self.places:
            files = defaultdict(list)
            for row in sorted(self.meta, key=lambda row: row[order]):
                files[row[f"{prefix}/chunk_index"], row[f"{prefix}/file_index"]].append(row)
            self.places[prefix] = {}
            for (chunk, file), rows in files.items():
                before = np.cumsum([0, *(row["length"] for row in rows)])
                for row, first in zip(rows, before):
                    self.places[prefix][row["episode_index"]] = {"chunk_index": chunk, "file_index": file}, int(first), rows
        return self.places[prefix][self.numbers[episode]]

    def fetch(self, episode, key, start, stop):
        return self.frames(episode, key, start, stop) if key in self.video else self.table(episode, key, start, stop)

    def table(self, episode, key, start, stop):
        place, before, beside = self.place(episode, "data", "dataset_from_index")
        path = self.root / self.info["data_path"].format(**place)
        parquet = need("pyarrow.parquet", "pyarrow")
        if self.tables[0] != path:
            columns = ["episode_index", "frame_index", *self.columns, *self.flags]
            self.tables = (path, parquet.read_table(path, columns=[c for c in columns if c not in self.video + self.image]))
        stand = self.tables[1].slice(before, self.meta[episode]["length"])
        number, length = self.numbers[episode], self.meta[episode]["length"]
        if stand["episode_index"].to_pylist() != [number] * length or stand["frame_index"].to_pylist() != list(range(length)):
            raise Refused(f"{path} does not hold the {length} frames of episode {number} from row {before} on, where `meta/episodes` says that they lie")
        if key not in self.image:
            return arrow_rows(stand[key].slice(start, stop - start), key).reshape(stop - start, *self.columns.get(key, Column((), bool)).shape)

        def images():
            for batch in parquet.ParquetFile(path).iter_batches(batch_size=16, columns=[key]):
                yield from arrow_rows(batch.column(0), key)

        return self.open.setdefault((key, path), Forward(images)).take(before + start, before + stop)

    def frames(self, episode, key, start, stop):
        place, before, beside = self.place(episode, f"videos/{key}", f"videos/{key}/from_timestamp")
        path = self.root / self.info["video_path"].format(video_key=key, **place)
        if path not in self.checked:
            self.check(path, key, beside)
            self.checked.add(path)

        def decode():
            with need("av").open(str(path)) as video:
                for frame in video.decode(video=0):
                    yield frame.to_ndarray(format="rgb24")

        for other in [other for other in self.open if other[0] == key and other[1] != path]:
            del self.open[other]
        return self.open.setdefault((key, path), Forward(decode)).take(before + start, before + stop)

    def check(self, path, key, beside):
        """That the video holds as many frames as its episodes, or that their times agree with where they are looked for."""
        with need("av").open(str(path)) as video:
            stream = video.streams.video[0]
            found = stream.frames or sum(1 for packet in video.demux(stream) if packet.size)
        expected = sum(row["length"] for row in beside)
        before, off = 0, []
        for row in beside:
            said = row[f"videos/{key}/from_timestamp"] * self.info["fps"]
            off += [(row["episode_index"], before, said)] if abs(said - before) > 0.5 else []
            before += row["length"]
        if off and found != expected or found < expected:
            told = f"; by its time episode {off[0][0]} begins at frame {off[0][2]:.1f}, by the lengths before it at {off[0][1]}" if off else ""
            raise Refused(f"{path} holds {found} frames and its episodes {expected}{told}")
        if off:
            number, frame, said = off[0]
            self.notes = [*self.notes, f"{path.name} of {key}: by `from_timestamp` episode {number} begins at frame {said:.1f}, by the lengths before it at {frame}; lengths are followed, which add up to the video's {found} frames"]
        elif found > expected:
            self.notes = [*self.notes, f"{path.name} of {key} holds {found - expected} frames that belong to no episode"]


# --- what all forms have in common --------------------------------------------------------------------------------------------------


def opened(path, args):
    if path.is_dir():
        has = lambda *names: any((path / name).exists() for name in names)
        if has("meta/info.json"):
            return LeRobot(path)
        for folder in (path, path / "data"):
            if (folder / "metadata.json").is_file() and "data_format" in json.loads((folder / "metadata.json").read_text()):
                return minari(folder, args)
        if has(".zgroup", "zarr.json"):
            return zarr_buffer(path, args)
        if path.suffix == ".lance" or any(path.glob("*.lance")):
            return Lance(path)
        files = [file for file in sorted(path.iterdir()) if file.suffix in (".h5", ".hdf5")]
        if len(files) == 1:
            return hdf5(files[0], args)
        raise Refused(f"{path} is a folder of no form that is known{': it holds several HDF5 files, give one' if files else ''}")
    if not path.is_file():
        raise Refused(f"{path} does not exist")
    with open(path, "rb") as file:
        head = file.read(8)
    if head == b"\x89HDF\r\n\x1a\n":
        return hdf5(path, args)
    if head[:2] == b"PK":
        inside = zipfile.ZipFile(path).namelist()
        return zarr_buffer(path, args) if any(name.endswith((".zgroup", "zarr.json")) for name in inside) else npz(path, args)
    raise Refused(f"{path} is of no form that is known: expected HDF5, `.npz`, a zipped zarr store or a folder")


def chosen(source, args):
    """Keys of the action, the observations and the states."""
    told = ", ".join(f"{key} ({column})" for key, column in source.columns.items())
    for key in (key for keys in (args.action, args.observation, args.states) for key in keys or []):
        if key not in source.columns and key != "none":
            raise Refused(f"it has no `{key}`: it holds {told}")
    is_action = lambda key: re.split(r"[/.]", key)[0].startswith("action")
    actions = args.action or [key for key in ("action", "actions") if key in source.columns][:1]
    if not actions and len(actions := [key for key in source.columns if is_action(key)]) != 1:
        raise Refused(f"what was done is not plain: say `--action KEY`, or several that are joined; it holds {told}")
    seen = {key: column for key, column in source.columns.items() if not is_action(key) and not key.startswith("infos/")}
    pictures = [key for key, column in seen.items() if column.picture]
    rules = ([key for key in ("observations", "observation", "obs") if key in seen][:1], pictures, list(seen))
    observation = args.observation or next((keys for keys in rules if len(keys) == 1 or keys and keys is pictures), [])
    if not args.observation and len(observation) != 1:
        raise Refused(f"several could be the observation: say `--observation KEY` ({told}); several of numbers are joined")
    if len(observation) > 1 and any(source.columns[key].picture for key in observation):
        raise Refused(f"`--observation {' '.join(observation)}`: only numbers are joined, a picture stands alone")
    stated = [key for key in seen if key.rsplit("/", 1)[-1] in STATES and key not in observation]
    states = stated if len(stated) == 1 and source.columns[observation[0]].picture else []
    states = states if args.states is None else [key for key in args.states if key != "none"]
    return actions, observation, states


def numbers(source, episode, keys):
    """Columns of numbers side by side, `[N, K]`, or `[N]` of a single one that is so."""
    parts = [source.whole(episode, key) for key in keys]
    if len({len(part) for part in parts}) > 1:
        raise Refused(f"episode {source.numbers[episode]} has {', '.join(f'{len(p)} rows of `{k}`' for k, p in zip(keys, parts))}: expected as many")
    if len(parts) == 1 and parts[0].ndim == 1:
        return parts[0]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def area(source, target):
    """`[target, source]`: each new line the mean of the lines that it covers."""
    edges = np.linspace(0, source, target + 1)
    lines = np.arange(source)
    cover = np.minimum(edges[1:, None], lines + 1) - np.maximum(edges[:-1, None], lines)
    return np.clip(cover, 0, None) * target / source


def shrunk(rows, size):
    """Pictures `[N, H, W]`, `[N, H, W, C]` or `[N, C, H, W]` with a side of `size`."""
    channels_last = rows.ndim == 3 or rows.shape[3] <= min(rows.shape[1], 16)
    high, wide = (1, 2) if channels_last else (2, 3)
    if size > min(rows.shape[high], rows.shape[wide]):
        raise Refused(f"`--size {size}` is more than the {rows.shape[high]} x {rows.shape[wide]} that was recorded")
    made = rows.astype(np.float64)
    for axis in (high, wide):
        made = np.moveaxis(np.tensordot(area(rows.shape[axis], size), made, (1, axis)), 0, axis)
    return np.floor(made + 0.5 + 1e-9).astype(np.uint8) if rows.dtype == np.uint8 else made.astype(rows.dtype)


def pictures(source, episode, key, args, whole):
    """Every `--every`-th picture of an episode, a block at a time; `whole` floats as the bytes that they are."""
    count, column = source.length(episode, key), source.columns[key]
    block = max(1, BLOCK // (args.every * max(1, int(np.prod(column.shape)) * column.dtype.itemsize))) * args.every
    made = []
    for start in range(0, count, block):
        rows = source.fetch(episode, key, start, min(start + block, count))[:: args.every]
        if whole is not None and whole != is_whole(rows):
            raise Refused(f"`{key}` holds whole numbers from 0 to 255 in some episodes and others in episode {source.numbers[episode]}: `--as-recorded` keeps all as floats")
        rows = rows.astype(np.uint8) if whole else rows
        made.append(shrunk(rows, args.size) if args.size else rows)
    return np.concatenate(made)


def is_whole(rows):
    return bool(((rows >= 0) & (rows <= 255) & (rows == np.floor(rows))).all())


def finite(rows, key, number):
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        row = int(np.argwhere(~np.isfinite(rows.reshape(len(rows), -1)).all(axis=1))[0, 0])
        hint = "; where each action led to the observation beside it, `--led-here` drops the first" if row == 0 and key == "actions" else ""
        raise Refused(f"`{key}` of episode {number} has a hole: row {row} of {len(rows)} is no number{hint}")


def actions_of(source, episode, keys, observations, args):
    """Actions of an episode, each behind the observation of its row."""
    actions = numbers(source, episode, keys)
    actions = actions[1:] if args.led_here else actions
    number = source.numbers[episode]
    if len(actions) not in (observations, observations - 1):
        raise Refused(f"episode {number} has {observations} observations and {len(actions)} actions: expected as many, or one observation more")
    # Nothing follows the last action of as many.
    finite(actions[: observations - 1], "actions", number)
    return actions


def survey(source, actions, observation, args):
    """Lengths, ends and ranges over all episodes; which of them have something to learn from."""
    taken, lengths, ends, short, unused, early = [], [], Counter(), 0, 0, 0
    low = high = None
    for episode in range(len(source.numbers)):
        seen = source.length(episode, observation[0])
        if seen < 2:
            short += 1
            continue
        rows = actions_of(source, episode, actions, seen, args)
        used = rows[: seen - 1].reshape(min(len(rows), seen - 1), -1)
        unused += int(rows.dtype.kind == "f" and not np.isfinite(rows).all())
        if low is not None and len(low) != used.shape[1]:
            raise Refused(f"episode {source.numbers[episode]} has actions of {used.shape[1]} numbers, those before it of {len(low)}")
        low = used.min(0) if low is None else np.minimum(low, used.min(0))
        high = used.max(0) if high is None else np.maximum(high, used.max(0))
        early += any(source.whole(episode, key).ravel()[:-1].any() for key in source.flags)
        ends[source.ended(episode)] += 1
        lengths.append(len(rows))
        taken.append(episode)
    if not taken:
        raise Refused(f"its {len(source.numbers)} episodes have a single observation or none: expected two or more")
    notes = [
        f"{short} episodes of a single observation or none are left out" if short else "",
        f"{unused} episodes have a last action that is no number: nothing follows it, so nothing uses it" if unused else "",
        f"{early} episodes have a flag up before their last row: they are kept whole" if early else "",
        *(f"what follows by `next_{key}` is not the next row's `{key}` in {len(which)} episodes: it is not used there" for key, which in getattr(source, "unlike", {}).items()),
    ]
    return taken, lengths, ends, (low, high), [note for note in notes if note]


def written(source, taken, keys, args):
    """Writes each episode to a hidden folder beside `--out`, which becomes it when all are there."""
    actions, observation, states = keys
    column, whole = source.columns[observation[0]], None
    target = Path(args.out)
    if os.path.lexists(target):
        raise Refused(f"{target} exists already: name another with `--out`")
    if not target.parent.is_dir():
        raise Refused(f"{target.parent}, in which `--out` lies, is no folder")
    hidden = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        for episode in taken:
            number, seen = source.numbers[episode], source.length(episode, observation[0])
            if column.picture:
                if whole is None and column.dtype.kind == "f" and not args.as_recorded:
                    whole = is_whole(source.fetch(episode, observation[0], 0, 1))
                observations = pictures(source, episode, observation[0], args, whole)
            else:
                observations = numbers(source, episode, observation)[:: args.every]
                observations = observations[:, None] if observations.ndim == 1 else observations
            finite(observations, "observations", number)
            arrays = {"observations": observations, "actions": actions_of(source, episode, actions, seen, args)}
            if states:
                rows = numbers(source, episode, states)
                if len(rows) not in (seen, seen - 1):
                    raise Refused(f"episode {number} has {len(rows)} rows of `{states[0]}` and {seen} observations: expected as many")
                finite(rows, states[0], number)
                arrays["states"] = rows if args.every == 1 and len(rows) == seen else rows[: len(arrays["actions"])]
            if (end := source.ended(episode)) is not None:
                last = np.arange(len(arrays["actions"])) == len(arrays["actions"]) - 1
                arrays |= {"terminations": last & (end == "terminal"), "truncations": last & (end == "timeout")}
            np.savez(hidden / f"episode_{number:06d}.npz", **arrays)
        os.chmod(hidden, 0o777 & ~umask())
        os.rename(hidden, target)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def asked():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, help="a file or folder of recorded episodes")
    parser.add_argument("--out", help="a folder to write, one .npz for each episode; without it nothing is written")
    parser.add_argument("--observation", nargs="+", metavar="KEY", help="what was seen; several of numbers are joined")
    parser.add_argument("--action", nargs="+", metavar="KEY", help="what was done; several are joined")
    parser.add_argument("--states", nargs="+", metavar="KEY", help="what is kept beside pictures, or none")
    parser.add_argument("--size", type=int, metavar="N", help="bring pictures to N x N by the mean over areas")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="keep one observation for K actions (`--set data.every=K` then)")
    parser.add_argument("--longest", type=int, metavar="N", help="D4RL without timeouts: an episode has N steps at most")
    parser.add_argument("--mask", metavar="NAME", help="robomimic: the demonstrations of this mask alone")
    parser.add_argument("--led-here", action="store_true", help="each action led to the observation of its row: drop the first of each episode")
    parser.add_argument("--as-recorded", action="store_true", help="keep pictures of whole floats from 0 to 255 as floats")
    args = parser.parse_args()
    for name in ("size", "every", "longest"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise Refused(f"`--{name}` must be 1 or more, found {value}")
    return args


def plain(number):
    return f"{float(number):.6g}"


def run():
    args = asked()
    source = opened(args.source, args)
    keys = actions, observation, states = chosen(source, args)
    if args.size and not source.columns[observation[0]].picture:
        raise Refused(f"`--size` is for pictures, and `{observation[0]}` is {source.columns[observation[0]]}")
    taken, lengths, ends, (low, high), notes = survey(source, actions, observation, args)
    say = lambda label, text: print(f"{label:12}{text}")
    say("form", source.form)
    say("holds", ", ".join(f"{key} {column}" for key, column in source.columns.items()))
    say("taken", f"observations {' + '.join(observation)}, actions {' + '.join(actions)}{', states ' + ' + '.join(states) if states else ''}")
    say("episodes", f"{len(taken)} of {min(lengths)} to {max(lengths)} actions, {sum(lengths)} in all")
    say("ends", ", ".join(f"{count} {end}" for end, count in ends.items() if end) or "not said")
    for i, (least, most) in enumerate(zip(low, high)):
        say(f"action {i}", f"always {plain(least)}" if least == most else f"{plain(least)} to {plain(most)}")
    if args.out:
        written(source, taken, keys, args)
    for note in dict.fromkeys([*source.notes, *notes]):
        say("note", note)
    if args.out:
        say("written", f"{len(taken)} files in {args.out}")
        say("next", f"foretell inspect {args.out}{f' --set data.every={args.every}' if args.every > 1 else ''}")


def main():
    try:
        run()
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        # What the form's own library says of a file that it cannot read.
        said = " ".join(str(error).split())
        hint = "; `pip install hdf5plugin` reads what is packed with Blosc and the like" if ("filter" in said or "plugin" in said) and "hdf5plugin" not in sys.modules else ""
        print(f"error: it cannot be read: {said}{hint}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
