"""Class names are read from the files that people have: text of any encoding, CSV, JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.errors import ImageError
from edgekit.images import read_class_names


@pytest.mark.parametrize(
    "content", [b"cat\nbig dog\n", b"\xef\xbb\xbfcat\r\nbig dog\r\n", b"cat \n big dog\n\n \n\n"]
)
def test_class_names(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "names.txt").write_bytes(content)
    assert read_class_names(tmp_path / "names.txt") == ("cat", "big dog")


def test_wrong_class_names(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    with pytest.raises(ImageError, match=r"cannot read class names .*\(No such file"):
        read_class_names(path)
    path.write_text("\n \n")
    with pytest.raises(ImageError, match="is empty: expected one class name a line"):
        read_class_names(path)
    path.write_bytes(b"cat\x00\x01\xff")
    with pytest.raises(ImageError, match=r"cannot read class names .*\(it is not text\)"):
        read_class_names(path)


@pytest.mark.parametrize(
    "content",
    [
        "Kätzchen\nDogge\n".encode("utf-16"),
        "\ufeffKätzchen\r\nDogge\r\n".encode("utf-16-be"),
        "Kätzchen\nDogge\n".encode("utf-16-le"),
        "\ufeffKätzchen\nDogge".encode("utf-32-le"),
        "Kätzchen\nDogge".encode("utf-8-sig"),
        "Kätzchen\nDogge".encode("latin-1"),
    ],
    ids=["UTF-16", "UTF-16 BE", "UTF-16 without a mark", "UTF-32", "BOM", "Latin-1"],
)
def test_encodings(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    notes: list[str] = []
    assert read_class_names(path, notes.append) == ("Kätzchen", "Dogge")
    is_latin = content == "Kätzchen\nDogge".encode("latin-1")
    assert notes == ([f"{path} is not UTF-8: read as Windows-1252"] if is_latin else [])


@pytest.mark.parametrize(
    "text",
    [
        "0 tench\n1 great white shark\n2 hen\n",
        "0: tench\n1: great white shark\n2: hen\n",
        "0,tench\n1,great white shark\n2,hen\n",
        "1\ttench\n2\tgreat white shark\n3\then\n",
        "1. tench\n2. great white shark\n3. hen\n",
        "n01440764 tench\nn01484850 great white shark\nn01514668 hen\n",
        "0 n01440764 tench\n1 n01484850 great white shark\n2 n01514668 hen\n",
    ],
)
def test_numbers_that_count_the_lines_are_taken_off_and_reported(tmp_path: Path, text: str) -> None:
    """`0 cat`, `0: cat`, `0,cat`, and ImageNet's synset numbers."""
    path = tmp_path / "names.txt"
    path.write_text(text)
    notes: list[str] = []
    assert read_class_names(path, notes.append) == ("tench", "great white shark", "hen")
    assert notes
    assert all("taken off" in note for note in notes)


@pytest.mark.parametrize(
    "names",
    [
        ("1 euro", "2 euro", "3 euro"),
        ("1 cent", "2 cents", "5 cents"),
        ("0 cat", "2 dog", "1 hen"),
        ("0 cat", "1 dog", "hen"),
        ("3 of hearts",),
        ("n01440764 tench", "hen"),
        ("tench, Tinca tinca", "goldfish, Carassius auratus"),
        ("10", "20"),
        ("0", "1"),
    ],
)
def test_other_numbers_belong_to_the_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(names))
    notes: list[str] = []
    assert read_class_names(path, notes.append) == names
    assert notes == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", '"big, dog"\n"cat"\n'),
        ("names.csv", "big dog\ncat\n"),
        ("names.csv", 'index,name\n0,"big, dog"\n1,cat\n'),
        ("names.csv", 'name;id\ncat;1\n"big, dog";0\n'),
        ("names.tsv", "0\tbig, dog\n1\tcat\n"),
        ("names.txt", '0,"big, dog"\n1,"cat"\n'),
        ("names.json", '["big, dog", "cat"]'),
        ("names.json", '{"1": "cat", "0": "big, dog"}'),
        ("names.json", '{"cat": 1, "big, dog": 0}'),
        ("names.json", '{"0": ["n01440764", "big, dog"], "1": ["n01484850", "cat"]}'),
        ("config.json", '{"id2label": {"0": "big, dog", "1": "cat"}, "label2id": {"cat": 1}}'),
        ("names.txt", '\n{"names": ["big, dog", "cat"]}'),
    ],
)
def test_csv_and_json(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert [found.replace(",", "") for found in read_class_names(path)] == ["big dog", "cat"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("names.json", '{"0": "cat", "2": "dog"}', "no class name for index 1: expected .* 0 to 2"),
        ("names.json", '{"a": "cat"}', "is JSON without class names: expected"),
        ("names.json", '["cat",', r"cannot read class names .*: expected JSON"),
        (
            "names.csv",
            "cat,animal\ndog,animal\n",
            "has 2 columns, none of which counts the classes",
        ),
        ("names.csv", "0,cat\n3,dog\n", "no class name for index 1"),
    ],
)
def test_wrong_csv_and_json(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ImageError, match=words):
        read_class_names(path)
