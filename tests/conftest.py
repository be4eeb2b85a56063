"""Counties that several test modules share; they are made once and never changed."""

import os

import pytest
from hypothesis import HealthCheck, settings

from dropout_risk.schema import Tables
from dropout_risk.synthetic import make_county

# A busy machine is no failure; CI takes the same examples every time, people's machines look for new ones.
settings.register_profile(
    "steady", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def county() -> Tables:
    """A clean county over four terms, with the true risk beside it."""
    return make_county(500, terms=4, seed=11)


@pytest.fixture(scope="session")
def small_county() -> Tables:
    """A county small enough for oracles that look at one student after another."""
    return make_county(150, terms=4, grades=(6, 9), seed=1)
