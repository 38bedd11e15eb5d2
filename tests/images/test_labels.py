"""Labels are read in the forms that users' files have, and paired with images."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.errors import ImageError
from edgekit.images import find_labelled_images, find_labelled_source, read_labels


@pytest.mark.parametrize(
    "text",
    [
        "file,label\na b.png,3\nc.png,0\n",
        "\ufefffile,label\na b.png,3\nc.png,0\n",
        "file, label\r\na b.png, 3\r\n c.png ,0 \r\n\r\n",
        "label,extra,file\n3,x,a b.png\n0,,c.png\n",
        'file,label\n"a b.png",3\nc.png,0,\n',
    ],
    ids=["plain", "BOM", "spaces and CRLF", "other columns", "quotes"],
)
def test_labels(tmp_path: Path, text: str) -> None:
    for name in ("a b.png", "c.png"):
        (tmp_path / name).touch()
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    images = read_labels(tmp_path / "labels.csv", tmp_path, 4)
    assert [(image.path.name, image.label) for image in images] == [("a b.png", 3), ("c.png", 0)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a.png,3\n", r"has the columns \['a\.png', '3'\]: expected a header line 'file,label'"),
        (b"", r"has the columns \[\]"),
        (b"file,label\n", "lists no images"),
        (b"file,label\na.png,cat\n", "line 2 has label 'cat': expected 0 to 9"),
        (b"file,label\na.png,-1\n", "line 2 has label '-1': expected 0 to 9"),
        (b"file,label\na.png,1\n\na.png,10\n", "line 4 has label '10': expected 0 to 9"),
        (b"file,label\na.png\n", "line 2 has label '': expected 0 to 9"),
        (b"label,file\n3\n", "line 2 names .*, which does not exist"),
        (b"file,label\nb.png,1\n", r"line 2 names .*b\.png, which does not exist"),
        (b"\xff\xfe\x00", "cannot read labels .*: it is not text"),
        (b"file,label\na.png,\x00\xff\x01", "cannot read labels .*: it is not text"),
    ],
)
def test_wrong_labels(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(ImageError, match=words):
        read_labels(tmp_path / "labels.csv", tmp_path, 10)


def test_missing_labels(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot read labels .*No such file"):
        read_labels(tmp_path / "labels.csv", tmp_path)


def test_subfolders_are_labels_by_name_or_index(tmp_path: Path) -> None:
    for name in ("cat/1.png", "1/2.png", "deep/er/cat/3.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    images = find_labelled_images(tmp_path, None, ("cat", "dog"))
    assert {image.path.name: image.label for image in images} == {
        "1.png": 0,
        "2.png": 1,
        "3.png": 0,
    }


def test_images_without_labels(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"holds no images: expected JPEG, PNG"):
        find_labelled_images(tmp_path, None, ("cat", "dog"))
    (tmp_path / "1.png").touch()
    with pytest.raises(
        ImageError, match=r"1\.png has no label: expected a table file,label .*, or one sub"
    ):
        find_labelled_images(tmp_path, None, ("cat", "dog"))


def test_a_name_of_two_classes_is_no_subfolder_label(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="class name 'crane' belongs to several classes"):
        find_labelled_images(tmp_path, None, ("crane", "dog", "crane"))


@pytest.mark.parametrize(
    "content",
    [
        b"filename;class\ncat\\1.png;cat\ndog/2.png;dog\n",
        b"Image\tLabel\ncat/1.png\t0\ndog/2.png\t1\n",
        b"id,image_path,category\n7,cat\\1.png,cat\n8,dog\\2.png,1.0\n",
        "path|target\ncat/1.png|0\ndog/2.png|1\n".encode("utf-16"),
        "file,label\r\ncat/1.png,cat\r\ndog/2.png,dog\r\n".encode("utf-16-le"),
        b'"file","label"\n"cat/1.png","cat"\n"dog/2.png","dog"\n',
    ],
    ids=["semicolons", "tabs", "names of columns", "UTF-16", "UTF-16 without a mark", "quotes"],
)
def test_tables_as_spreadsheets_and_windows_write_them(tmp_path: Path, content: bytes) -> None:
    """Separators, usual names of the columns, labels by name, paths with backslashes, UTF-16."""
    for name in ("cat/1.png", "dog/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / "list.csv").write_bytes(content)
    images = read_labels(tmp_path / "list.csv", tmp_path, class_names=("cat", "dog"))
    assert [(image.path.name, image.label) for image in images] == [("1.png", 0), ("2.png", 1)]


def test_a_label_that_is_a_number_is_an_index_though_it_is_a_name_too(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "labels.csv").write_text("file,label\na.png,1\n")
    (image,) = read_labels(tmp_path / "labels.csv", tmp_path, class_names=("1", "0"))
    assert image.label == 1


def test_an_unknown_label_names_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "labels.csv").write_text("file,label\na.png,cow\n")
    with pytest.raises(ImageError, match="label 'cow': expected 0 to 1, or a class name such as"):
        read_labels(tmp_path / "labels.csv", tmp_path, class_names=("cat", "dog"))


def test_class_folders_that_are_links(tmp_path: Path) -> None:
    """Symlinked class folders hold their images, labelled by the link's name."""
    for number, name in enumerate(("first", "second")):
        (tmp_path / "store" / name).mkdir(parents=True)
        (tmp_path / "store" / name / f"{number}.png").touch()
    (tmp_path / "set").mkdir()
    for name, store in (("cat", "first"), ("dog", "second")):
        (tmp_path / "set" / name).symlink_to(tmp_path / "store" / store)
    images = find_labelled_images(tmp_path / "set", None, ("cat", "dog"))
    assert [(image.path.name, image.label) for image in images] == [("0.png", 0), ("1.png", 1)]


