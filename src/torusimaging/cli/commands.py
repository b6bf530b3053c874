"""What each command does: a function by its name."""

import sys
from contextlib import contextmanager
from pathlib import Path

from .interruption import saying
from .parser import DEFAULTS

EXIT_DOUBTFUL = 3
# Of a fit to trust, to trust with care, and not to quote.
EXITS = (0, EXIT_DOUBTFUL, 4)
# The defaults' names in a checkpoint.
SETTINGS = {
    "chains": "num_chains",
    "draws": "num_steps",
    "warmup": "num_warmup",
    "seed": "seed",
}


def _check_sampling(options) -> None:
    for name, least in (("chains", 1), ("draws", 4), ("warmup", 20)):
        value = getattr(options, name)
        if value < least:
            raise ValueError(f"--{name} must be at least {least}, but {value} was given.")
    if not 0 <= options.seed < 2**63:
        raise ValueError(f"--seed must be from 0 to 2^63, but {options.seed} was given.")
    from ..report.folder import check_formats

    check_formats(_formats(options))
    if not 20 <= options.dpi <= 2000:
        raise ValueError(f"--dpi must be from 20 to 2000, but {options.dpi:g} was given.")
    if getattr(options, "frame", None) is not None and not options.frame.isprintable():
        raise ValueError(f"--frame must be readable text, but {options.frame[:80]!r} was given.")


def _formats(options) -> list[str]:
    return [part.strip().lower() for part in options.format.split(",")]


def _out(options, usual: str) -> str:
    """The output folder; an empty name is none, and not the usual one."""
    return usual if options.out is None else options.out


def demo(options, progress) -> int:
    from .. import data, mock
    from ..files.folders import prepare_folder
    from ..files.writing import in_use
    from ..fitting import fit_map

    _check_sampling(options)
    if options.stars < 10_000:
        raise ValueError(
            f"--stars must be at least 10000 to fit 17 parameters, but {options.stars} was given."
        )
    folder = prepare_folder(options.out)
    import astropy.units as u
    import numpy as np

    with in_use(folder):
        progress.stage("simulating stars")
        survey = mock.draw_stars(
            options.stars,
            seed=options.seed,
            selection="survey",
            midplane=(0.02 * u.kpc, -0.5 * u.km / u.s),
        )
        bins = {
            "pos": np.linspace(-1.2, 1.2, 81) * u.kpc,
            "vel": np.linspace(-70, 70, 81) * u.km / u.s,
        }
        binned = data.get_binned_label(
            survey.pos, survey.vel, survey.label, bins, label_err=survey.label_err
        )
        frame = "the simulated observer's; pos0 and vel0 are the midplane's place in it"
        progress.stage("finding the optimum (compiles first)")
        fit = fit_map(binned, frame, options.model, **_form(options))
        fit = _draw(fit, options, progress, None)
        return _report(fit, options, progress, folder, binned, survey)


def fit(options, progress) -> int:
    from .. import data
    from ..files.folders import prepare_folder
    from ..files.writing import in_use
    from ..fitting import fit_map

    _check_sampling(options)
    progress.stage(f"reading {Path(options.map).name}")
    binned = data.read_map(options.map, options.label, options.scatter)
    folder = prepare_folder(_out(options, f"oti-fit-{Path(options.map).stem}"))
    # The optimum waits here until the report is written, for `oti sample` to go on from.
    partial = _partial_of(folder)
    path = partial / "fit.nc"
    with in_use(folder):
        if path.exists():
            raise ValueError(
                f"{partial} holds a run that was stopped: `{_go_on(path, folder)}` goes on with "
                "it; remove it to begin anew."
            )
        progress.stage("finding the optimum (compiles first)")
        fit = fit_map(
            binned,
            options.frame,
            options.model,
            detrend=options.detrend,
            angles=options.angles,
            **_form(options),
        )
        partial.mkdir(exist_ok=True)
        try:
            fit.save(path)
        except BaseException:
            partial.rmdir()
            raise
        with _resumable(path, folder):
            fit = _draw(fit, options, progress, _checkpoint_of(path))
            code = _report(fit, options, progress, folder, binned, None)
        _clean(path, folder)
    return code


def sample(options, progress) -> int:
    from ..files.folders import prepare_folder
    from ..files.paths import as_path
    from ..files.writing import in_use
    from ..fitting import load
    from ..inference.checkpoint import read_identity

    path = as_path(options.fit)
    progress.stage(f"reading {path.name}")
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
    folder = prepare_folder(_out(options, f"oti-sample-{path.stem}"))
    with in_use(folder):
        with _resumable(path, folder):
            fit = _draw(fit, options, progress, _checkpoint_of(path), options.resume)
            code = _report(fit, options, progress, folder, fit.binned, None)
        _clean(path, folder)
    return code


def _checkpoint_of(path: Path) -> Path:
    return path.with_suffix(".checkpoint")


def _partial_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.partial")


def _go_on(path: Path, folder: Path) -> str:
    """The command that goes on from a fit's file and, where there is one, its checkpoint."""
    from ..inference.checkpoint import read_identity

    resume = " --resume" if read_identity(_checkpoint_of(path)) else ""
    return f"oti sample {path}{resume} --out {folder}"


