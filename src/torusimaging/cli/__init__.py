"""The command ``oti``: catalogues to maps, fits of maps or of a simulated survey, their test."""

import errno
import gc
import os
import sys

from .interruption import EXIT_INTERRUPTED, Interruption
from .parser import parse
from .progress import Progress

EXIT_BAD_INPUT = 2
# What becomes of an output whose reader, disk or terminal is gone.
LOST = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code.

    0: done; 2: bad input, one sentence on stderr; 3: done, to trust with care; 4: done, not
    to be quoted; 130: Ctrl-C, or the end of a batch job.
    """
    _open_streams()
    options = parse(arguments)
    if arguments is None:
        # Tracing makes millions of objects that live: looking for dead ones takes a tenth of a fit.
        gc.set_threshold(200_000, 20, 100)
    with Interruption(ends_process=arguments is None) as interruption:
        try:
            with Progress(options.quiet) as progress:
                progress.stage("starting")
                _check_working_folder()
                # Slow imports wait until the arguments are known to be good; a fit needs double
                # precision, and pictures are written, not shown.
                import jax
                import matplotlib

                jax.config.update("jax_enable_x64", True)
                matplotlib.use("Agg")
                from . import commands
                from .cache import keep_programs

                keep_programs()

                code = getattr(commands, options.command)(options, progress) or 0
                sys.stdout.flush()
                if arguments is None:
                    # The process ends: nobody needs its memory looked through once more.
                    gc.freeze()
                return code
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            text = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, OSError) and error.errno in LOST and error.filename is None:
                text = f"standard output cannot be written: {error.strerror}."
                _forget_output(arguments is None)
            _say(f"oti: error: {text}")
            return EXIT_BAD_INPUT
        except KeyboardInterrupt as stop:
            interruption.answered.set()
            _say(f"oti: {str(stop) or 'interrupted; no result was written.'}")
            interruption.end()
            return EXIT_INTERRUPTED


def _open_streams() -> None:
    """Give a process that was started without its standard streams some that lead nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


def _check_working_folder() -> None:
    """Say what is wrong before libraries fail that look for their settings there."""
    try:
        os.getcwd()
    except OSError as error:
        raise OSError(
            f"the working folder cannot be used ({error.strerror}): change to another."
        ) from None


def _say(text: str) -> None:
    """Say it on standard error; where that is lost, the code has to do."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        pass


def _forget_output(ends_process: bool) -> None:
    """Let Python not try again, at the end of the process, what could not be written."""
    if ends_process:
        lost = os.open(os.devnull, os.O_WRONLY)
        os.dup2(lost, sys.stdout.fileno())
        os.close(lost)
