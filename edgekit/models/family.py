"""What the registry knows of a family: how to build it, its defaults, its published accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from edgekit.errors import SettingsError
from edgekit.models.layers import LayerOptions
from edgekit.spec import Activation, Padding

Constructor = Callable[[float, int, LayerOptions, str], nn.Module]
"""(width, classes, options, scaling) → the network."""


@dataclass(frozen=True)
class PublishedAccuracy:
    """ImageNet top-1 in percent as the source states it, for one width and input size (pixels).

    `parameters_m` and `multiply_adds_m` are the millions that the source prints beside it, rounded
    as there; the exact ones are counted (`edgekit.models.cost`).
    """

    width: float
    input_size: int
    top1: float
    source: str
    parameters_m: float | None = None
    multiply_adds_m: float | None = None


@dataclass(frozen=True)
class Family:
    """One network family.

    `scalings` names the published ways to turn a width into channel counts, the paper's first;
    they agree at width 1. `estimate` is a layer (the path of a `ConvBN` or linear module) and its
    channels at width 1: the ratio to a checkpoint's channels is a first guess of the width.
    """

    name: str
    title: str
    paper: str
    constructor: Constructor
    activation: Activation
    estimate: tuple[str, int]
    scalings: tuple[str, ...]
    published: tuple[PublishedAccuracy, ...]
    activations: tuple[Activation, ...] = ("relu", "relu6")
    input_size: int = 224
    batch_norm_eps: float = 1e-5
    fixed_width: bool = False

    def build(
        self,
        width: float = 1.0,
        classes: int = 1000,
        activation: Activation | None = None,
        padding: Padding = "symmetric",
        batch_norm_eps: float | None = None,
        scaling: str | None = None,
    ) -> nn.Module:
        """The network, newly initialised: `(N, 3, H, W) float32` → `(N, classes)` logits.

        None takes the family's default. Raises SettingsError for a width or an activation that
        the family does not have.
        """
        options = LayerOptions(
            activation=activation or self.activation,
            padding=padding,
            batch_norm_eps=self.batch_norm_eps if batch_norm_eps is None else batch_norm_eps,
        )
        self._check(width, options)
        return self.constructor(width, classes, options, scaling or self.scalings[0])

    def _check(self, width: float, options: LayerOptions) -> None:
        if options.activation not in self.activations:
            raise SettingsError(
                f"activation {options.activation!r} does not exist in {self.name}:"
                f" expected one of {', '.join(self.activations)}"
            )
        if options.padding not in ("symmetric", "same"):
            raise SettingsError(
                f"padding {options.padding!r} is not known: expected symmetric or same"
            )
        if not 0 < width <= 10:
            raise SettingsError(
                f"width {width} is not a width multiplier: expected 0 < width <= 10"
            )
        if self.fixed_width and width != 1:
            raise SettingsError(f"width {width} does not exist: {self.name} comes in width 1 only")

    @property
    def widths(self) -> tuple[float, ...]:
        """The widths with a published accuracy, widest first."""
        return tuple(sorted({figure.width for figure in self.published}, reverse=True))
