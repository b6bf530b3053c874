"""Densities that are sums of named layers, with the solar neighbourhood's census as prior."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import astropy.units as u
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..arguments import choice, positive, shown, truth
from ..data.pixels import require_x64
from ..foliation.density import KINDS, LayeredSide, Side
from ..foliation.field import DENSITY
from ..units import internal
from .densities import DensityForm, of_sides


@dataclass(frozen=True)
class Layer:
    """One component of a layered density, with log-normal priors.

    Parameters
    ----------
    name : its name in the parameters
    kind : "sech2" (rho sech^2(z/h)), "exponential" (rho exp(-|z|/h)) or "constant"
    rho : midplane density, a quantity; kept in Msun/kpc^3
    rho_sigma : sd of ln rho
    height : scale height h, a quantity; kept in kpc, not used by "constant"
    height_sigma : sd of ln h
    dark : whether it counts as dark matter

    Raises ``ValueError`` for an unknown kind and numbers that are not positive, `UnitError` for a
    density or height without a unit or of the wrong dimension.
    """

    name: str
    kind: str
    rho: u.Quantity | float
    rho_sigma: float
    height: u.Quantity | float = 1 * u.kpc
    height_sigma: float = 0.2
    dark: bool = False

    def __post_init__(self):
        if not (isinstance(self.name, str) and self.name.isidentifier()):
            raise ValueError(
                f"the name of a layer must be letters, digits and _, not {shown(self.name)}."
            )
        choice(self.kind, f"the kind of layer {self.name!r}", KINDS)
        truth(self.dark, f"dark of layer {self.name!r}")
        units = {"rho": DENSITY, "height": u.kpc}
        for key in ("rho", "height", "rho_sigma", "height_sigma"):
            value, name = getattr(self, key), f"{key} of layer {self.name!r}"
            if key in units:
                value = internal(value, units[key], name)
            object.__setattr__(self, key, positive(value, name))


def solar_layers() -> tuple[Layer, ...]:
    """Gas, two stellar discs and dark matter as the census of the solar neighbourhood has them.

    Gas: midplane density 0.041 +- 0.004 Msun/pc^3 and surface density 13.7 +- 1.6 Msun/pc^2, which
    a sech^2 layer has at h = 0.167 kpc; stars: 0.043 +- 0.004 Msun/pc^3 and 33.4 +- 3 Msun/pc^2
    (McKee, Parravano & Hollenbach 2015, arXiv:1509.05334).  The stars are divided into exponential
    discs of 300 +- 50 and 900 +- 180 pc with 12 % of the midplane's density in the thicker one
    (Juric et al. 2008, arXiv:astro-ph/0510520).  Densities and heights have independent priors, so
    that the stars' surface density has an error of 6.6 Msun/pc^2, twice the census' own.  The
    dark matter has a wide prior (sd 0.7 in ln) about 0.013 Msun/pc^3.
    """
    rho, pc = u.Msun / u.pc**3, u.pc
    return (
        Layer("gas", "sech2", 0.041 * rho, 0.10, 167 * pc, 0.15),
        Layer("thin_disc", "exponential", 0.038 * rho, 0.10, 300 * pc, 0.17),
        Layer("thick_disc", "exponential", 0.005 * rho, 0.40, 900 * pc, 0.20),
        Layer("dark_matter", "constant", 0.013 * rho, 0.70, dark=True),
    )


class LayeredDensity(DensityForm):
    """A sum of named layers with parameters ``{name: {"ln_rho", "ln_h"}}`` (Msun/kpc^3, kpc).

    With ``asymmetric`` each layer but the constant ones has a height of its own below the plane,
    ``ln_h_below``, whose ratio to the one above has a normal prior of sd `asymmetry_sigma` in ln.

    Raises ``ValueError`` for no layer and for equal names.
    """

    layers: tuple[Layer, ...] = eqx.field(static=True)
    asymmetric: bool = eqx.field(static=True)
    asymmetry_sigma: float = eqx.field(static=True)

    def __init__(
        self, layers: Sequence[Layer], asymmetric: bool = False, asymmetry_sigma: float = 0.3
    ):
        require_x64()
        if not isinstance(layers, Sequence) or not all(isinstance(x, Layer) for x in layers):
            raise ValueError(
                "density must be 'free', 'solar', a sequence of Layer or a function of z, but "
                f"{shown(layers)} was given."
            )
        names = [layer.name for layer in layers]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"layers must have different names and be at least one, not {names}.")
        self.layers = tuple(layers)
        self.asymmetric = truth(asymmetric, "asymmetric")
        self.asymmetry_sigma = positive(asymmetry_sigma, "asymmetry_sigma")

    def _side(self, params: dict, key: str, dark_only: bool = False) -> LayeredSide:
        chosen = [layer for layer in self.layers if layer.dark or not dark_only]
        own = [params[layer.name] for layer in chosen]
        return LayeredSide(
            tuple(layer.kind for layer in chosen),
            tuple(jnp.exp(p["ln_rho"]) for p in own),
            tuple(
                jnp.exp(p[key if key in p else "ln_h"]) if "ln_h" in p else jnp.ones(())
                for p in own
            ),
        )

    def sides(self, params: dict) -> tuple[Side, Side | None]:
        """The density above and, where it differs, below the plane."""
        below = self._side(params, "ln_h_below") if self.asymmetric else None
        return self._side(params, "ln_h"), below

    @property
    def words(self) -> str:
        """Which form this is, in words."""
        names = ", ".join(layer.name for layer in self.layers)
        return f"layers ({names}){of_sides(self.asymmetric)}"

    def settings(self) -> dict:
        """The arguments that make this form, as numbers and lists."""
        return {
            "form": "layered",
            "layers": [asdict(layer) for layer in self.layers],
            "asymmetric": self.asymmetric,
            "asymmetry_sigma": self.asymmetry_sigma,
        }

    @classmethod
    def from_settings(cls, settings: dict) -> "LayeredDensity":
        """The form of `settings`."""
        units = {"rho": DENSITY, "height": u.kpc}
        layers = [
            Layer(**(own | {k: own[k] * unit for k, unit in units.items()}))
            for own in settings["layers"]
        ]
        return cls(**(settings | {"layers": layers}))

    @property
    def has_dark_matter(self) -> bool:
        """Whether a layer counts as dark matter."""
        return any(layer.dark for layer in self.layers)

    def dark_sides(self, params: dict) -> tuple[Side, Side] | None:
        """The layers that count as dark matter, above and below the plane."""
        if not self.has_dark_matter:
            return None
        above, below = (self._side(params, key, dark_only=True) for key in ("ln_h", "ln_h_below"))
        return above, below

    def prior_factors(self, params: dict) -> dict[str, Array]:
        """Factors of the prior by parameter, as residuals."""
        out = {}
        for layer in self.layers:
            own = params[layer.name]
            off = {"ln_rho": (own["ln_rho"] - np.log(layer.rho)) / layer.rho_sigma}
            if "ln_h" in own:
                off["ln_h"] = (own["ln_h"] - np.log(layer.height)) / layer.height_sigma
            if "ln_h_below" in own:
                off["ln_h_below"] = (own["ln_h_below"] - own["ln_h"]) / self.asymmetry_sigma
            out |= {f"{layer.name}.{k}": jnp.reshape(v, 1) for k, v in off.items()}
        return out

    def start(self) -> dict:
        """The prior's centre."""
        out = {}
        for layer in self.layers:
            height = np.float64(np.log(layer.height))
            out[layer.name] = {"ln_rho": np.float64(np.log(layer.rho))}
            if layer.kind != "constant":
                out[layer.name] |= {"ln_h": height}
                out[layer.name] |= {"ln_h_below": height} if self.asymmetric else {}
        return out
