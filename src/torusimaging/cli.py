"""The command ``oti``: fits of a simulated survey or of a user's binned map, and their test."""

import argparse
import signal
import sys
from pathlib import Path

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oti",
        description="Orbital torus imaging: the Milky Way's vertical acceleration, mass density "
        "and midplane from a map of a stellar label over (z, v_z).",
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    sampling = common.add_argument_group("sampling")
    sampling.add_argument("--chains", type=int, default=4, help="NUTS chains (default: 4)")
    sampling.add_argument("--draws", type=int, default=1000, help="draws a chain (default: 1000)")
    sampling.add_argument(
        "--warmup", type=int, default=500, help="warm-up steps a chain (default: 500)"
    )
    sampling.add_argument("--seed", type=int, default=0, help="seed of all random numbers (0)")

    kind = argparse.ArgumentParser(add_help=False)
    kind.add_argument(
        "--model",
        choices=("potential", "spline"),
        default="potential",
        help="orbits of one potential with positive density, or ellipses distorted by splines "
        "(default: potential)",
    )
    maps = argparse.ArgumentParser(add_help=False)
    maps.add_argument("map", metavar="MAP.csv", help="the binned map")
    maps.add_argument("--label", help="the label's column (default: the first with an error)")
    maps.add_argument(
        "--scatter",
        type=float,
        default=0.0,
        help="intrinsic scatter of the label to add to errors of measurement only, over the "
        "square root of count (default: 0)",
    )

    demo = commands.add_parser(
        "demo",
        parents=[common, kind],
        help="simulate a survey, fit it, compare with the truth",
        description="Draw stars of an exact steady state as a survey would see them, bin them, "
        "fit them, and print the result beside the truth.",
    )
    demo.add_argument(
        "--stars", type=int, default=300_000, help="simulated stars (default: 300000)"
    )
    demo.add_argument("--out", default="oti-demo", help="output folder (default: oti-demo)")
    demo.set_defaults(run=_demo)

    fit = commands.add_parser(
        "fit",
        parents=[common, kind, maps],
        help="fit a binned map",
        description="Fit a CSV file with one row for each pixel: columns z_kpc, vz_kms, a label "
        "and its error (such as mgfe, mgfe_err), perhaps count and saturated (rows other than 0 "
        "are left out).",
    )
    fit.add_argument("--out", help="output folder (default: oti-fit-MAP)")
    fit.add_argument(
        "--frame",
        default="not stated",
        help="the frame of z and v_z in words, kept with the result",
    )
    fit.set_defaults(run=_fit)

    check = commands.add_parser(
        "calibrate",
        parents=[kind, maps],
        help="test the uncertainties on simulations of a binned map",
        description="Simulation-based calibration: draw truths from the prior, simulate the map "
        "of each with the pixels and errors given, fit it, and test that the ranks of the truths "
        "among the draws are uniform.",
    )
    check.add_argument("--simulations", type=int, default=200, help="simulated maps (default: 200)")
    check.add_argument(
        "--sampler",
        choices=("nuts", "laplace"),
        default="nuts",
        help="two NUTS chains, or the reweighted normal approximation (default: nuts)",
    )
    check.add_argument("--processes", type=int, help="worker processes (default: one for a core)")
    check.add_argument("--seed", type=int, default=0, help="seed of all random numbers (0)")
    check.add_argument("--checkpoint", help="file of finished simulations, to go on from")
    check.add_argument("--out", help="output folder (default: oti-calibrate-MAP)")
    check.set_defaults(run=_calibrate)
    return parser


def _version() -> str:
    from importlib.metadata import version

    return f"oti {version('orbital-torus-imaging')}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 0, 2 for bad input (one sentence on stderr) or 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    # A batch system ends a job as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        # Slow imports wait until the arguments are known to be good; a fit needs double precision,
        # and pictures are written, not shown.
        import jax
        import matplotlib

        jax.config.update("jax_enable_x64", True)
        matplotlib.use("Agg")
        options.run(options)
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"oti: error: {text}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("oti: interrupted; no result was written.", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _check_sampling(options) -> None:
    for name, least in (("chains", 1), ("draws", 4), ("warmup", 20)):
        value = getattr(options, name)
        if value < least:
            raise ValueError(f"--{name} must be at least {least}, but {value} was given.")
    if options.seed < 0:
        raise ValueError(f"--seed must not be negative, but {options.seed} was given.")


def _demo(options) -> None:
    from . import data, mock
    from .report.folder import prepare_folder

    _check_sampling(options)
    if options.stars < 10_000:
        raise ValueError(
            f"--stars must be at least 10000 to fit 17 parameters, but {options.stars} was given."
        )
    folder = prepare_folder(options.out)
    import astropy.units as u
    import numpy as np

    with _Progress(options) as bar:
        bar.start("simulating stars")
        survey = mock.draw_stars(
            options.stars,
            seed=options.seed,
            selection="survey",
            sun=(0.02 * u.kpc, -0.5 * u.km / u.s),
        )
        bins = {
            "pos": np.linspace(-1.2, 1.2, 81) * u.kpc,
            "vel": np.linspace(-70, 70, 81) * u.km / u.s,
        }
        binned = data.get_binned_label(
            survey.pos, survey.vel, survey.label, bins, label_err=survey.label_err
        )
        frame = "the simulated observer's; pos0 and vel0 are the midplane's place in it"
        _run(options, bar, folder, binned, frame, survey)


def _fit(options) -> None:
    from . import data
    from .report.folder import prepare_folder

    _check_sampling(options)
    binned = data.read_map(options.map, options.label, options.scatter)
    folder = prepare_folder(options.out or f"oti-fit-{Path(options.map).stem}")
    with _Progress(options) as bar:
        _run(options, bar, folder, binned, options.frame, None)


def _calibrate(options) -> None:
    from .report.calibration import run

    run(options)


def _run(options, bar, folder, binned, frame, survey) -> None:
    from . import report
    from .results import fit_map

    bar.start("fitting (compiles first)")
    fit = fit_map(binned, frame, options.model)
    bar.start("sampling (compiles first)")
    fit = fit.sample(
        options.seed, options.warmup, options.draws, num_chains=options.chains, progress=bar.draws
    )
    bar.start("writing")
    files = report.write_report(fit, folder, binned, fit.start, survey)
    bar.finish()
    if "n_saturated" in binned and binned["n_saturated"]:
        print(f"{binned['n_saturated']} saturated pixels were left out.")
    print(report.text_table(fit, survey))
    print()
    print(report.describe(fit))
    print(f"\nWritten to {folder}: {', '.join(f.name for f in files)}")


class _Progress:
    """One bar for all stages, in units of draws; nothing where stderr is no terminal."""

    def __init__(self, options):
        from tqdm import tqdm

        # Stages without draws count as this many, about their share of the time.
        self.stage = max(1, options.chains * (options.warmup + options.draws) // 4)
        total = options.chains * (options.warmup + options.draws) + 3 * self.stage
        self.bar = tqdm(
            total=total,
            disable=None,
            file=sys.stderr,
            bar_format="{desc:<26}{percentage:3.0f}%|{bar}| {elapsed}",
        )
        self.done = 0

    def start(self, text: str) -> None:
        """Name the stage that begins."""
        self.bar.set_description_str(text)

    def draws(self, n: int) -> None:
        """Count `n` more draws."""
        self.bar.update(n)

    def finish(self) -> None:
        """Fill the bar."""
        self.bar.update(self.bar.total - self.bar.n)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()
