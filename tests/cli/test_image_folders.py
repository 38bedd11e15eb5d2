"""Folders as people have them: links, hidden files, telephones' photographs, a damaged picture."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image

from edgekit.bundle import open_bundle
from edgekit.images import list_images
from edgekit.resources import demo_bundle, resource
from tests.cli.conftest import Outcome, assert_refused

pillow_heif.register_heif_opener()
Edgekit = Callable[..., Outcome]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight pictures of the demo in linked class folders, two of them HEIC, one damaged; and what
    else is stored beside photographs."""
    names = open_bundle(demo_bundle()).class_names
    store, folder = tmp_path / "store", tmp_path / "photos"
    folder.mkdir()
    for label, name in enumerate(names[:4]):
        class_folder = store / f"of {label}"
        class_folder.mkdir(parents=True)
        (folder / name).symlink_to(class_folder)
        for path in list_images(resource("calibration/demo/test") / name)[:2]:
            shutil.copy(path, class_folder)
    first, second, damaged = list_images(folder)[:3]
    for path in (first, second):
        Image.open(path).convert("RGB").save(path.with_suffix(".HEIC"), quality=-1)
        path.unlink()
    damaged.write_bytes(b"<html>404 Not Found</html>")
    (damaged.parent / f"._{damaged.name}").write_bytes(b"Mac OS X")
    (damaged.parent / "raw.dng").touch()
    (folder / "loop").symlink_to(folder)
    return folder


LEFT_OUT = "left out 1 .dng file (not read by edgekit: save as JPEG or PNG), "


def test_run_passes_over_a_damaged_picture(edgekit: Edgekit, photos: Path) -> None:
    """Linked folders are classified, HEIC too; what is left out is counted and named."""
    code, output, error = edgekit("run", "--source", photos, "--json")
    assert code == 0, error
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["frame"] for line in lines] == list(range(7))
    expected = [path.parent.name for path in list_images(photos)]
    expected.pop(2)
    assert [line["label"] for line in lines] == expected
    assert LEFT_OUT in error
    assert "1 hidden file" in error
    assert "1 of 8 images was passed over, the first: " in error
    assert "cannot be decoded as an image" in error


def test_run_strict_ends_at_the_first_damaged_picture(edgekit: Edgekit, photos: Path) -> None:
    code, output, error = edgekit("run", "--source", photos, "--json", "--strict")
    assert code == 1
    assert len(output.splitlines()) == 2
    assert error.splitlines()[-1].startswith("edgekit: ")
    assert "cannot be decoded as an image" in error.splitlines()[-1]


def test_a_damaged_picture_by_its_own_name_is_an_error(edgekit: Edgekit, photos: Path) -> None:
    damaged = list_images(photos)[2]
    code, output, error = edgekit("run", "--source", damaged)
    assert (code, output) == (1, "")
    assert "cannot be decoded as an image" in error


def test_run_refuses_a_folder_that_is_mostly_damaged(edgekit: Edgekit, photos: Path) -> None:
    for path in list_images(photos)[:5]:
        path.write_bytes(b"")
    code, _, error = edgekit("run", "--source", photos)
    assert code == 1
    assert "more than half of the 8 images of" in error.splitlines()[-1]


def test_evaluate_passes_over_a_damaged_picture(edgekit: Edgekit, photos: Path) -> None:
    words = ["evaluate", demo_bundle(), "--images", photos, "--json"]
    code, output, error = edgekit(*words)
    assert code == 0, error
    document = json.loads(output)
    assert document["images"] == 7
    assert document["top1"] == 100
    hidden, damaged = document["left_out"]
    assert LEFT_OUT in hidden
    assert "1 of 8 images was passed over" in damaged
    assert_refused(edgekit(*words, "--strict"), "cannot be decoded as an image")


def test_a_list_of_names_for_labels(edgekit: Edgekit, photos: Path, tmp_path: Path) -> None:
    """A table from a spreadsheet of Windows: semicolons, class names, backslashes, UTF-16."""
    rows = [
        f"photos\\{path.parent.name}\\{path.name};{path.parent.name}"
        for path in list_images(photos)
    ]
    (tmp_path / "list.csv").write_text("\r\n".join(["filename;class", *rows]), encoding="utf-16")
    words = ["evaluate", demo_bundle(), "--images", tmp_path, "--labels", tmp_path / "list.csv"]
    code, output, error = edgekit(*words, "--json")
    assert code == 0, error
    assert (json.loads(output)["images"], json.loads(output)["top1"]) == (7, 100)
