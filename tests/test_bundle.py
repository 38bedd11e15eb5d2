"""A bundle is read as it was written; damage raises an error with a message."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgekit.arrays import Logits, ModelPixels, RgbImage
from edgekit.bundle import (
    Golden,
    Manifest,
    Origin,
    open_bundle,
    write_bundle,
)
from edgekit.errors import BundleError
from edgekit.spec import Accuracy, InputSpec, ModelSpec

MODEL = b"\x1c\x00\x00\x00TFL3" + bytes(range(256)) * 40
SPEC = ModelSpec(
    family="mobilenet_v1",
    width=0.25,
    classes=3,
    input=InputSpec(height=32, width=32),
    activation="relu",
    padding="symmetric",
    batch_norm_eps=1e-5,
    parameters=1,
    multiply_adds=2,
)
MANIFEST = Manifest(
    schema=1,
    name="test",
    model=SPEC,
    target="pi",
    precision="int8",
    recipe={"name": "balanced", "equalization": "activations"},
    origin=Origin(
        checkpoint_sha256="0" * 64,
        key_layout="edgekit",
        tools={"torch": "2.13.0"},
        calibration_images=40,
    ),
    parity=Accuracy(agreement=98.5, sqnr_db=25.125, images=64),
)


def make_golden(count: int = 2) -> list[Golden]:
    generator = np.random.default_rng(0)
    return [
        Golden(
            image=RgbImage(generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)),
            pixels=ModelPixels(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)),
            logits=Logits(generator.normal(size=3).astype(np.float32)),
        )
        for _ in range(count)
    ]


def write(path: Path, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "model": MODEL,
        "reference": b"\x1c\x00\x00\x00TFL3 float",
        "class_names": ["zero", "dos ½", "three 3"],
        "golden": make_golden(),
        "report": {"parity": MANIFEST.parity, "left_float": []},
    }
    write_bundle(path, changes.pop("manifest", MANIFEST), **(content | changes))
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write(tmp_path / "test.edgekit")


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Write the bundle again after `change` of its members; the digests stay as they were."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def edit_manifest(members: dict[str, bytes], **changes: Any) -> None:
    document = json.loads(members["manifest.json"]) | changes
    members["manifest.json"] = json.dumps(document).encode()


def test_round_trip(bundle: Path) -> None:
    opened = open_bundle(str(bundle))
    assert opened.model == MODEL
    assert opened.reference == b"\x1c\x00\x00\x00TFL3 float"
    assert opened.class_names == ("zero", "dos ½", "three 3")
    parity = {"agreement": 98.5, "sqnr_db": 25.125, "images": 64}
    assert opened.report["parity"] == parity
    with zipfile.ZipFile(bundle) as archive:
        assert json.loads(archive.read("manifest.json"))["parity"] == parity
    assert opened.size_bytes == bundle.stat().st_size
    assert msgspec.structs.replace(opened.manifest, members={}) == MANIFEST
    for seen, expected in zip(opened.golden(), make_golden(), strict=True):
        assert (seen.image == expected.image).all()
        assert (seen.pixels == expected.pixels).all()
        assert (seen.logits == expected.logits).all()


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.edgekit"), write(tmp_path / "b.edgekit")
    assert first.read_bytes() == second.read_bytes()


def test_members_are_stored_and_listed_with_their_digests(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        infos = archive.infolist()
        manifest = json.loads(archive.read("manifest.json"))
        assert infos[0].filename == "manifest.json"
        assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
        for name, digest in manifest["members"].items():
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest
    assert {info.filename for info in infos} == {"manifest.json", *manifest["members"]}
    assert manifest["schema"] == 1


def test_a_stock_unzip_takes_the_model_out(bundle: Path, tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "zipfile", "-e", str(bundle), str(tmp_path / "out")]
    subprocess.run(arguments, check=True)
    assert (tmp_path / "out" / "model.tflite").read_bytes() == MODEL


def test_without_a_reference(tmp_path: Path) -> None:
    opened = open_bundle(write(tmp_path / "small.edgekit", reference=None, golden=[]))
    assert opened.reference is None
    assert opened.golden() == []


def test_one_changed_byte_anywhere_in_a_member_is_found(bundle: Path) -> None:
    content = bundle.read_bytes()
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(bundle) as archive:
        infos = archive.infolist()
    for info in infos:
        start = info.header_offset + 30 + len(info.filename)
        places = {0, info.file_size - 1, *generator.integers(0, info.file_size, 6).tolist()}
        for place in places:
            damaged = bytearray(content)
            damaged[start + place] ^= 1 << int(generator.integers(8))
            bundle.write_bytes(damaged)
            with pytest.raises(BundleError, match=r"test\.edgekit .*damaged.*: copy it again"):
                open_bundle(bundle)


def test_a_changed_byte_of_the_zips_own_records_never_crashes(bundle: Path) -> None:
    """Dates and attributes may change unseen; what was stored is then still whole."""
    content = bundle.read_bytes()
    with zipfile.ZipFile(bundle) as archive:
        infos = archive.infolist()
        directory = archive.start_dir
    headers = [info.header_offset + byte for info in infos for byte in range(30)]
    accepted = 0
    for place in [*headers, *range(directory, len(content))]:
        for bits in (0x08, 0xFF):
            damaged = bytearray(content)
            damaged[place] ^= bits
            bundle.write_bytes(damaged)
            try:
                opened = open_bundle(bundle)
            except BundleError as error:
                assert "\n" not in str(error)
            else:
                accepted += 1
                assert opened.model == MODEL
    assert accepted > 100


def test_compressed_members_are_damage(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(BundleError, match=r"manifest\.json is compressed, expected stored"):
        open_bundle(bundle)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_truncated(bundle: Path, share: float) -> None:
    content = bundle.read_bytes()
    bundle.write_bytes(content[: int(len(content) * share)])
    refusal = r"is not an edgekit bundle, or is damaged .*: copy it again"
    with pytest.raises(BundleError, match=refusal):
        open_bundle(bundle)


def test_what_is_no_bundle(tmp_path: Path, bundle: Path) -> None:
    path = tmp_path / "x.edgekit"
    with pytest.raises(BundleError, match=r"cannot read bundle .*x\.edgekit: No such file"):
        open_bundle(path)
    with pytest.raises(BundleError, match=r"cannot read bundle .*: Is a directory"):
        open_bundle(tmp_path)
    path.write_bytes(MODEL)
    plain = r"is not an edgekit bundle but a plain TFLite model: edgekit benchmark x\.edgekit --im"
    with pytest.raises(BundleError, match=plain):
        open_bundle(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    with pytest.raises(BundleError, match=r"but PyTorch's, not converted yet: edgekit convert"):
        open_bundle(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", b"")
    with pytest.raises(BundleError, match=r"is a zip without manifest\.json"):
        open_bundle(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda m: edit_manifest(m, schema=2),
            "has bundle schema 2, this edgekit reads 1: install",
        ),
        (lambda m: edit_manifest(m, schema=None), "has bundle schema None"),
        (
            lambda m: edit_manifest(m, target="tpu"),
            "damaged manifest .*target is 'tpu': expected one of pi, jetson",
        ),
        (lambda m: m.update({"manifest.json": b"{"}), "damaged manifest"),
        (lambda m: m.update({"manifest.json": b"[]"}), "damaged manifest"),
        (lambda m: m.update({"manifest.json": b"\xff"}), "damaged manifest"),
        (lambda m: m.pop("model.tflite"), r"lacks model\.tflite: copy it again"),
        (lambda m: m.pop("golden/1.png"), r"lacks golden/1\.png"),
        (lambda m: m.update({"model.tflite": MODEL + b"!"}), r"damaged: model\.tflite has sha256"),
        (lambda m: m.update({"extra.bin": b"?"}), r"extra\.bin has sha256 .* no such member"),
        (lambda m: (m.clear(), m.update(hollow())), r"lacks class_names\.txt, model\.tflite"),
    ],
)
def test_damaged_and_foreign_bundles(
    bundle: Path, change: Callable[[dict[str, bytes]], None], words: str
) -> None:
    with pytest.raises(BundleError, match=words) as info:
        open_bundle(rewrite(bundle, change))
    assert "\n" not in str(info.value)


def hollow() -> dict[str, bytes]:
    """A manifest that lists nothing, and nothing else."""
    return {"manifest.json": msgspec.json.encode(MANIFEST)}


def test_golden_arrays_are_never_unpickled(bundle: Path) -> None:
    """An object array in a golden file of a foreign bundle could run code."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)

    def poison(members: dict[str, bytes]) -> None:
        members["golden/0.logits.npy"] = buffer.getvalue()
        manifest = json.loads(members["manifest.json"])
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        manifest["members"]["golden/0.logits.npy"] = digest
        members["manifest.json"] = json.dumps(manifest).encode()

    opened = open_bundle(rewrite(bundle, poison))
    with pytest.raises(BundleError, match=r"golden/0\.logits\.npy cannot be read"):
        opened.golden()
