#!/usr/bin/env bash
# A signal of an EDF file has a unit ("physical dimension") of its own: a prefix and V. One expects 100,000 nV to be read as 100 µV.
# MNE-Python 1.13.2 (io/edf/edf.py) knows µV and mV; nV is taken for V without a word, and the recording is a thousand million times
# too strong. The same bytes with "uV" and a hundred in place of a hundred thousand come out right. Prefixes: edfplus.info,
# "Standard texts", where nano is n.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mne==1.13.2

cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import warnings
from importlib.metadata import version

import mne
import numpy as np


def field(values, width):
    return b"".join(str(value).ljust(width).encode() for value in values)


def write(name, unit, largest):
    header = b"".join([
        b"0".ljust(8), b"X X X X".ljust(80), b"Startdate 01-JAN-2020 X X X".ljust(80), b"01.01.2000.00.00",
        field([2 * 256], 8), b"".ljust(44), field([4], 8), field([1], 8), field([1], 4),
        field(["EEG Cz"], 16), field([""], 80), field([unit], 8), field([-largest], 8), field([largest], 8),
        field([-32767], 8), field([32767], 8), field([""], 80), field([100], 8), field([""], 32),
    ])
    wave = np.round(32767 * np.sin(2 * np.pi * 10 * np.arange(400) / 100 + 0.3)).astype("<i2")
    with open(name, "wb") as file:
        file.write(header + wave.tobytes())


print("mne", version("mne"))
found = {}
for unit, largest in (("uV", 100), ("mV", 0.1), ("nV", 100000)):
    write("one.edf", unit, largest)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        raw = mne.io.read_raw_edf("one.edf", preload=True, verbose="ERROR")
    found[unit] = np.abs(raw.get_data()).max()
    print(f"{largest} {unit}: read as {found[unit]:.3g} V, warnings {len(told)}")

assert 9e-5 < found["uV"] < 1.1e-4 and 9e-5 < found["mV"] < 1.1e-4, "the plain units changed"
assert found["nV"] > 9e4, "nV is no longer read as V"
print("as described")
PYTHON
