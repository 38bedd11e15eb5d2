"""Finds the softmax or sigmoid that a network ends in, and takes it off.

In: the float network. Out: the same without it, which gives logits, and what the logits mean. The
board computes the scores from the logits (`edgekit.scores`), so that they are computed once on
every runtime, and int8 rounds logits and not scores.

The operator is looked for in what the network does with an image, and removed from its graph: of a
program of `torch.export` the one that was read, of code the one that `torch.export` makes of it.
That nothing but the operator was removed is checked on an image.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode

from edgekit.checkpoint.exported import ExportedNetwork
from edgekit.checkpoint.one_image import take_batches
from edgekit.errors import CheckpointError, ConversionError
from edgekit.rewrite.export import trace
from edgekit.rewrite.user_code import describe_failure
from edgekit.scores import LastOperator, choose_scores
from edgekit.spec import InputSpec, Scores

ACTIVATIONS: Mapping[str, LastOperator] = {
    "softmax": "softmax",
    "_softmax": "softmax",
    "log_softmax": "softmax",
    "_log_softmax": "softmax",
    "sigmoid": "sigmoid",
    "special_expit": "sigmoid",
}
"""PyTorch's operators that make scores of logits, by name. A softmax of a log-softmax is the
softmax, so both are one."""
PASSING = {
    *("view", "reshape", "_unsafe_view", "flatten", "squeeze", "unsqueeze", "clone", "alias"),
    *("detach", "contiguous", "dropout", "_to_copy", "to"),
}
"""Operators after it that change no value."""
TOLERANCE = 1e-4
"""The largest difference of a score by rounding."""


class ScoreHead(NamedTuple):
    """What a network gives, and what it means.

    `module` gives the output that `scores` is about. `is_sure` says whether `scores` follows from
    the network's last operator or its output; else it is the user's word or a default.
    """

    module: nn.Module
    scores: Scores
    is_sure: bool
    notes: tuple[str, ...] = ()


def find_score_head(
    module: nn.Module,
    name: str,
    image: InputSpec,
    outputs: int,
    wanted: Scores | None,
    *,
    is_own: bool,
) -> ScoreHead:
    """Find what the output of a network means, and take off a softmax or sigmoid at its end.

    Args:
        module: Maps normalized `(N, C, H, W)` images to `(N, outputs)`.
        name: What messages call it.
        image: The images that it reads.
        outputs: How many values it gives.
        wanted: What the user says that they mean; None for nothing.
        is_own: Whether it is the user's own network, which may end in anything.

    Returns:
        The network that gives logits, or scores where nothing could be taken off.

    Raises:
        SettingsError: `wanted` does not go with the network.
        CheckpointError: A sigmoid at its end cannot be taken off.
    """
    seen = _watch(module, name, image) if is_own else None
    last = seen.last if seen is not None else None
    scores = choose_scores(name, outputs, last, wanted)
    if seen is None or last is None:
        if seen is not None and wanted is None and outputs > 1 and _are_probabilities(seen.output):
            note = "the outputs add up to 1, so they are taken for probabilities"
            return ScoreHead(module, "probabilities", True, (note,))
        return ScoreHead(module, scores, False, _note_default(outputs, wanted))
    if scores == "probabilities":
        return ScoreHead(module, scores, wanted is None)
    bare = _take_off(module, seen, image)
    if bare is not None:
        return ScoreHead(bare, scores, True, _note_end(last, outputs, wanted))
    if scores == "multilabel":
        raise CheckpointError(
            f"{name} ends in a sigmoid that cannot be taken off: expected a network that gives"
            " logits, with --scores multilabel"
        )
    return ScoreHead(module, "softmax" if seen.is_log else "probabilities", True)


def _note_default(outputs: int, wanted: Scores | None) -> tuple[str, ...]:
    if outputs > 1 or wanted is not None:
        return ()
    return (
        "one output is taken for the logit of a sigmoid that decides between two classes"
        " (--scores multilabel: one label that is there or not)",
    )


def _note_end(last: LastOperator, outputs: int, wanted: Scores | None) -> tuple[str, ...]:
    if last == "softmax" or outputs == 1 or wanted is not None:
        return ()
    return (
        f"it ends in {outputs} sigmoids, which are taken for independent labels (--scores"
        " probabilities: for classes that exclude each other)",
    )


class _Seen(NamedTuple):
    """What a network does with one image of noise: its `(1, outputs)` output, and the operator that
    made it."""

    images: Tensor
    output: Tensor
    operator: str

    @property
    def last(self) -> LastOperator | None:
        return ACTIVATIONS.get(self.operator)

    @property
    def is_log(self) -> bool:
        return "log" in self.operator

    def compute_scores(self) -> Tensor:
        return self.output.softmax(1) if self.is_log else self.output


def _watch(module: nn.Module, name: str, image: InputSpec) -> _Seen:
    """Run the network once. Raises CheckpointError where its code fails."""
    shape = (1, image.channels, image.height, image.width)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode(False), torch.no_grad(), _Watch() as watch:
            output: Tensor = module(images)
    except Exception as error:  # whatever the user's own code raises
        raise CheckpointError(
            f"{name} fails on an image of {image.size} pixels: {describe_failure(error)}"
        ) from error
    return _Seen(images, output.detach(), watch.find_maker(output))


class _Watch(TorchDispatchMode):
    """Stores which operator made each tensor, and of which."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, tuple[str, Any, Tensor]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            source = args[0] if args else None
            before = self._made.get(id(result))  # an operator in place returns its own input
            place = before if source is result and _name(func) in PASSING else None
            self._made[id(result)] = place or (_name(func), source, result)
        return result

    def find_maker(self, tensor: Tensor) -> str:
        """The name of the operator that made the values of `tensor`; empty without one."""
        name, source, _ = self._made.get(id(tensor), ("", None, tensor))
        while name in PASSING and isinstance(source, Tensor):
            name, source, _ = self._made.get(id(source), ("", None, source))
        return name


