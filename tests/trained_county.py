"""Small counties with a model, made once for all test modules; nobody changes what is returned here."""

from functools import cache

from dropout_risk.county import County, check_county
from dropout_risk.synthetic import make_county
from dropout_risk.training import Training, train

JUNIOR = {"grades": (6, 9), "shift": 0.8, "seed": 5}
"""Grades in which many leave, so that a small county has outcomes enough."""

HELP_FROM = 3
"""Position of the first term in which the county of `helped` helps."""


@cache
def junior() -> County:
    """One county of five schools over four terms."""
    return check_county(make_county(600, terms=4, **JUNIOR))


@cache
def two_counties() -> County:
    """Two counties over four terms, with outcomes enough for trees."""
    return check_county(make_county(900, terms=4, counties=2, **{**JUNIOR, "shift": 1.0}))


@cache
def helped() -> County:
    """A county in which a seventh of the students is helped from the fourth term on."""
    return check_county(make_county(600, terms=5, help_from=HELP_FROM, help_share=0.15, **JUNIOR))


@cache
def trained(name: str = "junior", **options: object) -> Training:
    """Return the training on one of the counties above, judged quickly and without peers."""
    made = {"junior": junior, "two_counties": two_counties, "helped": helped}
    return train(made[name](), peers={}, thorough=False, **options)
