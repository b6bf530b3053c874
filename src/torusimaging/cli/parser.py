"""The commands' arguments and help."""

import argparse
from importlib.metadata import version

EXIT_CODES = """exit codes:
  0    done
  2    bad input or options: one sentence on standard error, nothing written
  3    done, "trust with care": the verdict says why; or a file is left to
       download by hand
  4    done, "do not quote": the verdict says why
  130  interrupted (Ctrl-C)"""
DEFAULTS = {"chains": 4, "draws": 1000, "warmup": 500, "seed": 0}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command's options; ends the process with code 2 where they are wrong."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    for name, value in vars(options).items():
        # Of `--chains=--` argparse makes an empty list.
        if value == []:
            parser.error(f"argument {name}: expected one argument")
    return options


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oti",
        description="Orbital torus imaging: the Milky Way's vertical acceleration, mass density "
        "and midplane from a map of a stellar label over (z, v_z).",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"oti {version('orbital-torus-imaging')}"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    every = argparse.ArgumentParser(add_help=False)
    every.add_argument("-q", "--quiet", action="store_true", help="no progress on the terminal")
    common = argparse.ArgumentParser(add_help=False, parents=[every])
    _add_sampling(common, DEFAULTS)
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

    fitting = argparse.ArgumentParser(add_help=False)
    fitting.add_argument(
        "--asymmetric",
        action="store_true",
        help="a density of its own on each side of the plane (potential model)",
    )
    fitting.add_argument(
        "--quick",
        action="store_true",
        help="draws by importance sampling in place of NUTS: seconds, and as good where the "
        "verdict finds them reliable",
    )
    figures = argparse.ArgumentParser(add_help=False)
    drawing = figures.add_argument_group("figures and table")
    drawing.add_argument(
        "--format", default="png", help="of the figures: png, pdf, svg, or several (default: png)"
    )
    drawing.add_argument("--dpi", type=float, default=110, help="their resolution (default: 110)")
    drawing.add_argument(
        "--all-figures", action="store_true", help="the model's functions and its start, too"
    )
    drawing.add_argument(
        "--radial",
        action="store_true",
        help="rho and Sigma also with the radial term of Poisson's equation, by Oort's constants "
        "(Bovy 2017), as most published values have it",
    )
    demo = commands.add_parser(
        "demo",
        parents=[common, kind, fitting, figures],
        help="simulate a survey, fit it, compare with the truth",
        description="Draw stars of an exact steady state as a survey would see them, bin them, "
        "fit them, and print the result beside the truth.",
    )
    demo.add_argument(
        "--stars", type=int, default=300_000, help="simulated stars (default: 300000)"
    )
    demo.add_argument("--out", default="oti-demo", help="output folder (default: oti-demo)")

    fit = commands.add_parser(
        "fit",
        parents=[common, kind, maps, fitting, figures],
        help="fit a binned map",
        description="Fit a CSV file with one row for each pixel: columns z_kpc, vz_kms, a label "
        "and its error (such as mgfe, mgfe_err), perhaps count and saturated (rows other than 0 "
        "are left out).",
    )
    fit.add_argument("--out", help="output folder (default: oti-fit-MAP)")
    fit.add_argument(
        "--detrend",
        choices=("R_g",),
        help="take the label's gradient in the guiding radius off, for maps that know it",
    )
    fit.add_argument(
        "--angles",
        action="store_true",
        help="let the label change along the orbit, too, for a disc that is not well mixed",
    )
    fit.add_argument(
        "--frame",
        help="the frame of z and v_z in words, kept with the result (default: the file's own)",
    )

    sample = commands.add_parser(
        "sample",
        parents=[every, figures],
        help="sample a fit with NUTS, or go on with a run that was stopped",
        description="Draw from the posterior of a fit on file. Finished blocks of draws are kept "
        "in a folder beside the file, so that a run that was stopped or killed goes on with "
        "--resume and ends with the same draws.",
    )
    sample.add_argument("fit", metavar="FIT.nc", help="a fit's result file")
    _add_sampling(sample, None)
    sample.add_argument(
        "--resume", action="store_true", help="go on with the settings of the run that was stopped"
    )
    sample.add_argument("--out", help="output folder (default: oti-sample-FIT)")

    check = commands.add_parser(
        "calibrate",
        parents=[every, kind, maps],
        help="test the uncertainties on simulations of a binned map",
        description="Simulation-based calibration: draw truths from the prior, simulate the map "
        "of each with the pixels and errors given, fit it, and test that the ranks of the truths "
        "among the draws are uniform.",
    )
    check.add_argument(
        "--simulations", type=int, default=200, help="simulated maps, at least 10 (default: 200)"
    )
    check.add_argument(
        "--sampler",
        choices=("nuts", "laplace", "auto"),
        default="nuts",
        help="two NUTS chains, the reweighted normal approximation, or that where it is reliable "
        "(default: nuts)",
    )
    check.add_argument("--processes", type=int, help="worker processes (default: one for a core)")
    check.add_argument("--seed", type=int, default=0, help="seed of all random numbers (0)")
    check.add_argument("--checkpoint", help="file of finished simulations, to go on from")
    check.add_argument("--out", help="output folder (default: oti-calibrate-MAP)")
    _add_catalog(commands, every)
    return parser


def _add_catalog(commands, every) -> None:
    binning = commands.add_parser(
        "bin",
        parents=[every],
        help="make a binned map of catalogue files",
        description="Read, clean, transform, select and bin a catalogue as a configuration says, "
        "and write the map (map.csv, for `oti fit`), the stars (stars.parquet), the cuts "
        "(cuts.ecsv) and a figure of the stars' places.",
    )
    binning.add_argument("config", metavar="CONFIG.toml", nargs="?", help="the configuration")
    binning.add_argument(
        "--template", metavar="PRESET", help="print a configuration to begin with, and stop"
    )
    binning.add_argument("--out", help="output folder (default: the configuration's output)")

    fetch = commands.add_parser(
        "fetch",
        parents=[every],
        help="download public catalogue files",
        description="Download the public files of a preset; an interrupted download goes on where "
        "it stopped.",
    )
    fetch.add_argument("preset", metavar="PRESET", help="for example apogee-dr17")
    fetch.add_argument("--to", default=".", help="folder of the files (default: this one)")
    fetch.add_argument("--mirror", help="an address whose folder has the same files")


def _add_sampling(parser: argparse.ArgumentParser, defaults: dict | None) -> None:
    """The options of NUTS; without `defaults` they are None, which stands for the same."""
    sampling = parser.add_argument_group("sampling")
    texts = {
        "chains": "NUTS chains",
        "draws": "draws a chain",
        "warmup": "warm-up steps a chain",
        "seed": "seed of all random numbers",
    }
    for name, text in texts.items():
        default = None if defaults is None else defaults[name]
        sampling.add_argument(
            f"--{name}", type=int, default=default, help=f"{text} (default: {DEFAULTS[name]})"
        )
