#!/usr/bin/env bash
# One expects a network's output to be a function of its weights and its input. Signal-JEPA as braindecode 1.8.1 has it (models/signal_jepa.py)
# takes the width of its tokens, of the places' code and of the moments' code as three arguments (64, 30 and 34 by default), and does not
# compare them. Where tokens are wider, the code is made by `new_empty` and written as far as place and time go: the rest is whatever the memory
# held, is added to every token, and differs between machines and runs. PyTorch's deterministic mode, which fills such memory with NaN, shows
# it: the output is NaN. Weights load, shapes fit and nothing is said; at the default width all is well.
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

info = mne.create_info(["Fp1", "Fz", "C3", "C4", "O1", "O2"], 128.0, "eeg")
info.set_montage("standard_1020")
signal = torch.randn(1, 6, 256, generator=torch.Generator().manual_seed(1))
torch.use_deterministic_algorithms(True)

unknown = {}
for width in (64, 128):
    torch.manual_seed(0)
    layers = ((8, 32, 8), (16, 2, 2), (32, 2, 2), (64, 2, 2), (width, 2, 2))
    network = SignalJEPA(
        n_chans=6,
        n_times=256,
        sfreq=128.0,
        chs_info=info["chs"],
        feature_encoder__conv_layers_spec=layers,
        transformer__d_model=width,
    ).eval()
    with torch.no_grad():
        tokens = network(signal)
    unknown[width] = bool(torch.isnan(tokens).any())
    print(f"tokens {width} wide, code of 30 + 34: NaN where memory was never written: {unknown[width]}")

assert unknown == {64: False, 128: True}, "wider tokens have a code that is written whole"
print("as described")
PYTHON
