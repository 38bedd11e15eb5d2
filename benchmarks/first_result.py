"""From the start of the process to its first result: `edgekit run` and a minimal script, in turn.

    python benchmarks/first_result.py [--rounds 15] [--json FILE]

The script imports OpenCV and LiteRT, decodes one frame of the video and prints its class. Medians;
peak memory is VmHWM, read from outside the process. edgekit's modules are compiled first, as pip
compiles those it installs: with PYTHONDONTWRITEBYTECODE a checkout would compile them again at each
start.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from results import REPOSITORY, make_parser, save_result

MODEL = "tflite/tf2_mobilenet_v2_1.0_224_ptq.tflite"
VIDEO = "videos/car-detection.mp4"
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
} | {"PYTHONPATH": str(REPOSITORY)}
TITLES = {"script": "minimal script", "edgekit": "edgekit run"}
SCRIPT = """
import sys
import cv2
from ai_edge_litert.interpreter import Interpreter

video, model = sys.argv[1:]
interpreter = Interpreter(model)
interpreter.allocate_tensors()
image, scores = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
_, frame = cv2.VideoCapture(video).read()
pixels = cv2.cvtColor(cv2.resize(frame, tuple(image["shape"][2:0:-1])), cv2.COLOR_BGR2RGB)
interpreter.set_tensor(image["index"], pixels[None])
interpreter.invoke()
print(interpreter.get_tensor(scores["index"])[0].argmax(), flush=True)
"""


def time_first_line(command: list[str]) -> tuple[float, float]:
    """Seconds to the first line of output, and the process's peak memory in MB."""
    began = time.perf_counter()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - began
        process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if not line or process.returncode:
        raise SystemExit(f"no result from {command}")
    return seconds, usage.ru_maxrss / 1e3 * 1.024


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    model, video = str(arguments.data / MODEL), str(arguments.data / VIDEO)
    run = ["run", model, "--source", video, "--json", "--frames", "1"]
    contenders = {
        "script": [sys.executable, "-c", SCRIPT, video, model],
        "edgekit": [str(Path(sys.executable).with_name("edgekit")), *run],
    }
    runs_by_name: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    compile_all = [sys.executable, "-m", "compileall", "-q", str(REPOSITORY / "edgekit")]
    subprocess.run(compile_all, env=ENVIRONMENT, check=True)
    for number in range(arguments.rounds + 1):
        for name, command in contenders.items():
            result = time_first_line(command)
            if number:
                runs_by_name[name].append(result)
    print("| | first result | x the script | peak memory |")
    print("|---|--:|--:|--:|")
    figures = {
        name: {
            "first_result_ms": statistics.median(seconds for seconds, _ in runs) * 1e3,
            "peak_mb": max(memory for _, memory in runs),
        }
        for name, runs in runs_by_name.items()
    }
    for name, found in figures.items():
        ratio = found["first_result_ms"] / figures["script"]["first_result_ms"]
        times = f"{found['first_result_ms']:.0f} ms | {ratio:.2f}"
        print(f"| {TITLES[name]} | {times} | {found['peak_mb']:.0f} MB |")
    save_result(arguments.json, {"rounds": arguments.rounds, "ratio": ratio} | figures)


if __name__ == "__main__":
    main()
