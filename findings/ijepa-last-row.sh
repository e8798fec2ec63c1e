#!/usr/bin/env bash
# One expects masks drawn at random to show every part of the picture about as often. lightly 1.6.0's collator for I-JEPA (data/ijepa_collate.py)
# draws a block's first row and column by `torch.randint(0, side - length)`, which leaves out the last place, and makes blocks smaller than the
# grid: patches of the last row and the last column are in no context and in no target, ever. Then it cuts every context of a batch to the
# shortest one in raster order, and the rows above it fade: with the published scales, 14 x 14 patches and 128 images, three quarters of the
# first row are seen and a fiftieth of the last but one. The teacher sees the edge in training, and at evaluation it is shown to all.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet lightly==1.6.0 torch==2.15.0 torchvision==0.29.2

cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from lightly.data.ijepa_collate import IJEPAMaskCollator

print("lightly", version("lightly"), "torch", version("torch"))
SIDE, BATCH, BATCHES = 14, 128, 30

torch.manual_seed(0)
collate = IJEPAMaskCollator(
    input_size=224,
    patch_size=16,
    enc_mask_scale=(0.85, 1.0),
    pred_mask_scale=(0.15, 0.2),
    aspect_ratio=(0.75, 1.5),
    npred=4,
    min_keep=10,
)
seen, hidden = torch.zeros(SIDE * SIDE), torch.zeros(SIDE * SIDE)
for _ in range(BATCHES):
    _, contexts, targets = collate([torch.zeros(1) for _ in range(BATCH)])
    for counts, lists in ((seen, contexts), (hidden, targets)):
        for places in lists:
            counts += torch.bincount(places.flatten(), minlength=SIDE * SIDE)

images = BATCH * BATCHES
seen, hidden = (100 * counts.view(SIDE, SIDE) / images for counts in (seen, hidden))
print("% of images whose context has a patch of this row:", [f"{x:.1f}" for x in seen.mean(1).tolist()])
print("hidden blocks on a patch of this row, % of images:", [f"{x:.1f}" for x in hidden.mean(1).tolist()])
print("last column, seen and hidden:", seen[:, -1].sum().item(), hidden[:, -1].sum().item())

edge = [x[-1].sum().item() + x[:, -1].sum().item() for x in (seen, hidden)]
assert edge == [0.0, 0.0], f"the edge is used: {edge}"
assert seen[0].mean() > 20 * seen[-2].mean(), "rows are seen about as often as one another"
print("as described")
PYTHON
