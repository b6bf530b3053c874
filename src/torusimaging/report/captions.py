"""What each figure of a report shows, and what to look for in it."""

CAPTIONS = {
    "counts-label": """Number of stars (left) and mean label (right) in each pixel of the (v_z, z)
        plane.  Look for holes of the survey, and for a label that changes smoothly around the
        middle.""",
    "model": """Mean label of the data (left) with contours of the fitted model, the model (middle),
        and the difference in units of each pixel's error (right).  The contours are orbits: stars
        of one vertical action move along them.  Look for a right panel without structure; a spiral
        or a ring there is what the model does not describe.""",
    "acceleration-density": """Vertical acceleration (left) and mass density (right) against height:
        median and the intervals of 68 and 95 per cent of all posterior draws.  Where they are
        hatched the data removed less than 90 per cent of the prior's variance.  Look for the truth
        of a simulation, dashed, inside the bands.""",
    "profiles": """Acceleration, density and surface density against the distance from the midplane,
        with 68 and 95 per cent of the draws.  Published values, where they are marked, are named
        with what they contain.""",
    "corner": """Posterior draws of the quantities two by two.  Look for round clouds without edges:
        an edge is a limit, a banana two quantities that trade with each other.""",
    "posterior-predictive": """The label along z (left) and along v_z (middle) with what the model
        would draw again, and the misfit of data and replicas (right).  Look for data inside the
        bands and a p between 0.01 and 0.99.""",
    "trace": """Ranks and draws of each chain.  Look for flat histograms that lie on each other.""",
    "actions": """Actions, angles and frequencies of the simulated stars by the fit against their
        true ones.  Grey: stars whose orbits turn beyond the data, where the prior's density
        decides.""",
    "splines": """The label against the orbit's size, and the shape functions of the model.""",
    "initial": """The model before the fit: what it began with.""",
}


def captions_of(names: list[str]) -> str:
    """The captions of the figures that were drawn, one a paragraph."""
    return "\n\n".join(f"{name}: {' '.join(CAPTIONS[name].split())}" for name in names) + "\n"
