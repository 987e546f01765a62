"""How long what has ended waits before it is started again."""

from typing import Final

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 60.0
GOOD_SECONDS: Final = 300.0  # after so long up, the next end is the first again


class BackOff:
    """1 s, 2 s, 4 s … 60 s, and 1 s again after five minutes up."""

    def __init__(self) -> None:
        self._next = FIRST_SECONDS

    def after(self, up_seconds: float) -> float:
        """Seconds to wait now.

        Args:
            up_seconds: how long it was up before it ended; 0 if it never was.
        """
        if up_seconds >= GOOD_SECONDS:
            self._next = FIRST_SECONDS
        wait = self._next
        self._next = min(self._next * 2, LONGEST_SECONDS)
        return wait
