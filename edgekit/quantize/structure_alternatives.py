"""Lists the networks that have the same tensors as a given one, but compute something else.

In: a checkpoint. Out: changes of its module, each with the words for it. Tensors do not show
padding, activation, epsilon, strides and anti-aliasing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from edgekit.checkpoint import Checkpoint
from edgekit.models import FAMILIES
from edgekit.models.layers import ACTIVATIONS, SameConv2d
from edgekit.spec import Activation, Padding

EPSILONS = (1e-5, 1e-3)
"""The defaults of PyTorch, and of Keras and TensorFlow-Slim."""


class Alternative(NamedTuple):
    """A change of a network: `flag` sets it; where it is None, `words` name what the code needs.

    `place` is the first layer whose stride it changes, None where no stride changes.
    """

    words: str
    change: Callable[[nn.Module], None]
    flag: str | None = None
    place: str | None = None

    def apply(self, module: nn.Module) -> nn.Module:
        """Return a changed copy."""
        changed = copy.deepcopy(module)
        self.change(changed)
        return changed


def list_alternatives(checkpoint: Checkpoint) -> list[Alternative]:
    """List the changes of a whole network, then those of single layers.

    A known family has flags for the former; of another network only the code can be changed.
    """
    spec, module = checkpoint.spec, checkpoint.module
    family = FAMILIES.get(spec.family)
    kinds: tuple[Activation, ...] = family.activations if family else ("relu", "relu6")
    found = []
    for activation in kinds:
        if activation != spec.activation:
            change = partial(_change_activation, one=spec.activation, other=activation)
            found.append(_whole("activation", activation, change, has_flag=family is not None))
    if family is not None:
        padding: Padding = "symmetric" if spec.padding == "same" else "same"
        found.append(_whole("padding", padding, partial(_change_padding, padding), has_flag=True))
    for eps in EPSILONS:
        if eps != spec.batch_norm_eps:
            change = partial(_change_eps, eps)
            found.append(_whole("batch-norm-eps", f"{eps:g}", change, has_flag=family is not None))
    return [*found, *_list_strides(module)]


def _whole(
    name: str, value: str, change: Callable[[nn.Module], None], *, has_flag: bool
) -> Alternative:
    words = f"{name.replace('-', ' ')} {value}"
    return Alternative(words, change, f"--{name} {value}" if has_flag else None)


def _list_strides(module: nn.Module) -> Iterator[Alternative]:
    """Each convolution of stride 2 with stride 1; all but the first with a pool for the stride."""
    paths = [
        path
        for path, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d) and max(layer.stride) == 2
    ]
    for path in paths:
        place = _parent(path)
        yield Alternative(f"stride 1 in {place}", partial(_remove_strides, [path]), place=place)
    if paths[1:]:
        yield Alternative(
            "anti-aliasing (stride 1, then a pool, in blocks of stride 2)",
            partial(_remove_strides, paths[1:], pools=True),
            place=_parent(paths[1]),
        )


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _change_activation(module: nn.Module, one: Activation, other: Activation) -> None:
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is ACTIVATIONS[one]:
                setattr(parent, name, ACTIVATIONS[other]())


def _change_padding(padding: Padding, module: nn.Module) -> None:
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d) and max(child.kernel_size) > 1:
                setattr(parent, name, _pad(child, padding))


def _pad(conv: nn.Conv2d, padding: Padding) -> nn.Conv2d:
    """The same convolution with another padding."""
    height, width = conv.kernel_size
    padded = (SameConv2d if padding == "same" else nn.Conv2d)(
        conv.in_channels,
        conv.out_channels,
        (height, width),
        stride=(conv.stride[0], conv.stride[1]),
        padding=0 if padding == "same" else (height // 2, width // 2),
        groups=conv.groups,
        bias=conv.bias is not None,
        device="meta",
    )
    padded.weight, padded.bias = conv.weight, conv.bias
    return padded


def _change_eps(eps: float, module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = eps


def _remove_strides(paths: Sequence[str], module: nn.Module, *, pools: bool = False) -> None:
    for path in paths:
        conv = module.get_submodule(path)
        assert isinstance(conv, nn.Conv2d)
        conv.stride = (1, 1)
        if pools:  # after the batch norm and the activation, which are beside the convolution
            module.get_submodule(_parent(path)).register_forward_hook(_pool)


def _pool(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(output, 2, ceil_mode=True)
