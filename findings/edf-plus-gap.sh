#!/usr/bin/env bash
# EDF+D is EDF+ for recordings with pauses: each data record says by its first annotation when it began. One expects a reader to keep
# the pause, or to decline. MNE-Python 1.13.2 (io/edf) puts the records end to end without a word: a signal that spans 65 s lasts 10,
# what came after the pause stands 55 s too early, and an event there is dropped, being past the end. edfio 0.4.18 closes the pause too
# and leaves the event at 62.5 s of a recording that lasts 10. The form: edfplus.info, "EDF+D".
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mne==1.13.2 edfio==0.4.18

cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import warnings
from importlib.metadata import version

import edfio
import mne
import numpy as np

RATE, BYTES = 100, 60
starts = [0, 1, 2, 3, 4, 60, 61, 62, 63, 64]


def field(values, width):
    return b"".join(str(value).ljust(width).encode() for value in values)


header = b"".join([
    b"0".ljust(8), b"X X X X".ljust(80), b"Startdate 01-JAN-2020 X X X".ljust(80), b"01.01.2000.00.00",
    field([3 * 256], 8), b"EDF+D".ljust(44), field([len(starts)], 8), field([1], 8), field([2], 4),
    field(["EEG Cz", "EDF Annotations"], 16), field(["", ""], 80), field(["uV", ""], 8), field([-3200, -1], 8), field([3200, 1], 8),
    field([-32768, -32768], 8), field([32767, 32767], 8), field(["", ""], 80), field([RATE, BYTES // 2], 8), field(["", ""], 32),
])
records = b""
for start in starts:
    # The signal is the second at which its record began, in ten microvolts.
    signal = np.full(RATE, round(start * 10 / 3200 * 32767), "<i2").tobytes()
    notes = f"+{start}\x14\x14\0" + ("+62.5\x150.5\x14knock\x14\0" if start == 62 else "")
    records += signal + notes.encode().ljust(BYTES, b"\0")
with open("pause.edf", "wb") as file:
    file.write(header + records)

print("mne", version("mne"), "edfio", version("edfio"))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    raw = mne.io.read_raw_edf("pause.edf", preload=True, verbose="ERROR")
after = raw.get_data()[0, 5 * RATE + RATE // 2] * 1e5
print(f"mne: {raw.n_times / RATE:g} s, at 5.5 s the signal of second {after:.0f}, events {list(raw.annotations.description)}, warnings {len(told)}")
edf = edfio.read_edf("pause.edf")
events = [(note.onset, note.text) for note in edf.annotations]
print(f"edfio: {edf.duration:g} s, events {events}")

assert raw.n_times == 10 * RATE and round(after) == 60, "MNE no longer closes the pause"
assert "knock" not in list(raw.annotations.description), "MNE no longer drops the event"
assert edf.duration == 10 and (62.5, "knock") in events, "edfio no longer closes the pause"
print("as described")
PYTHON
