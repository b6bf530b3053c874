"""A pseudo-terminal whose every byte is kept, for what only a person at a terminal sees."""

import fcntl
import os
import pty
import struct
import termios
import threading

import pytest


class Terminal:
    """`stream` is the terminal to write to; `text()` closes it and is all that was written."""

    def __init__(self, columns: int = 80):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.stream = os.fdopen(slave, "w")
        self.parts: list[bytes] = []
        # A terminal that nobody reads holds its writer up.
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        try:
            while part := os.read(self.master, 65536):
                self.parts.append(part)
        except OSError:
            # So Linux says that the other side is closed.
            pass

    def text(self) -> str:
        if not self.stream.closed:
            self.stream.close()
            self.reader.join()
            os.close(self.master)
        return b"".join(self.parts).decode()

    def lines(self) -> list[str]:
        """What stood on a line at some time, also what was written over."""
        parts = self.text().replace("\n", "\r").split("\r")
        return [part.removeprefix("\x1b[K") for part in parts]


@pytest.fixture
def open_terminal():
    """A function that opens a `Terminal` of so many columns."""
    opened = []

    def open_one(columns: int = 80) -> Terminal:
        opened.append(Terminal(columns))
        return opened[-1]

    yield open_one
    for terminal in opened:
        terminal.text()
