"""Small networks in the styles of tutorials and public repositories, for 32-pixel images.

`NETWORKS` maps a name to a function that makes the network, untrained, with ten classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.rewrite.compare import Net

NETWORKS: dict[str, Callable[[], nn.Module]] = {}


def network(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    NETWORKS[make.__name__] = make
    return make


def conv_norm(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def trunk() -> nn.Sequential:
    return nn.Sequential(conv_norm(3, 8, stride=2), conv_norm(8, 16, stride=2))


def head(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def after_trunk(function: Callable[[Net, Tensor], Tensor], **layers: nn.Module) -> Net:
    """`function` of the trunk's `(N, 16, 8, 8)` output."""
    return Net(lambda net, x: function(net, net.trunk(x)), trunk=trunk(), **layers)


class LeNet(nn.Module):
    """The network of PyTorch's CIFAR-10 tutorial, as it was long written."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(-1, 16 * 5 * 5)
        x = F.relu(self.fc2(F.relu(self.fc1(x))))
        return self.fc3(x)


NETWORKS["lenet"] = LeNet

# --- Shapes --------------------------------------------------------------------------------------


@network
def view_of_the_batch() -> nn.Module:
    return after_trunk(lambda net, x: net.fc(x.view(x.size(0), -1)), fc=nn.Linear(1024, 10))


def shuffle(x: Tensor, groups: int) -> Tensor:
    batch, channels, height, width = x.size()
    x = x.view(batch, groups, channels // groups, height, width)
    x = torch.transpose(x, 1, 2).contiguous()
    return x.view(batch, -1, height, width)


@network
def shuffled_halves() -> nn.Module:
    def forward(net: Net, x: Tensor) -> Tensor:
        x = net.stem(x)
        kept, read = x.chunk(2, dim=1)
        x = shuffle(torch.cat((kept, net.first(read)), 1), 2)
        kept, read = torch.split(x, 12, 1)
        x = shuffle(torch.cat([kept, net.second(read)], dim=1), 2)
        return net.head(shuffle(net.grouped(x), 3))

    return Net(
        forward,
        stem=conv_norm(3, 24, stride=4),
        first=conv_norm(12, 12, 1),
        second=conv_norm(12, 12),
        grouped=nn.Conv2d(24, 24, 1, groups=3, bias=False),
        head=head(24),
    )


@network
def shuffle_without_contiguous() -> nn.Module:
    def forward(net: Net, x: Tensor) -> Tensor:
        x = net.stem(x)
        batch, channels, height, width = x.shape
        x = x.reshape(batch, 4, channels // 4, height, width).permute(0, 2, 1, 3, 4)
        return net.head(net.grouped(x.reshape(batch, channels, height, width)))

    grouped = nn.Conv2d(24, 24, 3, padding=1, groups=4)
    return Net(forward, stem=conv_norm(3, 24, stride=4), grouped=grouped, head=head(24))


@network
def every_other_pixel() -> nn.Module:
    return Net(lambda net, x: net.body(x[:, :, ::2, ::2]), body=nn.Sequential(trunk(), head(16)))


@network
def pixels_into_channels() -> nn.Module:
    layers = [nn.PixelUnshuffle(2), conv_norm(12, 16), nn.PixelShuffle(2), conv_norm(4, 8)]
    return nn.Sequential(*layers, head(8))


# --- Heads ---------------------------------------------------------------------------------------


@network
def no_bias_anywhere() -> nn.Module:
    return after_trunk(
        lambda net, x: net.second(F.relu(net.first(x.mean([2, 3])))),
        first=nn.Linear(16, 32, bias=False),
        second=nn.Linear(32, 10, bias=False),
    )


@network
def batch_norm_in_the_head() -> nn.Module:
    hidden = [nn.Linear(16, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2)]
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(trunk(), *pool, *hidden, nn.Linear(64, 10))


@network
def batch_norm_before_the_head() -> nn.Module:
    layers = [nn.MaxPool2d(2), nn.Flatten(), nn.BatchNorm1d(256), nn.Dropout(0.5)]
    return nn.Sequential(trunk(), *layers, nn.Linear(256, 10))


@network
def convolution_as_head() -> nn.Module:
    layers = [nn.Conv2d(16, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(trunk(), *layers)


@network
def two_poolings() -> nn.Module:
    def forward(net: Net, x: Tensor) -> Tensor:
        pooled = [F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)]
        return net.fc(torch.cat(pooled, 1).flatten(1))

    return after_trunk(forward, fc=nn.Linear(32, 10))


@network
def cosine_head() -> nn.Module:
    def forward(net: Net, x: Tensor) -> Tensor:
        return 10 * F.linear(F.normalize(x.mean([2, 3])), F.normalize(net.fc.weight))

    return after_trunk(forward, fc=nn.Linear(16, 10, bias=False))


@network
def attention_head() -> nn.Module:
    def forward(net: Net, x: Tensor) -> Tensor:
        x = x.flatten(2).transpose(1, 2)
        weights = (torch.einsum("bnd,bmd->bnm", net.query(x), net.key(x)) / 4).softmax(-1)
        return net.fc(torch.einsum("bnm,bmd->bnd", weights, net.value(x)).mean(1))

    layers = {name: nn.Linear(16, 16, bias=False) for name in ("query", "key", "value")}
    return after_trunk(forward, **layers, fc=nn.Linear(16, 10))


@network
def class_token() -> nn.Module:
    def forward(net: Net, x: Tensor) -> Tensor:
        x = net.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([net.token.expand(x.shape[0], -1, -1), x], dim=1)
        return net.fc(net.norm(x + F.relu(net.mix(x)))[:, 0])

    return Net(
        forward,
        patches=nn.Conv2d(3, 16, 8, 8),
        token=nn.Parameter(torch.ones(1, 1, 16)),
        mix=nn.Linear(16, 16),
        norm=nn.LayerNorm(16),
        fc=nn.Linear(16, 10),
    )


@network
def linear_over_pixels() -> nn.Module:
    """As many pixels as channels: a linear layer after them is not one over channels."""
    return Net(
        lambda net, x: net.fc(net.mix(F.relu(net.patches(x)).flatten(2)).mean(2)),
        patches=nn.Conv2d(3, 16, 8, 8),
        mix=nn.Linear(16, 16),
        fc=nn.Linear(16, 10),
    )


@network
def no_convolution() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 32), nn.ReLU(), nn.Linear(32, 10))


# --- Blocks --------------------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(16, 16, 3, 1, 1), nn.Conv2d(16, 16, 3, 1, 1)
        self.norm = nn.BatchNorm2d(16)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first(x), inplace=True)
        y = self.norm(self.second(y))
        y += x
        return F.relu(y, inplace=True)


@network
def residual_in_place() -> nn.Module:
    return nn.Sequential(trunk(), Residual(), Residual(), head(16))


@network
def dense_block() -> nn.Module:
    def forward(net: Net, x: Tensor) -> Tensor:
        for layer in net.layers:
            x = torch.cat([x, layer(x)], 1)
        return net.head(F.relu(net.norm(x)))

    def layer(inputs: int) -> nn.Sequential:
        squeeze = nn.Conv2d(inputs, 8, 1, bias=False)
        grow = nn.Conv2d(8, 4, 3, 1, 1, bias=False)
        norms = nn.BatchNorm2d(inputs), nn.BatchNorm2d(8)
        return nn.Sequential(norms[0], nn.ReLU(), squeeze, norms[1], nn.ReLU(), grow)

    layers = nn.ModuleList([layer(16), layer(20), layer(24)])
    return after_trunk(forward, layers=layers, norm=nn.BatchNorm2d(28), head=head(28))


@network
def squeeze_and_excite_with_linear_layers() -> nn.Module:
    def forward(net: Net, x: Tensor) -> Tensor:
        batch, channels, _, _ = x.size()
        gate = net.gate(F.adaptive_avg_pool2d(x, 1).view(batch, channels))
        return net.head(x * gate.view(batch, channels, 1, 1).expand_as(x))

    squeeze, excite = nn.Linear(16, 4, bias=False), nn.Linear(4, 16, bias=False)
    gate = nn.Sequential(squeeze, nn.ReLU(inplace=True), excite, nn.Sigmoid())
    return after_trunk(forward, gate=gate, head=head(16))


@network
def spatial_attention() -> nn.Module:
    def forward(net: Net, x: Tensor) -> Tensor:
        seen = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
        return net.head(x * torch.sigmoid(net.look(seen)))

    return after_trunk(forward, look=nn.Conv2d(2, 1, 7, padding=3, bias=False), head=head(16))


class ConvNextBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(16, 16, 7, padding=3, groups=16)
        self.norm = nn.LayerNorm(16)
        self.expand, self.reduce = nn.Linear(16, 32), nn.Linear(32, 16)
        self.gamma = nn.Parameter(torch.full((16,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.gamma * self.reduce(F.gelu(self.expand(y)))
        return x + y.permute(0, 3, 1, 2)


@network
def convnext() -> nn.Module:
    return nn.Sequential(trunk(), ConvNextBlock(), ConvNextBlock(), head(16))


class FrozenBatchNorm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, low in (("weight", 0.5), ("bias", -1), ("mean", -1), ("variance", 0.5)):
            self.register_buffer(name, torch.linspace(low, 1.5, channels))

    def forward(self, x: Tensor) -> Tensor:
        scale = (self.weight * (self.variance + 1e-5).rsqrt()).reshape(1, -1, 1, 1)
        return x * scale + (self.bias.reshape(1, -1, 1, 1) - self.mean.reshape(1, -1, 1, 1) * scale)


@network
def frozen_batch_norm() -> nn.Module:
    conv = nn.Conv2d(16, 16, 3, padding=1, bias=False)
    return nn.Sequential(trunk(), conv, FrozenBatchNorm(16), nn.ReLU(), head(16))


@network
def other_norms() -> nn.Module:
    conv = [nn.Conv2d(16, 16, 3, padding=1) for _ in range(3)]
    norms = [nn.GroupNorm(4, 16), nn.InstanceNorm2d(16, affine=True), nn.GroupNorm(1, 16)]
    layers = [part for pair in zip(conv, norms, strict=True) for part in (*pair, nn.ReLU())]
    return nn.Sequential(trunk(), *layers, head(16))


@network
def weight_norms() -> nn.Module:
    first = nn.utils.parametrizations.weight_norm(nn.Conv2d(16, 16, 3, padding=1))
    second = nn.utils.parametrizations.spectral_norm(nn.Conv2d(16, 16, 3, padding=1))
    return nn.Sequential(trunk(), first, nn.ReLU(), second, nn.ReLU(), head(16))


@network
def shared_layer() -> nn.Module:
    return after_trunk(
        lambda net, x: net.head(net.twice(net.twice(x))), twice=conv_norm(16, 16), head=head(16)
    )


@network
def changed_part() -> nn.Module:
    def forward(net: Net, x: Tensor) -> Tensor:
        part = x[:, :8]
        part += 1.0
        x.mul_(0.5)
        return net.head(x)

    return after_trunk(forward, head=head(16))


@network
def written_items() -> nn.Module:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = torch.zeros(x.shape[0], 10, dtype=x.dtype)
        z = net.head(x)
        y[:, :5], y[:, 5:] = z[:, :5], 2 * z[:, 5:]
        return y

    return after_trunk(forward, head=head(16))


@network
def branches_at_the_input() -> nn.Module:
    return Net(
        lambda net, x: net.head(
            torch.cat([net.a(x), net.b(x), net.c(F.max_pool2d(x, 3, 1, 1))], 1)
        ),
        a=conv_norm(3, 8, 1),
        b=conv_norm(3, 8),
        c=conv_norm(3, 8, 1),
        head=head(24),
    )


@network
def upsampled() -> nn.Module:
    def forward(net: Net, x: Tensor) -> Tensor:
        deep = F.interpolate(net.deep(x), scale_factor=2, mode="nearest")
        deeper = F.interpolate(net.deep(x), size=(8, 8), mode="bilinear", align_corners=False)
        return net.head(torch.cat([x, deep, deeper], 1))

    return after_trunk(forward, deep=conv_norm(16, 8, stride=2), head=head(32))


@network
def transposed_convolution() -> nn.Module:
    return nn.Sequential(trunk(), nn.ConvTranspose2d(16, 8, 2, 2), nn.ReLU(), head(8))


# --- Paddings and poolings -----------------------------------------------------------------------


@network
def paddings() -> nn.Module:
    pads = [
        *(nn.ZeroPad2d((0, 1, 0, 1)), nn.ReflectionPad2d(1), nn.ReplicationPad2d(1)),
        nn.ConstantPad2d((1, 0, 2, 0), 0.5),
    ]
    convs = [nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 16, 3)]
    layers = [part for pair in zip(pads, convs, strict=True) for part in (*pair, nn.ReLU())]
    return nn.Sequential(*layers, head(16))


@network
def named_paddings() -> nn.Module:
    convs = [
        nn.Conv2d(3, 8, 3, padding="same"),
        nn.Conv2d(8, 8, 4, padding="same", dilation=2),
        nn.Conv2d(8, 8, 3, 2, padding="valid"),
        nn.Conv2d(8, 16, 3, 2, 1, padding_mode="reflect"),
    ]
    return nn.Sequential(*(part for conv in convs for part in (conv, nn.ReLU())), head(16))


@network
def poolings() -> nn.Module:
    pools = [
        *(nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
        *(nn.AvgPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(3, 2, ceil_mode=True)),
    ]
    layers = [part for pool in pools for part in (pool, conv_norm(8, 8))]
    return nn.Sequential(conv_norm(3, 8), *layers, head(8))


@network
def pooled_to_a_grid() -> nn.Module:
    layers = [nn.AdaptiveAvgPool2d((7, 7)), nn.Conv2d(16, 8, 1), nn.AdaptiveMaxPool2d(2)]
    return nn.Sequential(trunk(), *layers, nn.Flatten(), nn.Linear(32, 10))


# --- What is done to the input -------------------------------------------------------------------


def body(channels: int) -> nn.Sequential:
    return nn.Sequential(conv_norm(channels, 8, stride=2), head(8))


class Normalized(nn.Module):
    """Subtracts a mean from its input and divides by a deviation, which are buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.body = body(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.body((x - self.mean) / self.std)


NETWORKS["normalized_by_buffers"] = Normalized


@network
def normalized_by_numbers() -> nn.Module:
    return Net(lambda net, x: net.body((x / 255.0 - 0.5) / 0.5), body=body(3))


@network
def batch_norm_first() -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(3), body(3))


