"""The blocks of public image classifiers, small: attention in its forms, mixers, resized grids.

`BLOCKS` maps a name to a function that makes a network around one block, untrained, for 32-pixel
images and ten classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.rewrite.compare import Net
from tests.rewrite.own_networks import after_trunk, conv_norm, head, trunk

BLOCKS: dict[str, Callable[[], nn.Module]] = {}
SIDE, CHANNELS, HEADS, WINDOW = 8, 16, 2, 4
"""The trunk's output, and how attention divides it."""


def block(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    BLOCKS[make.__name__] = make
    return make


def split_windows(x: Tensor) -> Tensor:
    """`(N, H, W, C)` → `(N·windows, WINDOW·WINDOW, C)`."""
    count, height, width, channels = x.shape
    x = x.view(count, height // WINDOW, WINDOW, width // WINDOW, WINDOW, channels)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, WINDOW * WINDOW, channels)


def join_windows(x: Tensor, side: int) -> Tensor:
    """`(N·windows, WINDOW·WINDOW, C)` → `(N, H, W, C)`."""
    x = x.view(-1, side // WINDOW, side // WINDOW, WINDOW, WINDOW, x.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, side, side, x.shape[-1])


class BiasedAttention(nn.Module):
    """Attention with a bias for each offset between two positions of a window."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(CHANNELS, 3 * CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        axes = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"))
        places = axes.flatten(1)
        offsets = (places[:, :, None] - places[:, None, :]).permute(1, 2, 0) + side - 1
        self.register_buffer("offsets", offsets[..., 0] * (2 * side - 1) + offsets[..., 1])
        self.bias = nn.Parameter(torch.randn((2 * side - 1) ** 2, HEADS))

    def forward(self, x: Tensor) -> Tensor:
        count, places, channels = x.shape
        qkv = self.qkv(x).reshape(count, places, 3, HEADS, channels // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.bias[self.offsets.view(-1)].view(places, places, HEADS).permute(2, 0, 1)
        scores = q * (channels // HEADS) ** -0.5 @ k.transpose(-2, -1) + bias.unsqueeze(0)
        mixed: Tensor = self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(x.shape))
        return mixed


@block
def shifted_windows() -> nn.Module:
    """Windows that are shifted by half of their side, as in Swin Transformers."""

    def forward(net: Net, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        shifted = torch.roll(net.norm(x), (-2, -2), (1, 2))
        mixed = join_windows(net.attend(split_windows(shifted)), SIDE)
        x = x + torch.roll(mixed, (2, 2), (1, 2))
        return net.fc(x.mean((1, 2)))

    return after_trunk(
        forward,
        norm=nn.LayerNorm(CHANNELS),
        attend=BiasedAttention(WINDOW),
        fc=nn.Linear(CHANNELS, 10),
    )


@block
def grid_windows() -> nn.Module:
    """Windows of pixels that are far from each other, as in MaxViT."""

    def forward(net: Net, x: Tensor) -> Tensor:
        step = SIDE // WINDOW
        x = x.permute(0, 2, 3, 1)
        grid = x.view(-1, WINDOW, step, WINDOW, step, CHANNELS).permute(0, 2, 4, 1, 3, 5)
        mixed = net.attend(grid.reshape(-1, WINDOW * WINDOW, CHANNELS))
        mixed = mixed.view(-1, step, step, WINDOW, WINDOW, CHANNELS).permute(0, 3, 1, 4, 2, 5)
        return net.head((x + mixed.reshape(-1, SIDE, SIDE, CHANNELS)).permute(0, 3, 1, 2))

    return after_trunk(forward, attend=BiasedAttention(WINDOW), head=head(CHANNELS))


@block
def global_queries() -> nn.Module:
    """Queries of the whole image, repeated for each window, as in GCViT."""

    def forward(net: Net, x: Tensor) -> Tensor:
        queries = F.max_pool2d(net.query(x), 2).flatten(2).transpose(1, 2)
        windows = split_windows(x.permute(0, 2, 3, 1))
        queries = queries.repeat_interleave(windows.shape[0] // queries.shape[0], dim=0)
        mixed = F.scaled_dot_product_attention(queries, windows, net.value(windows))
        return net.head(x + join_windows(mixed, SIDE).permute(0, 3, 1, 2))

    return after_trunk(
        forward,
        query=conv_norm(CHANNELS, CHANNELS),
        value=nn.Linear(CHANNELS, CHANNELS),
        head=head(CHANNELS),
    )


@block
def channel_attention() -> nn.Module:
    """Attention between channels, normalized over positions, as in XCiT and EdgeNeXt."""

    def forward(net: Net, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        qkv = net.qkv(tokens).reshape(-1, SIDE * SIDE, 3, HEADS, CHANNELS // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 4, 1).unbind(0)
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        mixed = (scores.softmax(-1) @ v).permute(0, 3, 1, 2).reshape(tokens.shape)
        return net.fc((tokens + mixed).mean(1))

    return after_trunk(forward, qkv=nn.Linear(CHANNELS, 3 * CHANNELS), fc=nn.Linear(CHANNELS, 10))


@block
def linear_attention() -> nn.Module:
    """Attention without softmax, divided by the sum of its weights, as in EfficientViT."""

    def forward(net: Net, x: Tensor) -> Tensor:
        q, k, v = net.qkv(x).reshape(-1, 3, CHANNELS, SIDE * SIDE).unbind(1)
        q, k = F.relu(q).transpose(-1, -2), F.relu(k)
        v = F.pad(v, (0, 0, 0, 1), value=1.0)
        mixed = q @ (k @ v.transpose(-1, -2))
        mixed = mixed[..., :-1] / (mixed[..., -1:] + 1e-5)
        return net.head(x + mixed.transpose(1, 2).reshape(-1, CHANNELS, SIDE, SIDE))

    return after_trunk(forward, qkv=nn.Conv2d(CHANNELS, 3 * CHANNELS, 1), head=head(CHANNELS))


@block
def sines_of_positions() -> nn.Module:
    """Position embeddings that are computed on the way, as in XCiT."""

    def forward(net: Net, x: Tensor) -> Tensor:
        rows = torch.arange(1, SIDE + 1, dtype=x.dtype, device=x.device)
        angles = rows[:, None] / 10.0 ** torch.arange(4, device=x.device)
        waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
        x = x + net.project(waves.T[None, :, :, None].expand(1, -1, SIDE, SIDE))
        return net.head(x)

    return after_trunk(forward, project=nn.Conv2d(8, CHANNELS, 1), head=head(CHANNELS))


@block
def written_offsets() -> nn.Module:
    """Offsets of positions that are written into a table, as in ConViT."""

    def forward(net: Net, x: Tensor) -> Tensor:
        table = torch.zeros(1, 16, 16, 3)
        offset = torch.arange(4).view(1, -1) - torch.arange(4).view(-1, 1)
        across, down = offset.repeat(4, 4), offset.repeat_interleave(4, 0).repeat_interleave(4, 1)
        table[:, :, :, 2] = (across**2 + down**2).unsqueeze(0)
        table[:, :, :, 1] = down.unsqueeze(0)
        table[:, :, :, 0] = across.unsqueeze(0)
        weights = net.bias(table.to(x)).squeeze(-1).softmax(-1)
        tokens = F.avg_pool2d(x, 2).flatten(2).transpose(1, 2)
        return net.fc((weights @ tokens).amax(1))

    return after_trunk(forward, bias=nn.Linear(3, 1), fc=nn.Linear(CHANNELS, 10))


class StandardizedConv(nn.Conv2d):
    """Weights standardized by a batch norm of their own, as in NFNets."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        self.gain = nn.Parameter(torch.rand(outputs, 1, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.weight.reshape(1, self.out_channels, -1)
        gain = (self.gain * 0.2).view(-1)
        weight = F.batch_norm(rows, None, None, weight=gain, training=True, momentum=0.0)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias, 1, 1)


@block
def standardized_weights() -> nn.Module:
    return nn.Sequential(
        StandardizedConv(3, 8), nn.GELU(), nn.MaxPool2d(2), StandardizedConv(8, 16), head(16)
    )


@block
def spatial_gate() -> nn.Module:
    """A linear layer over positions that gates half of the channels, as in gMLP."""

    def forward(net: Net, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        gate, passed = F.gelu(net.expand(tokens)).chunk(2, dim=-1)
        gate = net.mix(net.norm(gate).transpose(-1, -2)).transpose(-1, -2)
        return net.fc((tokens + net.join(gate * passed)).mean(1))

    return after_trunk(
        forward,
        expand=nn.Linear(CHANNELS, 2 * CHANNELS),
        norm=nn.LayerNorm(CHANNELS),
        mix=nn.Linear(SIDE * SIDE, SIDE * SIDE),
        join=nn.Linear(CHANNELS, CHANNELS),
        fc=nn.Linear(CHANNELS, 10),
    )


@block
def several_resolutions() -> nn.Module:
    """Two resolutions that are added to each other, as in HRNet."""

    def forward(net: Net, x: Tensor) -> Tensor:
        low = net.down(x)
        high = F.relu(x + F.interpolate(net.up(low), scale_factor=2.0, mode="nearest"))
        return net.head(torch.cat([net.down(high), low], 1))

    return after_trunk(
        forward,
        down=conv_norm(CHANNELS, CHANNELS, stride=2),
        up=nn.Conv2d(CHANNELS, CHANNELS, 1),
        head=head(2 * CHANNELS),
    )


@block
def convolution_over_positions() -> nn.Module:
    """Positions in a line, mixed by a one-dimensional convolution, as in EfficientViM."""

    def forward(net: Net, x: Tensor) -> Tensor:
        return net.fc((x.flatten(2) + net.mix(x.flatten(2))).mean(2))

    return after_trunk(
        forward,
        mix=nn.Conv1d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS),
        fc=nn.Linear(CHANNELS, 10),
    )


class SimpleAttention(nn.Module):
    """Attention of one head."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(CHANNELS, 3 * CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(*self.qkv(x).chunk(3, dim=-1))


@block
def class_tokens_of_two_scales() -> nn.Module:
    """Two class tokens, resized position embeddings, as in CrossViT and PiT."""

    def forward(net: Net, x: Tensor) -> Tensor:
        grid = F.interpolate(net.grid, size=(SIDE, SIDE), mode="bicubic", align_corners=False)
        tokens = (x + grid).flatten(2).transpose(1, 2)
        tokens = torch.cat([net.tokens.expand(x.shape[0], -1, -1), tokens], dim=1)
        tokens = tokens + net.attend(tokens)
        return (net.fc(net.norm(tokens[:, 0])) + net.fc(net.norm(tokens[:, 1]))) / 2

    return Net(
        lambda net, x: forward(net, net.trunk(x)),
        trunk=trunk(),
        grid=nn.Parameter(torch.randn(1, CHANNELS, 5, 5)),
        tokens=nn.Parameter(torch.randn(1, 2, CHANNELS)),
        attend=SimpleAttention(),
        norm=nn.LayerNorm(CHANNELS),
        fc=nn.Linear(CHANNELS, 10),
    )
