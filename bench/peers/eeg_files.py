"""Recordings as other programs write them, for the tests of `foretell-data`: `python eeg_files.py ../../crates/foretell-data/tests/eeg`.

Each holds 12 seconds of two electrodes: 10 Hz of 50 uV at `EEG Fp1-REF` (or `Fp1`) and 20 Hz of 25 uV at T4, which is T8 today; the first half
is annotated `rest`, the second `task`.
"""

import sys
from pathlib import Path

import edfio
import mne
import numpy
import pybv
import pyedflib

out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
RATE, SECONDS = 128, 12
time = numpy.arange(RATE * SECONDS) / RATE
waves = [50 * numpy.sin(2 * numpy.pi * 10 * time), 25 * numpy.sin(2 * numpy.pi * 20 * time)]
notes = [(0.0, 6.0, "rest"), (6.0, 6.0, "task")]

edfio.Edf(
    [
        edfio.EdfSignal(waves[0], RATE, label="EEG Fp1-REF", physical_dimension="uV", physical_range=(-100, 100)),
        edfio.EdfSignal(waves[1] / 1e3, RATE, label="T4", physical_dimension="mV", physical_range=(-0.1, 0.1)),
    ],
    annotations=[edfio.EdfAnnotation(*note) for note in notes],
).write(out / "edfio.edf")

with pyedflib.EdfWriter(str(out / "pyedflib.bdf"), 2, file_type=pyedflib.FILETYPE_BDFPLUS) as file:
    for i, (label, unit, wave, most) in enumerate([("Fp1", "uV", waves[0], 1000), ("T4", "nV", waves[1] * 1e3, 100000)]):
        file.setSignalHeader(i, {"label": label, "dimension": unit, "sample_frequency": RATE, "physical_max": most, "physical_min": -most, "digital_max": 8388607, "digital_min": -8388608, "prefilter": "", "transducer": ""})
    file.writeSamples([waves[0], waves[1] * 1e3])
    for onset, seconds, text in notes:
        file.writeAnnotation(onset, seconds, text)

pybv.write_brainvision(
    data=numpy.array(waves) * 1e-6,
    sfreq=RATE,
    ch_names=["Fp1", "T4"],
    fname_base="pybv",
    folder_out=str(out),
    overwrite=True,
    events=[{"onset": int(o * RATE), "duration": int(d * RATE), "description": text, "type": "Comment"} for o, d, text in notes],
    resolution=0.1,
    unit="µV",
    fmt="binary_int16",
)

info = mne.create_info(["Fp1", "T4"], RATE, "eeg")
raw = mne.io.RawArray(numpy.array(waves) * 1e-6, info, verbose="ERROR")
raw.set_annotations(mne.Annotations(*zip(*notes)))
raw.export(out / "mne.edf", overwrite=True, verbose="ERROR")
print({path.name: path.stat().st_size for path in sorted(out.iterdir())})