@network
def grey_by_weights() -> nn.Module:
    return Net(
        lambda net, x: net.body(0.299 * x[:, 0:1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:3]),
        body=body(1),
    )


@network
def grey_by_mean() -> nn.Module:
    return Net(lambda net, x: net.body(2 * x.mean(1, keepdim=True) - 1), body=body(1))


@network
def other_order_of_colours() -> nn.Module:
    return Net(lambda net, x: net.body(x[:, [2, 1, 0]] - 0.25), body=body(3))


@network
def colours_apart() -> nn.Module:
    return Net(
        lambda net, x: net.head(torch.cat([net.red(x[:, :1]), net.others(x[:, 1:])], 1)),
        red=conv_norm(1, 8, stride=2),
        others=conv_norm(2, 8, stride=2),
        head=head(16),
    )


@network
def scaled_input() -> nn.Module:
    def forward(net: Net, x: Tensor) -> Tensor:
        small = F.interpolate(x, size=(24, 24), mode="bilinear", align_corners=False)
        return net.body(small)

    return Net(forward, body=body(3))


@network
def softmax_gate() -> nn.Module:
    """The softmax is read by a product, which has an int8 form."""

    def forward(net: Net, x: Tensor) -> Tensor:
        key = net.key(x)
        weights = torch.softmax(key.flatten(2), -1).reshape(key.shape)
        return net.head(x * weights)

    return after_trunk(forward, key=nn.Conv2d(16, 16, 1), head=head(16))


