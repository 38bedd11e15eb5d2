"""Defines the record of a network family: its constructor, defaults and published accuracy.

In: what the file of each family states. Out: a `Family`, which builds networks of any width and
number of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from edgekit.errors import SettingsError
from edgekit.models.layers import LayerOptions
from edgekit.spec import Activation, Padding

Constructor = Callable[[float, int, LayerOptions, str], nn.Module]
"""Builds the network from (width, classes, options, scaling)."""


@dataclass(frozen=True)
class PublishedAccuracy:
    """The published ImageNet top-1 of one width and input size.

    Attributes:
        width: The width multiplier.
        input_size: The side of the input, in pixels.
        top1: The accuracy in percent, as the source states it.
        source: The paper and table, or the repository.
        parameters_m: Millions of parameters as the source states them, rounded as there.
        multiply_adds_m: Millions of multiply-adds as the source states them, rounded as there.
            `edgekit.models.cost` counts the exact numbers.
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

    Attributes:
        name: The name on the command line and in `FAMILIES`.
        title: The name in texts.
        paper: The arXiv number.
        constructor: Builds the network.
        activation: The default activation.
        estimate: The path of a layer and its channels at width 1. The ratio of a checkpoint's
            channels to these is a first estimate of its width.
        scalings: The published rules from a width to the channels, that of the paper first. They
            agree at width 1, but for a reduced tail.
        published: The published accuracies.
        activations: The activations that the family may have.
        input_size: The side of the input that the paper uses, in pixels.
        batch_norm_eps: The default epsilon of batch norms.
        fixed_width: Whether width 1 is the only one.
        tail_divisors: What the rules divide the channels of the last stage by.
        variants: Implementations that compute otherwise with layers of the same names and shapes,
            by name: their constructors.
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
    tail_divisors: tuple[int, ...] = (1,)
    variants: Mapping[str, Constructor] = field(default_factory=dict, hash=False)

    def build(
        self,
        width: float = 1.0,
        classes: int = 1000,
        activation: Activation | None = None,
        padding: Padding = "symmetric",
        batch_norm_eps: float | None = None,
        scaling: str | None = None,
        image_channels: int = 3,
        variant: str = "",
    ) -> nn.Module:
        """Build a newly initialised network.

        Args:
            width: The width multiplier.
            classes: The number of classes.
            activation: The activation; None takes the family's default.
            padding: The padding of every convolution.
            batch_norm_eps: The epsilon of every batch norm; None takes the family's default.
            scaling: The rule from the width to the channels; None takes the paper's.
            image_channels: The channels C of the images: 3 for RGB, 1 for grayscale.
            variant: A name in `variants`; empty takes the paper's network.

        Returns:
            A module that maps normalized images `(N, C, H, W) float32` to `(N, classes)` logits.

        Raises:
            SettingsError: The family does not have this width, activation or padding.
        """
        options = LayerOptions(
            activation=activation or self.activation,
            padding=padding,
            batch_norm_eps=self.batch_norm_eps if batch_norm_eps is None else batch_norm_eps,
            image_channels=image_channels,
        )
        self._check(width, options)
        constructor = self.variants[variant] if variant else self.constructor
        return constructor(width, classes, options, scaling or self.scalings[0])

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
