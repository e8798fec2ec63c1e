"""Where and how a peer computes: device, precision, eager or compiled."""

import argparse
import contextlib
from collections.abc import Callable

import torch


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", choices=("f32", "tf32", "bf16"), default="f32", help="bf16: autocast over f32 parameters")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--threads", type=int, default=2)


class Engine:
    def __init__(self, options: argparse.Namespace):
        self.device, self.dtype, self.compiled = torch.device(options.device), options.dtype, options.compile
        torch.set_num_threads(options.threads)
        torch.set_float32_matmul_precision("high" if self.dtype == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = self.dtype == "tf32"

    def autocast(self) -> contextlib.AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == "bf16")

    def ready(self, function: Callable) -> Callable:
        return torch.compile(function) if self.compiled else function

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def facts(self) -> dict:
        if self.device.type != "cuda":
            return {}
        return {"device": torch.cuda.get_device_name(), "device_mb": round(torch.cuda.max_memory_allocated() / 2**20, 1)}
