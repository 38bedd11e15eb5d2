"""Counts the parameters and multiply-adds of any module, layer by layer.

In: a PyTorch module and the size of its input. Out: a `Cost`. The module runs on the meta device,
which computes shapes only, unless another is asked for: no arithmetic is done, no weight is read.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from edgekit.models.family import Family
from edgekit.spec import Size

Kind = Literal["conv", "depthwise", "pointwise", "grouped", "linear"]


@dataclass(frozen=True)
class LayerCost:
    """The cost of one convolution or linear layer for one image.

    Shapes are (C, H, W), or (C,) of a linear layer. `kernel_size` is (height, width), `stride` the
    larger of the two. `kind` is depthwise where each input channel is a group, however many kernels
    it has. `parameters` counts weights, biases, and gamma and beta of the batch norm that follows.
    """

    name: str
    kind: Kind
    kernel_size: tuple[int, int]
    stride: int
    groups: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Cost:
    """The totals for one image: the parameters of the module, and the multiply-adds of its
    convolutions and linear layers."""

    parameters: int
    multiply_adds: int
    output_shape: tuple[int, ...]
    layers: tuple[LayerCost, ...]


def count_family(family: Family, width: float, input_size: int | Size) -> Cost:
    """Count a family's network of one width, which is built on the meta device.

    Args:
        family: The family.
        width: The width multiplier.
        input_size: The side of the square input in pixels, or its width and height.

    Returns:
        The cost for one image of three channels.
    """
    with torch.device("meta"):
        module = family.build(width)
    return count_cost(module, input_size)


def count_cost(
    module: nn.Module,
    input_size: int | Size,
    channels: int = 3,
    device: Literal["meta", "cpu"] = "meta",
) -> Cost:
    """Count the cost of `module` for one image.

    A convolution costs D_K·D_K·(M/groups)·N·D_F·D_F multiply-adds (arXiv:1704.04861, equation 2);
    with groups = M that is the depthwise D_K·D_K·M·D_F·D_F (equation 4), and a depthwise separable
    block is the sum of that and M·N·D_F·D_F (equation 5), where the width multiplier alpha scales M
    and N (equation 6) and the resolution multiplier scales D_F (equation 7). A linear layer costs
    its inputs times its outputs. Biases, batch norm, activations and sums are not counted.

    Args:
        module: The network; it maps `(N, channels, height, width) float32` to `(N, …)`.
        input_size: The side of the square input in pixels, or its width and height.
        channels: The channels of the image: 3 for RGB, 1 for grayscale.
        device: `meta` computes shapes only, `cpu` runs the network, for code that `meta` cannot.

    Returns:
        The cost, and the shape of the output for a batch of one.
    """
    size = Size.of(input_size)
    recorder = _Recorder()
    network = _copy_to_meta(module).eval() if device == "meta" else module.eval()
    with torch.no_grad(), _named_calls(network, recorder), recorder:
        output = network(torch.zeros(1, channels, size.height, size.width, device=device))
    return Cost(
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        multiply_adds=sum(layer.multiply_adds for layer in recorder.layers),
        output_shape=tuple(output.shape),
        layers=tuple(recorder.layers),
    )


def _copy_to_meta(module: nn.Module) -> nn.Module:
    """Copy a module without its values, to which nothing that the copy keeps can come back."""
    empty: dict[int, Any] = {}
    for part in module.modules():
        for tensor in part.parameters(recurse=False):
            empty[id(tensor)] = nn.Parameter(tensor.to("meta"), requires_grad=False)
        for tensor in part.buffers(recurse=False):
            empty[id(tensor)] = tensor.to("meta")
    return copy.deepcopy(module, empty)


def conv_multiply_adds(weight_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
    """Count D_K·D_K·(M/groups) for each output value (arXiv:1704.04861, equation 2).

    The weight's shape is (N, M/groups, D_K, D_K), the output's (C, H, W).
    """
    return prod(weight_shape[1:]) * prod(output_shape)


@dataclass(frozen=True)
class SeparableCost:
    """The cost of a depthwise and its pointwise layer, compared with a standard convolution.

    `depthwise` and `pointwise` are indices of the layers. `multiply_adds` are those of both,
    `standard_multiply_adds` those of one convolution with the same filter size, stride, input and
    output.
    """

    depthwise: int
    pointwise: int
    multiply_adds: int
    standard_multiply_adds: int

    @property
    def ratio(self) -> float:
        """`multiply_adds` divided by `standard_multiply_adds`."""
        return self.multiply_adds / self.standard_multiply_adds


def compare_separable(layers: Sequence[LayerCost]) -> tuple[SeparableCost, ...]:
    """Compare each depthwise separable pair of a network with a standard convolution.

    The ratio is (D_K²·M·D_F² + M·N·D_F²) / (D_K²·M·N·D_F²) = 1/N + 1/D_K² (arXiv:1704.04861,
    section 3.1), with M channels in, N out, a D_K×D_K filter and a D_F×D_F output. Where the
    depthwise layer has K kernels a channel, the ratio is K times that. A pair is a depthwise layer
    with a square filter and the pointwise layer that reads its output, with or without
    squeeze-and-excite between them.
    """
    pairs = []
    for index, layer in enumerate(layers):
        if layer.kind != "depthwise" or layer.kernel_size[0] != layer.kernel_size[1]:
            continue
        reader = _find_pointwise(layers, index)
        if reader is None:
            continue
        pointwise = layers[reader]
        standard_weight = (pointwise.output_shape[0], layer.input_shape[0], *layer.kernel_size)
        pairs.append(
            SeparableCost(
                depthwise=index,
                pointwise=reader,
                multiply_adds=layer.multiply_adds + pointwise.multiply_adds,
                standard_multiply_adds=conv_multiply_adds(standard_weight, pointwise.output_shape),
            )
        )
    return tuple(pairs)


def _find_pointwise(layers: Sequence[LayerCost], depthwise: int) -> int | None:
    """The pointwise layer that reads this layer's output, None if another convolution is first."""
    for index in range(depthwise + 1, len(layers)):
        layer = layers[index]
        if layer.kind in ("conv", "depthwise", "grouped"):
            return None
        reads = layer.input_shape == layers[depthwise].output_shape
        if layer.kind == "pointwise" and reads and not _is_squeeze(layers[index : index + 3]):
            return index
    return None


