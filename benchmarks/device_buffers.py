"""What the copies around an inference cost on a GPU: pinned and pageable, alone and as a graph.

    python benchmarks/device_buffers.py [--rounds 2000] [--json FILE]

A round copies one image of 224 × 224 pixels to the device and as many bytes back, and waits, as an
engine does around its network. Both cuda-python and pycuda are measured where they can be imported.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from results import make_parser, save_result

from edgekit.engines.tensorrt.cuda import Cuda, CudaPython, PyCuda
from edgekit.errors import EngineError

IMAGE_BYTES = 224 * 224 * 3
BLOCK_BYTES = 64 << 20


def measure(cuda: Cuda, stream: int, work: Callable[[], None], rounds: int) -> tuple[float, float]:
    """Median and 99th percentile of `work` and the wait for it, µs; the first tenth warms up."""
    laps = []
    for _ in range(rounds):
        began = time.perf_counter_ns()
        work()
        cuda.synchronize(stream)
        laps.append((time.perf_counter_ns() - began) / 1e3)
    p50, p99 = np.percentile(laps[rounds // 10 :], [50, 99])
    return float(p50), float(p99)


def measure_copies(cuda: Cuda, rounds: int) -> dict[str, dict[str, float]]:
    """Each kind of copy with its times, printed as they come."""
    gpu = cuda.describe()
    print(f"\n{cuda.package} on {gpu.name} ({gpu.capability})")
    print("| copies | p50 µs | p99 µs |")
    print("|---|--:|--:|")
    stream = cuda.create_stream()
    address = cuda.allocate(BLOCK_BYTES)
    host, back = (cuda.allocate_pinned(BLOCK_BYTES) for _ in range(2))
    pageable = np.zeros(IMAGE_BYTES, np.uint8), np.zeros(IMAGE_BYTES, np.uint8)

    def there_and_back(source: np.ndarray, target: np.ndarray) -> None:
        cuda.copy_to_device(address, source, stream)
        cuda.copy_to_host(target, address, stream)

    image = host[:IMAGE_BYTES], back[:IMAGE_BYTES]
    replay = cuda.capture(stream, lambda: there_and_back(*image))
    jobs: dict[str, tuple[Callable[[], None], int]] = {
        "an image there and back, pinned": (lambda: there_and_back(*image), rounds),
        "the same, pageable": (lambda: there_and_back(*pageable), rounds),
        "64 MiB there": (lambda: cuda.copy_to_device(address, host, stream), max(20, rounds // 50)),
        "64 MiB back": (lambda: cuda.copy_to_host(back, address, stream), max(20, rounds // 50)),
    }
    if replay is not None:
        jobs["an image there and back, pinned, as a CUDA graph"] = replay.launch, rounds
    figures = {}
    for name, (work, count) in jobs.items():
        p50, p99 = measure(cuda, stream, work, count)
        figures[name] = {"p50_us": p50, "p99_us": p99}
        print(f"| {name} | {p50:.1f} | {p99:.1f} |")
    if replay is not None:
        replay.free()
    cuda.free(address)
    for memory in (host, back):
        cuda.free_pinned(memory)
    cuda.destroy_stream(stream)
    return figures


def main() -> None:
    parser = make_parser(__doc__, data=False)
    parser.add_argument("--rounds", type=int, default=2000)
    options = parser.parse_args()
    figures, gpu = {}, ""
    for binding in (CudaPython, PyCuda):
        try:
            cuda = binding()
        except (ImportError, EngineError) as error:
            print(f"\n{binding.package}: {error}")
            continue
        figures[cuda.package], gpu = measure_copies(cuda, options.rounds), cuda.describe().name
    if figures:
        save_result(options.json, {"gpu": gpu, "packages": figures})


if __name__ == "__main__":
    main()