@network
def dense_transition() -> nn.Module:
    """As in DenseNet, the average of a layer without activation is read by a batch norm of its own,
    and joined with all that comes of it."""

    def forward(net: Net, x: Tensor) -> Tensor:
        x = F.avg_pool2d(net.reduce(x), 2, 2)
        grown = net.grow(x)
        more = net.more(torch.cat([x, grown], 1))
        return net.head(net.last(torch.cat([x, grown, more], 1)))

    def norm(channels: int) -> nn.Sequential:
        return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())

    def grow(channels: int) -> nn.Sequential:
        narrow, wide = nn.Conv2d(channels, 16, 1, bias=False), nn.Conv2d(16, 8, 3, 1, 1, bias=False)
        return nn.Sequential(norm(channels), narrow, norm(16), wide)

    layers = {"grow": grow(16), "more": grow(24), "last": norm(32), "head": head(32)}
    return after_trunk(forward, reduce=nn.Conv2d(16, 16, 1, bias=False), **layers)


@network
def selections() -> nn.Module:
    """Values that a mask chooses, with numbers of all kinds, between int8 layers."""

    def forward(net: Net, x: Tensor) -> Tensor:
        x = net.first(x)
        x = net.second(torch.where(x > 0, x, 0.1 * x))
        x = net.third(x.masked_fill(x < -1, torch.tensor(-1.0)) + x.masked_fill(x < 0, 0.0))
        x = F.hardshrink(x, 0.001) + torch.where(x > 1, 1.0, x)
        return net.head(F.softplus(x).clamp(min=0.3))

    convs = {name: nn.Conv2d(16, 16, 1) for name in ("first", "second", "third")}
    return after_trunk(forward, **convs, head=head(16))


