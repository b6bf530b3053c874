"""A label as a function of the orbit: what a model gives to each orbit, with its prior."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .coordinates import Points
from .foliation.series import powers_once
from .priors.slopes import published_slope_residuals, slope_residuals
from .splines import QuadraticSpline

# Of the prior of single stars: ln odds of an outlier and their sd, sd of ln of the outliers' sd, of
# ln scatter about its centre and of its random walk, and of arctanh of a partial correlation.
LOGIT_OUTLIERS = (float(np.log(0.01)), 1.5)
OUTLIER_SIGMA = 0.5
SCATTER_SIGMAS = (1.0, 0.5)
CORRELATION_SIGMA = 0.7


class Label(eqx.Module):
    """A label on the orbits of each radius r (abstract); its parameters are ``label_params``."""

    @abc.abstractmethod
    def value(self, r: Array, params: dict) -> Array:
        """The label on orbits of radius r (kpc Myr^-1/2)."""

    @property
    def places(self) -> Array:
        """Radii at which the function bends; none for one that is smooth."""
        return jnp.zeros(0)

    def template(self) -> dict | None:
        """Parameters of the right shape at the prior's centre; None where it cannot be known."""
        return None

    def prior_factors(self, params: dict) -> dict[str, Array]:
        """Factors of the prior by parameter, as residuals; none here."""
        return {}


class SplineLabel(Label):
    """A quadratic spline whose slopes are smooth, and of one sign where it is monotone.

    Parameters ``label_vals``: the label at r = 0 and, at the other knots, the ln-slopes of sign
    times label or, where it is not monotone, the slopes in units of exp(reference).

    Attributes
    ----------
    knots : radii, increasing from 0 (kpc Myr^-1/2)
    reference : ln-slope about which the prior of the slopes lies
    sigmas : sd of the slopes about it, and of their random walk
    sign : +1 for a label that rises outwards, -1 for one that falls
    monotone : whether it may only rise, or only fall
    published : whether the prior is that of the published package, which is no distribution
    """

    knots: Float[Array, " k"]
    reference: Float[Array, ""]
    sigmas: Float[Array, " 2"]
    sign: int = eqx.field(static=True)
    monotone: bool = eqx.field(static=True, default=True)
    published: bool = eqx.field(static=True, default=False)

    def value(self, r: Array, params: dict) -> Array:
        """The label on orbits of radius r."""
        return self.spline(params)(r)

    def spline(self, params: dict) -> QuadraticSpline:
        """The label as a function of r."""
        vals = jnp.asarray(params["label_vals"])
        slopes = jnp.exp(vals[1:]) if self.monotone else jnp.exp(self.reference) * vals[1:]
        return QuadraticSpline(self.knots, vals[0], self.sign * slopes)

    @property
    def first(self) -> "SplineLabel":
        """Itself, the one label that there is."""
        return self

    @property
    def places(self) -> Array:
        """The knots."""
        return self.knots

    @property
    def _centre(self) -> Array:
        return self.reference if self.monotone else jnp.ones(())

    def template(self) -> dict:
        """Parameters at the centre of the prior, the label at r = 0 being 0."""
        slopes = jnp.full(self.knots.size - 1, self._centre)
        return {"label_vals": jnp.concatenate([jnp.zeros(1), slopes])}

    def start(self, at_centre: float) -> dict:
        """Parameters at the centre of the prior with this label at r = 0."""
        slopes = np.full(self.knots.size - 1, float(self._centre))
        return {"label_vals": np.r_[at_centre, slopes]}

    def prior_factors(self, params: dict) -> dict[str, Array]:
        """The smoothness of the slopes."""
        slopes = params["label_vals"][1:]
        if self.published:
            return {"label_vals[1:]": published_slope_residuals(slopes, *self.sigmas)}
        return {"label_vals[1:]": slope_residuals(slopes, self._centre, *self.sigmas)}


class FunctionLabel(Label):
    """A user's own function ``func(r, **label_params)``, element by element."""

    func: Callable = eqx.field(static=True)

    def value(self, r: Array, params: dict) -> Array:
        """The label on orbits of radius r."""
        return jnp.broadcast_to(self.func(r, **params), jnp.shape(r))