def test_what_is_left_out_of_a_labelled_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    for name in ("1.png", "._1.png", ".DS_Store", "2.dng"):
        (tmp_path / "cat" / name).touch()
    notes: list[str] = []
    images = find_labelled_images(tmp_path, None, ("cat",), note=notes.append)
    assert [image.path.name for image in images] == ["1.png"]
    assert len(notes) == 1
    assert "left out 1 .dng file (not read by edgekit: save as JPEG or PNG)" in notes[0]
    assert notes[0].endswith("2 hidden files")


def test_several_labels_of_one_image(tmp_path: Path) -> None:
    """Joined by semicolons, by index or name; an empty cell says that there is none."""
    names = ("cat", "dog", "car")
    table = label_images(tmp_path, "cat;dog", "2", "0; 2", "")
    images = find_labelled_images(tmp_path, table, names, multilabel=True)
    expected: list[set[int]] = [{0, 1}, {2}, {0, 2}, set()]
    assert [image.label for image in images] == expected
    assert find_labelled_source(table, names, multilabel=True) == images
    with pytest.raises(ImageError, match="line 2 has label 'cow'"):
        table = label_images(tmp_path, "cat;cow")
        find_labelled_images(tmp_path, table, names, multilabel=True)
    with pytest.raises(ImageError, match="labels joined by ';'"):
        find_labelled_images(tmp_path, None, names, multilabel=True)


def test_labels_in_a_table_that_is_separated_alike(tmp_path: Path) -> None:
    """In quotes they are labels; without, none of them is lost in silence."""
    table = label_images(tmp_path, "0", "1")
    table.write_text('file;label\n0.png;"0;1"\n1.png;1\n')
    images = find_labelled_images(tmp_path, table, ("cat", "dog"), multilabel=True)
    assert [image.label for image in images] == [{0, 1}, {1}]
    table.write_text("file;label\n0.png;1\n1.png;0;1\n")
    with pytest.raises(ImageError, match=r"line 3 has more cells .* as in \"0;3\""):
        find_labelled_images(tmp_path, table, ("cat", "dog"), multilabel=True)


def label_images(folder: Path, *labels: str) -> Path:
    """A table of images that exist, with these labels."""
    for index in range(len(labels)):
        (folder / f"{index}.png").write_bytes(b"")
    rows = "".join(f"{index}.png,{label}\n" for index, label in enumerate(labels))
    table = folder / "labels.csv"
    table.write_text("file,label\n" + rows)
    return table
