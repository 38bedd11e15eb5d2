"""Refuses heads that compute something that their tensors do not show.

In: the layers of a head, and what was left aside. Out: an error, or nothing. A head of linear
layers and batch norms is built from its tensors alone; gates, margins, learned poolings and layers
around the network would be left out without a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor

from edgekit.checkpoint.head_layers import HeadLayer, Linear
from edgekit.checkpoint.leftovers import is_average, is_set_aside, is_teacher, summarize
from edgekit.checkpoint.misfit import OWN_CODE
from edgekit.checkpoint.networks import path_of
from edgekit.errors import CheckpointError

_MARGIN = re.compile(
    r"(^|[._])(arc\w*|\w*margin\w*|cos(ine|face)?\w*|metric_fc|am_?softmax)(?=$|[._\d])",
    re.IGNORECASE,
)
"""Heads of normalized features and weights, as ArcFace and CosFace."""
_EMBEDDING = re.compile(r"(^|[._])(proj(ect(or|ion))?|embed\w*|emb)(?=$|[._\d])", re.IGNORECASE)
"""Last layers whose outputs are not classes, as SimCLR's projection head."""
_OTHER_TASK = re.compile(
    r"(^|[._])(seg\w*|low_classifier|high_classifier|cbr|aspp|decoder\w*|up(conv|sample)?\d*|fpn|rpn"
    r"|roi_heads?|bbox\w*|box\w*|anchors?|masks?|loc\w*|reg(ression)?_heads?|heatmap|keypoints?"
    r"|classification_head\w*|regression_head\w*|depth)(?=$|[._\d])",
    re.IGNORECASE,
)
"""Layers of detectors, of segmentation and of other networks that answer for places."""
_LAST = re.compile(r"(^|[._])(classifier|fc|head|out|output|logits)(?=$|[._\d])", re.IGNORECASE)
NORMALIZED = "normalized features, as in ArcFace"
_FACTORS = ("p", "temperature", "logit_scale", "scale", "tau")
"""Single numbers that change the features or the logits: GeM's power, a temperature."""
_IMAGE_CHANNELS = (1, 3, 4)


def check_task(tensors: Mapping[str, Tensor], label: str) -> None:
    """Refuse a network that answers for places in the image, not for the whole.

    Args:
        tensors: The tensors that are not the trunk's, by key; convolutions are looked at.
        label: The file and what was recognised, for messages.

    Raises:
        CheckpointError: They are named as the layers of such networks.
    """
    found = [key for key, one in tensors.items() if one.ndim == 4 and _OTHER_TASK.search(key)]
    if found:
        raise CheckpointError(
            f"{label}, and layers that are named as those of detection or segmentation"
            f" ({summarize(found)}): edgekit converts classifiers; give the checkpoint of one"
        )


def check_head(chain: Sequence[HeadLayer], hidden: str | None, label: str) -> None:
    """Refuse a chain of layers that is not a head of linear layers.

    Args:
        chain: The layers in order.
        hidden: The path of the layout's hidden layer, if there is one of its width.
        label: The file and what was recognised, for messages.

    Raises:
        CheckpointError: It ends in the hidden layer, has a margin, or comes back to the features.
    """
    linears = [layer for layer in chain if isinstance(layer, Linear)]
    if [layer.path for layer in linears] == [hidden]:
        raise CheckpointError(
            f"{label}, but no classifier: it ends in {hidden}, a hidden layer of"
            f" {linears[0].outputs} features; give the checkpoint of a classifier"
        )
    for layer in linears:
        if _MARGIN.search(layer.path):
            _refuse(label, f"{layer.path} takes {NORMALIZED}")
    features = linears[0].inputs
    for before, after in pairwise(linears):
        if after is not linears[-1] and before.outputs < features == after.outputs:
            _refuse(label, f"{after.path} looks like that of a gate on the features")


def check_outputs(chain: Sequence[HeadLayer], label: str) -> None:
    """Refuse a head whose outputs are not classes by its name.

    Args:
        chain: The layers in order.
        label: The file and what was recognised, for messages.

    Raises:
        CheckpointError: It ends in the projection of an embedding.
    """
    last = chain[-1].path
    if _EMBEDDING.search(last):
        raise CheckpointError(
            f"{label}, but no classifier: it ends in {last}, whose name is that of an embedding;"
            f" give the checkpoint of a classifier, or {OWN_CODE.removeprefix('give ')}"
        )


def check_left(
    left: Mapping[str, Tensor], features: int, outputs: int, *, is_whole: bool, label: str
) -> None:
    """Refuse tensors that are beside the network by their names, but may be in the way.

    Args:
        left: What was left aside, by key.
        features: The inputs of the head.
        outputs: Its outputs.
        is_whole: Whether the network is whole with its head, and `left` is beside it.
        label: The file and what was recognised, for messages.

    Raises:
        CheckpointError: One of them may change the image, the features or the logits.
    """
    for key, tensor in left.items():
        if is_average(key) or is_teacher(key):
            continue
        if _MARGIN.search(key) and tensor.ndim == 2:
            _refuse(label, f"{path_of(key)} takes {NORMALIZED}")
        if is_set_aside(key):
            _refuse_reader(key, tensor, features, outputs, label)
            continue
        last = key.rpartition(".")[2]
        if last.startswith(("weight_ih", "weight_hh")):
            _refuse(label, f"{path_of(key)} is a recurrent layer")
        if last in _FACTORS and tensor.numel() == 1 and tensor.is_floating_point():
            _refuse(label, f"{key} is a number that the features or logits may depend on")
        if _reads_the_image(last, tensor):
            _refuse(label, f"{path_of(key)} may be before it")
        if last not in ("weight", "bias") and tensor.shape[-1:] == (features,) == tensor.shape:
            _refuse(label, f"{key} may scale the features")
        is_last = _LAST.search(path_of(key)) and tensor.ndim == 2 and tensor.shape[1] > outputs
        if is_whole and is_last:
            _refuse(label, f"{path_of(key)} may be after it")


def _refuse_reader(key: str, tensor: Tensor, features: int, outputs: int, label: str) -> None:
    """Refuse a loss with weights that read the outputs, as pytorch-metric-learning's.

    A center loss reads the features, and a matrix of classes by classes is a metric.
    """
    sides = list(tensor.shape)
    if len(sides) == 2 and outputs in sides and features not in sides and sides[0] != sides[1]:
        raise CheckpointError(
            f"{label}, but no classifier: {key} {sides} of the loss reads its {outputs} outputs,"
            " which are an embedding; give the checkpoint of a classifier"
        )


def _reads_the_image(name: str, tensor: Tensor) -> bool:
    """Whether a layer makes the three channels of an image."""
    if name == "running_mean":
        return tensor.shape == (3,)
    is_convolution = name == "weight" and tensor.ndim == 4
    return is_convolution and tensor.shape[0] == 3 and tensor.shape[1] in _IMAGE_CHANNELS


def _refuse(label: str, what: str) -> None:
    raise CheckpointError(f"{label}, but {what}: {OWN_CODE}")
