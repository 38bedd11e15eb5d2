"""Rules about memory, disk, temperature, power and the clock."""

from __future__ import annotations

from edgekit.doctor.records import Kind
from edgekit.doctor.rules.base import ANY, JETSON, PI, Rule, always

_MB = 1_000_000
NEEDED_MEMORY = 110 * _MB
"""The camera loop's peak is 92 to 108 MB, docs/cameras.md."""
SPARE_MEMORY = 200 * _MB
BUILD_MEMORY = 1500 * _MB
"""A Jetson's memory is also its GPU's; TensorRT takes about this much to build an engine."""
NEEDED_DISK, SPARE_DISK = 100 * _MB, 1000 * _MB
HOT_C: dict[Kind, tuple[float, float]] = {"pi": (75, 80), "jetson": (85, 95), "other": (85, 95)}
"""Warn and fail. A Pi slows down at 80 °C (raspberrypi.com/documentation), an Orin at 99 °C
(NVIDIA's Jetson Linux Developer Guide, thermal specifications)."""


def _is_short(amount: int | None, needed: int) -> bool:
    return amount is not None and amount < needed


CONDITION_RULES = (
    Rule(
        "memory full", "memory", ANY,
        lambda f: _is_short(f.memory_free_bytes, NEEDED_MEMORY),
        "fail",
        "{f.memory_free_mb} MB free: expected 110 MB, which edgekit run takes",
        "ps aux --sort=-rss | head   # then stop what is not needed, as a desktop: sudo systemctl"
        " isolate multi-user.target",
    ),
    Rule(
        "memory low", "memory", ANY,
        lambda f: _is_short(f.memory_free_bytes, SPARE_MEMORY),
        "warn",
        "{f.memory_free_mb} MB free: edgekit run takes 110 MB",
        "ps aux --sort=-rss | head   # then stop what is not needed, as a desktop: sudo systemctl"
        " isolate multi-user.target",
    ),
    Rule(
        "memory low to build", "memory", JETSON,
        lambda f: _is_short(f.memory_free_bytes, BUILD_MEMORY),
        "warn",
        "{f.memory_free_mb} MB free: edgekit build may need 1500 MB",
        "sudo systemctl isolate multi-user.target   # frees what the desktop holds",
    ),
    Rule(
        "memory", "memory", ANY, lambda f: f.memory_free_bytes is not None, "ok",
        "{f.memory_free_mb} MB free",
    ),
    Rule(
        "swap full", "swap", ANY,
        lambda f: f.swap_bytes > 0 and f.swap_used_bytes >= 0.9 * f.swap_bytes,
        "warn",
        "{f.swap_used_mb} of {f.swap_mb} MB used: the next program that needs memory is killed",
        "sudo reboot   # or stop what takes most: ps aux --sort=-rss | head",
    ),
    Rule(
        "swap", "swap", ANY, lambda f: f.swap_bytes > 0, "ok",
        "{f.swap_used_mb} of {f.swap_mb} MB used",
    ),
    Rule(
        "disk full", "disk", ANY,
        lambda f: f.disk is not None and f.disk.free_bytes < NEEDED_DISK,
        "fail",
        "{f.disk_free_mb} MB free on {f.disk.path}: expected 100 MB",
        "sudo apt clean && sudo journalctl --vacuum-size=50M   # then: sudo du -xh {f.disk.path} |"
        " sort -h | tail",
    ),
    Rule(
        "disk low", "disk", ANY,
        lambda f: f.disk is not None and f.disk.free_bytes < SPARE_DISK,
        "warn",
        "{f.disk_free_mb} MB free on {f.disk.path}",
        "sudo apt clean && sudo journalctl --vacuum-size=50M   # then: sudo du -xh {f.disk.path} |"
        " sort -h | tail",
    ),
    Rule(
        "disk", "disk", ANY, lambda f: f.disk is not None, "ok",
        "{f.disk_free_mb} MB free on {f.disk.path}",
    ),
    Rule(
        "too hot", "temperature", ANY,
        lambda f: f.temperature_c is not None and f.temperature_c >= HOT_C[f.kind][1],
        "fail",
        "{f.temperature_c} °C: the processor is slowed down or about to be",
        "fit a heat sink and a fan, let it cool, then edgekit doctor",
    ),
    Rule(
        "hot", "temperature", ANY,
        lambda f: f.temperature_c is not None and f.temperature_c >= HOT_C[f.kind][0],
        "warn",
        "{f.temperature_c} °C: near where the processor is slowed down",
        "fit a heat sink and a fan, let it cool, then edgekit doctor",
    ),
    Rule(
        "temperature", "temperature", ANY, lambda f: f.temperature_c is not None, "ok",
        "{f.temperature_c} °C",
    ),
    Rule(
        "under-voltage now", "power supply", PI, lambda f: f.throttled_bits(0), "fail",
        "under-voltage now ({f.throttled_text}): the card may be damaged, cameras drop out",
        "use the power supply made for the board, 5 V 3 A (Pi 5: 5 V 5 A), and a short thick cable",
    ),
    Rule(
        "under-voltage before", "power supply", PI, lambda f: f.throttled_bits(16), "warn",
        "under-voltage {f.marked_span} ({f.throttled_text})",
        "use the power supply made for the board, 5 V 3 A (Pi 5: 5 V 5 A), then sudo reboot",
    ),
    Rule(
        "power supply unknown", "power supply", PI, lambda f: f.throttled is None, "warn",
        "not known: vcgencmd get_throttled does not report it, as in a container",
        "vcgencmd get_throttled   # on the board itself, by a user in the group video",
    ),
    Rule(
        "power supply", "power supply", PI, always, "ok",
        "no under-voltage {f.marked_span}",
    ),
    Rule(
        "over-current before", "power supply", JETSON,
        lambda f: bool(f.over_current_events),
        "warn",
        "the board slowed itself down {f.over_current_events} times for lack of current since it"
        " started",
        "use the maker's power supply, or a lower power mode: sudo nvpmodel -m ID, see"
        " /etc/nvpmodel.conf",
    ),
    Rule(
        "no over-current", "power supply", JETSON,
        lambda f: f.over_current_events == 0,
        "ok",
        "no over-current since the board started",
    ),
    Rule(
        "throttled now", "throttling", PI, lambda f: f.throttled_bits(1, 2, 3), "warn",
        "slowed down now ({f.throttled_text})",
        "fit a heat sink and a fan, and see temperature and power supply; then edgekit doctor",
    ),
    Rule(
        "throttled before", "throttling", PI, lambda f: f.throttled_bits(17, 18, 19), "warn",
        "slowed down {f.marked_span} ({f.throttled_text})",
        "fit a heat sink and a fan, then sudo reboot, which clears the mark",
    ),
    Rule(
        "not throttled", "throttling", PI, lambda f: f.throttled is not None, "ok",
        "none {f.marked_span}",
    ),
    Rule(
        "clock not synchronized", "clock", ANY,
        lambda f: f.clock_synchronized is False,
        "warn",
        "not synchronized: time stamps are wrong, and TLS connections may fail",
        "sudo timedatectl set-ntp true   # and a network that lets NTP (UDP port 123) through",
    ),
    Rule(
        "clock unknown", "clock", ANY, lambda f: f.clock_synchronized is None, "warn",
        "not known whether it is synchronized: timedatectl does not report it, as in a container",
        "date -u   # compare it with another clock; a container has its host's",
    ),
    Rule("clock", "clock", ANY, always, "ok", "synchronized"),
)  # fmt: skip
