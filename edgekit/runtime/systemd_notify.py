"""Messages to systemd: that the program is ready, what it does, and that it is still alive.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import contextlib
import os
import time


class Notifier:
    """Sends messages to the service manager that started this program; without one, nothing."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        for_us = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = os.environ.get("WATCHDOG_USEC", "") if for_us else ""
        self._every_s = int(microseconds) / 1e6 / 3 if microseconds.isdecimal() else None
        self._last_heartbeat_s = float("-inf")

    def notify(self, **fields: str) -> None:
        """Send `KEY=value` lines. Does not raise: a service must not end because of that."""
        if not self._address:
            return
        import socket  # 3 ms that a program without a service manager need not spend

        message = "\n".join(f"{name}={value}" for name, value in fields.items())
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as sender:
            sender.sendto(message.encode(), self._address)

    def send_heartbeat(self) -> None:
        """Report that the loop still turns, as often as the watchdog asks for."""
        if self._every_s is None:
            return
        now = time.monotonic()
        if now - self._last_heartbeat_s >= self._every_s:
            self._last_heartbeat_s = now
            self.notify(WATCHDOG="1")
