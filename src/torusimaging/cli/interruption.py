"""Ctrl-C, and a batch system's end of a job, answered also while a compiler does not let go."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXIT_INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds in which a signal must be answered, after which the process ends without that; and after
# which another signal is no echo of the first, but means to end at once.
GRACE, AGAIN, STEP = 1.5, 1.0, 0.05

_sentences: list[Callable[[], str]] = [lambda: "interrupted; no result was written."]


@contextmanager
def saying(sentence: Callable[[], str]) -> Iterator[None]:
    """What an interruption says that leaves no time for more."""
    _sentences.append(sentence)
    try:
        yield
    finally:
        _sentences.remove(sentence)


class Interruption:
    """While it is entered, both signals are a ``KeyboardInterrupt``; the caller's handlers return.

    Python sees a signal between two of its own steps, so not while XLA compiles, for half a
    minute perhaps.  With `ends_process` a thread beside waits for the answer, `answered`: where
    there is none it says the sentence, removes what was half-written, and ends the process with
    code 130.  So does a second signal.  Ended in this way, or by `end`, no thread of XLA can crash
    in a process that is being taken down around it.
    """

    def __init__(self, ends_process: bool):
        self.ends_process = ends_process
        self.answered, self.first = threading.Event(), None

    def __enter__(self) -> "Interruption":
        # Only the main thread may have handlers; elsewhere signals stay the caller's.
        self.is_main = threading.current_thread() is threading.main_thread()
        if self.is_main:
            # A job in the background of a script is started with Ctrl-C ignored, and keeps it so.
            heard = [n for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
            self.old = {number: signal.signal(number, self._interrupt) for number in heard}
            self.old_hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
            if self.ends_process:
                self.told, self.tell = socket.socketpair()
                self.tell.setblocking(False)
                self.old_fd = signal.set_wakeup_fd(self.tell.fileno(), warn_on_full_buffer=False)
                threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        if not self.is_main:
            return
        for number, handler in self.old.items():
            # None is a handler that is not of Python's making, which it cannot give back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        sys.unraisablehook = self.old_hook
        if self.ends_process:
            self.answered.set()
            signal.set_wakeup_fd(self.old_fd)
            self.tell.close()

    def _interrupt(self, number, frame) -> None:
        """Raise at the first signal; a later one, but for an echo, does not wait for the end."""
        if self.first is None:
            self.first = time.monotonic()
        elif time.monotonic() - self.first < AGAIN:
            return
        elif self.ends_process:
            self._end_at_once()
        raise KeyboardInterrupt

    def _unraisable(self, unraisable) -> None:
        """Send the signal again where a finaliser has swallowed the exception, as they all do."""
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            return self.old_hook(unraisable)
        self.first = None
        # From another thread, and later: here it would be swallowed once more.
        threading.Timer(STEP, signal.raise_signal, [signal.SIGINT]).start()

    def _watch(self) -> None:
        with self.told:
            while number := self.told.recv(1):
                if number[0] in SIGNALS:
                    if not self._is_answered():
                        self._end_at_once()
                    return

    def _is_answered(self) -> bool:
        """Whether the answer comes in time; chains have theirs to finish the blocks under way."""
        left = GRACE
        while left > 0:
            if self.answered.wait(STEP):
                return True
            nuts = sys.modules.get("torusimaging.inference.nuts")
            left -= 0.0 if nuts is not None and nuts.stopping.is_set() else STEP
        return False

    def _end_at_once(self) -> None:
        try:
            line = "\n" if os.isatty(2) else ""
            os.write(2, f"{line}oti: {_sentences[-1]()}\n".encode())
        finally:
            self.end()

    def end(self) -> None:
        """End the process, if it is the command's own, without taking down what still runs."""
        if not self.ends_process:
            return
        try:
            from ..files.writing import remove_unfinished

            remove_unfinished()
            if "multiprocessing" in sys.modules:
                for child in sys.modules["multiprocessing"].active_children():
                    child.terminate()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(EXIT_INTERRUPTED)
