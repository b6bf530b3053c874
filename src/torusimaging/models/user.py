"""The Fourier family with a user's own functions for the label and the distortions."""

import inspect
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..arguments import choice, dictionary, positive, shown
from ..data.pixels import require_x64
from ..foliation import FourierFoliation, UserFunction
from ..labels import FunctionLabel
from ..priors.named import Distribution, as_arrays
from ..units import check_units
from .base import OrbitModel
from .contours import CONVENTIONS, PARTS, by_order, check_e_funcs
from .functions import values_of

AT_CENTRE = 1e-9  # what e_m(0) = 0 may be by rounding


class TorusImaging1D(OrbitModel):
    """Orbits and labels from arbitrary JAX functions.

    Parameters
    ----------
    label_func : ``label_func(r, **params["label_params"])``, the label on the orbit of radius r
    e_funcs : ``{m: func}`` with ``func(r_e, **params["e_params"][m])`` and value 0 at r_e = 0
    regularization_func : ``func(model, params)``, added to minus the ln posterior
    convention : the elliptical angle, "pv" or "vp"
    r_e_max : elliptical radius (kpc Myr^-1/2) where the functions end; by default a model ends
        only where its contours cross, within 10 kpc Myr^-1/2
    priors : numpyro distributions by the name of their parameter (see `with_priors`)
    units : a unit system, for scripts that give one, without effect

    Functions act element by element.  Other parameters are ``pos0`` (kpc), ``vel0`` (kpc/Myr) and
    ``ln_Omega0`` (rad/Myr).  Raises ``ValueError`` for an order that is no positive integer and for
    what is no function, `UnitError` for units that are none.
    """

    on_orbits: FunctionLabel
    e_items: tuple = eqx.field(static=True)
    regularization_func: Callable | None = eqx.field(static=True)
    convention: str = eqx.field(static=True)
    limit: float = eqx.field(static=True)
    given: dict[str, Distribution]

    def __init__(
        self,
        label_func: Callable,
        e_funcs: dict[int, Callable],
        regularization_func: Callable | None = None,
        units=None,
        convention: str = "pv",
        r_e_max: float = 10.0,
        priors: dict | None = None,
    ):
        require_x64()
        e_funcs = by_order(e_funcs, "e_funcs")
        functions = {"label_func": label_func} | {f"e_funcs[{m}]": f for m, f in e_funcs.items()}
        if regularization_func is not None:
            functions["regularization_func"] = regularization_func
        for name, function in functions.items():
            if not callable(function):
                raise ValueError(f"{name} must be a function, but {shown(function)} was given.")
        check_units(units)
        self.on_orbits = FunctionLabel(label_func)
        self.e_items = tuple(sorted(e_funcs.items()))
        self.regularization_func = regularization_func
        self.convention = choice(convention, "convention", CONVENTIONS)
        self.limit = positive(r_e_max, "r_e_max")
        self.given = as_arrays(priors)

    @property
    def parts(self) -> tuple[str, ...]:
        """The entries that a set of parameters must have."""
        return PARTS

    check_e_funcs = check_e_funcs

    @property
    def label(self) -> FunctionLabel:
        """The label as a function of the orbit."""
        return self.on_orbits

    def foliation(self, params: dict) -> FourierFoliation:
        """The orbits for a set of parameters."""
        functions = tuple(
            UserFunction(func, params["e_params"].get(m, {})) for m, func in self.e_items
        )
        return FourierFoliation(
            jnp.exp(params["ln_Omega0"]),
            jnp.asarray(params["pos0"]),
            jnp.asarray(params["vel0"]),
            functions,
            tuple(m for m, _ in self.e_items),
            self.convention,
            self.r_e_max(params),
        )

    def check(self, params: dict) -> None:
        """Raise a ``ValueError`` for parameters that are none of the functions' arguments."""
        functions = dict(self.e_items)
        if unknown := [m for m in params["e_params"] if m not in functions]:
            raise ValueError(
                f"e_params must be of the orders {', '.join(map(str, functions)) or '(none)'}, but "
                f"has {shown(unknown[0])}."
            )
        own = [(f"e_params[{m}]", f, params["e_params"].get(m, {})) for m, f in functions.items()]
        if "label_params" in params:
            own.append(("label_params", self.label.func, params["label_params"]))
        for name, function, arguments in own:
            dictionary(arguments, name)
            try:
                signature = inspect.signature(function)
            except ValueError:
                continue  # Compiled functions may not tell.
            try:
                signature.bind(0.0, **arguments)
            except TypeError as error:
                raise ValueError(
                    f"{name} must hold the arguments of its function but the radius: {error}."
                ) from None
        radii = jnp.linspace(0.0, 1.0, 5)
        for m, function in functions.items():
            arguments = params["e_params"].get(m, {})
            first = values_of(function, radii, arguments, f"e_funcs[{m}]", "radii")[0]
            if not abs(first) < AT_CENTRE:
                raise ValueError(f"e_funcs[{m}] must be 0 at r_e = 0, but is {first:.4g} there.")
        if "label_params" in params:
            values_of(self.label.func, radii, params["label_params"], "label_func", "radii")

    def prior_factors(self, params: dict) -> dict[str, Array]:
        """None: the prior of this model is its regularisation and what the user gives."""
        return {}

    def template(self) -> None:
        """Nothing: a user's functions do not tell the shape of their parameters."""
        return None

    @property
    def is_regularized(self) -> bool:
        """Whether there is a regularisation of the user's own."""
        return self.regularization_func is not None

    def regularization(self, params: dict) -> Array:
        """The user's regularisation."""
        if self.regularization_func is None:
            return jnp.zeros(())
        return self.regularization_func(self, params)

    def r_e_max(self, params: dict) -> Array:
        """The elliptical radius at which the functions end."""
        return jnp.asarray(self.limit)