def _name(target: Any) -> str:
    """The name of a PyTorch operator, in place or not; empty for anything else."""
    if not isinstance(target, torch._ops.OpOverload):
        return ""
    return target._schema.name.removeprefix("aten::").removesuffix("_")


def _are_probabilities(output: Tensor) -> bool:
    """Whether an output `(1, outputs)` can hardly be anything but probabilities."""
    sums = output.double().sum(dim=1)
    return bool((output >= 0).all() and ((sums - 1).abs() < TOLERANCE).all())


def _take_off(module: nn.Module, seen: _Seen, image: InputSpec) -> nn.Module | None:
    """The network without its last operator; None where that cannot be removed alone."""
    bare: nn.Module
    if isinstance(module, ExportedNetwork) and not module._forward_hooks:
        bare = copied = copy.deepcopy(module)
        graph = copied._program
    else:
        try:
            bare = traced = trace(module, image)
        except ConversionError:  # the conversion says so
            return None
        graph = traced.graph
    if not _remove_last(graph):
        return None
    if isinstance(bare, fx.GraphModule):
        bare.recompile()
    with torch.no_grad():
        logits: Tensor = bare(seen.images)
    scores = logits.softmax(1) if seen.last == "softmax" else logits.sigmoid()
    if scores.shape == seen.output.shape and torch.allclose(
        scores, seen.compute_scores(), rtol=0, atol=TOLERANCE
    ):
        return take_batches(bare, seen.images).requires_grad_(False)
    return None


def _remove_last(graph: fx.Graph) -> bool:
    """Remove the operator that makes scores from the end of a graph; False where there is none."""
    user = next(node for node in reversed(graph.nodes) if node.op == "output")
    node = user.args[0]
    while isinstance(node, (tuple, list)):
        node = node[0]
    while isinstance(node, fx.Node) and _name(node.target) in PASSING:
        user, node = node, node.args[0]
    if not isinstance(node, fx.Node) or _name(node.target) not in ACTIVATIONS:
        return False
    user.replace_input_with(node, cast(fx.Node, node.args[0]))
    if not node.users:
        graph.erase_node(node)  # one in place would still change its input
    return True
