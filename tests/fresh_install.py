"""Install the package as a wheel into new environments and run the README's example there.

    python tests/fresh_install.py [--keep FOLDER] [VERSION ...]

Versions are such as 3.12; those of which there is no interpreter are named and left out.  The
wheel is installed with what it asks for, then arviz-base beside it, which changes how numpyro is
imported; everything runs in another folder than the source's.  Exits with 1 where a check failed.
"""

import argparse
import itertools
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
VERSIONS = ("3.11", "3.12", "3.13")
IMPORTS = ("arviz_base", "numpyro", "jax", "xarray")


def find_interpreter(version: str) -> str | None:
    """A ``pythonVERSION`` on the path or among pyenv's; None where there is none."""
    installed = pathlib.Path.home() / ".pyenv" / "versions"
    found = [str(p) for p in sorted(installed.glob(f"{version}*/bin/python{version}"))]
    # pyenv puts commands on the path that only say that a version is not chosen.
    for candidate in [*found, shutil.which(f"python{version}")]:
        if candidate and works([candidate, "-c", "import venv, ssl"]):
            return candidate
    return None


def works(command: list, folder: pathlib.Path = ROOT, quiet: bool = True) -> bool:
    """Whether the command succeeds; what a failing one printed is shown unless `quiet`."""
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True)
    if done.returncode and not quiet:
        print(f"$ {' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.returncode == 0


def build_wheel(python: str, folder: pathlib.Path) -> pathlib.Path:
    """The wheel of the source in `folder`."""
    command = [python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def check(interpreter: str, wheel: pathlib.Path, home: pathlib.Path, work: pathlib.Path) -> list:
    """The names of the checks that failed with the wheel in a new environment `home`."""
    python, oti = home / "bin" / "python", home / "bin" / "oti"
    install = [python, "-m", "pip", "install", "-q"]
    if not works([interpreter, "-m", "venv", home]):
        return ["venv"]
    example = re.search(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    (work / "readme.py").write_text(example.group(1))
    readme, order = [python, "-W", "error", "readme.py"], ROOT / "tests" / "cli" / "import_order.py"
    checks = {
        "install": [*install, wheel],
        "README": readme,
        "oti --help": [oti, "--help"],
        "oti demo": [oti, "demo", "--quiet", "--out", home / "demo"],
        "install arviz-base": [*install, "arviz-base"],
        "README beside arviz-base": readme,
    }
    for names in itertools.permutations(IMPORTS):
        checks[f"import {' '.join(names)}"] = [python, "-W", "error", order, *names]
    return [name for name, command in checks.items() if not works(command, work, quiet=False)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("versions", nargs="*", default=VERSIONS, metavar="VERSION")
    parser.add_argument("--keep", type=pathlib.Path, help="folder in which environments stay")
    options = parser.parse_args()
    found = {version: find_interpreter(version) for version in options.versions}
    failed = False
    with tempfile.TemporaryDirectory(prefix="fresh-") as name:
        folder = pathlib.Path(name)
        (folder / "work").mkdir()
        wheel = build_wheel(sys.executable, folder)
        for version, interpreter in found.items():
            if interpreter is None:
                print(f"Python {version}: not at hand, not checked", flush=True)
                continue
            home = (options.keep or folder).absolute() / f"python{version}"
            bad = check(interpreter, wheel, home, folder / "work")
            failed |= bool(bad)
            print(f"Python {version}: {'FAILED ' + ', '.join(bad) if bad else 'good'}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
