"""Image files are found through links, without hidden files, and what is left out is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.errors import ImageError
from edgekit.images import DamagedImages, choose_images, find_images, list_images
from tests.images.test_decode import run_without


def test_list_is_sorted_and_holds_images_alone(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "b/1.jpeg", "a.PNG", "labels.csv", "Thumbs.db", "c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    names = [str(path.relative_to(tmp_path)) for path in list_images(tmp_path)]
    assert names == ["a.PNG", "b/1.jpeg", "b/2.JPG", "c.webp"]
    with pytest.raises(ImageError, match="is not a folder of images"):
        list_images(tmp_path / "a.PNG")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names_below(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in list_images(folder)]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    """Linked folders and files; a link to a folder above, to one beside, and a broken one."""
    touch(tmp_path, "store/cat/1.png", "set/dog/2.png", "store/3.png")
    (tmp_path / "set/cat").symlink_to(tmp_path / "store/cat")
    (tmp_path / "set/up").symlink_to(tmp_path / "set")
    (tmp_path / "set/alias").symlink_to(tmp_path / "set/dog")
    (tmp_path / "set/dog/3.png").symlink_to(tmp_path / "store/3.png")
    (tmp_path / "set/dog/4.png").symlink_to(tmp_path / "gone.png")
    assert names_below(tmp_path / "set") == ["cat/1.png", "dog/2.png", "dog/3.png"]
    left_out = str(find_images(tmp_path / "set").left_out)
    assert left_out == "2 repeated links, 1 broken link"


def test_hidden_files_are_left_out_and_counted(tmp_path: Path) -> None:
    """What macOS, notebooks, Windows and network storage put beside photographs."""
    touch(
        tmp_path,
        *("1.png", "._1.png", ".DS_Store", ".ipynb_checkpoints/1-checkpoint.png", "Thumbs.db"),
        *("@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", "__MACOSX/._1.png", "notes.txt", "labels.csv"),
    )
    assert names_below(tmp_path) == ["1.png"]
    left_out = str(find_images(tmp_path).left_out)
    assert left_out == "3 hidden files, 3 hidden folders, 1 other file (.txt)"


def test_a_folder_of_hidden_name_may_be_named(tmp_path: Path) -> None:
    touch(tmp_path, ".cache/1.png")
    assert names_below(tmp_path / ".cache") == ["1.png"]


def test_formats_without_a_decoder_are_named_by_kind(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "2.DNG", "3.dng", "4.svg", "5.jxl")
    left_out = str(find_images(tmp_path).left_out)
    assert "2 .dng files (not read by edgekit: save as JPEG or PNG)" in left_out
    assert "1 .svg file (" in left_out
    assert "1 .jxl file (" in left_out
    strict = find_images(tmp_path, strict=True)
    assert len(strict.files) == 5


LIST = """
from pathlib import Path
from edgekit.images import find_images
found = find_images(Path(sys.argv[1]))
print(len(found.files), found.left_out, sep="|")
"""


def test_heic_without_the_plugin_is_counted_with_the_cure(tmp_path: Path) -> None:
    """40 of 42 photographs are HEIC: with the plug-in all are listed, without it two."""
    touch(tmp_path, *(f"{n}.HEIC" for n in range(40)), "a.jpg", "b.jpg")
    assert len(list_images(tmp_path)) == 42
    answer = run_without("pillow_heif,pi_heif", LIST, tmp_path)
    assert answer == "2|40 .heic files (to read them: pip install pi-heif)\n"


def test_a_pattern_takes_each_file_once(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "2.txt", "3.psd")
    (tmp_path / "again.png").symlink_to(tmp_path / "1.png")
    found = choose_images(sorted(tmp_path.iterdir()))
    assert [path.name for path in found.files] == ["1.png"]
    assert "1 .psd file" in str(found.left_out)
    assert str(found.left_out).endswith("1 other file (.txt)")


def test_damaged_images_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    damaged = DamagedImages("photos", 5)
    assert str(damaged) == ""
    damaged.pass_over(ImageError("a.jpg cannot be decoded"))
    assert (
        str(damaged) == "photos: 1 of 5 images was passed over, the first: a.jpg cannot be decoded"
    )
    damaged.pass_over(ImageError("b.jpg cannot be decoded"))
    assert "2 of 5 images were passed over, the first: a.jpg" in str(damaged)
    with pytest.raises(ImageError, match=r"more than half of the 5 images of photos .*: a\.jpg"):
        damaged.pass_over(ImageError("c.jpg cannot be decoded"))


def test_the_first_damaged_image_is_an_error_when_strict_or_alone() -> None:
    for damaged in (DamagedImages("photos", 5, strict=True), DamagedImages("photo.jpg", 1)):
        with pytest.raises(ImageError, match=r"^a.jpg cannot be decoded$"):
            damaged.pass_over(ImageError("a.jpg cannot be decoded"))
