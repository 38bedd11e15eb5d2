"""The bundle: the one file that goes to a device.

`NAME.edgekit` is a zip whose members are stored uncompressed, so any unzip opens it and the model
inside loads in stock tools. `manifest.json` holds the sha256 of every other member.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgekit.errors import BundleError
from edgekit.files import write_atomic
from edgekit.spec import ModelSpec, Parity, Precision, Record, Target

SCHEMA_VERSION = 1
SUFFIX = ".edgekit"
MODEL_MEMBERS: dict[Target, str] = {"pi": "model.tflite", "jetson": "model.onnx"}
REFERENCE_MEMBERS: dict[Target, str] = {"pi": "reference.tflite", "jetson": "reference.onnx"}
HALF_MEMBER = "model-fp16.onnx"
"""The second candidate of a Jetson bundle of precision `best`."""


class Origin(Record, frozen=True, kw_only=True):
    """What the bundle was made from and with."""

    checkpoint_sha256: str
    key_layout: str
    tools: dict[str, str]
    calibration_images: int
    calibration_sha256: str | None = None


class Manifest(Record, frozen=True, kw_only=True):
    """`manifest.json`: all that a device must know about the model beside it."""

    schema: int
    name: str
    model: ModelSpec
    target: Target
    precision: Precision
    recipe: dict[str, Any]
    origin: Origin
    parity: Parity | None
    members: dict[str, str] = msgspec.field(default_factory=dict)


class Golden(Record, frozen=True, kw_only=True):
    """A photograph, its preprocessed pixels (both uint8 RGB), and its `(classes,)` logits."""

    image: npt.NDArray[np.uint8]
    pixels: npt.NDArray[np.uint8]
    logits: npt.NDArray[np.float32]


class Bundle:
    """An opened bundle whose digests have been checked. Members are read when asked for."""

    def __init__(self, path: Path, manifest: Manifest, members: Mapping[str, bytes]) -> None:
        self.path = path
        self.manifest = manifest
        self._members = members

    @property
    def model(self) -> bytes:
        """The artifact, as the target's runtime loads it."""
        return self._members[MODEL_MEMBERS[self.manifest.target]]

    @property
    def reference(self) -> bytes | None:
        """The float original in the target's format; None when it was left out."""
        return self._members.get(REFERENCE_MEMBERS[self.manifest.target])

    @property
    def half(self) -> bytes | None:
        """The float16 candidate of a Jetson bundle of precision `best`; None in others."""
        return self._members.get(HALF_MEMBER)

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self._members["class_names.txt"].decode().splitlines())

    @property
    def report(self) -> dict[str, Any]:
        """`report.json`: what the conversion measured."""
        report: dict[str, Any] = msgspec.json.decode(self._members["report.json"])
        return report

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    def golden(self) -> list[Golden]:
        """The photographs that every runtime is checked with before it is trusted.

        Raises BundleError when one cannot be read, although its digest is right.
        """
        count = sum(name.startswith("golden/") and name.endswith(".png") for name in self._members)
        examples = []
        for index in range(count):
            examples.append(
                Golden(
                    image=self._read(f"golden/{index}.png", _decode_png),
                    pixels=self._read(f"golden/{index}.pixels.npy", _load_array),
                    logits=self._read(f"golden/{index}.logits.npy", _load_array),
                )
            )
        return examples

    def _read(self, name: str, decode: Callable[[bytes], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        try:
            return decode(self._members[name])
        except (KeyError, ValueError, EOFError) as error:
            raise BundleError(
                f"{self.path}: {name} cannot be read ({error}): convert again"
            ) from error


def open_bundle(path: str | Path) -> Bundle:
    """Open `path` and check every member against its digest.

    Raises BundleError when it is missing, no bundle, written by a newer edgekit, or damaged.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                member.filename: _read_stored(archive, member) for member in archive.filelist
            }
    except OSError as error:
        raise BundleError(
            f"cannot read bundle {path}: {error.strerror or error}: expected a file that"
            " `edgekit convert` wrote"
        ) from error
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        raise BundleError(
            f"{path} is no edgekit bundle, or is damaged ({error}): copy it again"
        ) from error
    if "manifest.json" not in members:
        raise BundleError(f"{path} is a zip without manifest.json: expected an edgekit bundle")
    manifest = _read_manifest(path, members.pop("manifest.json"))
    _check_members(path, manifest, members)
    return Bundle(path, manifest, members)


def _read_stored(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A member as `write_bundle` wrote it; damage may make it look compressed."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise zipfile.BadZipFile(f"{member.filename} is compressed, expected stored")
    return archive.read(member)


def _read_manifest(path: Path, content: bytes) -> Manifest:
    try:
        schema = msgspec.json.decode(content, type=dict).get("schema")
        if schema != SCHEMA_VERSION:
            raise BundleError(
                f"{path} has bundle schema {schema}, this edgekit reads {SCHEMA_VERSION}:"
                " install the edgekit that made it, or convert again"
            )
        return msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as error:
        raise BundleError(f"{path} has a damaged manifest ({error}): copy it again") from error


def _check_members(path: Path, manifest: Manifest, members: Mapping[str, bytes]) -> None:
    required = {MODEL_MEMBERS[manifest.target], "class_names.txt", "report.json"}
    if manifest.precision == "best":
        required.add(HALF_MEMBER)
    if missing := sorted((required | set(manifest.members)) - set(members)):
        raise BundleError(f"{path} lacks {', '.join(missing)}: copy it again")
    for name, content in members.items():
        expected = manifest.members.get(name)
        seen = hashlib.sha256(content).hexdigest()
        if seen != expected:
            raise BundleError(
                f"{path} is damaged: {name} has sha256 {seen[:12]}…,"
                f" expected {expected[:12] + '…' if expected else 'no such member'}: copy it again"
            )


def write_bundle(
    path: Path,
    manifest: Manifest,
    *,
    model: bytes,
    reference: bytes | None,
    class_names: Sequence[str],
    golden: Sequence[Golden],
    report: Mapping[str, Any],
    half: bytes | None = None,
) -> None:
    """Write a bundle atomically; the same content gives the same bytes.

    The manifest's `members` are filled in here. Raises OutputError when `path` cannot be written.
    """
    members = {
        MODEL_MEMBERS[manifest.target]: model,
        "class_names.txt": "".join(f"{name}\n" for name in class_names).encode(),
        "report.json": msgspec.json.format(msgspec.json.encode(report), indent=2),
    }
    if reference is not None:
        members[REFERENCE_MEMBERS[manifest.target]] = reference
    if half is not None:
        members[HALF_MEMBER] = half
    for index, example in enumerate(golden):
        members[f"golden/{index}.png"] = _encode_png(example.image)
        members[f"golden/{index}.pixels.npy"] = _dump_array(example.pixels)
        members[f"golden/{index}.logits.npy"] = _dump_array(example.logits)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    manifest = msgspec.structs.replace(manifest, members=digests)
    head = {"manifest.json": msgspec.json.format(msgspec.json.encode(manifest), indent=2)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in (head | members).items():
            archive.writestr(zipfile.ZipInfo(name), content)
    write_atomic(path, buffer.getvalue())


def _encode_png(image: npt.NDArray[np.uint8]) -> bytes:
    import cv2

    _, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    content: bytes = encoded.tobytes()
    return content


def _decode_png(content: bytes) -> npt.NDArray[np.uint8]:
    import cv2

    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("no PNG image")
    rgb: npt.NDArray[np.uint8] = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return rgb


def _dump_array(array: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _load_array(content: bytes) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    return array


def is_bundle(path: Path) -> bool:
    """Whether `path` is spelled, or begins, like a bundle rather than a plain model file."""
    if path.suffix == ".edgekit":
        return True
    try:
        with path.open("rb") as stream:
            return stream.read(4) == b"PK\x03\x04"
    except OSError:
        return False
