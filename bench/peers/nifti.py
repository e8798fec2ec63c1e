"""Small NIfTI-1 files, and what nibabel and nilearn read of them, for `crates/foretell-data/tests/connectomes.rs`.

    pip install nibabel==5.4.2 nilearn==0.14.1
    python bench/peers/nifti.py crates/foretell-data/tests/nifti
"""

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from nilearn.maskers import NiftiLabelsMasker

out = Path(sys.argv[1])
rng = np.random.default_rng(0)
expected = {}


def rotation(degrees):
    t = np.deg2rad(degrees)
    return np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]])


def affine(zooms, degrees, shift):
    a = np.eye(4)
    a[:3, :3] = rotation(degrees) @ np.diag(zooms)
    a[:3, 3] = shift
    return a


# An atlas of eight boxes, of which the last is one voxel thin; numbers are not in a row.
labels = np.zeros((12, 10, 8), np.int16)
for i in range(7):
    x, y, z = i % 2, i // 2 % 2, i // 4
    labels[1 + 5 * x : 6 + 5 * x, 1 + 4 * y : 5 + 4 * y, 4 * z : 4 + 4 * z] = 10 * i + 3
labels[11, 9, 7] = 99
atlas = nib.Nifti1Image(labels, affine((2, 2, 2), 0, (-10, -10, -8)))
nib.save(atlas, out / "atlas.nii.gz")


def recording(name, dtype, order, place, by, slope=None, inter=None):
    shape = (9, 8, 6, 12)
    x = rng.normal(size=shape) * 40 + 200 + 20 * np.sin(np.arange(12))
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    image = nib.Nifti1Image(x.astype(dtype), None, header)
    image.header.set_zooms((3, 3, 3, 2.5))
    if by == "sform":
        # A qform that says otherwise: the sform goes before it.
        image.set_qform(affine((3, 3, 3), 0, (90, 90, 90)), code=1)
        image.set_sform(place, code=4)
    else:
        image.set_sform(None, code=0)
        image.set_qform(place, code=1)
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    nib.save(image, out / name)
    read = nib.load(out / name)
    masker = NiftiLabelsMasker(nib.load(out / "atlas.nii.gz"), standardize=None, keep_masked_labels=False)
    series = masker.fit_transform(nib.Nifti1Image(read.get_fdata(), read.affine))
    found = [int(masker.region_ids_[k]) for k in masker.region_ids_ if k != "background"]
    expected[name] = {
        "affine": read.affine[:3].tolist(),
        "first": read.get_fdata()[1, 2, 3, :4].tolist(),
        "labels": found,
        "series": series.tolist(),
    }


recording("int16-big.nii", np.int16, ">", affine((3, 3, 3), 0, (-11, -10, -8)), "sform", 0.5, 10.0)
recording("float32-qform.nii.gz", np.float32, "<", affine((3, 3, -3), 20, (-9, -12, 8)), "qform")
recording("uint8-plain.nii.gz", np.uint8, "<", affine((3, 3, 3), 0, (-11, -10, -8)), "sform")
(out / "expected.json").write_text(json.dumps(expected) + "\n")
