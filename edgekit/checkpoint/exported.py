"""Builds a network from a program that `torch.export` has saved, without the network's code.

In: a `ProgramArchive`. Out: a module that computes the program's graph, operator by operator, and
the settings that can be read from the graph.

The file is not trusted. PyTorch's own loader generates Python source from the graph and evaluates
expressions in it. Here each node becomes a call of a function that `operators` lists, with numbers,
tensors and results of earlier nodes as arguments, and `torch.fx.Interpreter` makes these calls
itself. No source text is generated, so nothing in a file can become Python code.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, fx, nn

from edgekit.checkpoint.defaults import Defaults
from edgekit.checkpoint.exported_settings import read_settings
from edgekit.checkpoint.outputs import NamedShape, choose_output, name_leaves
from edgekit.errors import CheckpointError, SettingsError
from edgekit.pt2.archive import DTYPES, SAVE_ADVICE, ProgramArchive
from edgekit.pt2.operators import CHECKS, Operator, find_operator
from edgekit.rewrite.compose_layers import compose_layers
from edgekit.spec import Channels, Size

FAMILY = "exported"
"""The name of such a network in the place of a family's."""

MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    4: torch.preserve_format,
}
"""The numbers of `torch._export.serde.schema.MemoryFormat`."""

FLOAT32 = 7
"""The number of float32 in `archive.DTYPES`."""
PLAIN = {"as_int": int, "as_float": float, "as_bool": bool, "as_string": str}
SYMBOLIC = ("as_sym_int", "as_sym_float", "as_sym_bool")


class Exported(NamedTuple):
    """The network, and the settings that were read from its program.

    It takes images of `channels` channels, and with `fixed_size` of `defaults.input_size` only.
    `notes` are remarks for the user.
    """

    module: nn.Module
    defaults: Defaults
    channels: Channels
    fixed_size: bool
    notes: tuple[str, ...] = ()


