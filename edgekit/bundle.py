"""Reads and writes bundles: the one file that is copied to a device.

`NAME.edgekit` is a zip file whose members are stored uncompressed, so that any unzip opens it and
other tools load the model inside. `manifest.json` holds the sha256 of every other member. In, to
write: a `Manifest`, the model and its companions. Out, on reading: a `Bundle` whose digests are
right.
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

from edgekit.arrays import Logits, ModelPixels, RgbImage
from edgekit.errors import BundleError
from edgekit.files import write_atomic
from edgekit.foreign_models import describe_other_model
from edgekit.native_libraries import load_opencv
from edgekit.scores import make_rule
from edgekit.spec import TARGETS, Accuracy, ModelSpec, Precision, Record

SCHEMA_VERSION = 1
SUFFIX = ".edgekit"
FP16_MEMBER = "model-fp16.onnx"
"""The second candidate of a Jetson bundle of precision `best`."""


class Origin(Record, frozen=True, kw_only=True):
    """The provenance of a bundle: its checkpoint, the tools, and the calibration images."""

    checkpoint_sha256: str
    key_layout: str
    tools: dict[str, str]
    calibration_images: int
    calibration_sha256: str | None = None


class Manifest(Record, frozen=True, kw_only=True):
    """The content of `manifest.json`: all that a device must know about the model in the bundle.

    `members` holds the sha256 of every other member, by name.
    """

    schema: int
    name: str
    model: ModelSpec
    target: str
    precision: Precision
    recipe: dict[str, Any]
    origin: Origin
    parity: Accuracy | None
    members: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise ValueError(f"target is {self.target!r}: expected one of {', '.join(TARGETS)}")

    @property
    def model_member(self) -> str:
        """The name of the model file in the bundle."""
        return f"model{TARGETS[self.target].suffix}"

    @property
    def reference_member(self) -> str:
        """The name of the float original in the bundle, where there is one."""
        return f"reference{TARGETS[self.target].suffix}"


class Golden(Record, frozen=True, kw_only=True):
    """A photograph with the pixels and logits that every runtime must reproduce.

    `image` is `(H, W, 3) uint8` RGB, 0-255. `pixels` is the same after preprocessing, `(height,
    width, C)`. `logits` is `(outputs,) float32`, of the model in the bundle.
    """

    image: RgbImage
    pixels: ModelPixels
    logits: Logits


class Bundle:
    """An opened bundle whose digests have been checked. Members are decoded when they are read.

    Args:
        path: The file.
        manifest: Its decoded `manifest.json`.
        members: The bytes of every other member, by name.
    """

    def __init__(self, path: Path, manifest: Manifest, members: Mapping[str, bytes]) -> None:
        self.path = path
        self.manifest = manifest
        self._members = members

    @property
    def model(self) -> bytes:
        """The model file that the target's runtime loads."""
        return self._members[self.manifest.model_member]

    @property
    def reference(self) -> bytes | None:
        """The float original in the target's format; None when it was left out."""
        return self._members.get(self.manifest.reference_member)

    @property
    def fp16_model(self) -> bytes | None:
        """The float16 candidate of a Jetson bundle of precision `best`; None in others."""
        return self._members.get(FP16_MEMBER)

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self._members["class_names.txt"].decode().splitlines())

    @property
    def report(self) -> dict[str, Any]:
        """The content of `report.json`: the measurements of the conversion."""
        report: dict[str, Any] = msgspec.json.decode(self._members["report.json"])
        return report

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    def set_threshold(self, threshold: float | None) -> Bundle:
        """Return the bundle with another threshold for its answers; None leaves the bundle's own.

        Raises SettingsError where the best class is the answer, whatever its score.
        """
        if threshold is None:
            return self
        model = self.manifest.model
        make_rule(model.scores, model.outputs, threshold)
        changed = msgspec.structs.replace(model, threshold=threshold)
        manifest = msgspec.structs.replace(self.manifest, model=changed)
        return Bundle(self.path, manifest, self._members)

    def golden(self) -> list[Golden]:
        """Decode the photographs that every runtime is checked with before it is used.

        Raises BundleError when one cannot be decoded although its digest is right.
        """
        count = sum(name.startswith("golden/") and name.endswith(".png") for name in self._members)
        examples = []
        for index in range(count):
            examples.append(
                Golden(
                    image=RgbImage(self._read(f"golden/{index}.png", _decode_png)),
                    pixels=ModelPixels(self._read(f"golden/{index}.pixels.npy", _load_array)),
                    logits=Logits(self._read(f"golden/{index}.logits.npy", _load_array)),
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

    Raises BundleError when the file is missing or damaged, is not a bundle, or was written by
    another version of the format. What a model of another kind is, the message says.
    """
    path = Path(path)
    if path.is_file() and (other := describe_other_model(path)) is not None:
        raise BundleError(f"{path} is not an edgekit bundle but {other}")
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
            f"{path} is not an edgekit bundle, or is damaged ({error}): copy it again"
        ) from error
    if "manifest.json" not in members:
        raise BundleError(f"{path} is a zip without manifest.json: expected an edgekit bundle")
    manifest = _read_manifest(path, members.pop("manifest.json"))
    _check_members(path, manifest, members)
    return Bundle(path, manifest, members)


def _read_stored(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Read a member as `write_bundle` wrote it. A damaged one may claim to be compressed."""
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
    required = {manifest.model_member, "class_names.txt", "report.json"}
    if manifest.precision == "best":
        required.add(FP16_MEMBER)
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
    fp16_model: bytes | None = None,
) -> None:
    """Write a bundle atomically. The same content gives the same bytes.

    Args:
        path: The file to write.
        manifest: The manifest; its `members` are filled in here.
        model: The model file for the target.
        reference: The float original in the target's format, or None.
        class_names: One name a class, in class order.
        golden: The photographs that every runtime is checked with.
        report: The measurements of the conversion, for `report.json`.
        fp16_model: The float16 model of a Jetson bundle of precision `best`, else None.

    Raises:
        OutputError: `path` cannot be written.
    """
    members = {
        manifest.model_member: model,
        "class_names.txt": "".join(f"{name}\n" for name in class_names).encode(),
        "report.json": msgspec.json.format(msgspec.json.encode(report), indent=2),
    }
    if reference is not None:
        members[manifest.reference_member] = reference
    if fp16_model is not None:
        members[FP16_MEMBER] = fp16_model
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


def _encode_png(image: RgbImage) -> bytes:
    cv2 = load_opencv()

    _, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    content: bytes = encoded.tobytes()
    return content


def _decode_png(content: bytes) -> RgbImage:
    cv2 = load_opencv()

    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("it is not a PNG image")
    rgb: RgbImage = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return rgb


def _dump_array(array: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _load_array(content: bytes) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    return array
