"""Settings of the service that would leave a door open are refused before it opens."""

from typing import Any

import pytest

from dropout_risk.errors import SettingsError
from dropout_risk.service.settings import WEAK_PASSWORDS, Settings, is_weakly_guarded, load_settings

GOOD = "Rv7-q2Lw-9xTz"


@pytest.mark.parametrize(
    "store",
    [
        *(f"postgresql://risk:{word}@db.example.org/risk" for word in sorted(WEAK_PASSWORDS)),
        "postgresql://risk@db/risk",
        "postgresql+psycopg://risk:Change-Me@db:5432/risk",
        "postgres://risk:change%2Dme@db/risk",
        "postgresql://risk@/risk?host=db&password=change-me",
        "postgresql:///risk?host=db",
        "postgresql://risk@localhost/risk?host=db",
        "postgresql://risk:change-me@10.0.0.5/risk",
        "postgresql://risk:change-me@[fe80::1]/risk",
    ],
)
def test_a_database_elsewhere_with_a_password_that_everybody_knows_is_refused(store: str) -> None:
    with pytest.raises(SettingsError, match="a password that stands in examples") as caught:
        Settings(store=store)
    assert "change" not in str(caught.value).lower()
    with pytest.raises(SettingsError):
        load_settings({"DROPOUT_RISK_STORE": store})


@pytest.mark.parametrize(
    "store",
    [
        "sqlite:///dropout-risk.db",
        f"postgresql://risk:{GOOD}@db.example.org/risk",
        f"postgresql://risk@/risk?host=db&password={GOOD}",
        "postgresql://risk@localhost/risk",
        "postgresql+psycopg://root@127.0.0.1:5432/test",
        "postgresql://risk@[::1]/risk",
        "postgresql:///risk",
        "postgresql:///risk?host=/var/run/postgresql",
    ],
)
def test_a_database_here_or_well_guarded_is_taken(store: str) -> None:
    assert not is_weakly_guarded(store)
    assert Settings(store=store).store == store


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"access": "open"}, "neither keys nor local"),
        ({"access": ""}, "neither keys nor local"),
        ({"oidc_issuer": "https://login.example.org"}, "all three or none"),
        ({"oidc_issuer": "https://login.example.org", "oidc_keys": "keys.json"}, "all three or none"),
        ({"cors_origins": ["https://a.example.org"]}, "not a text"),
        ({"store": ""}, "not the address of a database"),
        ({"max_body_bytes": 0}, "at least 1"),
        ({"max_waiting": True}, "at least 1"),
        ({"min_coverage": 1.5}, "not a share"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings(**given)


def test_keys_are_needed_unless_it_is_said_otherwise() -> None:
    settings = Settings()
    assert settings.access == "keys"
    assert settings.cors_origins is settings.oidc_issuer is None


def test_settings_do_not_show_the_password_of_the_store() -> None:
    assert GOOD not in repr(Settings(store=f"postgresql://risk:{GOOD}@db.example.org/risk"))
