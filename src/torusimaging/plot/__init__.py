"""Figures of maps, models, profiles, actions, posteriors and covariances, ready to print."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
