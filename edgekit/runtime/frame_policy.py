"""Which of the frames that a source delivers are classified."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from edgekit.errors import SettingsError
from edgekit.sources.base import Frame
from edgekit.spec import Record

PolicyKind = Literal["latest", "every", "skip"]


class FramePolicy(Record, frozen=True, kw_only=True):
    """Which frames are classified.

    `kind`:

    - `latest`: always the newest frame; those that came while one was classified are dropped.
    - `every`: all frames, in order; those of a live source wait in a short queue.
    - `skip`: of a file, one frame after every `skip` frames passed over; of a live source, the
      newest of those.
    - None: `latest` for live sources, `every` for files.

    `every_s` leaves at least that many seconds between two frames. A live frame that is older than
    `max_age_s` when its turn comes is not classified.
    """

    kind: PolicyKind | None = None
    skip: int = 0
    every_s: float = 0.0
    max_age_s: float | None = None

    @classmethod
    def parse(
        cls, text: str | None, *, every_s: float = 0.0, max_age_s: float | None = None
    ) -> FramePolicy:
        """Read the kind from a command line.

        Args:
            text: `latest`, `every` or `skip N`; None for what suits the source.
            every_s: the least time between two frames, in seconds.
            max_age_s: the greatest age of a live frame, in seconds.

        Returns:
            The policy.

        Raises:
            SettingsError: the text is none of these.
        """
        if text is None:
            return cls(every_s=every_s, max_age_s=max_age_s)
        match text.split():
            case ["latest" | "every" as kind]:
                return cls(kind=kind, every_s=every_s, max_age_s=max_age_s)
            case ["skip", count] if count.isdecimal() and int(count) > 0:
                return cls(kind="skip", skip=int(count), every_s=every_s, max_age_s=max_age_s)
        raise SettingsError(
            f"--policy is {text!r}: expected latest, every, or 'skip N' with N frames, 1 or more,"
            " passed over between two that are classified"
        )

    def choose_kind(self, *, live: bool) -> FramePolicy:
        """The same policy, with the kind that suits the source where it has none."""
        return replace(self, kind=self.kind or ("latest" if live else "every"))


class Picker:
    """Takes frames, in the order they were captured, as a policy says."""

    def __init__(self, policy: FramePolicy) -> None:
        self._stride = policy.skip + 1
        self._every_s = policy.every_s
        self._seen = 0
        self._due_s = float("-inf")
        self.skipped = 0
        """How many it passed over."""

    def takes(self, frame: Frame) -> bool:
        """Whether this frame is to be classified."""
        takes = self._seen % self._stride == 0 and frame.time_s >= self._due_s
        self._seen += 1
        if takes and self._every_s:
            # From the time it was due, so that the average holds; from now on after a pause.
            regular = self._due_s + self._every_s
            self._due_s = regular if regular > frame.time_s else frame.time_s + self._every_s
        self.skipped += not takes
        return takes
