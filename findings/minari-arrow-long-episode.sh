#!/usr/bin/env bash
# One expects the same episodes back whichever of its forms Minari keeps them in. In its Arrow and parquet forms Minari 0.5.4
# (dataset/_storages/arrow_storage.py, `get_episodes`) takes the batches in which pyarrow hands out the rows for the episodes, one
# for one. These batches end at 32,768 rows and come in any order: an episode of 40,000 steps comes back as a piece of it, another
# piece stands under the next episode's number, and later episodes are pushed out of place. Nothing fails. Form hdf5 is right. pyarrow 26.0.1.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'minari[create,hdf5,arrow]==0.5.4' gymnasium==1.4.0 numpy==2.4.6 pillow==13.0.0 pyarrow==26.0.1

cd "$folder"
MINARI_DATASETS_PATH="$folder/data" "$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import gymnasium
import minari
import numpy as np
from minari.data_collector.episode_buffer import EpisodeBuffer

print("minari", version("minari"), "pyarrow", version("pyarrow"))
LENGTHS = (40_000, 10, 20)


def recorded(number, steps):
    """An episode in which every observation and action is its number."""
    return EpisodeBuffer(
        id=number,
        observations=np.full((steps + 1, 1), number, np.float32),
        actions=np.full((steps, 1), number, np.float32),
        rewards=[0.0] * steps,
        terminations=[False] * steps,
        truncations=[False] * (steps - 1) + [True],
        infos={},
    )


space = gymnasium.spaces.Box(-9, 9, (1,), np.float32)
read = {}
for form in ("hdf5", "arrow", "parquet"):
    data = minari.create_dataset_from_buffers(
        f"long/{form}-v0", [recorded(*one) for one in enumerate(LENGTHS)], observation_space=space, action_space=space, data_format=form
    )
    read[form] = [(len(episode.actions), set(episode.actions[:, 0].tolist())) for episode in data.iterate_episodes()]
    for number, (steps, holds) in enumerate(read[form]):
        print(f"{form}: episode {number} of {LENGTHS[number]} steps: {steps} steps read, of episode {holds}")

right = [(steps, {float(number)}) for number, steps in enumerate(LENGTHS)]
assert read["hdf5"] == right, read["hdf5"]
for form in ("arrow", "parquet"):
    assert [holds for _, holds in read[form]] != [holds for _, holds in right], f"{form} gives each episode its own rows"
    assert max(steps for steps, _ in read[form]) < 40_000, f"{form} reads the long episode whole"
print("as described")
PYTHON
