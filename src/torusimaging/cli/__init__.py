"""The command ``oti``: catalogues to maps, fits of maps or of a simulated survey, their test."""

import sys

from .interruption import EXIT_INTERRUPTED, Interruption
from .parser import build_parser
from .progress import Progress

EXIT_BAD_INPUT = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code.

    0: done; 2: bad input, one sentence on stderr; 3: done, but the diagnostics name a problem;
    130: Ctrl-C, or the end of a batch job.
    """
    options = build_parser().parse_args(arguments)
    with Interruption(ends_process=arguments is None) as interruption:
        try:
            with Progress(options.quiet) as progress:
                progress.stage("starting")
                # Slow imports wait until the arguments are known to be good; a fit needs double
                # precision, and pictures are written, not shown.
                import jax
                import matplotlib

                jax.config.update("jax_enable_x64", True)
                matplotlib.use("Agg")
                from . import commands

                return getattr(commands, options.command)(options, progress) or 0
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            text = " ".join(str(error).split()) or type(error).__name__
            print(f"oti: error: {text}", file=sys.stderr)
            return EXIT_BAD_INPUT
        except KeyboardInterrupt as stop:
            interruption.answered.set()
            print(f"oti: {str(stop) or 'interrupted; no result was written.'}", file=sys.stderr)
            interruption.end()
            return EXIT_INTERRUPTED
