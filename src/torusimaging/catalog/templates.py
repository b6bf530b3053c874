"""Configurations to begin with, as TOML."""

from ..arguments import shown
from .config import FLAGS
from .frames import FRAMES
from .selection import Selection
from .surveys.base import UNITS, Preset, observables_of
from .surveys.registry import PRESETS, SELECTIONS

EXAMPLE = "  # an example; default: none"
LIMITS = {"y_max": "1 kpc", "z_max": "2 kpc", "dR_max": "1.5 kpc"}
LIMITS |= {"vz_max": "70 km / s", "vR_max": "25 km / s"}


def template(name: str = "apogee-dr17") -> str:
    """A commented configuration of `oti bin` for a preset, with its defaults written out.

    Raises ``ValueError`` for an unknown preset.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"there is no preset {shown(name)} (known: {', '.join(PRESETS)}).")
    preset = PRESETS[name]
    return "\n".join(
        [
            f"# {preset.title}. What follows a # is the default.",
            f'preset = "{name}"',
            f"files = [{_texts(preset.files or ('stars.parquet',))}]",
            'output = "oti-bin"  # the folder that is made',
            *_columns(preset),
            *_label(preset),
            *_flags(preset),
            *_frame(preset),
            *_selection(SELECTIONS[preset.selection], preset.selection),
            "",
            "[bins]",
            'z_max = "1.2 kpc"',
            'vz_max = "70 km / s"',
            "n_z = 80  # pixels",
            "n_vz = 80",
            "",
        ]
    )


def _texts(values) -> str:
    return ", ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in values)


def _columns(preset: Preset) -> list[str]:
    if preset.units:
        hdus = f"# hdus = [{_texts(preset.hdus)}]  # each file's table, by number or name (EXTNAME)"
        return ["", "[join]", hdus]
    lines = ["", "[columns]  # the file's name for each, where it differs; distance for parallax"]
    known = [role for role in UNITS if "distance" not in role]
    # As comments, lest the error of a column stay when that is changed to another.
    lines += [f'{"# " * bool(observables_of(role))}{role} = "{role}"' for role in known]
    lines += ["", "[units]  # of columns whose file has none"]
    lines += [f'# parallax = "mas"{EXAMPLE}', "", "[join]"]
    lines += [f'# unique = "source_id"{EXAMPLE}', f'# best = "snr"{EXAMPLE}']
    lines += [f'# keys = ["source_id", "sid"]{EXAMPLE}; of two files, the column of each']
    return [*lines, f"# hdus = [1, 2]{EXAMPLE}; each file's table, by number or name (EXTNAME)"]


def _label(preset: Preset) -> list[str]:
    name, error = preset.label or ("mg_fe", "mg_fe_err")
    return [
        "",
        "[label]",
        f'name = "{name}"',
        f'error = "{error}"',
        '# scatter = "local"  # intrinsic: around each pixel; or "global", or a number',
        '# detrend = "none"  # or "R_g": take off the gradient in the guiding radius',
    ]


def _flags(preset: Preset) -> list[str]:
    flags = FLAGS[preset.flag_preset] if preset.flag_preset else preset.flags
    lines = ["", '[flags]  # bits by name or number, or "any"; [] leaves a flag out']
    for flag, bits in flags.items():
        lines.append(f'# {flag} = "{bits}"' if bits == "any" else f"# {flag} = [{_texts(bits)}]")
    return lines


def _frame(preset: Preset) -> list[str]:
    lines = ["", "[frame]", f'# preset = "{preset.frame}"  # known: {", ".join(FRAMES)}']
    values = FRAMES[preset.frame].as_dict()
    for name in ("R0", "z_sun", "galcen_ra", "galcen_dec", "roll"):
        lines.append(f'# {name} = "{values[name]}"')
    speeds, unit = values["v_sun"].strip("(").split(") ")
    parts = ", ".join(f'"{speed.strip()} {unit}"' for speed in speeds.split(","))
    return [*lines, f"# v_sun = [{parts}]"]


def _selection(selection: Selection, name: str) -> list[str]:
    lines = ["", "[selection]  # a paper's brings its frame and its flags"]
    lines.append(f'preset = "{name}"  # known: {", ".join(SELECTIONS)}')
    if selection.R is not None:
        lines.append(f'# R = ["{selection.R[0]}", "{selection.R[1]}"]')
    lines.append(f'# R_g = ["7 kpc", "9 kpc"]{EXAMPLE}')
    for key, example in LIMITS.items():
        value = getattr(selection, key)
        lines.append(f'# {key} = "{example}"{EXAMPLE}' if value is None else f'# {key} = "{value}"')
    lines.append(f'# v_circ = "{selection.rotation.v0}"')
    lines.append(f'# v_circ_slope = "{selection.rotation.slope}"')
    return [*lines, f"# parallax_over_error = 5{EXAMPLE}"]
