"""The command ``oti``: catalogues to maps, fits of maps or of a simulated survey, their test."""

import argparse
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

EXIT_BAD_INPUT = 2
EXIT_DOUBTFUL = 3
EXIT_INTERRUPTED = 130
DEFAULTS = {"chains": 4, "draws": 1000, "warmup": 500, "seed": 0}
# The same in a checkpoint's words.
SETTINGS = {
    "chains": "num_chains",
    "draws": "num_steps",
    "warmup": "num_warmup",
    "seed": "seed",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oti",
        description="Orbital torus imaging: the Milky Way's vertical acceleration, mass density "
        "and midplane from a map of a stellar label over (z, v_z).",
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
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
        help="the frame of z and v_z in words, kept with the result (default: the file's own)",
    )
    fit.set_defaults(run=_fit)

    sample = commands.add_parser(
        "sample",
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
    sample.set_defaults(run=_sample)

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
        choices=("nuts", "laplace", "auto"),
        default="nuts",
        help="two NUTS chains, the reweighted normal approximation, or that where it is reliable "
        "(default: nuts)",
    )
    check.add_argument("--processes", type=int, help="worker processes (default: one for a core)")
    check.add_argument("--seed", type=int, default=0, help="seed of all random numbers (0)")
    check.add_argument("--checkpoint", help="file of finished simulations, to go on from")
    check.add_argument("--out", help="output folder (default: oti-calibrate-MAP)")
    check.set_defaults(run=_calibrate)
    _add_catalog(commands)
    return parser


