"""`foretell embed --model` and `classify --model` against transformers, as a user meets them: folders with random weights as
`save_pretrained` writes them, images and a clip through the processors, the binary, its files read with NumPy.

    python bench/peers/released_command.py --foretell target/release/foretell [--width 96] [--depth 4]

Fails if tokens of given pixels differ by more than 1e-4, if features of pictures do while the pixels are PIL's, or if a classifier
names other classes or other logits. torchvision's resize, which transformers' processors use, rounds some bytes otherwise than PIL's:
those differences are printed beside.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import (
    IJepaConfig,
    IJepaForImageClassification,
    IJepaModel,
    VJEPA2Config,
    VJEPA2ForVideoClassification,
    VJEPA2Model,
    VJEPA2VideoProcessor,
    ViTImageProcessor,
)

MOST = 1e-4


def random(model, folder, processor):
    """With weights far enough from their initial ones that every part counts."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model.eval()


def noise(rng, height, width):
    """A picture with edges of some pixels' width."""
    small = np.clip(rng.normal(size=(height // 5, width // 5, 3)) * 60 + 128, 0, 255).astype("uint8")
    return Image.fromarray(small).resize((width, height), Image.BICUBIC)


def normalised(pictures, mean, std):
    pixels = torch.tensor(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2) / 255
    return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--foretell", default="target/release/foretell")
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--depth", type=int, default=4)
    asked = parser.parse_args()
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    root = Path(tempfile.mkdtemp())
    failed = []

    def foretell(*arguments):
        done = subprocess.run([asked.foretell, *map(str, arguments), "--json"], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def compare(what, found, expected, most=MOST):
        off = float(abs(found - expected).max())
        print(f"{what}: off by {off:.1e}")
        if most is not None and off > most:
            failed.append(what)

    sizes = dict(hidden_size=asked.width, num_attention_heads=3, num_hidden_layers=asked.depth)
    image = dict(**sizes, intermediate_size=4 * asked.width, image_size=64, patch_size=8)
    video = dict(**sizes, crop_size=64, patch_size=16, frames_per_clip=8, mlp_ratio=4, pred_hidden_size=48)
    video.update(pred_num_hidden_layers=2, pred_num_attention_heads=3)

    def labels(name, count):
        names = {i: f"{name} {i}" for i in range(count)}
        return dict(id2label=names, label2id={name: i for i, name in names.items()})

    of_images, of_videos = ViTImageProcessor(size={"height": 64, "width": 64}), VJEPA2VideoProcessor(crop_size=64)
    ijepa = random(IJepaModel(IJepaConfig(**image)), root / "i", of_images)
    vjepa = random(VJEPA2Model(VJEPA2Config(**video)), root / "v", of_videos)
    labelled = IJepaConfig(**image, **labels("class", 9))
    ijepa_classes = random(IJepaForImageClassification(labelled), root / "ic", of_images)
    labelled = VJEPA2Config(**video, num_pooler_layers=2, **labels("action", 7))
    vjepa_classes = random(VJEPA2ForVideoClassification(labelled), root / "vc", of_videos)

    for what, model, shape in [("i", ijepa, (5, 3, 64, 64)), ("v", vjepa, (3, 8, 3, 64, 64))]:
        x = rng.normal(size=shape).astype("float32")
        np.save(root / "x.npy", x)
        foretell("embed", "--model", root / what, "--input", root / "x.npy", "--tokens", "--out", root / "y.npz")
        more = {} if what == "i" else {"skip_predictor": True}
        with torch.no_grad():
            expected = model(torch.tensor(x), **more).last_hidden_state.numpy()
        compare(f"{type(model).__name__}: tokens", np.load(root / "y.npz")["tokens"], expected)

    (root / "images").mkdir()
    pictures = [noise(rng, *size) for size in [(90, 120), (40, 50), (64, 64), (300, 200)]]
    for i, picture in enumerate(pictures):
        picture.save(root / "images" / f"{i}.png")
    clip = [noise(rng, 95, 128) for _ in range(8)]
    np.save(root / "clip.npy", np.stack([np.asarray(frame) for frame in clip]))

    half = [0.5, 0.5, 0.5]
    by_pil = normalised([picture.resize((64, 64), Image.BILINEAR) for picture in pictures], half, half)
    width = int(73 * 128 / 95)
    cut = [frame.resize((width, 73), Image.BILINEAR) for frame in clip]
    left, top = (width - 64) // 2, (73 - 64) // 2
    cut = [frame.crop((left, top, left + 64, top + 64)) for frame in cut]
    clip_by_pil = normalised(cut, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])[None]
    by_processor = of_images(pictures, return_tensors="pt")["pixel_values"]
    frames = torch.tensor(np.load(root / "clip.npy")).permute(0, 3, 1, 2)
    clip_by_processor = of_videos(frames, return_tensors="pt")["pixel_values_videos"]
    for what, model, given, pil, processor in [
        ("i", ijepa, root / "images", by_pil, by_processor),
        ("v", vjepa, root / "clip.npy", clip_by_pil, clip_by_processor),
    ]:
        foretell("embed", "--model", root / what, given, "--out", root / "y.npz")
        found = np.load(root / "y.npz")["features"]
        more = {} if what == "i" else {"skip_predictor": True}
        name = type(model).__name__
        with torch.no_grad():
            compare(f"{name}: features, PIL's pixels", found, model(pil, **more).last_hidden_state.mean(1).numpy())
            processed = model(processor, **more).last_hidden_state.mean(1).numpy()
            compare(f"{name}: features, torchvision's pixels", found, processed, None)

    for what, model, given, pil, processor in [
        ("ic", ijepa_classes, root / "images", by_pil, by_processor),
        ("vc", vjepa_classes, root / "clip.npy", clip_by_pil, clip_by_processor),
    ]:
        results = foretell("classify", "--model", root / what, given, "--top", 3)["results"]
        name = type(model).__name__
        with torch.no_grad():
            exact, processed = model(pil).logits.numpy(), model(processor).logits.numpy()
        found = np.array([[top["logit"] for top in result["top"]] for result in results])
        classes = np.array([[top["class"] for top in result["top"]] for result in results])
        named = [[model.config.id2label[i] for i in row] for row in classes]
        if named != [[top["label"] for top in result["top"]] for result in results]:
            failed.append(f"{name}: labels")
        if (classes != np.argsort(-exact, 1)[:, :3]).any():
            failed.append(f"{name}: classes")
        print(f"{name}: the same three classes as through the processor: {(classes == np.argsort(-processed, 1)[:, :3]).all()}")
        compare(f"{name}: logits, PIL's pixels", found, np.take_along_axis(exact, classes, 1))
    if failed:
        raise SystemExit(f"beyond {MOST:.0e}: {', '.join(failed)}")


if __name__ == "__main__":
    main()
