"""Lists the operators that an exported program may call, and finds them by name.

In: the name of an operator, as text from a `.pt2` file. Out: the function, or None. Only the names
in this module are looked up. PyTorch's own loader calls any function that is an attribute of
`torch`, `math` or `operator`, or of their attributes.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

Operator = Callable[..., Any]

_LAYERS = """
    conv1d conv2d convolution conv_transpose2d linear addmm mm bmm matmul baddbmm
    scaled_dot_product_attention batch_norm _native_batch_norm_legit_no_training layer_norm
    native_layer_norm group_norm native_group_norm instance_norm dropout feature_dropout
    alpha_dropout lstm gru einsum rms_norm _fused_rms_norm
"""
_ACTIVATIONS = """
    relu relu6 hardtanh hardswish hardsigmoid sigmoid silu gelu elu celu selu mish leaky_relu prelu
    tanh softplus log_sigmoid threshold glu softmax _softmax log_softmax _log_softmax clamp
    clamp_min clamp_max hardshrink softshrink erf
"""
_ARITHMETIC = """
    add sub rsub mul div neg abs sign exp log sqrt rsqrt pow square reciprocal floor ceil round
    maximum minimum where eq ne gt ge lt le logical_and logical_or logical_not bitwise_and
    bitwise_or bitwise_not sin cos addcmul addcdiv lerp sum mean var std amax amin max min argmax
    cumsum norm linalg_vector_norm floor_divide remainder logsumexp prod any all cumprod var_mean
    std_mean
"""
_POOLING = """
    avg_pool1d avg_pool2d max_pool2d max_pool2d_with_indices adaptive_avg_pool1d
    adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d upsample_nearest2d
    upsample_bilinear2d upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa
    max_pool1d
"""
_SHAPES = """
    view _unsafe_view view_as reshape reshape_as flatten unflatten squeeze unsqueeze permute
    transpose numpy_T t movedim contiguous clone detach alias lift_fresh_copy expand expand_as
    repeat cat concat stack split split_with_sizes chunk unbind select slice narrow index_select
    index gather roll flip pad constant_pad_nd reflection_pad2d replication_pad2d pixel_shuffle
    pixel_unshuffle channel_shuffle to _to_copy type_as zeros ones full arange scalar_tensor
    zeros_like ones_like full_like new_zeros new_ones new_full sym_size linspace meshgrid
    masked_fill tril triu repeat_interleave tile im2col col2im swapaxes slice_scatter
    select_scatter fill copy one_hot
"""
ATEN = frozenset(f"{_LAYERS} {_ACTIVATIONS} {_ARITHMETIC} {_POOLING} {_SHAPES}".split())
"""The names of PyTorch's operators, without namespace and overload; `relu_` counts as `relu`."""

SIZES: Mapping[str, Operator] = {
    **{
        f"_operator.{function.__name__}": function
        for function in (
            *(operator.add, operator.sub, operator.mul, operator.floordiv, operator.truediv),
            *(operator.mod, operator.neg, operator.eq, operator.ne),
            *(operator.lt, operator.le, operator.gt, operator.ge),
        )
    },
    "math.trunc": math.trunc,
    "torch.sym_int": torch.sym_int,
    "torch.sym_float": torch.sym_float,
    "torch.sym_max": torch.sym_max,
    "torch.sym_min": torch.sym_min,
}
"""The arithmetic of sizes that are unknown before the program runs."""

CHECKS = frozenset(
    f"torch.ops.aten.{name}"
    for name in (
        "_assert_async.msg",
        "_assert_scalar.default",
        "_assert_tensor_metadata.default",
        "sym_constrain_range.default",
        "sym_constrain_range_for_size.default",
    )
)
"""The operators that compute nothing, but check sizes against those of the exported program."""

_ATEN_TARGET = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)", re.ASCII)


def find_operator(target: str) -> Operator | None:
    """Find the operator that a node of an exported program names; None if it is not allowed."""
    if target in SIZES:
        return SIZES[target]
    named = _ATEN_TARGET.fullmatch(target)
    if named is None or not {named[1], named[1].removesuffix("_")} & ATEN:
        return None
    packet = getattr(torch.ops.aten, named[1], None)
    if packet is None or named[2] not in packet.overloads():
        return None
    overload: Operator = getattr(packet, named[2])
    return overload
