"""One image to features with transformers, from a cold start: load the model's folder, read the image, run.

`--make DIR` writes an `IJepaModel` with random weights of the given size into DIR first, and stops.
"""

import argparse
import json

import numpy
import torch
from PIL import Image
from transformers import IJepaConfig, IJepaModel


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--make", action="store_true")
    a.add_argument("--image", help="a PNG or JPEG file")
    for name, default in (("size", 32), ("patch", 4), ("width", 192), ("depth", 6), ("heads", 3), ("threads", 2)):
        a.add_argument(f"--{name}", type=int, default=default)
    a.add_argument("dir")
    o = a.parse_args()
    torch.set_num_threads(o.threads)
    if o.make:
        config = IJepaConfig(
            hidden_size=o.width, num_hidden_layers=o.depth, num_attention_heads=o.heads,
            intermediate_size=4 * o.width, image_size=o.size, patch_size=o.patch,
        )  # fmt: skip
        IJepaModel(config).save_pretrained(o.dir)
        return
    model = IJepaModel.from_pretrained(o.dir).eval()
    image = Image.open(o.image).convert("RGB").resize((model.config.image_size,) * 2)
    pixels = torch.from_numpy(numpy.asarray(image).copy()).permute(2, 0, 1)[None] / 255.0
    with torch.inference_mode():
        features = model(pixel_values=pixels).last_hidden_state.mean(dim=1)
    print(json.dumps({"features": features[0, :4].tolist()}))


if __name__ == "__main__":
    main()
