"""The classifiers of torchvision and timm as networks with random weights and settled statistics.

In: a network's name, `timm.NAME` or `torchvision.NAME`. Out: how large it is, its module, and by
`--arch zoo_networks:NAME` the module as a user's own factory gives it. Nothing is downloaded. Needs
torchvision and timm.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from zoo_figures import Kind

CLASSES = 10
SIZES = (64, 96, 128, 160, 192, 224, 256)
"""Inputs to try, in pixels: a network takes the first that it runs with, else its own."""
SEED = 0
TINY = 1e-3
"""Parameters that all have one value below this, as the scale of a branch, get others."""


def declare_operators() -> None:
    """Declare torchvision's operators of detection where its library does not fit this PyTorch.

    Its import needs their signatures. No classifier calls them.
    """
    boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    for name in ("nms", "qnms"):
        try:
            torch.library.define(f"torchvision::{name}", boxes)
        except RuntimeError:  # the library fits
            return


def load_libraries() -> None:
    """Import torchvision and timm."""
    declare_operators()
    warnings.filterwarnings("ignore", module="torchvision|timm")
    import timm  # noqa: F401
    import torchvision  # noqa: F401


def list_networks(largest: int) -> Iterator[Kind]:
    """All classifiers with fewer than `largest` parameters, torchvision's first."""
    import timm
    import torchvision

    names = [f"torchvision.{n}" for n in torchvision.models.list_models(module=torchvision.models)]
    for name in (*names, *(f"timm.{n}" for n in timm.list_models())):
        module = build_empty(name)
        parameters = sum(parameter.numel() for parameter in module.parameters())
        if parameters < largest:
            family = type(module).__module__.rpartition(".")[2]
            yield Kind(name, f"{name.partition('.')[0]} {family}", parameters)


def build_empty(name: str) -> nn.Module:
    """Make a network without values where its code allows that: some compute with them."""
    for place in (partial(torch.device, "meta"), empty_parameters):
        with suppress(RuntimeError), place():
            return build(name)
    return build(name)


@contextmanager
def empty_parameters() -> Iterator[None]:
    """Modules that are made meanwhile have parameters without values."""
    register = nn.Module.register_parameter

    def register_empty(self: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            parameter = nn.Parameter(parameter.to("meta"), parameter.requires_grad)
        register(self, name, parameter)

    nn.Module.register_parameter = register_empty  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def build(name: str, size: int | None = None) -> nn.Module:
    """Make a network with random weights, for images of `size` where it wants to know."""
    library, _, model = name.partition(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if library == "torchvision":
            return build_torchvision(model, size)
        import timm

        if size not in (None, own_size(name)):
            try:
                return timm.create_model(model, num_classes=CLASSES, img_size=size)
            except TypeError:  # it takes any size
                pass
        return timm.create_model(model, num_classes=CLASSES)


def own_size(name: str) -> int:
    """The input that a network was made for, in pixels."""
    library, _, model = name.partition(".")
    if library == "torchvision":
        return 224
    import timm

    return int(timm.get_pretrained_cfg(model).input_size[-1])


def build_torchvision(model: str, size: int | None) -> nn.Module:
    from torchvision.models import get_model, get_model_builder

    words: dict[str, Any] = {"num_classes": CLASSES}
    if size is not None and model.startswith("vit"):
        words["image_size"] = size
    if size is not None and model.startswith("maxvit"):
        words["input_size"] = (size, size)
    if "aux_logits" in str(inspect.getsource(get_model_builder(model))):
        words |= {"aux_logits": False, "init_weights": False}
    return get_model(model, weights=None, **words)


def choose_size(name: str) -> int:
    """The smallest input that a network runs with, in pixels.

    Raises:
        RuntimeError: It runs with none.
    """
    reason: Exception | None = None
    for size in (*SIZES, own_size(name)):
        try:
            module = build(name, size).eval()
            with torch.inference_mode():
                module(torch.zeros(1, 3, size, size))
        except Exception as error:  # noqa: BLE001  whatever its own code raises
            reason = error
        else:
            return size
    raise RuntimeError(f"{name} runs with no input from {SIZES[0]} pixels on: {reason}")


def settle(module: nn.Module, images: Tensor) -> nn.Module:
    """Give a network weights that compute something, and the statistics that belong to them.

    Scales and biases that are all 1 or 0 get values of their own, since a branch that is scaled by
    0 would hide what is wrong in it. Then the batch norms get the statistics of `images`,
    `(N, 3, H, W)` normalized, one after the other: each sees what those before it make of them.
    """
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.min() == parameter.max():
                noise = torch.rand(parameter.shape, generator=generator)
                scale, offset = (0.4, -0.2) if parameter.max().abs() < TINY else (1.0, 0.5)
                parameter.copy_(noise * scale + offset)
    module.eval()
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    hooks = [norm.register_forward_pre_hook(set_statistics) for norm in norms]
    with torch.no_grad():
        if norms:
            module(images)
    for hook in hooks:
        hook.remove()
    return module


def set_statistics(norm: nn.modules.batchnorm._BatchNorm, arguments: tuple[Tensor]) -> None:
    """Give a batch norm the mean and variance of each channel, which is axis 1, of its input."""
    axes = [axis for axis in range(arguments[0].ndim) if axis != 1]
    variance, mean = torch.var_mean(arguments[0], axes)
    norm.running_mean, norm.running_var = mean, variance


def __getattr__(name: str) -> Callable[[], nn.Module]:
    """The factory of `--arch zoo_networks:LIBRARY.NETWORK@SIZE`."""
    network, mark, size = name.partition("@")
    if not mark:
        raise AttributeError(name)
    return partial(build, network, int(size))
