#!/usr/bin/env bash
# One expects an image processor to resize as its own preprocessor_config.json says. transformers takes `"resample": "bicubic"`
# (the value of torchvision's InterpolationMode, which is a text) without a word, and its Pillow processors, the only ones where
# torch is not installed, turn every word into bilinear: the pixels are those of `"resample": 2` to the bit, and a network made
# for bicubic pictures gives other features. A whole number is obeyed. transformers 5.24.0 (image_processing_backends.py, the
# Pillow backend's `resize`), Pillow 12.0.0.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.24.0 pillow==12.0.0 numpy==2.3.5

cd "$folder"
TRANSFORMERS_NO_ADVISORY_WARNINGS=1 "$folder/venv/bin/python" - <<'PYTHON'
import json
from importlib.metadata import version

import numpy as np
from PIL import Image
from transformers import AutoImageProcessor

print("transformers", version("transformers"), "Pillow", version("pillow"))
picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype("uint8"))
made = {}
for resample in ("bicubic", 3, 2):
    config = {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}, "resample": resample}
    with open("preprocessor_config.json", "w") as file:
        json.dump(config, file)
    processor = AutoImageProcessor.from_pretrained(".")
    made[resample] = np.asarray(processor(picture)["pixel_values"][0])
    print(f"resample {json.dumps(resample)}: {type(processor).__name__}, first values {made[resample].ravel()[:3]}")

assert np.array_equal(made["bicubic"], made[2]), "a word is no longer taken for bilinear"
assert np.abs(made["bicubic"] - made[3]).max() > 0.02, "the two filters no longer differ here"
print("as described")
PYTHON