def _is_squeeze(layers: Sequence[LayerCost]) -> bool:
    """Whether these start a squeeze-and-excite: C → c → C on one pixel, then a third reads C.

    Its input is the mean over the image, so this matters only where the image is one pixel.
    """
    if [layer.kind for layer in layers] != ["pointwise"] * 3:
        return False
    squeeze, excite, reader = layers
    restores = squeeze.input_shape == excite.output_shape == reader.input_shape
    return restores and squeeze.output_shape[0] < squeeze.input_shape[0]


class _Recorder(TorchDispatchMode):
    """Records every convolution and matrix product that PyTorch dispatches.

    `calls` is the stack of the modules that are running, by path.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[LayerCost] = []
        self.calls: list[str] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        record = _RECORDERS.get(func._overloadpacket.__name__)
        if record is not None:
            record(self, args, result)
        return result

    def add_conv(self, args: tuple[Any, ...], result: Tensor) -> None:
        x, weight, bias, stride, groups = args[0], args[1], args[2], args[3], args[8]
        height, width = (1, *map(int, weight.shape[2:]))[-2:]  # one-dimensional ones have no height
        kernel = (height, width)
        output_shape = tuple(result.shape[1:])
        self.layers.append(
            LayerCost(
                name=self.calls[-1] if self.calls else "",
                kind=_name_kind(kernel, groups, int(x.shape[1])),
                kernel_size=kernel,
                stride=max(map(int, stride)),
                groups=groups,
                input_shape=tuple(x.shape[1:]),
                output_shape=output_shape,
                parameters=weight.numel() + (0 if bias is None else bias.numel()),
                multiply_adds=conv_multiply_adds(tuple(weight.shape), output_shape),
            )
        )

    def add_linear(self, args: tuple[Any, ...], result: Tensor) -> None:
        *bias, x, weight = args[:3] if len(args) > 2 else args
        self.layers.append(
            LayerCost(
                name=self.calls[-1] if self.calls else "",
                kind="linear",
                kernel_size=(1, 1),
                stride=1,
                groups=1,
                input_shape=tuple(x.shape[1:]),
                output_shape=tuple(result.shape[1:]),
                parameters=weight.numel() + sum(tensor.numel() for tensor in bias),
                multiply_adds=x.numel() * int(weight.shape[-1]),
            )
        )

    def add_batch_norm(self, args: tuple[Any, ...], result: Any) -> None:
        """A batch norm of weights, as in weight standardization, follows no layer."""
        if self.layers and tuple(args[0].shape[1:]) == self.layers[-1].output_shape:
            last = self.layers.pop()
            added = sum(scale.numel() for scale in args[1:3] if scale is not None)
            self.layers.append(replace(last, parameters=last.parameters + added))


def _name_kind(kernel: tuple[int, int], groups: int, channels: int) -> Kind:
    if groups > 1:
        return "depthwise" if groups == channels else "grouped"
    return "pointwise" if kernel == (1, 1) else "conv"


_RECORDERS: dict[str, Callable[[_Recorder, tuple[Any, ...], Any], None]] = {
    "convolution": _Recorder.add_conv,
    "addmm": _Recorder.add_linear,
    "mm": _Recorder.add_linear,
    "native_batch_norm": _Recorder.add_batch_norm,
    "_native_batch_norm_legit_no_training": _Recorder.add_batch_norm,
    "batch_norm": _Recorder.add_batch_norm,
}


@contextmanager
def _named_calls(module: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Push the path of each module that runs on `recorder.calls`, and pop it when it returns."""
    handles = []
    for name, child in module.named_modules():

        def enter(_: nn.Module, __: Any, name: str = name) -> None:
            recorder.calls.append(name)

        def leave(_: nn.Module, __: Any, ___: Any) -> None:
            recorder.calls.pop()

        handles += [child.register_forward_pre_hook(enter), child.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
