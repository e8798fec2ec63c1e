#!/usr/bin/env bash
# One expects a recorder of episodes to keep each observation as it was when the step returned it. Minari 0.5.4 (DataCollector,
# data_collector/episode_buffer.py) keeps a reference until the episode is over: of a world that returns one buffer that it writes
# anew at each step (a view of a simulator's state, a frame buffer), every observation of the episode becomes the last one, without
# a word. Actions, rewards and shapes are right, so that nothing fails; only the states of the recording are gone. Gymnasium's own
# vector environments copy for this reason (`copy=True`).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'minari[create,hdf5]==0.5.4' gymnasium==1.4.0 numpy==2.4.6 pillow==13.0.0

cd "$folder"
MINARI_DATASETS_PATH="$folder/data" "$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import gymnasium
import numpy as np
from minari import DataCollector

print("minari", version("minari"), "gymnasium", version("gymnasium"))


class Clock(gymnasium.Env):
    """Shows the number of the step, in a buffer of its own or in a copy of it."""

    observation_space = gymnasium.spaces.Box(0, 255, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, copies):
        self.copies, self.buffer = copies, np.zeros(1, np.float32)

    def look(self):
        return self.buffer.copy() if self.copies else self.buffer

    def reset(self, **options):
        super().reset(**options)
        self.buffer[:] = 0
        return self.look(), {}

    def step(self, action):
        self.buffer += 1
        return self.look(), 0.0, bool(self.buffer[0] == 5), False, {}


recorded = {}
for copies in (True, False):
    world = DataCollector(Clock(copies))
    seen = [float(world.reset()[0][0])] + [float(world.step(0)[0][0]) for _ in range(5)]
    recorded[copies] = world.create_dataset(f"clock/copies-{int(copies)}-v0")[0].observations[:, 0].tolist()
    print(f"world that {'copies' if copies else 'writes its buffer anew'}: shown {seen}, recorded {recorded[copies]}")

assert recorded[True] == [0, 1, 2, 3, 4, 5], recorded
assert recorded[False] == [5] * 6, "each observation is kept as it was shown"
print("as described")
PYTHON