@network
def resized() -> nn.Module:
    """Tensors that are resized, moved, averaged and copied between int8 layers."""

    def forward(net: Net, x: Tensor) -> Tensor:
        x = F.interpolate(net.first(x), scale_factor=2, mode="nearest")
        x = F.interpolate(net.second(x), size=(12, 12), mode="bilinear")
        x = F.adaptive_avg_pool2d(net.third(x).transpose(2, 3), 4)
        x = net.fourth(x.narrow(2, 1, 3).repeat(1, 1, 2, 1))
        x = net.fifth(F.pad(x, (1, 2, 3, 0), mode="reflect"))
        return net.head(x.tile(1, 2, 1, 1)[:, :16])

    convs = {name: nn.Conv2d(16, 16, 1) for name in ("first", "second", "third", "fourth", "fifth")}
    return after_trunk(forward, **convs, head=head(16))


@network
def made_in_forward() -> nn.Module:
    """Weights and constants that operators make: a blur, a grid, an identity."""

    def forward(net: Net, x: Tensor) -> Tensor:
        x = F.conv2d(net.conv(x), x.new_ones(16, 1, 3, 3) / 9, padding=1, groups=16)
        x = torch.einsum("bchw,cd->bdhw", x, torch.eye(16, dtype=x.dtype)) + torch.arange(8) / 8
        return net.head(x * (x.argmax(1, keepdim=True) > 3))

    return after_trunk(forward, conv=nn.Conv2d(16, 16, 1), head=head(16))


