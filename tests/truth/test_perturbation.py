"""Changes of the label with the density against models that have them, and what is made of them."""

import jax.numpy as jnp
import numpy as np

import torusimaging as oti
from torusimaging.checks.perturbation import _layer_column, _odd_columns
from torusimaging.data.pixels import Map
from torusimaging.foliation.density import LayeredSide
from torusimaging.foliation.grid import OrbitGrid
from torusimaging.models import SmoothDensity
from torusimaging.models.densities import DensityForm
from torusimaging.models.smooth import smooth_knots

HEIGHT, TOP, CORE = 1.2, 1.8, 0.12
RNG = np.random.default_rng(0)
PIXELS = Map(
    *map(jnp.asarray, (RNG.uniform(-1.1, 1.1, 60), RNG.uniform(-0.04, 0.04, 60))),
    jnp.zeros(60),
    jnp.ones(60),
)


def model_of(form: DensityForm):
    made = oti.TorusImaging1DPotential(np.linspace(0, 0.6, 6), form, HEIGHT, TOP)
    params = made.floats(made.template())
    slopes = jnp.array([0.1, -0.2, -0.4, -0.6, -0.9])
    params["label_params"]["label_vals"] = jnp.concatenate([jnp.zeros(1), slopes])
    return made, params | {"pos0": jnp.asarray(0.013), "vel0": jnp.asarray(5e-4)}


def smooth(asymmetric: bool = False) -> SmoothDensity:
    return SmoothDensity.about(smooth_knots(60, HEIGHT, TOP), 0.07, HEIGHT, asymmetric=asymmetric)


def test_odd_changes_against_models_with_two_sides():
    """Central differences of the label with rho e^eta above and rho e^-eta below the plane."""
    made, params = model_of(smooth())
    two, both = model_of(smooth(asymmetric=True))
    heights = np.array([0.0, 0.15, 0.45, 1.2])
    found = _odd_columns(made, params, PIXELS.points, jnp.asarray(heights), jnp.asarray(CORE))
    knots = np.asarray(made.density.knots)
    cells = (knots[1:] + knots[:-1]) / 2
    step = 1e-3
    for column, unit in zip(np.asarray(found).T, np.eye(4)[1:], strict=True):
        eta = np.interp(cells, heights, unit)

        def label(sign, eta=eta):
            ln_rho = np.asarray(made.density.reference) + sign * eta
            below = np.asarray(made.density.reference) - sign * eta
            density = {"ln_rho": jnp.asarray(ln_rho), "ln_rho_below": jnp.asarray(below[1:])}
            return two.label_at(PIXELS.points, both | {"density_params": density})

        finite = np.asarray(label(step) - label(-step)) / (2 * step)
        # Cells of 10 pc at the plane to 90 pc follow the bends of eta to a per cent.
        np.testing.assert_allclose(column, finite, atol=0.015 * np.abs(finite).max())


def test_a_layer_against_a_thin_one():
    """A sech^2 layer of 0.5 pc beside the density, divided by its mass."""
    height, rho = 5e-4, 1e6
    mass = 2 * height * rho

    class WithLayer(DensityForm):
        """The same with a layer, whose force and potential are closed forms."""

        thin: float

        def sides(self, params):
            kinds = ("sech2", "constant", "sech2")
            numbers = (7e7, 1e7, self.thin), (0.25, 1.0, height)
            return LayeredSide(kinds, *(tuple(map(jnp.asarray, x)) for x in numbers)), None

        def prior_factors(self, params):
            return {}

        def start(self):
            return {}

        @property
        def words(self):
            return "disc"

        def grid(self, top, n=1024):
            return OrbitGrid.reaching(top, (5e-4, 2e-3, 8e-3), 1024, 200)

    labels = []
    for thin in (0.0, rho):
        made, params = model_of(WithLayer(thin))
        labels.append(np.asarray(made.label_at(PIXELS.points, params)))
        if not thin:
            column = np.asarray(_layer_column(made, params, PIXELS.points))
    finite = (labels[1] - labels[0]) / mass
    np.testing.assert_allclose(column, finite, atol=1e-4 * np.abs(finite).max())
