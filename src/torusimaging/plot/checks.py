"""Checks that several figures share."""

KEYS = ("pos0", "vel0", "ln_Omega0", "label_params", "e_params")


def check_params(params: dict, name: str = "params") -> None:
    """Raise a ``ValueError`` unless `params` is a full set of a model's parameters."""
    missing = [k for k in KEYS if k not in params]
    if missing:
        raise ValueError(
            f"{name} must have {', '.join(KEYS)}, but {', '.join(missing)} is missing."
        )
