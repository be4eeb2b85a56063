"""Counties that several test modules share; they are made once and never changed."""

import pytest

from dropout_risk.schema import Tables
from dropout_risk.synthetic import make_county


@pytest.fixture(scope="session")
def county() -> Tables:
    """A clean county over four terms, with the true risk beside it."""
    return make_county(500, terms=4, seed=11)


@pytest.fixture(scope="session")
def small_county() -> Tables:
    """A county small enough for oracles that look at one student after another."""
    return make_county(150, terms=4, grades=(6, 9), seed=1)