def _add_catalog(commands) -> None:
    binning = commands.add_parser(
        "bin",
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
    binning.set_defaults(run=_bin)

    fetch = commands.add_parser(
        "fetch",
        help="download public catalogue files",
        description="Download the public files of a preset; an interrupted download goes on where "
        "it stopped.",
    )
    fetch.add_argument("preset", metavar="PRESET", help="for example apogee-dr17")
    fetch.add_argument("--to", default=".", help="folder of the files (default: this one)")
    fetch.add_argument("--mirror", help="an address whose folder has the same files")
    fetch.set_defaults(run=_fetch)


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


def _version() -> str:
    from importlib.metadata import version

    return f"oti {version('orbital-torus-imaging')}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code.

    0: done; 2: bad input, one sentence on stderr; 3: done, but the diagnostics name a problem;
    130: Ctrl-C.
    """
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
        return options.run(options) or 0
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"oti: error: {text}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt as stop:
        print(f"oti: {str(stop) or 'interrupted; no result was written.'}", file=sys.stderr)
        return EXIT_INTERRUPTED


def _check_sampling(options) -> None:
    for name, least in (("chains", 1), ("draws", 4), ("warmup", 20)):
        value = getattr(options, name)
        if value < least:
            raise ValueError(f"--{name} must be at least {least}, but {value} was given.")
    if not 0 <= options.seed < 2**63:
        raise ValueError(f"--seed must be from 0 to 2^63, but {options.seed} was given.")
    if getattr(options, "frame", None) is not None and not options.frame.isprintable():
        raise ValueError("--frame must be readable text.")


def _demo(options) -> int:
    from . import data, mock
    from .report.folder import prepare_folder
    from .results import fit_map
    from .writing import in_use

    _check_sampling(options)
    if options.stars < 10_000:
        raise ValueError(
            f"--stars must be at least 10000 to fit 17 parameters, but {options.stars} was given."
        )
    folder = prepare_folder(options.out)
    import astropy.units as u
    import numpy as np

    with in_use(folder), _Progress(options) as bar:
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
        bar.start("fitting (compiles first)")
        fit = fit_map(binned, frame, options.model)
        fit = _draw(fit, options, bar, None)
        return _report(fit, bar, folder, binned, survey)


def _fit(options) -> int:
    from . import data
    from .report.folder import prepare_folder
    from .results import fit_map
    from .writing import in_use

    _check_sampling(options)
    binned = data.read_map(options.map, options.label, options.scatter)
    folder = prepare_folder(options.out or f"oti-fit-{Path(options.map).stem}")
    # The optimum waits here until the report is written, for `oti sample` to go on from.
    partial = _partial_of(folder)
    path = partial / "fit.nc"
    with in_use(folder), _Progress(options) as bar:
        if path.exists():
            raise ValueError(
                f"{partial} holds a run that was stopped: `{_go_on(path, folder)}` goes on with "
                "it; remove it to begin anew."
            )
        bar.start("fitting (compiles first)")
        frame = options.frame or binned.get("frame", "not stated")
        fit = fit_map(binned, frame, options.model)
        partial.mkdir(exist_ok=True)
        try:
            fit.save(path)
        except BaseException:
            partial.rmdir()
            raise
        with _resumable(path, folder):
            fit = _draw(fit, options, bar, _checkpoint_of(path))
            code = _report(fit, bar, folder, binned, None)
        _clean(path, folder)
    return code


def _sample(options) -> int:
    from .inference.checkpoint import read_identity
    from .report.folder import prepare_folder
    from .results import load
    from .writing import in_use

    path = Path(options.fit)
    fit = load(path)
    if options.resume:
        found = read_identity(_checkpoint_of(path))
        if found is None:
            raise ValueError(f"{_checkpoint_of(path)} holds no run to resume.")
        for name, key in SETTINGS.items():
            if not isinstance(found.get(key), int):
                raise ValueError(f"{_checkpoint_of(path)} is damaged: it does not tell its {key}.")
            if getattr(options, name) not in (None, found[key]):
                raise ValueError(
                    f"--{name} must be that of the run to resume, {found[key]}, but "
                    f"{getattr(options, name)} was given."
                )
            setattr(options, name, found[key])
    for name, value in DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    _check_sampling(options)
    folder = prepare_folder(options.out or f"oti-sample-{path.stem}")
    with in_use(folder), _Progress(options) as bar:
        with _resumable(path, folder):
            fit = _draw(fit, options, bar, _checkpoint_of(path), options.resume)
            code = _report(fit, bar, folder, fit.data, None)
        _clean(path, folder)
    return code


def _checkpoint_of(path: Path) -> Path:
    return path.with_suffix(".checkpoint")


def _partial_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.partial")


def _go_on(path: Path, folder: Path) -> str:
    """The command that goes on from a fit's file and, where there is one, its checkpoint."""
    from .inference.checkpoint import read_identity

    resume = " --resume" if read_identity(_checkpoint_of(path)) else ""
    return f"oti sample {path}{resume} --out {folder}"


@contextmanager
def _resumable(path: Path, folder: Path):
    """Add to an interruption how to go on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        text = str(stop) or "interrupted"
        raise KeyboardInterrupt(f"{text}; go on with: {_go_on(path, folder)}") from None


def _clean(path: Path, folder: Path) -> None:
    """Remove what a run kept beside its fit, and the fit that `oti fit` left for this folder."""
    from .inference.checkpoint import discard

    discard(_checkpoint_of(path))
    partial = _partial_of(folder)
    if path.resolve() == (partial / "fit.nc").resolve():
        path.unlink()
        if not any(partial.iterdir()):
            partial.rmdir()


def _calibrate(options) -> None:
    from .report.calibration import run

    run(options)


def _bin(options) -> None:
    from .report.catalog import run_bin

    run_bin(options)


def _fetch(options) -> int:
    from .report.catalog import run_fetch

    return EXIT_DOUBTFUL if run_fetch(options) else 0


def _draw(fit, options, bar, checkpoint: Path | None, resume=False):
    """The fit with draws, of which finished blocks are kept in `checkpoint`."""
    bar.start("sampling (compiles first)")
    return fit.sample(
        options.seed,
        options.warmup,
        options.draws,
        num_chains=options.chains,
        progress=bar.draws,
        checkpoint=checkpoint,
        resume=resume,
        keep_checkpoint=checkpoint is not None,
    )


def _report(fit, bar, folder, binned, survey) -> int:
    from . import report

    bar.start("writing")
    files = report.write_report(fit, folder, binned, fit.start, survey)
    bar.finish()
    if "n_saturated" in binned and binned["n_saturated"]:
        print(f"{binned['n_saturated']} saturated pixels were left out.")
    print(report.text_table(fit, survey))
    print()
    print(report.describe(fit))
    print(f"\nWritten to {folder}: {', '.join(f.name for f in files)}")
    return EXIT_DOUBTFUL if fit.problems else 0


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

    def draws(self, state) -> None:
        """Show how far the draws are."""
        self.bar.update(state.done - self.done)
        self.done = state.done
        self.bar.set_description_str(str(state))

    def finish(self) -> None:
        """Fill the bar."""
        self.bar.update(self.bar.total - self.bar.n)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()
