#!/usr/bin/env bash
# Where nothing was measured, images of the brain hold NaN, and the mean signal of an atlas's region is expected to be that of its
# measured voxels, or NaN. nilearn 0.14.1 (NiftiLabelsMasker, by _utils/niimg.py `safe_get_data` with ensure_finite) counts such voxels as
# zeros, with a warning: a region of which half was measured comes out at half its strength, and at half its course. It also writes
# the zeros into the array that the image was made of, so that who looks for NaN afterwards finds none.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nilearn==0.14.1 nibabel==5.4.2

cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import warnings
from importlib.metadata import version

import nibabel as nib
import numpy as np
from nilearn.maskers import NiftiLabelsMasker

print("nilearn", version("nilearn"), "nibabel", version("nibabel"))
grid = np.diag([2.0, 2.0, 2.0, 1.0])
bold = 100 + 10 * np.random.default_rng(0).standard_normal((4, 4, 4, 20)).astype("float32")
atlas = np.ones((4, 4, 4), "int16")
atlas[2:] = 2
bold[0] = np.nan  # half of region 1 lies outside of what was scanned
measured = np.nanmean(bold[:2], axis=(0, 1, 2))
unmeasured = int(np.isnan(bold).sum())

with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    masker = NiftiLabelsMasker(nib.Nifti1Image(atlas, grid), standardize=None)
    read = masker.fit_transform(nib.Nifti1Image(bold, grid))[:, 0]
left = int(np.isnan(bold).sum())

print(f"mean of what was measured of region 1: {measured[0]:.2f}, read: {read[0]:.2f}")
print("warned:", sorted({str(warning.message) for warning in told}))
print(f"NaN in the caller's array: {unmeasured} before, {left} after")
assert np.allclose(read, measured / 2, rtol=1e-4), "voxels without a measurement are no longer counted as zeros"
assert unmeasured > 0 and left == 0, "the caller's array is no longer written to"
print("as described")
PYTHON
