"""Times the features of a vision transformer with random weights, forward only.

`--engine timm` is PyTorch eager, `--engine onnxruntime` the same network exported. The best of the two is the peer.
"""

import argparse
import io
import json
import resource
import statistics
import time

import torch

import engine


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--engine", choices=("timm", "onnxruntime"), default="timm")
    a.add_argument("--model", default="vit_small_patch16_224")
    for name, default in (("batch", 32), ("steps", 10), ("warmup", 2)):
        a.add_argument(f"--{name}", type=int, default=default)
    engine.arguments(a)
    o = a.parse_args()
    import timm

    here = engine.Engine(o)
    model = timm.create_model(o.model, num_classes=0, global_pool="avg", class_token=False).eval().to(here.device)
    images = torch.randn(o.batch, 3, 224, 224).to(here.device)
    if o.engine == "onnxruntime":
        import onnxruntime

        file = io.BytesIO()
        torch.onnx.export(model, (images,), file, dynamo=False, opset_version=17)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = o.threads
        session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: images.numpy()}
        run = lambda: session.run(None, feed)  # noqa: E731
    else:
        features = here.ready(model)

        def run() -> None:
            with here.autocast():
                # Read back: features are wanted on the host.
                features(images).float().cpu()

    times = []
    with torch.inference_mode():
        for _ in range(o.warmup + o.steps):
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
    median = statistics.median(times[o.warmup :])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**vars(o), "batch_ms": median, "images_per_s": o.batch / median * 1e3, "rss_mb": peak, **here.facts()}))


if __name__ == "__main__":
    main()