@contextmanager
def _resumable(path: Path, folder: Path):
    """Add to an interruption how to go on."""
    try:
        with saying(lambda: f"interrupted; go on with: {_go_on(path, folder)}"):
            yield
    except KeyboardInterrupt as stop:
        text = str(stop) or "interrupted"
        raise KeyboardInterrupt(f"{text}; go on with: {_go_on(path, folder)}") from None


def _clean(path: Path, folder: Path) -> None:
    """Remove what a run kept beside its fit, and the fit that `oti fit` left for this folder."""
    from ..inference.checkpoint import discard

    discard(_checkpoint_of(path))
    partial = _partial_of(folder)
    if path.resolve() == (partial / "fit.nc").resolve():
        path.unlink()
        if not any(partial.iterdir()):
            partial.rmdir()


def calibrate(options, progress) -> None:
    """Simulate a map's posterior and test its intervals."""
    from .. import data
    from ..checks.calibration import calibrate, check_numbers
    from ..files.folders import prepare_folder
    from ..files.writing import in_use
    from ..fitting import fit_map
    from ..parallel import cores
    from ..report.calibration import write_calibration

    processes = cores() if options.processes is None else options.processes
    check_numbers(simulations=options.simulations, seed=options.seed, processes=processes)
    progress.stage(f"reading {Path(options.map).name}")
    binned = data.read_map(options.map, options.label, options.scatter)
    usual = f"oti-calibrate-{Path(options.map).stem}"
    folder = prepare_folder(usual if options.out is None else options.out)
    with in_use(folder):
        progress.stage("finding the optimum (compiles first)")
        fit = fit_map(binned, model=options.model)
        progress.stage("simulations")
        result = calibrate(
            fit,
            options.simulations,
            sampler=options.sampler,
            seed=options.seed,
            processes=processes,
            progress=progress.counter(options.simulations, "maps"),
            checkpoint=options.checkpoint,
        )
        progress.stage("writing")
        files = write_calibration(result, folder)
    progress.finish()
    print(result.text)
    print(f"\nWritten to {folder}: {', '.join(f.name for f in files)}")


def bin(options, progress) -> None:
    """A template, or a configuration's map with its cuts printed."""
    from ..catalog import load, read_config, template
    from ..files.folders import prepare_folder
    from ..files.writing import in_use
    from ..report.catalog import write_sample

    if options.template is not None:
        progress.finish()
        print(template(options.template), end="")
        return
    if options.config is None:
        raise ValueError("give a configuration, or --template PRESET to print one.")
    config = read_config(options.config)
    folder = prepare_folder(config.output if options.out is None else options.out)
    with in_use(folder):
        sample = load(config, progress.stage)
        progress.stage("writing")
        files = write_sample(sample, folder)
    progress.finish()
    print(sample.flow)
    print(f"\n{sample.describe()}\n\nWritten to {folder}: {', '.join(f.name for f in files)}")


def fetch(options, progress) -> int:
    """Download a survey's files; the code tells whether some are left for a person to download."""
    from ..catalog import fetch

    # A download has a bar of its own.
    progress.finish()
    fetched = fetch(options.preset, options.to, options.mirror, progress=not options.quiet)
    for path in fetched.files:
        print(path)
    for sentence in fetched.by_hand:
        print(f"oti: {sentence}", file=sys.stderr)
    return EXIT_DOUBTFUL if fetched.by_hand else 0


def _form(options) -> dict:
    """The options of the potential model that are asked for."""
    if options.asymmetric and options.model != "potential":
        raise ValueError(
            f"--asymmetric is of the potential model, but --model {options.model} was given."
        )
    return {"asymmetric": True} if options.asymmetric else {}


def _draw(fit, options, progress, checkpoint: Path | None, resume=False):
    """The fit with draws, of which finished blocks are kept in `checkpoint`."""
    if getattr(options, "quick", False):
        progress.stage("drawing (compiles first)")
        return fit.laplace(options.seed)
    progress.stage("compiling the sampler")
    return fit.sample(
        options.seed,
        num_warmup=options.warmup,
        num_steps=options.draws,
        num_chains=options.chains,
        progress=progress.draws,
        checkpoint=checkpoint,
        resume=resume,
        keep_checkpoint=checkpoint is not None,
    )


def _report(fit, options, progress, folder, binned, survey) -> int:
    from .. import report
    from ..results.literature import RadialTerm

    progress.stage("tables")
    radial = RadialTerm() if options.radial else None
    files = report.write_report(
        fit,
        folder,
        binned,
        fit.start,
        survey,
        lambda name: progress.stage(f"figure {name}"),
        formats=_formats(options),
        dpi=options.dpi,
        all_figures=options.all_figures,
        radial=radial,
    )
    text = report.text_report(fit, survey, radial=radial)
    progress.finish()
    if "n_saturated" in binned and binned["n_saturated"]:
        print(f"{binned['n_saturated']} saturated pixels were left out.")
    print(text)
    print(f"\nWritten to {folder}: {', '.join(f.name for f in files)}")
    return EXITS[fit.verdict.level]
