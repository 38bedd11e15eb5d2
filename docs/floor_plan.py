"""Draw the floor plan that pyproject.toml declares to import-linter, as an SVG.

Rooms of the device half are on the left, those of the workbench on the right; a room imports only
rooms of the floors below its own.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import NamedTuple

from edgekit.toml import read_toml

WIDTH, ROW, TOP = 940, 52, 64
BOX_WIDTH, BOX_HEIGHT, GAP = 84, 38, 8
DEVICE_LEFT, WALL, WORKBENCH_LEFT = 66, 630, 650
STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1d2733; }
.small { font-size: 11px; fill: #5b6776; }
.title { font-weight: 600; }
.middle { text-anchor: middle; }
.room { font-weight: 600; }
.floor { stroke: #e3e8ee; }
.wall { stroke: #5b6776; stroke-width: 2; stroke-dasharray: 6 4; }
.arrow { stroke: #5b6776; stroke-width: 1.5; fill: none; }
.device { fill: #dcebfb; stroke: #3b7dc4; }
.workbench { fill: #fdebd3; stroke: #c9822b; }
.both { fill: #e9e9ee; stroke: #7a7f8c; }
"""


class FloorPlan(NamedTuple):
    """The floors from the top down, each its rooms in order, and the rooms of the two halves."""

    floors: list[list[str]]
    device: frozenset[str]
    workbench: frozenset[str]


def read_floor_plan(pyproject: Path) -> FloorPlan:
    """The plan in `[tool.importlinter]`: the layers, and the two sides of the halves."""
    tables = read_toml(pyproject)["tool"]["importlinter"]["contracts"]
    contracts = {contract["id"]: contract for contract in tables}
    return FloorPlan(
        floors=[
            [room.strip() for room in layer.split("|")] for layer in contracts["floors"]["layers"]
        ],
        device=_list_rooms(contracts["halves"]["source_modules"]),
        workbench=_list_rooms(contracts["halves"]["forbidden_modules"]),
    )


def _list_rooms(modules: list[str]) -> frozenset[str]:
    return frozenset(name.split(".")[1] for name in modules if name.startswith("edgekit."))


def draw_floor_plan(plan: FloorPlan) -> str:
    """The plan as the text of an SVG file."""
    height = TOP + len(plan.floors) * ROW + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' aria-label="{escape(_describe(plan))}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff" />',
        _text(DEVICE_LEFT, 26, "Device half", "title"),
        _text(DEVICE_LEFT, 44, "runs bundles on a board; no PyTorch", "small"),
        _text(WORKBENCH_LEFT, 26, "Workbench", "title"),
        _text(WORKBENCH_LEFT, 44, "makes bundles on a workstation", "small"),
        f'<path class="wall" d="M{WALL} 14 V{height - 30}" />',
        f'<path class="arrow" d="M24 {TOP + 10} V{height - 44} m-5 -8 l5 8 l5 -8" />',
        _text(10, height - 14, "imports go down", "small"),
        _text(WALL, height - 14, "the left side imports nothing of the right", "small middle"),
    ]
    for index, rooms in enumerate(plan.floors):
        parts += _draw_floor(plan, index, rooms)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _draw_floor(plan: FloorPlan, index: int, rooms: list[str]) -> list[str]:
    top = TOP + index * ROW
    middle = top + ROW // 2
    line = f'<path class="floor" d="M38 {top + ROW} H{WIDTH - 12}" />'
    number = _text(40, middle + 4, str(len(plan.floors) - index), "small")
    left = [room for room in rooms if room in plan.device]
    right = [room for room in rooms if room in plan.workbench]
    both = [room for room in rooms if room not in plan.device | plan.workbench]
    boxes = [_draw_room(room, "device", DEVICE_LEFT, i, middle) for i, room in enumerate(left)]
    boxes += [
        _draw_room(room, "workbench", WORKBENCH_LEFT, i, middle) for i, room in enumerate(right)
    ]
    boxes += [_draw_room(room, "both", WALL - BOX_WIDTH // 2, 0, middle) for room in both]
    return [line, number, *boxes]


def _draw_room(room: str, half: str, left: int, place: int, middle: int) -> str:
    x, y = left + place * (BOX_WIDTH + GAP), middle - BOX_HEIGHT // 2
    lines = room.split("_")
    texts = [
        _text(
            x + BOX_WIDTH // 2,
            middle + 4 + round((i - (len(lines) - 1) / 2) * 14),
            line,
            "room middle",
        )
        for i, line in enumerate(lines)
    ]
    box = (
        f'<rect class="{half}" x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="4" />'
    )
    return box + "".join(texts)


def _text(x: int, y: int, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'


def _describe(plan: FloorPlan) -> str:
    floors = "; ".join(", ".join(rooms) for rooms in plan.floors)
    return f"The floors from the top down: {floors}"
