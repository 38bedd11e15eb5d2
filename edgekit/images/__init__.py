"""Finds image files, decodes them, and pairs them with labels.

In: folders, image files, CSV files of labels, class-name files. Out: decoded RGB images,
`LabelledImage` records, class names, and words about what was left out.
"""

from edgekit.images.class_names import read_class_names
from edgekit.images.decode import decode_image, read_image
from edgekit.images.folder import DamagedImages, choose_images, find_images, list_images
from edgekit.images.formats import EXPECTED_IMAGES, is_image_name
from edgekit.images.labels import (
    LABEL_SEPARATOR,
    LabelledImage,
    find_labelled_images,
    find_labelled_source,
    read_csv_table,
    read_labels,
)

__all__ = [
    "EXPECTED_IMAGES",
    "LABEL_SEPARATOR",
    "DamagedImages",
    "LabelledImage",
    "choose_images",
    "decode_image",
    "find_images",
    "find_labelled_images",
    "find_labelled_source",
    "is_image_name",
    "list_images",
    "read_class_names",
    "read_csv_table",
    "read_image",
    "read_labels",
]
