"""Who hears how far long work is."""

from __future__ import annotations


class Progress:
    """Called with each step as it begins. This one keeps silent; the command line's tells."""

    def __call__(self, text: str) -> None:
        """`text` begins now; the step before is done."""

    def update(self, done: int, total: int) -> None:
        """Of the present step, `done` of `total` equal parts are done."""
