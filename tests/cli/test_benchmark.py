"""`edgekit benchmark` for real, on a short clip and for about a second."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit.bundle import Manifest, Origin, write_bundle
from edgekit.profile.record import read_report
from edgekit.report.wording import spell_ms
from edgekit.spec import InputSpec, ModelSpec, Normalization
from tests.environments import REPOSITORY
from tests.runtime.test_plain_scores import model as plain_model
from tests.sources.video_files import DEMO, demo_model

pytestmark = pytest.mark.slow

STAGES = ["capture", "preprocess", "inference", "postprocess", "output"]


def run(*arguments: object, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekit", "benchmark", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def model() -> Path:
    return demo_model()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames: shorter than any measurement, so that the source begins again."""
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (320, 240))
    for index in range(10):
        writer.write(np.full((240, 320, 3), 20 * index, np.uint8))
    writer.release()
    return path


@pytest.fixture(scope="module")
def bundle(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle around a third party's network."""
    path = tmp_path_factory.mktemp("bundle") / "birds.edgekit"
    spec = ModelSpec(
        family="mobilenet_v2",
        width=1.0,
        classes=1001,
        input=InputSpec(height=224, width=224, normalization=Normalization.parse("half")),
        activation="relu6",
        padding="same",
        batch_norm_eps=1e-3,
        parameters=3_504_872,
        multiply_adds=300_774_272,
    )
    manifest = Manifest(
        schema=1,
        name="birds",
        model=spec,
        target="pi",
        precision="int8",
        recipe={},
        origin=Origin(
            checkpoint_sha256="0" * 64, key_layout="edgekit", tools={}, calibration_images=0
        ),
        parity=None,
    )
    write_bundle(
        path,
        manifest,
        model=(test_data / "tflite/mobilenet_v2_1.0_224_quant.tflite").read_bytes(),
        reference=None,
        class_names=[f"bird {index}" for index in range(1001)],
        golden=[],
        report={},
    )
    return path


def test_a_bundle_is_measured(bundle: Path, clip: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    done = run(bundle, "--source", clip, "--duration", 1, "-o", tmp_path / "out", "--json")
    took_s = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert list(document["stages_ms"]) == STAGES
    result = document["results"][0]
    for stage in document["stages_ms"].values():
        assert 0 < stage["p50"] <= stage["p90"] <= stage["p95"] <= stage["p99"]
        assert stage["count"] == result["frame_ms"]["count"] > 10
    assert document["throughput_fps"] == pytest.approx(1e3 / result["frame_ms"]["mean"], rel=1e-4)
    assert 20e6 < document["memory_peak_bytes"] < 1e9
    assert 0.05 < document["cold_start_s"] < took_s
    assert isinstance(document["trusted"], bool)
    assert document["trusted"] == (not document["reasons"])
    assert result["model"]["name"] == "birds"
    assert result["model"]["family"] == "mobilenet_v2"
    assert result["multiply_adds_per_s"] == pytest.approx(
        300_774_272 / result["model_ms"]["p50"] * 1e3, rel=1e-6
    )
    assert result["threads"][0]["threads"] == 1
    interval = result["model_p50_interval_ms"]
    assert interval["low"] <= result["model_ms"]["p50"] <= interval["high"]
    assert sum(result["cold_start"].values()) == pytest.approx(document["cold_start_s"], abs=0.01)
    assert result["graph"] == {"multiply_adds": 300_775_552, "delegated": 300_775_552}
    layers = result["layers"]
    assert len(layers["parts"]) >= 4
    assert sum(part["p50_ms"] for part in layers["parts"]) == pytest.approx(
        layers["whole_ms"], rel=1e-3
    )
    assert result["warmup"]["runs"] >= 15
    conditions = document["conditions"]
    assert list(conditions["cpu_elsewhere"]) == ["cold_start", "threads", "layers"]
    assert all(share["own"] > 0 for share in conditions["cpu_elsewhere"].values())
    last = result["frame_samples"][-1]
    assert conditions["after"]["time_s"] > last["start_s"] + last["duration_s"] + 0.25
    assert conditions["during"][0]["time_s"] < result["model_samples"][0]["start_s"]
    assert document["device"]["packages"]["ai-edge-litert"]
    assert "320x240" in document["settings"]["source"]
    assert str(clip.parent) not in done.stdout


def test_the_folder_gets_three_files_that_agree(model: Path, clip: Path, tmp_path: Path) -> None:
    done = run(model, "--source", clip, "--duration", 0.3, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "Latency in ms" in done.stdout
    assert "(command line)" in done.stderr
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
    ]
    report = read_report(out)
    median = f"{spell_ms(report.results[0].model_ms.p50)} ms"
    assert median in (out / "report.md").read_text()
    assert median in (out / "report.html").read_text()
    assert median in done.stdout


def test_several_models_take_turns(model: Path, clip: Path, tmp_path: Path) -> None:
    bundle = DEMO / "digits-pi.edgekit"
    done = run(bundle, model, "--source", clip, "--duration", 3, "-o", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)["results"]
    starts = [[chunk["start_s"] for chunk in result["model_samples"]] for result in (first, second)]
    assert len(starts[0]) == len(starts[1]) == 2
    assert starts[0][0] < starts[1][0] < starts[0][1] < starts[1][1]


def test_accuracy_is_measured_in_the_same_run(tmp_path: Path) -> None:
    bundle, images = DEMO / "digits-pi.edgekit", DEMO / "test"
    done = run(bundle, "--images", images, "--duration", 0.5, "-o", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert result["accuracy"]["images"] > 100
    assert result["accuracy"]["top1"] > 90
    assert result["accuracy"]["agreement"] > 90
    assert str(REPOSITORY) not in done.stdout


def test_labels_alone_are_refused(model: Path, tmp_path: Path) -> None:
    done = run(model, "--labels", tmp_path / "labels.csv")
    assert done.returncode == 2
    assert "give their folder with --images" in done.stderr


def test_settings_may_name_the_model(model: Path, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "edgekit.toml").write_text(
        f'[benchmark]\nbundle = "{model}"\nsource = "{clip}"\nduration = 0.3\n'
    )
    done = run(cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"model: {model.name} (edgekit.toml)" in done.stderr
    assert (tmp_path / "edgekit-report" / "report.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.tflite", "--source", "CLIP"], "absent.tflite"),
        (["MODEL", "--source", "absent.mp4"], "absent.mp4"),
        (["CLIP", "--source", "CLIP"], "not a TFLite or ONNX model"),
        (["MODEL", "MODEL", "--source", "0"], "camera 0 cannot serve 2 models at once"),
        (["MODEL", "--images", "absent"], "absent is not a folder of images"),
        (["\udcff.tflite", "--source", "CLIP"], r"'\udcff.tflite' is not UTF-8"),
        (["MODEL", "--source", "\udcff.mp4"], r"'\udcff.mp4' is not UTF-8"),
        (["MODEL", "--source", "CLIP", "--images", "EMPTY"], "empty holds no images"),
        (["MODEL", "--source", "CLIP", "--images", "EMPTY", "--labels", "CSV"], "'file,label'"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    model: Path, clip: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "labels.csv").write_text("name,class\na.png,1\n")
    places = {
        "MODEL": model,
        "CLIP": clip,
        "EMPTY": tmp_path / "empty",
        "CSV": tmp_path / "labels.csv",
    }
    done = run(*(places.get(a, a) for a in arguments), "-o", tmp_path / "out")
    assert done.returncode == 1
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("edgekit: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in done.stderr
    assert "warm-up" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_and_its_worker(
    model: Path, clip: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "edgekit", "benchmark", str(model), "--source", str(clip)]
    process = subprocess.Popen(
        [*command, "-o", str(tmp_path / "out")], stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    next(line for line in process.stderr if "warm-up" in line)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(number)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 130
    assert rest.strip() == "edgekit: interrupted"
    assert children and not any(Path(f"/proc/{child}").exists() for child in children)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("threads", [0, 65, 5000])
def test_threads_have_a_range(model: Path, threads: int) -> None:
    done = run(model, "--threads", threads)
    assert done.returncode == 2
    assert "1<=x<=64" in done.stderr


def test_a_folder_that_cannot_be_written_is_refused_before_measuring(
    model: Path, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    began = time.monotonic()
    done = run(model, "--source", clip, "-o", tmp_path / "file" / "out")
    assert done.returncode == 1
    assert "is a file: choose another with -o" in done.stderr
    assert time.monotonic() - began < 5


@pytest.mark.alone
def test_a_busy_machine_is_not_trusted(model: Path, clip: Path, tmp_path: Path) -> None:
    spin = [sys.executable, "-c", "while True: pass"]
    neighbours = [subprocess.Popen(spin) for _ in os.sched_getaffinity(0)]
    try:
        done = run(model, "--source", clip, "--duration", 1, "-o", tmp_path, "--json")
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()
    document = json.loads(done.stdout)
    assert document["trusted"] is False
    assert any("other programs used" in reason for reason in document["reasons"])


def test_the_report_says_how_one_output_of_a_plain_model_is_read(tmp_path: Path) -> None:
    """Dark and bright pictures, two classes: by the default, and as `--scores` says."""
    for label, level in (("0", 80), ("1", 180)):
        (tmp_path / "images" / label).mkdir(parents=True)
        picture = np.full((16, 16, 3), level, np.uint8)
        cv2.imwrite(str(tmp_path / "images" / label / "a.png"), picture)
    model = plain_model("one logit")
    words = [model, "--images", tmp_path / "images", "--duration", 0.1, "-o", tmp_path / "report"]
    read = "one logit, its sigmoid: the second class from 0.5 on"
    for flags, reading in (([], f"{read}, assumed (--scores)"), (["--scores", "sigmoid"], read)):
        done = run(*words, *flags)
        assert done.returncode == 0, done.stderr
        (result,) = read_report(tmp_path / "report" / "report.json").results
        assert (result.model.classes, result.model.reading) == (2, reading)
        assert result.accuracy is not None and result.accuracy.top1 == 100.0
        assert f"| output | {reading} |" in (tmp_path / "report" / "report.md").read_text()
    refused = run(*words, "--scores", "softmax")
    assert refused.returncode == 1
    assert "has one output, of which a softmax always makes 1" in refused.stderr
