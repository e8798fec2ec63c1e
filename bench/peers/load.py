"""Times a folder of images through torchvision's usual training transform and DataLoader."""

import argparse
import json
import time

import torch
from torchvision import datasets, transforms


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--data", required=True, help="a folder of class folders")
    for name, default in (("image", 224), ("batch", 64), ("workers", 2), ("steps", 20)):
        a.add_argument(f"--{name}", type=int, default=default)
    o = a.parse_args()
    transform = transforms.Compose([
        transforms.RandomResizedCrop(o.image),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.25] * 3),
    ])
    images = datasets.ImageFolder(o.data, transform)
    sampler = torch.utils.data.RandomSampler(images, replacement=True, num_samples=(o.steps + 2) * o.batch)
    loader = torch.utils.data.DataLoader(images, o.batch, sampler=sampler, num_workers=o.workers)
    batches = iter(loader)
    for _ in range(2):
        next(batches)
    start = time.perf_counter()
    for _ in range(o.steps):
        next(batches)
    seconds = time.perf_counter() - start
    print(json.dumps({**vars(o), "seconds": seconds, "images_per_s": o.steps * o.batch / seconds}))


if __name__ == "__main__":
    main()
