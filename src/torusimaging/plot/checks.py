"""Checks that several figures share."""

from ..models.base import OrbitModel


def check_params(model: OrbitModel, params: dict, name: str = "params") -> None:
    """Raise a ``ValueError`` unless `params` is a full set of the parameters of `model`."""
    parts = tuple(dict.fromkeys((*model.parts, "label_params")))
    missing = [k for k in parts if k not in params]
    if missing:
        raise ValueError(
            f"{name} must have {', '.join(parts)}, but {', '.join(missing)} is missing."
        )
