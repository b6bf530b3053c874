from .acceleration import plot_acceleration_density
from .actions import plot_actions
from .calibration import plot_calibration
from .catalog import plot_places
from .chains import plot_corner, plot_trace
from .compared import plot_compared_actions
from .consistency import plot_consistency
from .covariance import plot_cov_corner, plot_cov_ellipse
from .goodness import plot_goodness
from .maps import plot_counts_label, plot_data_model_residual, plot_data_models_residual
from .predictive import plot_posterior_predictive
from .profiles import plot_prior_predictive, plot_profiles
from .splines import plot_spline_functions

__all__ = [
    "plot_acceleration_density",
    "plot_actions",
    "plot_calibration",
    "plot_compared_actions",
    "plot_consistency",
    "plot_counts_label",
    "plot_corner",
    "plot_cov_corner",
    "plot_cov_ellipse",
    "plot_data_model_residual",
    "plot_data_models_residual",
    "plot_goodness",
    "plot_places",
    "plot_posterior_predictive",
    "plot_prior_predictive",
    "plot_profiles",
    "plot_spline_functions",
    "plot_trace",
]
