"""Actions of a model beside those of a potential."""

from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..arguments import shown
from ..checks.actions import ActionComparison
from .actions import plot_actions


def plot_compared_actions(compared: ActionComparison) -> tuple[Figure, NDArray]:
    """Draw J, theta and Omega of `compare_actions` against the reference, which is named.

    Returns the figure and its axes, shape (3,).  Raises ``ValueError`` for anything else.
    """
    if not isinstance(compared, ActionComparison):
        raise ValueError(
            f"compared must be what compare_actions returned, but {shown(compared)} was given."
        )
    names = ("J", "theta", "Omega")
    fig, axes = plot_actions(compared.table, {n: compared.table[f"{n}_ref"] for n in names}, names)
    fig.suptitle(f"reference: {compared.reference}", fontsize="small", wrap=True)
    return fig, axes
