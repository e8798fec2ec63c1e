#!/usr/bin/env bash
# One expects an encoder of EEG to see that one electrode is louder than another: how strong a rhythm is where tells where its source
# lies, and many a task is read from band powers alone. Signal-JEPA as braindecode 1.8.1 has it (models/signal_jepa.py, arXiv 2403.11772)
# begins with a convolution over each electrode by itself and a GroupNorm with one group for each filter, whose statistics are those of that
# electrode's window: ten times the voltage at one electrode gives the same tokens to rounding, and no layer after it can bring back the
# difference. A new signal of the same voltage changes them plainly.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet braindecode==1.8.1 torch==2.15.0 torchaudio==2.11.1 mne==1.13.2 skorch==1.4.0

cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import mne
import torch
from braindecode.models import SignalJEPA

print("braindecode", version("braindecode"), "torch", version("torch"))

names = ["Fp1", "Fz", "C3", "C4", "O1", "O2"]
info = mne.create_info(names, 128.0, "eeg")
info.set_montage("standard_1020")
torch.manual_seed(0)
network = SignalJEPA(n_chans=6, n_times=256, sfreq=128.0, chs_info=info["chs"]).eval()

signal = torch.randn(1, 6, 256)
louder, other = signal.clone(), signal.clone()
louder[:, 2] *= 10.0
other[:, 2] = torch.randn(256)
with torch.no_grad():
    tokens = network(signal)
    of_louder, of_other = ((network(x) - tokens).abs().max().item() for x in (louder, other))
print(f"largest number of the tokens: {tokens.abs().max():.2f}")
print(f"C3 ten times as loud:         the tokens change by {of_louder:.1e} at most")
print(f"another signal at C3:         by {of_other:.1e}")

assert of_other > 0.05, "the tokens do not see what happens at C3"
assert of_louder < 1e-4, "the tokens see how loud C3 is"
print("as described")
PYTHON