class ExportedNetwork(nn.Module):
    """Runs a graph of operators.

    A program that was exported with one image contains the batch size 1 in its shapes. With
    `one_image` the images of a batch are therefore computed one after the other.
    """

    def __init__(self, *, one_image: bool) -> None:
        super().__init__()
        self._one_image = one_image
        self._program = fx.Graph()

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized images `(N, C, H, W) float32` to the output, `(N, classes)` logits."""
        if self._one_image and len(images) != 1:
            return torch.cat([self._run(image) for image in images.split(1)])
        return self._run(images)

    def _run(self, images: Tensor) -> Tensor:
        interpreter = fx.Interpreter(self, graph=self._program)
        interpreter.extra_traceback = False
        output: Tensor = interpreter.run(images)
        return output


def build_exported(archive: ProgramArchive, output_tensor: str | None = None) -> Exported:
    """Build the network of a program.

    Args:
        archive: The program and its tensors.
        output_tensor: The name or number of the output to take; None for the first.

    Returns:
        The network and its settings.

    Raises:
        CheckpointError: The program is not a classifier of RGB or grayscale images, was exported
            in training mode or quantized, or calls an operator that `operators` does not list.
        SettingsError: There is no output of that name or number.
    """
    try:
        return _Builder(archive, output_tensor).build()
    except (CheckpointError, SettingsError):
        raise
    except Exception as error:  # a damaged graph can raise any exception
        reason = " ".join(f"{type(error).__name__}: {error}".splitlines()[:1])
        raise CheckpointError(
            f"{archive.name} is a damaged torch.export program ({reason}): copy or export it again"
        ) from error


class _Builder:
    """Translates the JSON of a program to an `ExportedNetwork`, node by node.

    `_values` maps the names of the JSON to the nodes that compute them. The JSON lists nodes in the
    order of execution, so a name is known before it is read.
    """

    def __init__(self, archive: ProgramArchive, output_tensor: str | None) -> None:
        self._archive = archive
        self._output_tensor = output_tensor
        self._name = archive.name
        self._graph: Mapping[str, Any] = archive.program["graph"]
        self._values: dict[str, fx.Node] = {}
        self._parameters: dict[object, nn.Parameter] = {}

    def build(self) -> Exported:
        signature = self._archive.program["signature"]
        image = self._find_image(signature["input_specs"])
        size, channels, fixed_size, one_image = self._check_image(image)
        self._network = ExportedNetwork(one_image=one_image)
        self._program = self._network._program
        self._values[image] = self._image = self._program.placeholder("images")
        for spec in signature["input_specs"]:
            self._add_weight(spec)
        for node in self._graph["nodes"]:
            self._add_node(node)
        name, notes = self._find_output(signature["output_specs"])
        self._program.output(self._shape_logits(name))
        compose_layers(self._program)
        return Exported(
            self._network, read_settings(self._program, size), channels, fixed_size, notes
        )

    def _refuse(self, found: str, expected: str) -> NoReturn:
        raise CheckpointError(f"{self._name} {found}: expected {expected}")

    # --- Inputs and outputs -----------------------------------------------------------------------

    def _find_image(self, specs: list[dict[str, Any]]) -> str:
        inputs = [spec["user_input"]["arg"] for spec in specs if "user_input" in spec]
        if len(inputs) != 1 or "as_tensor" not in inputs[0]:
            self._refuse(
                f"takes {len(inputs)} inputs", "a classifier that takes one (N, C, H, W) image"
            )
        name: str = inputs[0]["as_tensor"]["name"]
        return name

    def _check_image(self, image: str) -> tuple[Size, Channels, bool, bool]:
        """Read the size of the input and its channels, whether the size is fixed, and whether the
        batch size is."""
        meta = self._graph["tensor_values"][image]
        sizes = meta["sizes"]
        shown = [_example(size) for size in sizes]
        if len(sizes) != 4 or shown[1] not in (1, 3) or meta["dtype"] != FLOAT32:
            self._refuse(
                f"takes an input of shape {shown}, {DTYPES.get(meta['dtype'], 'unknown numbers')}",
                "a classifier of torch.float32 images, RGB (N, 3, H, W) or grayscale (N, 1, H, W)",
            )
        _, channels, height, width = shown
        if height is None or width is None:
            self._refuse(
                "takes images of any size, and does not say which it was exported with",
                "the example's size; export it again",
            )
        one_image = "as_int" in sizes[0]
        if one_image and shown[0] != 1:
            self._refuse(
                f"was exported for batches of {shown[0]} images",
                f"one image, torch.zeros(1, {channels}, H, W), or a dynamic batch; export it again",
            )
        fixed_size = "as_int" in sizes[2] or "as_int" in sizes[3]
        return Size(width, height), 1 if channels == 1 else 3, fixed_size, one_image

    def _find_output(self, specs: list[dict[str, Any]]) -> tuple[str, tuple[str, ...]]:
        """Find the name of the output in the program, and remarks for the user."""
        others = [next(iter(spec)) for spec in specs if "user_output" not in spec]
        if others:
            self._refuse(
                f"changes its own state when it runs ({others[0]})",
                f"a network in eval mode; {SAVE_ADVICE}",
            )
        arguments = [spec["user_output"]["arg"] for spec in specs]
        tensors = [
            (name, argument["as_tensor"]["name"])
            for name, argument in zip(self._name_outputs(len(arguments)), arguments, strict=True)
            if "as_tensor" in argument
        ]
        if not tensors:
            self._refuse("returns no tensor", "the logits of a classifier")
        named = [NamedShape(name, self._read_shape(value)) for name, value in tensors]
        choice = choose_output(named, self._output_tensor, self._name)
        output = tensors[choice.number][1]
        dtype = DTYPES.get(self._graph["tensor_values"][output]["dtype"])
        if dtype is None or not dtype.is_floating_point:
            self._refuse(f"returns {dtype}", "logits, without an argmax after them")
        return output, choice.notes

    def _name_outputs(self, count: int) -> Sequence[str]:
        """The names of the outputs in the record that the network returned, else their numbers."""
        for entry in self._archive.program.get("module_call_graph", ()):
            if entry["fqn"] == "" and entry.get("signature"):
                _, tree = json.loads(entry["signature"]["out_spec"])
                names = list(name_leaves(tree))
                if len(names) == count:
                    return names
        return [str(number) for number in range(count)]

    def _read_shape(self, value: str) -> tuple[int, ...]:
        """The shape of a tensor of the program; a dynamic side is the example input's, else 0."""
        sizes = self._graph["tensor_values"][value]["sizes"]
        return tuple(_example(size) or 0 for size in sizes)

    def _shape_logits(self, name: str) -> fx.Node:
        """The output `name` as `(N, classes)`: without axes of length 1 after the classes, and
        with the one that the network squeezed away."""
        node, sides = self._values[name], self._read_shape(name)
        if len(sides) < 2:
            logits = [1, -1] if self._network._one_image else [-1, 1]
            return self._program.call_function(torch.ops.aten.reshape.default, (node, logits))
        if len(sides) > 2 and all(side == 1 for side in sides[2:]):
            return self._program.call_function(torch.ops.aten.flatten.using_ints, (node, 1))
        return node

    # --- Weights ----------------------------------------------------------------------------------

    def _add_weight(self, spec: Mapping[str, Any]) -> None:
        ((kind, content),) = spec.items()
        if kind in ("user_input", "constant_input"):
            return
        if kind not in ("parameter", "buffer", "tensor_constant"):
            self._refuse(f"takes a {kind.replace('_', ' ')}", f"tensors only; {SAVE_ADVICE}")
        path = content[f"{kind}_name"]
        tensor = self._archive.tensors[path]
        is_parameter = kind == "parameter"
        if is_parameter and tensor.dtype != torch.float32:
            self._refuse(f"holds {path!r} as {tensor.dtype}", f"torch.float32; {SAVE_ADVICE}")
        # Buffers and constants may be infinite on purpose, as in the mask of an attention.
        bad = int((~torch.isfinite(tensor) if is_parameter else torch.isnan(tensor)).sum())
        if bad:
            self._refuse(f"holds {bad} NaN or infinite values in {path!r}", "finite weights")
        if is_parameter:
            memory = (tensor.data_ptr(), tensor.shape, tensor.stride())
            parameter = nn.Parameter(tensor, requires_grad=False)
            tensor = self._parameters.setdefault(memory, parameter)  # tied weights are one
        _register(self._network, path, tensor)
        self._values[content["arg"]["name"]] = self._program.get_attr(path)

    # --- Operators --------------------------------------------------------------------------------

    def _add_node(self, node: Mapping[str, Any]) -> None:
        target = node["target"]
        if target in CHECKS:
            return
        function = find_operator(target)
        if function is None:
            self._refuse_operator(target)
        named = {entry["name"]: self._decode(entry["arg"]) for entry in node["inputs"]}
        trains = named.get("training") is True or named.get("train") is True
        if trains and any(self._reads_image(value) for value in named.values()):
            self._refuse(f"runs {target!r} in training mode", f"eval mode; {SAVE_ADVICE}")
        args, kwargs = _bind(function, named)
        result = self._program.call_function(function, args, kwargs)
        outputs = node["outputs"]
        for index, output in enumerate(outputs):
            self._name_output(result, output, None if len(outputs) == 1 else index)

    def _reads_image(self, value: Any) -> bool:
        """Whether a value depends on the image. Weights that are standardized by a batch norm in
        training mode do not, and are the same each time."""
        nodes, seen = [value] if isinstance(value, fx.Node) else [], set()
        while nodes:
            node = nodes.pop()
            if node is self._image:
                return True
            nodes += [other for other in node.all_input_nodes if other not in seen]
            seen |= set(node.all_input_nodes)
        return False

    def _refuse_operator(self, target: str) -> NoReturn:
        if "quant" in target:
            self._refuse(f"is quantized ({target!r})", f"the float network; {SAVE_ADVICE}")
        self._refuse(
            f"calls {target!r}, which edgekit does not run from a file",
            "PyTorch's own layers; give the weights and your own code with"
            " --arch package.module:factory",
        )

    def _name_output(self, result: fx.Node, output: Mapping[str, Any], index: int | None) -> None:
        """Store `result`, or its part `index`, under the name by which later nodes read it."""
        ((kind, content),) = output.items()
        if kind == "as_none":
            return
        if index is not None:
            result = self._program.call_function(operator.getitem, (result, index))
        if kind == "as_tensors":
            for position, tensor in enumerate(content):
                part = self._program.call_function(operator.getitem, (result, position))
                self._values[tensor["name"]] = part
        else:
            self._values[content["name" if kind == "as_tensor" else "as_name"]] = result

    def _decode(self, argument: Mapping[str, Any]) -> Any:
        """Decode an argument of a node: nodes, numbers, strings, and lists of these.

        An argument is a JSON object with one key, which names the kind of its content.
        """
        ((kind, content),) = argument.items()
        if kind == "as_none":
            return None
        if kind == "as_tensor":
            return self._values[content["name"]]
        if kind == "as_name":
            return self._values[content]
        if kind in PLAIN:
            return PLAIN[kind](content)
        if kind == "as_optional_tensor" or kind in SYMBOLIC:
            return self._decode(content)
        if kind == "as_tensors":
            return [self._values[tensor["name"]] for tensor in content]
        if kind == "as_optional_tensors" or kind.removesuffix("s") in SYMBOLIC:
            return [self._decode(entry) for entry in content]
        if kind.removesuffix("s") in PLAIN:
            return [PLAIN[kind.removesuffix("s")](entry) for entry in content]
        return self._decode_kind(kind, content)

    def _decode_kind(self, kind: str, content: Any) -> Any:
        """Decode a property of a tensor: its dtype, memory format, layout or device."""
        if kind == "as_scalar_type":
            return DTYPES[content]
        if kind == "as_memory_format":
            return MEMORY_FORMATS[content]
        if kind == "as_layout":
            return torch.strided
        if kind == "as_device":  # the device that the network runs on now, not the exported one
            return self._program.call_function(getattr, (self._image, "device"))
        self._refuse(
            f"passes {kind.removeprefix('as_')} to an operator",
            f"tensors and numbers; {SAVE_ADVICE}",
        )


