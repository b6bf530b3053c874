"""Times in words."""


def duration(seconds: float) -> str:
    """Seconds in the unit that a person would use, without decimals."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