class StarLabels(Label):
    r"""Labels of single stars: their means on the orbits, how stars scatter about them, outliers.

    A star on the orbit of radius r is of the label's own distribution, with chance 1 - epsilon,

        N(mean(r), D(r) C D(r) + errors^2),     D = diag of the scatters s_k(r),

    C the correlation of the scatter of several labels, or an outlier with chance epsilon, of
    independent normals about one place of each label, `outlier_mean`, with one sd.  ln s_k is
    a polynomial in r^2 / (r^2 + r_h^2), r_h half the last of the radii `scatter_knots`, given by
    its values there.

    Where the stars' angular momenta are known the mean has another term, gradient (R_g - guide):
    a guiding radius R_g is conserved, so that labels may depend on it, too.

    Parameters of one label: ``label_vals`` as of `SplineLabel`, ``ln_scatter`` (at the knots),
    ``outlier_mean``, ``ln_outlier_sd``, ``gradient`` (per kpc) and ``logit_outliers``, the ln odds
    of epsilon.  Of several labels all but the last are nested under each name, and ``correlation``
    holds the partial correlations of the scatter as arctanh, (1, 2), (1, 3), (2, 3), ...
    (Lewandowski, Kurowicka & Joe 2009, J. Multivariate Anal. 100, 1989).

    Attributes
    ----------
    names : of the labels
    means : their means
    scatter_knots : radii (kpc Myr^-1/2), increasing from 0
    centres : the prior's centres by label: ln scatter, outlier_mean, its sd, ln_outlier_sd
    guide : the guiding radius (kpc) at which the means are those of r alone; None without gradients
    """

    names: tuple[str, ...] = eqx.field(static=True)
    means: tuple[SplineLabel, ...]
    scatter_knots: Float[Array, " k"]
    centres: Float[Array, "labels 4"]
    guide: Float[Array, ""] | None = None

    @property
    def first(self) -> SplineLabel:
        """The mean of the first label."""
        return self.means[0]

    @property
    def places(self) -> Array:
        """The first label's knots."""
        return self.first.places

    def own(self, params: dict, k: int) -> dict:
        """The parameters of label number `k`."""
        return params if len(self.names) == 1 else params[self.names[k]]

    def value(self, r: Array, params: dict) -> Array:
        """The mean of the first label on orbits of radius r."""
        return self.first.value(r, self.own(params, 0))

    def values(self, r: Array, params: dict, once: bool = False) -> Array:
        """The means of all labels, shape (labels,) + that of r.

        With `once` first derivatives are all that is asked for.
        """
        splines = [mean.spline(self.own(params, k)) for k, mean in enumerate(self.means)]
        return jnp.stack([_once(spline, r) if once else spline(r) for spline in splines])

    def shifts(self, points: Points, params: dict) -> Array:
        """What the guiding radius adds to the means, shape (labels,) + that of the points."""
        assert self.guide is not None
        slopes = [self.own(params, k)["gradient"] for k in range(len(self.names))]
        return jnp.multiply.outer(jnp.stack(slopes), points.guiding_radius - self.guide)

    def ln_scatter(self, r: Array, params: dict) -> Array:
        """ln of the scatters, shape (labels,) + that of r."""
        own = [self.own(params, k) for k in range(len(self.names))]
        return jnp.stack([self._ln_scatter(r, x) for x in own])

    def _ln_scatter(self, r: Array, own: dict) -> Array:
        """Newton's polynomial through the knots, in a variable that ends at 1 far out.

        A function with kinks would give the likelihood one at every star, and no optimum to find.
        """
        values, half = jnp.asarray(own["ln_scatter"]), self.scatter_knots[-1] / 2
        at = self.scatter_knots**2 / (self.scatter_knots**2 + half**2)
        x = r**2 / (r**2 + half**2)
        divided = list(values)
        for order in range(1, at.size):
            for k in range(at.size - 1, order - 1, -1):
                divided[k] = (divided[k] - divided[k - 1]) / (at[k] - at[k - order])
        out = divided[-1] + jnp.zeros_like(r)
        for k in range(at.size - 2, -1, -1):
            out = divided[k] + (x - at[k]) * out
        return out

    def correlation_root(self, params: dict) -> Array:
        """The lower triangle L with C = L L^T, shape (labels, labels)."""
        n = len(self.names)
        if n == 1:
            return jnp.ones((1, 1))
        partial = jnp.tanh(jnp.asarray(params["correlation"]))
        rows, i = [], 0
        for row in range(n):
            left, entries = jnp.ones(()), []
            for _ in range(row):
                entries.append(partial[i] * jnp.sqrt(left))
                left = left * (1 - partial[i] ** 2)
                i += 1
            entries.append(jnp.sqrt(left))
            rows.append(jnp.concatenate([jnp.stack(entries), jnp.zeros(n - row - 1)]))
        return jnp.stack(rows)

    def template(self) -> dict:
        """Parameters at the centre of the prior, the means at r = 0 being 0."""
        return self._made([mean.template()["label_vals"] for mean in self.means], jnp.asarray)

    def start(self, values: list) -> dict:
        """Parameters at the centre of the prior with these ``label_vals`` of each label."""
        return self._made(values, np.asarray)

    def _made(self, values: list, array: Callable) -> dict:
        out = {}
        for k, name in enumerate(self.names):
            ln_s, mean, _, ln_sd = self.centres[k]
            out[name] = {
                "label_vals": array(values[k]),
                "ln_scatter": array(jnp.full(self.scatter_knots.size, ln_s)),
                "outlier_mean": array(mean),
                "ln_outlier_sd": array(ln_sd),
            }
            if self.guide is not None:
                out[name]["gradient"] = array(jnp.zeros(()))
        n = len(self.names)
        if n == 1:
            out = out[self.names[0]]
        else:
            out["correlation"] = array(jnp.zeros(n * (n - 1) // 2))
        return out | {"logit_outliers": array(jnp.asarray(LOGIT_OUTLIERS[0]))}

    def prior_factors(self, params: dict) -> dict[str, Array]:
        """Smooth means and scatters; outliers are rare and far, correlations any."""
        out = {}
        for k, (name, mean) in enumerate(zip(self.names, self.means, strict=True)):
            own = self.own(params, k)
            prefix = "" if len(self.names) == 1 else f"{name}."
            ln_s, centre, spread, ln_sd = self.centres[k]
            factors = mean.prior_factors(own) | {
                "ln_scatter": slope_residuals(
                    own["ln_scatter"], ln_s, *map(jnp.asarray, SCATTER_SIGMAS)
                ),
                "outlier_mean": jnp.reshape((own["outlier_mean"] - centre) / spread, 1),
                "ln_outlier_sd": jnp.reshape((own["ln_outlier_sd"] - ln_sd) / OUTLIER_SIGMA, 1),
            }
            if self.guide is not None:
                # Over a kiloparsec the mean changes as much as outliers spread, or less.
                factors["gradient"] = jnp.reshape(own["gradient"] / spread, 1)
            out |= {f"{prefix}{key}": factor for key, factor in factors.items()}
        centre, sd = LOGIT_OUTLIERS
        out["logit_outliers"] = jnp.reshape((params["logit_outliers"] - centre) / sd, 1)
        if len(self.names) > 1:
            out["correlation"] = jnp.asarray(params["correlation"]) / CORRELATION_SIGMA
        return out

    def settings(self) -> dict:
        """The arguments that make this label, as numbers and lists."""
        return {
            "names": list(self.names),
            "means": [
                {
                    "knots": np.asarray(mean.knots).tolist(),
                    "reference": float(mean.reference),
                    "sigmas": np.asarray(mean.sigmas).tolist(),
                    "sign": mean.sign,
                    "monotone": mean.monotone,
                }
                for mean in self.means
            ],
            "scatter_knots": np.asarray(self.scatter_knots).tolist(),
            "centres": np.asarray(self.centres).tolist(),
        } | ({} if self.guide is None else {"guide": float(self.guide)})

    @classmethod
    def from_settings(cls, settings: dict) -> "StarLabels":
        """The label of `settings`."""
        means = tuple(
            SplineLabel(
                jnp.asarray(own["knots"], float),
                jnp.asarray(own["reference"], float),
                jnp.asarray(own["sigmas"], float),
                own["sign"],
                own["monotone"],
            )
            for own in settings["means"]
        )
        knots, centres = (jnp.asarray(settings[k], float) for k in ("scatter_knots", "centres"))
        guide = jnp.asarray(settings["guide"], float) if "guide" in settings else None
        return cls(tuple(settings["names"]), means, knots, centres, guide)


def _once(spline: QuadraticSpline, r: Array) -> Array:
    """A spline at many radii, with fast first derivatives and no others (see `powers_once`)."""
    line = spline.value + spline.slopes[0] * (r - spline.knots[0])
    return line + 0.5 * powers_once(spline.bends(), spline.knots[1:], r, 2)


def of_stars(label: SplineLabel | StarLabels) -> dict[str, dict]:
    """The entry of a model's settings that a label of single stars adds."""
    return {"stars": label.settings()} if isinstance(label, StarLabels) else {}
