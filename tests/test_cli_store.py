"""The command line of the store: keys, the audit, migrations, backup, for people and for machines."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from command_line import Run, run_command
from sqlalchemy import delete, text, update
from stores import KINDS, new_store
from test_store import COUNTY, keep, without_guard

from dropout_risk import cli
from dropout_risk.access import Principal
from dropout_risk.bundle import load_bundle
from dropout_risk.errors import SignInError
from dropout_risk.service import backups
from dropout_risk.store import runs
from dropout_risk.store.audit import Access, verify
from dropout_risk.store.database import Database
from dropout_risk.store.keys import Doorkeeper
from dropout_risk.store.migrations import newest, prepare, revision_of
from dropout_risk.store.schema import AuditLine

DEMO = Path(__file__).parents[1] / "models/demo"


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with new_store(request.param) as address:
        yield address


@pytest.fixture
def file(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


def on(url: str, *words: object) -> Run:
    return run_command(*words, "--store", url)


def told(url: str, *words: object) -> Any:
    """Return what a command that succeeds writes for machines."""
    run = on(url, *words, "--json")
    assert run.code == 0, run.err
    assert run.err == ""
    return json.loads(run.out)


def admitted(url: str, token: str) -> Principal | None:
    with closing(Database(url)) as database:
        try:
            return Doorkeeper(database).admit(token)
        except SignInError:
            return None


# Keys ------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_nothing_else_stands_beside_it(file: str) -> None:
    run = on(file, "keys", "create", "--role", "county", "--scope", "990101", "--label", "County office")
    assert run.code == 0
    token = run.out.removesuffix("\n")
    assert re.fullmatch(r"dr_[0-9a-f]{12}_[\w-]{43}", token)
    key_id = token.split("_")[1]
    assert f"Key {key_id}, counts until" in run.err
    assert admitted(file, token) == Principal(key_id, "county", ("990101",))
    secret = token.split("_", 2)[2]
    assert secret not in run.err + on(file, "keys", "list").out + on(file, "keys", "list", "--json").out


def test_keys_for_machines(url: str) -> None:
    old = told(url, "keys", "create", "--role", "school", "--scope", "S1", "--scope", "S2", "--days", 30)
    assert old["token"].startswith(f"dr_{old['id']}_")
    new = told(url, "keys", "rotate", old["id"], "--overlap", 3)
    other = told(url, "keys", "create", "--role", "auditor")
    assert told(url, "keys", "revoke", other["id"]) == {"id": other["id"], "state": "revoked"}
    listed = {key["id"]: key for key in told(url, "keys", "list")}
    assert {key: listed[key]["state"] for key in listed} == {
        old["id"]: "counts", new["id"]: "counts", other["id"]: "revoked",
    }  # fmt: skip
    assert listed[new["id"]]["replaces"] == old["id"]
    assert listed[new["id"]]["scope"] == listed[old["id"]]["scope"] == "S1,S2"
    assert (datetime.fromisoformat(listed[old["id"]]["expires"]) - datetime.now(UTC)).days in (2, 3)
    assert [admitted(url, key["token"]) is not None for key in (old, new, other)] == [True, True, False]


def test_keys_for_people(file: str) -> None:
    key = told(file, "keys", "create", "--role", "province", "--scope", "51*", "--label", "Province")
    (line,) = on(file, "keys", "list").out.splitlines()
    assert line.split("  ")[:4] == [key["id"], "counts", "province", "51*"]
    assert line.endswith("Province")
    run = on(file, "keys", "revoke", key["id"])
    assert (run.code, run.out) == (0, f"The key {key['id']} does not count any more.\n")
    assert "revoked" in on(file, "keys", "list").out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("keys", "create", "--role", "teacher", "--scope", "S1"), 2, "the roles are school, county"),
        (("keys", "create", "--role", "school"), 2, "needs a scope"),
        (("keys", "create", "--role", "auditor", "--scope", "S1"), 2, "takes no scope"),
        (("keys", "create", "--role", "county", "--scope", "51*"), 2, "only a province"),
        (("keys", "revoke", "nobody"), 2, "There is no key nobody"),
        (("keys", "rotate", "nobody"), 2, "There is no key nobody"),
        (("store", "purge", "--day", "tomorrow"), 2, "write it as 2026-07-08"),
        (("store", "downgrade", "nowhere"), 2, "it can go to"),
        (("store", "upgrade", "--store", "mysql://me:hidden@host/risk"), 2, "neither a file of SQLite"),
        (("store", "upgrade", "--store", "sqlite:////nowhere/at/all/store.db"), 7, "does not answer or refuses"),
    ],
)
def test_a_command_that_cannot_be_done_says_what_to_do(words: tuple[str, ...], code: int, said: str, file: str) -> None:
    with closing(Database(file)) as database:
        prepare(database)
    run = run_command(*words) if "--store" in words else on(file, *words)
    assert run.code == code, run.err
    assert said in run.err
    assert run.out == ""
    assert "hidden" not in run.err
    assert "Traceback" not in run.err


# The audit -------------------------------------------------------------------------------------------


def with_lines(url: str, n: int = 4) -> None:
    with closing(Database(url)) as database:
        prepare(database)
        for number in range(n):
            decision = COUNTY.may("list" if number % 2 else "read_audit")
            runs.note(database, Access(COUNTY, "list", decision, "planning", students=number, run_id=f"r{number}"))


def change(url: str, statement: Any) -> None:
    with closing(Database(url)) as database:
        without_guard(database)
        with database.writing() as session:
            session.execute(statement)


def test_an_audit_that_is_whole_passes(url: str) -> None:
    with_lines(url)
    found = told(url, "audit", "verify")
    assert found | {"head": ""} == {"ok": True, "lines": 4, "head": "", "faults": []}
    run = on(url, "audit", "verify", "--head", found["head"])
    assert run.code == 0
    assert run.out == f"4 lines, all as they were written. Head (keep it elsewhere): {found['head']}\n"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (update(AuditLine).where(AuditLine.number == 2).values(students=99), "Line 2 was changed"),
        (delete(AuditLine).where(AuditLine.number == 2), "Line 2 is missing"),
        (delete(AuditLine).where(AuditLine.number == 4), "cut off at the end"),
        (text("update audit set number = number + 10"), "Line 1 is missing"),
    ],
)
def test_a_changed_or_missing_line_is_named(statement: Any, said: str, url: str) -> None:
    with_lines(url)
    head = told(url, "audit", "verify")["head"]
    change(url, statement)
    for words in ((), ("--json",)):
        run = on(url, "audit", "verify", "--head", head, *words)
        assert run.code == 7
        assert said in run.out
        assert "tell the auditor" in run.err
    assert json.loads(run.out)["ok"] is False


def test_the_last_lines_are_shown(file: str) -> None:
    with_lines(file)
    run = on(file, "audit", "show", "--last", 2)
    assert run.code == 0
    first, last = run.out.splitlines()
    assert first.startswith("3  ")
    assert last.startswith("4  ")
    for word in ("k-county", "county", "list", "planning", "allowed", "within its scope C1", "r3"):
        assert word in last.split("  ") or word in last
    assert "refused" in first.split("  ")
    whole = told(file, "audit", "show")
    assert [line["number"] for line in whole] == [1, 2, 3, 4]
    assert set(whole[0]) == set(AuditLine.__table__.columns.keys())


def test_nothing_is_shown_of_an_audit_without_lines(file: str) -> None:
    with_lines(file, 0)
    assert told(file, "audit", "show") == []
    assert told(file, "audit", "verify")["lines"] == 0


def test_what_is_done_with_a_store_on_the_command_line_leaves_a_line(url: str) -> None:
    key = told(url, "keys", "create", "--role", "school", "--scope", "S1", "--label", "青石小学")
    new = told(url, "keys", "rotate", key["id"])
    on(url, "keys", "revoke", key["id"])
    with closing(Database(url)) as database:
        keep(database, COUNTY, "r1")
    told(url, "store", "purge", "--day", "2023-01-14")
    lines = told(url, "audit", "show")
    assert [line["action"] for line in lines] == ["create_key", "rotate_key", "revoke_key", "score", "purge"]
    by_hand = [line for line in lines if line["action"] != "score"]
    assert {(line["role"], line["purpose"]) for line in by_hand} == {("admin", "upkeep")}
    assert all(line["subject"].startswith("command line: ") for line in by_hand)
    assert "role school, scope S1" in lines[0]["why"] and "青石" not in str(lines)
    assert new["id"] in lines[1]["why"] and key["id"] in lines[2]["why"]
    assert lines[-1]["students"] == 3
    assert key["token"].rpartition("_")[2] not in str(lines)
    assert told(url, "audit", "verify")["ok"]


@pytest.mark.parametrize(
    "words",
    [
        ("keys", "list"),
        ("keys", "rotate", "k"),
        ("keys", "revoke", "k"),
        ("audit", "verify"),
        ("audit", "show"),
        ("store", "purge"),
        ("store", "backup", "copy.db"),
    ],
)
def test_who_only_looks_at_a_store_makes_none(words: tuple[str, ...], url: str) -> None:
    run = on(url, *words)
    assert (run.code, run.out) == (7, "")
    assert "There is no store at" in run.err and "root:" not in run.err
    with closing(Database(url)) as database:
        assert not database.is_sqlite or not Path(str(database.url.database)).exists()
        if not database.is_sqlite:
            assert revision_of(database) is None


# The store -------------------------------------------------------------------------------------------


def test_a_store_goes_up_and_down(url: str) -> None:
    assert told(url, "store", "upgrade") == {"revision": newest()}
    with closing(Database(url)) as database:
        keep(database, COUNTY, "r1")
    assert on(url, "store", "downgrade", "0001").out == "The store is at revision 0001.\n"
    run = on(url, "keys", "list")
    assert run.code == 7
    assert "dropout-risk store upgrade" in run.err
    assert on(url, "store", "upgrade").out == f"The store is at revision {newest()}.\n"
    with closing(Database(url)) as database:
        assert len(runs.scores_of(database, COUNTY, "r1")) == 2
        assert verify(database).lines == 1
    assert told(url, "store", "downgrade", "base") == {"revision": None}
    assert on(url, "store", "downgrade", "0001").code == 2


def test_a_store_of_a_later_version_is_left_as_it_is(url: str) -> None:
    with closing(Database(url)) as database:
        prepare(database)
        with database.turn() as connection:
            connection.execute(text("update alembic_version set version_num = '9999'"))
        for words in (("upgrade",), ("downgrade", "base"), ("purge",)):
            run = on(url, "store", *words)
            assert run.code == 7
            assert "a later one has changed it" in run.err
        assert revision_of(database) == "9999"


def test_what_has_expired_is_removed(url: str) -> None:
    with closing(Database(url)) as database:
        prepare(database)
        keep(database, COUNTY, "r1")
    assert told(url, "store", "purge", "--day", "2023-01-13") == {"scores": 0, "expired_before": "2023-01-13"}
    assert (
        on(url, "store", "purge", "--day", "2023-01-14").out
        == "3 scores that had expired before 2023-01-14 were removed.\n"
    )
    assert told(url, "store", "purge")["scores"] == 0


def test_a_copy_is_made_and_an_older_one_is_never_written_over(file: str, tmp_path: Path) -> None:
    with_lines(file)
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    assert on(file, "store", "backup", first).out == f"The store was copied to {first}.\n"
    assert told(file, "store", "backup", second) == {"copy": str(second)}
    assert told(f"sqlite:///{first}", "audit", "verify") == told(file, "audit", "verify")
    run = on(file, "store", "backup", first)
    assert run.code == 2
    assert "exists; give another name" in run.err


def test_a_store_in_postgresql_is_copied_by_its_own_tools(tmp_path: Path) -> None:
    with new_store("postgresql") as url:
        with_lines(url)
        run = on(url, "store", "backup", tmp_path / "copy.db")
    assert run.code == 2
    assert "pg_dump" in run.err


def test_a_backup_holds_all_that_a_service_needs(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, out = tmp_path / "own.toml", tmp_path / "nights/first"
    settings.write_text(f'store = "{url}"\nmodel = "{DEMO}"\n', "utf-8")
    monkeypatch.setenv("DROPOUT_RISK_SETTINGS", str(settings))
    with_lines(url)
    done = run_command("backup", out, "--json")
    head = told(url, "audit", "verify")["head"]
    assert json.loads(done.out) == {"copy": str(out), "audit_lines": 4, "head": head, "audit_ok": True}
    copy = "store.db" if url.startswith("sqlite") else "store.dump"
    names = {"SHA256SUMS", "audit.json", "model", "settings.toml", "versions.txt", copy}
    assert {path.name for path in out.iterdir()} == names
    assert out.stat().st_mode & 0o77 == 0
    assert load_bundle(out / "model").digest == load_bundle(DEMO).digest
    sums = dict(reversed(line.split("  ")) for line in (out / "SHA256SUMS").read_text("utf-8").splitlines())
    assert sums.keys() == {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} - {"SHA256SUMS"}
    assert all(sha256((out / name).read_bytes()).hexdigest() == digest for name, digest in sums.items())
    if copy == "store.db":
        assert told(f"sqlite:///{out}/store.db", "audit", "verify", "--head", head)["ok"]
    again = run_command("backup", out)
    assert again.code == 2 and "exists; give another name" in again.err


def test_the_head_of_a_backup_is_in_it_whatever_is_written_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = backups._dump

    def while_the_service_goes_on(database: Database, out: Path) -> None:
        dump(database, out)
        runs.note(database, Access(COUNTY, "list", COUNTY.may("list")))

    monkeypatch.setattr(backups, "_dump", while_the_service_goes_on)
    monkeypatch.setenv("DROPOUT_RISK_MODEL", str(DEMO))
    with new_store("postgresql") as url:
        monkeypatch.setenv("DROPOUT_RISK_STORE", url)
        with_lines(url)
        assert json.loads(run_command("backup", tmp_path / "copy", "--json").out)["audit_lines"] == 4
        assert told(url, "audit", "verify")["lines"] == 5


def test_a_backup_that_cannot_be_made_whole_leaves_nothing(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DROPOUT_RISK_STORE", file)
    monkeypatch.setenv("DROPOUT_RISK_MODEL", str(DEMO))
    assert run_command("backup", tmp_path / "copy").code == 7  # there is no store
    with_lines(file)
    monkeypatch.setenv("DROPOUT_RISK_MODEL", str(tmp_path / "no-model"))
    assert run_command("backup", tmp_path / "copy").code != 0
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == []
    monkeypatch.setenv("DROPOUT_RISK_MODEL", str(DEMO))
    change(file, update(AuditLine).where(AuditLine.number == 2).values(students=99))
    broken = run_command("backup", tmp_path / "copy")
    assert broken.code == 7 and "tell the auditor" in broken.err
    assert json.loads((tmp_path / "copy/audit.json").read_text("utf-8"))["ok"] is False  # it is evidence, and kept


def test_several_processes_add_up_their_figures_without_being_told_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cli._FIGURES, raising=False)
    with cli._figures_of(1):
        assert cli._FIGURES not in os.environ
    with cli._figures_of(2):
        folder = Path(os.environ[cli._FIGURES])
        assert folder.is_dir()
    assert not folder.exists() and cli._FIGURES not in os.environ
    monkeypatch.setenv(cli._FIGURES, "/elsewhere")
    with cli._figures_of(2):
        assert os.environ[cli._FIGURES] == "/elsewhere"


def test_the_store_of_the_settings_is_used(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROPOUT_RISK_STORE", file)
    assert run_command("keys", "create", "--role", "admin").code == 0
    assert len(told(file, "keys", "list")) == 1
