"""Times the features of an exported vision transformer in ONNX Runtime and OpenVINO, in f32 and in fewer bits.

`python precision.py ENCODER.onnx --engine onnxruntime --precision int8-dynamic --batch 1` prints one JSON line: milliseconds a batch,
the peak of memory, and the cosine of the features (the mean of the tokens) with those of the same file in f32. Needs `onnxruntime`,
`openvino`, `nncf`, `onnx` and numpy alone.

ONNX Runtime: `f32`; `int8-dynamic` is `quantize_dynamic` (weights per channel, activations when they come); `as-is` runs the file as
it was exported, for our own int8 export. OpenVINO: `f32`; `bf16` is its inference precision; `int8-weights` is NNCF's compression of
the weights; `int8` is NNCF's quantisation of weights and activations, calibrated on 32 batches of the same noise.
"""

import argparse
import json
import os
import resource
import statistics
import tempfile
import time

import numpy


def onnxruntime_session(file: str, threads: int):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def by_onnxruntime(file: str, precision: str, threads: int):
    if precision in ("f32", "as-is"):
        return onnxruntime_session(file, threads)
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        small = os.path.join(folder, "int8.onnx")
        quantize_dynamic(file, small, per_channel=True, weight_type=QuantType.QInt8)
        return onnxruntime_session(small, threads)


def by_openvino(file: str, precision: str, threads: int, images: numpy.ndarray):
    import openvino

    core = openvino.Core()
    model = core.read_model(file)
    if precision == "int8-weights":
        import nncf

        model = nncf.compress_weights(model)
    elif precision == "int8":
        import nncf

        noise = numpy.random.default_rng(1)
        batches = [noise.standard_normal((1, *images.shape[1:]), dtype=numpy.float32) for _ in range(32)]
        model = nncf.quantize(model, nncf.Dataset(batches), model_type=nncf.ModelType.TRANSFORMER)
    model.reshape([images.shape[0], *images.shape[1:]])
    hint = "bf16" if precision == "bf16" else "f32"
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": hint}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda images: request.infer([images])[request.model_outputs[0]]


def cosines(a: numpy.ndarray, b: numpy.ndarray) -> numpy.ndarray:
    a, b = a.mean(axis=1).astype(numpy.float64), b.mean(axis=1).astype(numpy.float64)
    return (a * b).sum(axis=1) / numpy.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("file")
    a.add_argument("--against", help="the file in f32, where `file` is not")
    a.add_argument("--engine", choices=("onnxruntime", "openvino"), default="onnxruntime")
    precisions = ("f32", "bf16", "int8-dynamic", "int8-weights", "int8", "as-is")
    a.add_argument("--precision", choices=precisions, default="f32")
    for name, default in (("batch", 32), ("steps", 10), ("warmup", 2), ("threads", 2), ("image", 224), ("channels", 3)):
        a.add_argument(f"--{name}", type=int, default=default)
    o = a.parse_args()
    noise = numpy.random.default_rng(0)
    images = noise.standard_normal((o.batch, o.channels, o.image, o.image), dtype=numpy.float32)
    if o.engine == "onnxruntime":
        run = by_onnxruntime(o.file, o.precision, o.threads)
    else:
        run = by_openvino(o.file, o.precision, o.threads, images)
    times = []
    for _ in range(o.warmup + o.steps):
        start = time.perf_counter()
        features = run(images)
        times.append((time.perf_counter() - start) * 1e3)
    median = statistics.median(times[o.warmup :])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    exact = onnxruntime_session(o.against or o.file, o.threads)(images)
    report = {"batch_ms": round(median, 2), "best_ms": round(min(times[o.warmup :]), 2), "rss_mb": round(peak, 1)}
    print(json.dumps({**vars(o), **report, "least_cosine": round(float(cosines(features, exact).min()), 6)}))


if __name__ == "__main__":
    main()
