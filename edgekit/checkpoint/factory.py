"""Builds a network with the user's own code: `--arch package.module:factory`.

In: the factory's name and the checkpoint's weights. Out: the module with the weights, and defaults.
The factory is called without arguments and returns the float module. All weights must fit under the
module's own names. This runs the user's code, but nothing that is in the checkpoint.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from edgekit.checkpoint.containers import StateDict, without_data_parallel
from edgekit.checkpoint.defaults import Defaults
from edgekit.checkpoint.leftovers import is_bookkeeping, is_set_aside
from edgekit.errors import CheckpointError
from edgekit.rewrite.user_code import describe_failure, find_place
from edgekit.spec import Activation


def build_from_factory(arch: str, weights: StateDict, name: str) -> tuple[nn.Module, Defaults]:
    """Call a factory and load the weights into its module.

    Args:
        arch: `package.module:factory`; the module may be in the working folder.
        weights: The weights, each of the `(…,)` shape that its layer has.
        name: The file's name, for messages.

    Returns:
        The module with its weights, and the defaults that can be read from its layers.

    Raises:
        CheckpointError: The factory cannot be imported or fails, it does not return a module, or
            the weights do not fit.
    """
    module = _call(arch)
    tensors = _fit_names(module, weights.tensors)
    _check_shapes(module, tensors, arch, name)
    missing, unexpected = _load(module, tensors, weights.versions, arch)
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise CheckpointError(
            f"{name} does not fit --arch {arch}: {len(missing)} keys missing"
            f" ({', '.join(missing[:3]) or 'none'}), {len(unexpected)} unknown"
            f" ({', '.join(unexpected[:3]) or 'none'}): {_advise(arch)}"
        )
    return module, Defaults(
        activation=_find_activation(module),
        padding="symmetric",
        batch_norm_eps=_find_eps(module),
        normalize="imagenet",
        input_size=224,
    )


def _advise(arch: str) -> str:
    """What to do where the network has other layers than the weights."""
    return (
        f"{arch.partition(':')[2]} is called without arguments; give the function that builds the"
        " network with the arguments of its training, as the number of classes"
    )


def _call(arch: str) -> nn.Module:
    module_name, _, factory_name = arch.partition(":")
    if module_name.endswith(".py"):
        imported = ".".join(Path(module_name).with_suffix("").parts)
        raise CheckpointError(
            f"--arch {arch} names a file: expected a module, as Python imports it:"
            f" --arch {imported}:{factory_name}"
        )
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        factory = getattr(import_module(module_name), factory_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"--arch {arch} cannot be imported ({describe_failure(error)}): expected"
            " package.module:factory, importable from the working folder"
        ) from error
    except Exception as error:  # whatever the user's own code raises
        raise CheckpointError(
            f"--arch {arch} cannot be imported: {describe_failure(error)}"
        ) from error
    try:
        module = factory() if callable(factory) else factory
    except Exception as error:  # whatever the user's own code raises
        if isinstance(error, TypeError) and find_place(error) is None:
            raise CheckpointError(
                f"--arch {arch} cannot be called without arguments ({error}): expected a factory"
                " that returns the network"
            ) from error
        raise CheckpointError(
            f"--arch {arch} failed when called: {describe_failure(error)}"
        ) from error
    if not isinstance(module, nn.Module):
        raise CheckpointError(
            f"--arch {arch} returned a {type(module).__name__}: expected a torch.nn.Module"
        )
    return module


def _load(
    module: nn.Module, tensors: Mapping[str, Tensor], versions: Mapping[str, Any], arch: str
) -> tuple[list[str], list[str]]:
    """Load the weights, and return the keys that are missing and those that are unknown.

    Layers read their version from the state dict, as torchvision's MNASNet does. Where the file
    has none, the weights are taken to be of the version that the code is.
    """
    state: OrderedDict[str, Tensor] = OrderedDict(tensors)
    state._metadata = _fit_versions(module, versions)  # type: ignore[attr-defined]
    try:
        missing, unexpected = module.load_state_dict(state, strict=False)
    except Exception as error:  # whatever the user's own code raises
        raise CheckpointError(
            f"--arch {arch} does not take the weights: {describe_failure(error)}"
        ) from error
    return missing, unexpected


def _fit_names(module: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Give the weights the module's own names.

    A training script's keys may begin with a wrapper's prefix, as `module.` or `model.`, and have
    losses and metrics beside them. A module of one attribute may have been saved without its name.
    `nn.DataParallel` may wrap a part of it.
    """
    own = {key for key in module.state_dict() if not is_bookkeeping(key)}
    plain = without_data_parallel(tensors)
    if len(own & plain.keys()) > len(own & tensors.keys()):
        tensors = plain
    probe = max(own, key=len, default="")
    prefixes = {key.removesuffix(probe) for key in tensors if f".{key}".endswith(f".{probe}")}
    if prefixes:
        prefix = max(sorted(prefixes), key=lambda one: len(own & _without(one, tensors).keys()))
        fitted = _without(prefix, tensors)
        return {key: value for key, value in fitted.items() if key in own or not is_set_aside(key)}
    added, rest = "", min(own, default="")
    while "." in rest:
        part, _, rest = rest.partition(".")
        added += f"{part}."
        if own & {added + key for key in tensors}:
            return {added + key: tensor for key, tensor in tensors.items()}
    return tensors


def _without(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose keys begin with a prefix, and those under other names that are weights."""
    return {
        key.removeprefix(prefix): value
        for key, value in tensors.items()
        if key.startswith(prefix) or not is_set_aside(key)
    }


def _fit_versions(module: nn.Module, versions: Mapping[str, Any]) -> dict[str, Any]:
    """The versions of the module's own layers, whatever prefix the file's paths have."""
    own: Mapping[str, Any] = getattr(module.state_dict(), "_metadata", {})
    found: dict[str, Any] = {}
    for prefix in ["", *sorted(versions, key=len)]:
        named = {path: ".".join(filter(None, (prefix, path))) for path in own}
        fitted = {path: versions[name] for path, name in named.items() if name in versions}
        if len(fitted) > len(found):
            found = fitted
    return {**own, **found}


def _check_shapes(module: nn.Module, tensors: Mapping[str, Tensor], arch: str, name: str) -> None:
    shapes = {key: tensor.shape for key, tensor in module.state_dict().items()}
    for key, tensor in tensors.items():
        if key in shapes and shapes[key] != tensor.shape:
            raise CheckpointError(
                f"{name} does not fit --arch {arch}: {key} has shape {list(tensor.shape)},"
                f" expected {list(shapes[key])}: {_advise(arch)}"
            )


def _find_activation(module: nn.Module) -> Activation:
    """Find the activation that the module's layers show."""
    kinds = {type(layer) for layer in module.modules()}
    if nn.Hardswish in kinds:
        return "hardswish"
    return "relu6" if nn.ReLU6 in kinds else "relu"


def _find_eps(module: nn.Module) -> float:
    found = [layer.eps for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    return float(found[0]) if found else 1e-5