def _example(size: Mapping[str, Any]) -> int | None:
    """A size, or for a dynamic one the example input's size; None where the file lacks it."""
    if "as_int" in size:
        return int(size["as_int"])
    hint = size["as_expr"].get("hint")
    return int(hint["as_int"]) if hint else None


def _register(network: nn.Module, path: str, tensor: Tensor) -> None:
    """Register `tensor` under its path in the exported module, so that its name is the same."""
    *parents, leaf = path.split(".")
    owner = network
    for parent in parents:
        if parent not in dict(owner.named_children()):
            owner.add_module(parent, nn.Module())
        owner = owner.get_submodule(parent)
    if isinstance(tensor, nn.Parameter):
        owner.register_parameter(leaf, tensor)
    else:
        owner.register_buffer(leaf, tensor)


def _bind(function: Operator, named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Divide named arguments into positional and keyword arguments.

    The operators of PyTorch are called as `torch.export` calls them, and as the rewriting passes
    read them: by position up to the first argument that is left out or keyword-only.
    """
    if not isinstance(function, torch._ops.OpOverload):
        return tuple(named.values()), {}
    args = []
    for argument in function._schema.arguments:
        if argument.kwarg_only or argument.name not in named:
            break
        args.append(named.pop(argument.name))
    return tuple(args), named
