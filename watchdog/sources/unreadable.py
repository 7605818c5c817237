"""How a source says within itself that the world gave it nothing to read; callers see a typed reading."""

from __future__ import annotations


class Unreadable(Exception):
    """Nothing usable was answered; the text is one sentence without secrets.

    retry_after_s: how long the server asked to be left alone, 0 if it did not.
    """

    def __init__(self, because: str, retry_after_s: float = 0.0) -> None:
        super().__init__(because)
        self.retry_after_s = retry_after_s


class TooLarge(Unreadable):
    """The answer is longer than we take; a smaller question may be answered."""
