"""The posterior of a model: what it makes of parameters, its priors, likelihoods, objectives."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..arguments import shown
from ..data.pixels import Map, check_names, read_map, require_x64
from ..foliation import FourierFoliation, PotentialFoliation
from ..inference.objectives import OBJECTIVES
from ..likelihoods import pixels as likelihoods
from ..parameters import Bounds, Layout, check_structure, make_bounds, student_residuals
from ..priors import joint, named
from ..units import plain_parameter

SCALARS = ("pos0", "vel0", "ln_Omega0")


class Posterior(eqx.Module):
    """A label on the orbits of a foliation, with a prior of the parameters (abstract).

    `given` holds the user's own priors by the name of what they are for (see `with_priors`).
    """

    given: dict[str, named.Distribution]

    def __repr__(self) -> str:
        own = f"priors of {', '.join(self.given)}" if self.given else "default priors"
        return f"{type(self).__name__}({own})"

    @abc.abstractmethod
    def foliation(self, params: dict) -> FourierFoliation | PotentialFoliation:
        """The orbits for a set of parameters."""

    @abc.abstractmethod
    def label_of_radius(self, r: Array, params: dict) -> Array:
        """The label on the orbit of radius r."""

    @abc.abstractmethod
    def prior_factors(self, params: dict) -> dict[str, Array]:
        """Factors of the default prior, each a normal distribution of the parameters it names.

        As residuals, whose squares, halved, are minus the ln of the factor.  One may depend on
        parameters of others.  Those of `dofs` are multivariate Student's t.
        """

    @property
    def dofs(self) -> dict[str, Array]:
        """Degrees of freedom of the factors whose residuals have a common unknown sd, if any."""
        return {}

    @abc.abstractmethod
    def template(self) -> dict | None:
        """Parameters of the right shape; None where the model cannot know it."""

    def constraints(self, params: dict) -> Array:
        """Residuals that are zero where the parameters make a possible model; none here."""
        return jnp.zeros(0)

    def is_possible(self, params: dict) -> Array:
        """Whether parameters have any probability, where a model knows more than its prior says."""
        return jnp.ones((), bool)

    def regularization(self, params: dict) -> Array:
        """A user's own term of minus the ln prior; nothing here."""
        return jnp.zeros(())

    @property
    def is_least_squares(self) -> bool:
        """Whether the prior is a sum of squares between limits, as Levenberg-Marquardt needs."""
        return all(map(named.is_square, self.given.values()))

    def prior_residuals(self, params: dict) -> Array:
        """Terms whose squares, halved, are minus the ln prior but for `penalty`.

        A given prior takes the place of the default factors that it covers, and multiplies one
        of which it names an entry.
        """
        terms = [
            factor if dof is None else student_residuals(factor, dof)
            for factor, dof in self.linear_factors(params)
        ]
        return jnp.concatenate([*terms, self.constraints(params)])

    def linear_factors(self, params: dict) -> list[tuple[Array, Array | None]]:
        """Linear residuals of each factor of the prior, and its degrees of freedom if it is a t."""
        places = [named.Place.of(name) for name in self.given]
        factors = [
            (factor, self.dofs.get(name))
            for name, factor in self.prior_factors(params).items()
            if not any(p.covers(named.Place.of(name)) for p in places)
        ]
        return factors + [
            (named.normal_residuals(given, named.entry(params, name)), None)
            for name, given in self.given.items()
            if named.is_normal(given)
        ]

    def penalty(self, params: dict) -> Array:
        """The terms of minus the ln prior that are no sums of squares."""
        total = self.regularization(params)
        for name, given in self.given.items():
            if not named.is_square(given):
                total -= named.ln_density(given, named.entry(params, name))
        return total

    @property
    def priors(self) -> dict[str, named.Distribution]:
        """The distributions whose product is the prior, by the name of their parameter.

        Default ones as numpyro normals, each marginalised over the others.  Parameters that are
        missing are uniform between their bounds; `constraints` come on top, and so does the
        published regularisation, which is no distribution.
        """
        require_x64(self)
        return joint.marginals(self)

    def with_priors(self, priors: dict[str, named.Distribution]) -> "Posterior":
        """The model with further priors, numpyro distributions by the name of their parameter.

        Names are those of `priors`, of any other part of the parameters (``pos0``,
        ``density_params.ln_rho``) or of one entry (``density_params.ln_rho[0]``).  A prior takes
        the place of the default one that it covers; a prior for a single entry multiplies it.
        Raises ``ValueError`` for anything but distributions.
        """
        require_x64(self)
        new = self.given | named.as_arrays(priors)
        return eqx.tree_at(lambda model: model.given, self, new, is_leaf=lambda x: x is self.given)

    @property
    @abc.abstractmethod
    def parts(self) -> tuple[str, ...]:
        """The entries that a set of parameters must have."""

    def check(self, params: dict) -> None:
        """Raise a ``ValueError`` for parameters that make no model; all do here."""
        return None

    def floats(self, params: dict, label: bool = True) -> dict:
        """A copy of the caller's parameters as float arrays; the caller's are never touched.

        Quantities are taken for pos0 and vel0, and ``label_params`` may be missing where no
        `label` is asked for.  Raises ``ValueError`` for a part that is missing,
        unknown, of the wrong shape or not finite, and for parameters that make no model;
        ``RuntimeError`` where JAX or the model is not in double precision.
        """
        require_x64(self)
        if not isinstance(params, dict):
            raise ValueError(f"params must be a dictionary, but {type(params).__name__} was given.")
        parts = tuple(dict.fromkeys((*self.parts, *(("label_params",) if label else ()))))
        if missing := [name for name in parts if name not in params]:
            raise ValueError(
                f"params must have {', '.join(parts)}, but {', '.join(missing)} is missing."
            )
        for name in parts:
            if name.endswith("_params") and not isinstance(params[name], dict):
                raise ValueError(
                    f"{name} of params must be a dictionary, but {shown(params[name])} was given."
                )
        for name in SCALARS:
            if isinstance(params.get(name), dict):
                raise ValueError(f"{name} in params must be one number, but is a dictionary.")
        check_structure(params, self.template(), parts)
        out = jax.tree_util.tree_map_with_path(
            lambda path, x: jnp.asarray(plain_parameter(x, ".".join(str(k.key) for k in path))),
            params,
            is_leaf=lambda x: not isinstance(x, dict),
        )
        for name, x in named.leaves_of(out).items():
            if name in SCALARS and x.ndim:
                raise ValueError(f"{name} in params must be one number, but has shape {x.shape}.")
            if not np.all(np.isfinite(x)):
                raise ValueError(f"params must be finite, but {name} is {np.asarray(x)}.")
        self.check(out)
        return out

    def label_at(self, pos: Array, vel: Array, params: dict) -> Array:
        """The label at plain positions (kpc) and velocities (kpc/Myr); shape of the input."""
        return self.label_of_radius(self.foliation(params).radius(pos, vel), params)

    def ln_gaussian_likelihood(self, params: dict, pos, vel, label, label_err, **means) -> float:
        """Normalised ln likelihood of pixel means with normal errors.

        `means` are ``pos_mean`` and ``vel_mean``, the stars' mean places, if they are known; what
        else a map holds is taken, but not used.
        """
        check_names(means, "ln_gaussian_likelihood")
        data = {"pos": pos, "vel": vel, "label": label, "label_err": label_err}
        data = read_map(data | means)
        fit = evaluate_label(self, self.floats(params), data.pos, data.vel)
        return float(likelihoods.ln_gaussian(fit, data.label, data.label_err))

    def ln_poisson_likelihood(self, params: dict, pos, vel, counts) -> float:
        """Normalised ln likelihood of pixel counts, whose ln rate is the model's label."""
        data = read_map({"pos": pos, "vel": vel, "counts": counts}, "poisson")
        fit = evaluate_label(self, self.floats(params), data.pos, data.vel)
        return float(likelihoods.ln_poisson(fit, data.label))

    def objective_gaussian(self, params: dict, pos, vel, label, label_err, **means) -> float:
        """Minus the ln posterior up to a constant: half chi^2 plus the prior's terms."""
        check_names(means, "objective_gaussian")
        data = {"pos": pos, "vel": vel, "label": label, "label_err": label_err}
        return self._objective("gaussian", params, read_map(data | means))

    def objective_poisson(self, params: dict, pos, vel, counts) -> float:
        """Minus the ln posterior of counts up to a constant."""
        data = read_map({"pos": pos, "vel": vel, "counts": counts}, "poisson")
        return self._objective("poisson", params, data)

    def _objective(self, kind: str, params: dict, data: Map) -> float:
        params = self.floats(params)
        layout, bounds = self.unlimited(params)
        x = layout.flatten(params)
        return float(evaluate(OBJECTIVES[kind], x, (self, bounds, layout, data)))

    def unlimited(self, params: dict) -> tuple[Layout, Bounds]:
        """The layout and bounds with which the free vector is that of the parameters themselves.

        Raises ``ValueError`` for parameters without probability in the given priors.
        """
        named.check_priors(self.given, params)
        layout = Layout.of(params)
        return layout, make_bounds(layout, params, None)


@eqx.filter_jit
def evaluate(objective, z, args):
    return objective(z, args)


@eqx.filter_jit
def evaluate_label(model, params, pos, vel):
    return model.label_at(pos, vel, params)
