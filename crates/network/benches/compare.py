#!/usr/bin/env python3
"""Prints milliseconds per picture on one thread: this crate, rten, ONNX Runtime on the same model; with --nsfwjs also nsfwjs, end to end.

usage: compare.py [--rounds 5] [--seconds 2] [--nsfwjs FOLDER] [--jpeg FILE]
needs: numpy, onnx, onnxruntime (pip); for --nsfwjs a folder with
       npm install nsfwjs@4.3.0 @tensorflow/tfjs@4 @tensorflow/tfjs-backend-wasm@4 sharp
The programs take turns, round after round, and the medians are compared. ONNX Runtime gets the model with its codes already turned into
float32, which is twice as fast there as the file itself.
"""
import argparse, json, os, re, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(f"{HERE}/../../..")
MODEL = f"{ROOT}/models/mobilenet_v2.u8.onnx"


def build():
    command = ["cargo", "bench", "--locked", "-p", "filesafety-network", "--bench", "inference", "--no-run", "--message-format=json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = [message["executable"] for message in map(json.loads, lines) if message.get("executable")]
    return found[-1]


def as_float32(path):
    """The model with each DequantizeLinear done."""
    import numpy, onnx
    from onnx import numpy_helper

    model = onnx.load(MODEL)
    graph = model.graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "DequantizeLinear"]:
        codes, scale, zero = (tensors[name] for name in node.input)
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        if scale.size > 1:
            shape = [1] * codes.ndim
            shape[axis] = -1
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        weights = (codes.astype(numpy.int32) - zero.astype(numpy.int32)).astype(numpy.float32) * scale
        graph.initializer.append(numpy_helper.from_array(weights.astype(numpy.float32), node.output[0]))
        graph.node.remove(node)
    onnx.save(model, path)


def onnx_runtime(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # It has a remark on each tensor that the folding left over.
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run_session(session, seconds):
    import numpy

    picture = numpy.random.default_rng(1).random((1, 3, 224, 224), dtype=numpy.float32)
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, {"input": picture})
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def run_bench(program, seconds, only):
    out = subprocess.run([program, str(seconds), "--only", only], check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(re.search(rf"^{only} ([\d.]+) ms", out, re.M).group(1))


def inference(program, rounds, seconds):
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/f32.onnx"
        as_float32(path)
        session = onnx_runtime(path)
        run_session(session, 0.5)
        times = {"ours": [], "onnxruntime": [], "rten": []}
        for _ in range(rounds):
            times["ours"].append(run_bench(program, seconds, "ours"))
            times["onnxruntime"].append(run_session(session, seconds))
            times["rten"].append(run_bench(program, seconds, "rten"))
    reference = statistics.median(times["onnxruntime"])
    print("inference, one thread, ms per picture: median of rounds (each round)")
    for name, each in times.items():
        median = statistics.median(each)
        print(f"  {name:12} {median:7.3f}  {median / reference:5.2f} x onnxruntime  ({', '.join(f'{value:.2f}' for value in each)})")


def make_jpeg(path):
    """1280 x 720, of shapes and some noise."""
    import numpy
    from PIL import Image

    random = numpy.random.default_rng(2)
    y, x = numpy.mgrid[0:720, 0:1280]
    picture = numpy.stack([(x / 5) % 256, (y / 3) % 256, ((x + y) / 8) % 256], axis=2)
    for _ in range(60):
        cx, cy, radius = random.integers(0, 1280), random.integers(0, 720), random.integers(10, 150)
        picture[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = random.integers(0, 256, 3)
    picture = numpy.clip(picture + random.normal(0, 6, picture.shape), 0, 255).astype(numpy.uint8)
    Image.fromarray(picture).save(path, quality=85)


def end_to_end(program, folder, jpeg, rounds, seconds):
    print(f"end to end on {os.path.basename(jpeg)}: ours with two threads, one nsfwjs process (wasm)")
    ours, theirs = [], []
    script = f"{HERE}/nsfwjs.cjs"
    environment = {**os.environ, "NODE_PATH": f"{folder}/node_modules"}
    for _ in range(rounds):
        command = [program, str(2 * seconds), "--jpeg", jpeg, "--threads", "2"]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        parts = ", ".join(re.findall(r"^((?:decode|reduce|infer) [\d.]+ ms)", out, re.M))
        ours.append(float(re.search(r"([\d.]+) pictures/s", out).group(1)))
        out = subprocess.run(["node", script, jpeg, str(seconds)], check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
        result = json.loads(out.splitlines()[-1])
        theirs.append(result["pictures_per_second"])
        print(f"  ours {ours[-1]:7.1f}/s ({parts})   nsfwjs {theirs[-1]:6.2f}/s (decode {result['decode']:.1f} ms, classify {result['classify']:.1f} ms)")
    print(f"  median: {statistics.median(ours) / statistics.median(theirs):.1f} x nsfwjs")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--nsfwjs", metavar="FOLDER")
    parser.add_argument("--jpeg", metavar="FILE")
    parser.add_argument("--program", help="the bench, already built")
    arguments = parser.parse_args()
    program = arguments.program or build()
    inference(program, arguments.rounds, arguments.seconds)
    if arguments.nsfwjs:
        with tempfile.TemporaryDirectory() as folder:
            jpeg = arguments.jpeg or f"{folder}/720p.jpg"
            if not arguments.jpeg:
                make_jpeg(jpeg)
            end_to_end(program, arguments.nsfwjs, jpeg, arguments.rounds, arguments.seconds)


if __name__ == "__main__":
    sys.exit(main())
