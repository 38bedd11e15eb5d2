"""Builds a network with the user's own code: `--arch package.module:factory`.

In: the factory's name and the checkpoint's weights. Out: the module with the weights, and defaults.
The factory is called without arguments and returns the float module. All weights must fit under the
module's own names. This runs the user's code, but nothing that is in the checkpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from torch import Tensor, nn

from edgekit.checkpoint.defaults import Defaults
from edgekit.checkpoint.leftovers import BOOKKEEPING
from edgekit.errors import CheckpointError
from edgekit.spec import Activation


def build_from_factory(
    arch: str, tensors: Mapping[str, Tensor], name: str
) -> tuple[nn.Module, Defaults]:
    """Call a factory and load the weights into its module.

    Args:
        arch: `package.module:factory`; the module may be in the working folder.
        tensors: The weights by key, each of the `(…,)` shape that its layer has.
        name: The file's name, for messages.

    Returns:
        The module with its weights, and the defaults that can be read from its layers.

    Raises:
        CheckpointError: The factory cannot be imported or fails, it does not return a module, or
            the weights do not fit.
    """
    module = _call(arch)
    tensors = _restore_prefix(module, tensors)
    _check_shapes(module, tensors, arch, name)
    missing, unexpected = module.load_state_dict(dict(tensors), strict=False)
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise CheckpointError(
            f"{name} does not fit --arch {arch}: {len(missing)} keys missing"
            f" ({', '.join(missing[:3]) or 'none'}), {len(unexpected)} unknown"
            f" ({', '.join(unexpected[:3]) or 'none'})"
        )
    return module, Defaults(
        activation=_find_activation(module),
        padding="symmetric",
        batch_norm_eps=_find_eps(module),
        normalize="imagenet",
        input_size=224,
    )


def _call(arch: str) -> nn.Module:
    module_name, _, factory_name = arch.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        factory = getattr(import_module(module_name), factory_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"--arch {arch} cannot be imported ({error}): expected package.module:factory,"
            " importable from the working folder"
        ) from error
    except Exception as error:  # whatever the user's own code raises
        raise CheckpointError(f"--arch {arch} cannot be imported: {_describe(error)}") from error
    try:
        module = factory() if callable(factory) else factory
    except TypeError as error:
        raise CheckpointError(
            f"--arch {arch} cannot be called without arguments ({error}): expected a factory that"
            " returns the network"
        ) from error
    except Exception as error:  # whatever the user's own code raises
        raise CheckpointError(f"--arch {arch} failed when called: {_describe(error)}") from error
    if not isinstance(module, nn.Module):
        raise CheckpointError(
            f"--arch {arch} returned a {type(module).__name__}: expected a torch.nn.Module"
        )
    return module


def _describe(error: Exception) -> str:
    """Name an error by its type and first line."""
    line = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def _restore_prefix(module: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Put back a prefix that was removed as a wrapper's but is the module's own.

    `find_state_dict` removes `net.` from keys that all begin with it. The keys of a class whose
    only attribute is `self.net` do so, too.
    """
    own = {key for key in module.state_dict() if key.rpartition(".")[2] not in BOOKKEEPING}
    prefix, rest = "", min(own, default="")
    while "." in rest and not own & set(tensors):
        part, _, rest = rest.partition(".")
        prefix += f"{part}."
        if own & {prefix + key for key in tensors}:
            return {prefix + key: tensor for key, tensor in tensors.items()}
    return tensors


def _check_shapes(module: nn.Module, tensors: Mapping[str, Tensor], arch: str, name: str) -> None:
    shapes = {key: tensor.shape for key, tensor in module.state_dict().items()}
    for key, tensor in tensors.items():
        if key in shapes and shapes[key] != tensor.shape:
            raise CheckpointError(
                f"{name} does not fit --arch {arch}: {key} has shape {list(tensor.shape)},"
                f" expected {list(shapes[key])}"
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
