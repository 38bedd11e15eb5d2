"""The Jetson's install script, run on boards made up of a release file and a Python."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from tests.environments import REPOSITORY

pytestmark = pytest.mark.environment

SCRIPT = REPOSITORY / "deploy" / "jetson" / "install.sh"
PI_SCRIPT = REPOSITORY / "deploy" / "raspberry-pi" / "install.sh"
CONTAINERFILE = SCRIPT.with_name("Containerfile")
JETPACK_6 = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64"
JETPACK_7 = "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64"
OFFERED = {"numpy": ("1.26.4", "2.2.0"), "cuda_python": ("12.9.1", "13.1.0")}


class Jetson:
    """A home with a wheel, a release file, and a system Python with stand-ins for JetPack's own.

    pip finds nothing but the packages of `packages`.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.release_file = folder / "nv_tegra_release"
        self.python = folder / "python3"
        self.packages = folder / "packages"
        self._tools = folder / "bin"
        self._modules = folder / "modules"
        for made in (self.home, self.packages, self._tools, self._modules):
            made.mkdir()
        self.wheel = make_wheel(self.home, "edgekit", "0.1.0", requires=("numpy>=1.23",))
        for name, versions in OFFERED.items():
            for version in versions:
                make_wheel(self.packages, name, version)
        self.release(JETPACK_6)
        self.program(self.python, f'exec "{Path(sys.executable).resolve()}" "$@"')
        self.user(1000)
        for name, version in (("tensorrt", "10.3.0"), ("cv2", "4.8.0"), ("numpy", "1.21.5")):
            self.module(name, f"__version__ = '{version}'")

    def release(self, line: str) -> None:
        self.release_file.write_text(f"{line}\n# KERNEL_VARIANT: oot\n")

    def program(self, path: Path, text: str) -> None:
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def user(self, number: int) -> None:
        self.program(self._tools / "id", f"echo {number}")

    def module(self, name: str, text: str) -> None:
        (self._modules / f"{name}.py").write_text(text)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self._tools}:/usr/bin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(self._modules),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.packages),
            "PIP_CONFIG_FILE": os.devnull,
            "EDGEKIT_RELEASE_FILE": str(self.release_file),
            "EDGEKIT_SYSTEM_PYTHON": str(self.python),
        }

    def install(self, *args: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", SCRIPT, *args],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def refuse(self, *args: str | Path) -> str:
        """The one line with which the script gives up."""
        result = self.install(*args)
        assert result.returncode == 1, result.stdout + result.stderr
        (line,) = result.stderr.splitlines()
        assert line.startswith("install.sh: ")
        return line

    def lose_package(self, name: str) -> None:
        (self.packages / f"{name}-py3-none-any.whl").unlink()

    def installed(self, venv: Path) -> dict[str, str]:
        """Package → version, of those in the virtual environment itself."""
        names = [path.name for path in venv.glob("lib/python*/site-packages/*.dist-info")]
        pairs = [name.removesuffix(".dist-info").split("-") for name in names]
        return {name: version for name, version in pairs if name not in ("pip", "setuptools")}


def make_wheel(folder: Path, name: str, version: str, requires: tuple[str, ...] = ()) -> Path:
    """A package of one module that knows its version."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    needed = "".join(f"Requires-Dist: {text}\n" for text in requires)
    files = {
        f"{name}/__init__.py": f"__version__ = '{version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if name == "edgekit":
        files["edgekit/engines/tensorrt/engine_provider.py"] = (
            "def why_unavailable(): return None\n"
        )
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


@pytest.fixture
def jetson(tmp_path: Path) -> Jetson:
    return Jetson(tmp_path)


def test_script_is_a_program_that_bash_can_parse() -> None:
    assert os.access(SCRIPT, os.X_OK)
    subprocess.run(["bash", "-n", SCRIPT], check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", [SCRIPT, PI_SCRIPT], ids=lambda path: path.parent.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    result = subprocess.run(["shellcheck", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_help_needs_no_jetson(jetson: Jetson) -> None:
    jetson.release_file.unlink()
    result = jetson.install("--help")
    assert result.returncode == 0
    assert "--venv DIR" in result.stdout
    assert result.stderr == ""


def test_other_machine(jetson: Jetson) -> None:
    jetson.release_file.unlink()
    line = jetson.refuse(jetson.wheel)
    assert "no Jetson" in line
    assert str(jetson.release_file) in line


@pytest.mark.parametrize(
    ("release", "words"),
    [
        ("R32", ("R32, JetPack 4", "Python 3.6", "opset 13", "trtexec --onnx=FILE --fp16")),
        ("R35", ("R35, JetPack 5", "Python 3.8", "flash an Orin", "trtexec --onnx=model.onnx")),
    ],
)
def test_old_jetpack(jetson: Jetson, release: str, words: tuple[str, ...]) -> None:
    jetson.release(f"# {release} (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref")
    line = jetson.refuse(jetson.wheel)
    for word in (*words, "expected R36"):
        assert word in line


def test_release_file_of_something_else(jetson: Jetson) -> None:
    jetson.release("Ubuntu 24.04")
    assert "begins with 'Ubuntu 24.04'" in jetson.refuse(jetson.wheel)


def test_wheel_missing(jetson: Jetson) -> None:
    assert "no wheel given" in jetson.refuse()
    assert "absent.whl is not a file" in jetson.refuse("absent.whl")
    other = make_wheel(jetson.home, "other", "1.0")
    assert "is not edgekit's wheel" in jetson.refuse(other)
    assert "two wheels" in jetson.refuse(jetson.wheel, other)


def test_unknown_option(jetson: Jetson) -> None:
    assert "unknown option --user" in jetson.refuse("--user", jetson.wheel)
    assert "--venv has no folder" in jetson.refuse(jetson.wheel, "--venv")


def test_root(jetson: Jetson) -> None:
    jetson.user(0)
    assert "without sudo" in jetson.refuse(jetson.wheel)


@pytest.mark.parametrize(
    ("module", "text", "fix"),
    [
        ("tensorrt", "raise ImportError('libnvinfer.so.10')", "nvidia-jetpack python3-libnvinfer"),
        ("cv2", "raise ImportError('no cv2')", "sudo apt install python3-opencv"),
        ("ensurepip", "raise ImportError", "sudo apt install python3-venv"),
    ],
)
def test_system_package_missing(jetson: Jetson, module: str, text: str, fix: str) -> None:
    jetson.module(module, text)
    assert fix in jetson.refuse(jetson.wheel)
    assert not (jetson.home / "edgekit").exists()


def test_old_python(jetson: Jetson) -> None:
    jetson.program(jetson.python, 'case "$2" in *exit*) exit 1;; esac; echo 3.8')
    assert "is Python 3.8: expected 3.10 or newer" in jetson.refuse(jetson.wheel)


@pytest.mark.slow
def test_install_update_and_failed_update(jetson: Jetson) -> None:
    expected = {"edgekit": "0.1.0", "cuda_python": "12.9.1", "numpy": "1.26.4"}
    venv = jetson.home / "edgekit"
    for verb in ("making", "updating"):
        result = jetson.install(jetson.wheel)
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        assert result.stdout.startswith(f"{verb} {venv}\n")
        for line in ("JetPack      6 (R36)", "TensorRT     10.3.0", "edgekit      0.1.0"):
            assert line in result.stdout.splitlines()
        assert f"next: {venv}/bin/edgekit build" in result.stdout
        # numpy 2 would break the system's OpenCV, which was built for numpy 1.
        assert jetson.installed(venv) == expected
        # A wheel built anew under the same version is taken all the same.
        (module,) = venv.glob("lib/python*/site-packages/edgekit/__init__.py")
        module.write_text("__version__ = 'stale'\n")
    jetson.release(JETPACK_7)
    jetson.lose_package("cuda_python-13.1.0")
    assert "cuda-python" in jetson.refuse(jetson.wheel)
    assert jetson.installed(venv) == expected


def test_jetpack_7_in_another_folder(jetson: Jetson) -> None:
    jetson.release(JETPACK_7)
    venv = jetson.home / "deep" / "venv"
    result = jetson.install("--venv", venv, jetson.wheel)
    assert result.returncode == 0, result.stderr
    assert "JetPack      7 (R38)" in result.stdout
    assert jetson.installed(venv)["cuda_python"] == "13.1.0"


def test_gpu_that_cannot_be_used_is_told(jetson: Jetson) -> None:
    jetson.module("edgekit", "__version__ = '0.1.0'")
    result = jetson.install(jetson.wheel)
    assert result.returncode == 0, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("warning: installed, but the GPU cannot be used yet: ")


def test_failed_install_leaves_nothing(jetson: Jetson) -> None:
    jetson.lose_package("cuda_python-12.9.1")
    assert "cuda-python" in jetson.refuse(jetson.wheel)
    assert not (jetson.home / "edgekit").exists()


def test_interrupted_install_leaves_nothing(jetson: Jetson) -> None:
    venv = jetson.home / "edgekit"
    slow = "import sys, time\nif sys.prefix != sys.base_prefix: time.sleep(2)\n"
    jetson.module("sitecustomize", slow)
    process = subprocess.Popen(
        ["bash", SCRIPT, jetson.wheel], env=jetson.environment, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 30
    while not (venv / "bin" / "python").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert not venv.exists()


@pytest.mark.parametrize("content", ["", "home = /usr/bin\ninclude-system-site-packages = false\n"])
def test_folder_that_is_not_ours_stays(jetson: Jetson, content: str) -> None:
    venv = jetson.home / "edgekit"
    venv.mkdir()
    (venv / "notes.txt").write_text("mine")
    if content:
        (venv / "pyvenv.cfg").write_text(content)
    assert "--venv DIR" in jetson.refuse(jetson.wheel)
    assert (venv / "notes.txt").read_text() == "mine"


def test_container_takes_the_packages_of_the_script() -> None:
    text = CONTAINERFILE.read_text()
    for requirement in ("cuda-python>=12.2,<13", "cuda-python>=13,<14"):
        assert requirement in text
        assert requirement in SCRIPT.read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "no wheel given"),
        (["nowhere.whl"], "there is no file nowhere.whl"),
        (["--speed"], "unknown option --speed"),
        (["a.whl", "b.whl"], "two wheels given"),
    ],
)
def test_the_pis_script_refuses(words: list[str], told: str, tmp_path: Path) -> None:
    result = subprocess.run(
        ["bash", PI_SCRIPT, *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 1
    assert result.stderr.startswith("install.sh: ") and told in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_pis_script_without_a_network_and_with_half_an_environment(tmp_path: Path) -> None:
    """It says what pip lacks and what to do, and gives an interrupted environment its pip."""
    wheel = make_wheel(tmp_path, "edgekit", "0.1", requires=("no-such-package-anywhere",))
    venv = tmp_path / "my edgekit"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    result = subprocess.run(
        ["bash", PI_SCRIPT, "--bare", "--venv", venv, wheel],
        env={**os.environ, "EDGEKIT_SYSTEM_PYTHON": sys.executable, "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("install.sh: pip: ERROR: ")
    assert "no-such-package-anywhere" in result.stderr
    assert "connect the board to the network" in result.stderr
    assert result.stderr.count("\n") == 1
    assert (venv / "bin" / "pip").exists()


def test_the_pis_script_leaves_a_folder_alone(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "edgekit", "0.1")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    result = subprocess.run(
        ["bash", PI_SCRIPT, "--bare", "--venv", tmp_path / "mine", wheel],
        env={**os.environ, "EDGEKIT_SYSTEM_PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "is no virtual environment" in result.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