@network
def conditional_convolution() -> nn.Module:
    """As in CondConv, each image's weights are a mixture, and so are those of a linear layer."""

    def forward(net: Net, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        pooled = x.mean((2, 3))
        weight = torch.sigmoid(net.routing(pooled)) @ net.experts
        weight = weight.view(batch * channels, 1, 3, 3) * 2
        y = F.conv2d(x.reshape(1, -1, height, width), weight, padding=1, groups=batch * channels)
        y = F.relu(net.norm(y.view(batch, channels, height, width)))
        mixed = F.linear(y.mean((2, 3)), torch.diag(net.experts[0, :16]) * pooled.mean(), pooled[0])
        return net.head(y * torch.sigmoid(mixed)[:, :, None, None])

    experts = nn.Parameter(torch.randn(3, 16 * 9) / 3)
    layers = {"routing": nn.Linear(16, 3), "norm": nn.BatchNorm2d(16), "head": head(16)}
    return after_trunk(forward, experts=experts, **layers)


@network
def convolutions_of_rows() -> nn.Module:
    """A gate of neighbouring channels, as in ECA-Net, and a convolution of tokens with a stride."""

    def forward(net: Net, x: Tensor) -> Tensor:
        gate = torch.sigmoid(net.gate(x.mean((2, 3))[:, None]))
        y = net.tokens((x * gate.view(-1, 16, 1, 1)).flatten(2))
        return net.head(net.norm(y).relu().mean(2)[:, :, None, None])

    layers = {"gate": nn.Conv1d(1, 1, 3, padding=1, bias=False), "norm": nn.BatchNorm1d(16)}
    tokens = nn.Conv1d(16, 16, 5, stride=2, padding=4, dilation=2, groups=4)
    return after_trunk(forward, tokens=tokens, head=head(16), **layers)


@network
def folded_patches() -> nn.Module:
    """As in VOLO, overlapping patches are changed and summed; the last row is in none of them."""

    def forward(net: Net, x: Tensor) -> Tensor:
        patches = torch.tanh(F.unfold(net.first(x), (3, 2), padding=(1, 0), stride=(2, 1)))
        x = x + F.fold(patches, (8, 8), (3, 2), padding=(1, 0), stride=(2, 1))
        return net.head(net.second(x))

    convs = {name: nn.Conv2d(16, 16, 1) for name in ("first", "second")}
    return after_trunk(forward, **convs, head=head(16))


@network
def patches() -> nn.Module:
    """As in MobileViT, attention between the pixels at one place of all patches: the first of four
    axes is that of channels then."""

    def forward(net: Net, x: Tensor) -> Tensor:
        x = F.max_pool2d(x, 4)
        batch, channels, height, width = x.shape
        x = x.reshape(batch * channels * height // 2, 2, width // 2, 2).transpose(1, 2)
        x = x.reshape(batch, channels, height * width // 4, 4).transpose(1, 3)
        x = net.mix(x)
        x = x.transpose(1, 3).reshape(batch * channels * height // 2, width // 2, 2, 2)
        x = x.transpose(1, 2).reshape(batch, channels, height, width)
        return net.head(x)

    return after_trunk(forward, mix=nn.Linear(16, 16), head=head(16))


# --- Dead parts ----------------------------------------------------------------------------------


@network
def dead_channels() -> nn.Module:
    made = nn.Sequential(trunk(), conv_norm(16, 16), head(16))
    made[1][1].weight.data[2:] = 0.0
    return made


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky": lambda: nn.LeakyReLU(0.1, inplace=True),
    "prelu": nn.PReLU,
    "prelu of channels": lambda: nn.PReLU(8),
    **{
        kind.__name__: kind
        for kind in (
            *(nn.ELU, nn.SiLU, nn.GELU, nn.Mish, nn.Softplus, nn.Tanh, nn.Sigmoid, nn.SELU),
            *(nn.CELU, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.ReLU6, nn.Softsign),
            *(nn.LogSigmoid, nn.Tanhshrink),
        )
    },
}
