"""What a person at a terminal sees while a command runs: its stage, and how far it is."""

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from ..clock import duration

# Seconds between two looks at the line, and after which a stage that ended is worth a line.
TICK, WORTH = 0.25, 1.0
# Seconds between lines on a terminal that cannot write over one.
PATIENCE = 10.0
BAR = 12


class Progress:
    """One line on standard error that tells the stage of a command; nothing but on a terminal.

    The line is written anew while the stage lasts.  One that took more than a second leaves a line
    with its seconds.  A terminal that cannot go back (``TERM=dumb``) gets a line for each stage.
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None):
        self.stream = sys.stderr if stream is None else stream
        self.shown = not quiet and self.stream.isatty()
        self.rewrites = os.environ.get("TERM", "dumb") != "dumb"
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.text, self.share, self.detail = "", None, ""
        self.begin = self.said = time.monotonic()
        if self.shown:
            # A daemon, because a command that is killed must not wait for it.
            threading.Thread(target=self._tick, daemon=True).start()

    def stage(self, text: str) -> None:
        """Begin the stage `text`, which ends the one before."""
        with self.lock:
            self._end()
            # A file's name may hold anything, such as what moves a terminal's cursor.
            self.text = "".join(c if c.isprintable() else "?" for c in text)
            self.share, self.detail = None, ""
            self.begin = self.said = time.monotonic()
            if self.rewrites:
                self._write_over()
            else:
                self._print(f"{self.text} ...")

    def update(self, share: float, detail: str) -> None:
        """Say how much of the stage is done, from 0 to 1, and more in words."""
        with self.lock:
            self.share, self.detail = share, detail
            if share >= 1 and self.text and self.rewrites:
                # The end is shown however soon the next stage follows.
                self._write_over()
            if not self.rewrites and time.monotonic() - self.said > PATIENCE:
                self.said = time.monotonic()
                self._print(f"{100 * share:3.0f} % {detail}")

    def draws(self, state) -> None:
        """Show how far the chains are, an `inference.Progress`."""
        if self.text != "sampling":
            self.stage("sampling")
        self.update(state.done / state.total, str(state))

    def counter(self, total: int, noun: str) -> Callable[[int], None]:
        """A function to call with the number of items that are new, out of `total`."""
        done = 0

        def add(new: int) -> None:
            nonlocal done
            done += new
            self.update(done / total, f"{done} of {total} {noun}")

        return add

    def finish(self) -> None:
        """End the last stage, so that a command may print its result."""
        with self.lock:
            self._end()
            self.text = ""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        self.finish()
        self.ended.set()

    def _tick(self) -> None:
        while not self.ended.wait(TICK):
            with self.lock:
                if self.text and self.rewrites:
                    self._write_over()

    def _end(self) -> None:
        if not (self.shown and self.rewrites and self.text):
            return
        seconds = time.monotonic() - self.begin
        line = self._cut(f"{self.text}: {duration(seconds)}") + "\n" if seconds > WORTH else ""
        self._print(f"\r\x1b[K{line}", end="")

    def _write_over(self) -> None:
        line = f"{self.text}: {duration(time.monotonic() - self.begin)}"
        if self.share is not None:
            full = round(BAR * self.share)
            bar = f"[{'#' * full}{'-' * (BAR - full)}] "
            # What it says matters more than the bar.
            line = next(
                (x for x in (bar + self.detail, self.detail) if x == self._cut(x)),
                f"{100 * self.share:.0f} % {self.detail}",
            )
        self._print(f"\r\x1b[K{self._cut(line)}", end="")

    def _cut(self, line: str) -> str:
        """The line without what would not fit: a longer one could not be written over."""
        try:
            width = os.get_terminal_size(self.stream.fileno()).columns
        except (OSError, ValueError):
            width = 0
        return line[: (width or 80) - 1]

    def _print(self, text: str, end: str = "\n") -> None:
        if not self.shown:
            return
        try:
            print(text, end=end, file=self.stream, flush=True)
        except OSError:
            # The terminal is gone; the result is worth more than its progress.
            self.shown = False
