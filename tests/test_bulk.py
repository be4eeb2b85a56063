"""Scoring in partitions: the same numbers, nothing lost or doubled, and on again after a stop."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from trained_county import junior, trained, two_counties

from dropout_risk.bulk import Manifest, score_in_bulk
from dropout_risk.bulk.daily import DailyAttendance
from dropout_risk.bulk.ranking import write_ranks
from dropout_risk.bundle import Bundle
from dropout_risk.county import newest_day
from dropout_risk.engines import Engine, engine
from dropout_risk.errors import ColumnsError, SettingsError, TableError
from dropout_risk.pipeline import roster_features, score
from dropout_risk.schema import Tables
from dropout_risk.tables import write_tables

DAY = str(newest_day(junior()).date())


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return trained().bundle


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return roster_features(junior(), newest_day(junior()))


@pytest.fixture
def features(rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three files of features, in seven partitions."""
    monkeypatch.setattr("dropout_risk.bulk.partitions.PARTITION_ROWS", 80)
    folder = tmp_path / "features"
    folder.mkdir()
    for number, part in enumerate(np.array_split(np.arange(len(rows)), 3)):
        rows.iloc[part].to_parquet(folder / f"part-{number}.parquet", index=False, row_group_size=40)
    return folder


@pytest.fixture(scope="module")
def local() -> Iterator[Engine]:
    with engine("local", workers=1) as made:
        yield made


def answer_of(out: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(file) for file in sorted((out / "scores").iterdir())], ignore_index=True)


def refused_of(out: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(file) for file in sorted((out / "refused").iterdir())], ignore_index=True)


def assert_whole(done: Manifest, out: Path) -> None:
    """The manifest tells the truth about the files, and nothing else is there."""
    kept = json.loads((out / "manifest.json").read_text("utf-8"))
    assert (done.rows_in, done.scored, done.refused) == (kept["rows_in"], kept["scored"], kept["refused"])
    assert done.rows_in == done.scored + done.refused
    for part in done.parts:
        file = out / "scores" / f"part-{part.position:05d}.parquet"
        assert sha256(file.read_bytes()).hexdigest() == part.sha256
        assert pq.read_metadata(file).num_rows == part.scored
        assert part.rows_in == part.scored + part.refused
    names = {"scores", "manifest.json", "reasons.csv"} | ({"refused"} if done.refused else set())
    assert {path.name for path in out.iterdir()} == names


def test_features_give_the_scores_of_the_county(
    features: Path, rows: pd.DataFrame, bundle: Bundle, local: Engine, tmp_path: Path
) -> None:
    done = score_in_bulk(features, bundle, tmp_path / "out", local, as_of=DAY, reasons=3)
    assert_whole(done, tmp_path / "out")
    found, expected = answer_of(tmp_path / "out"), score(junior(), bundle, reasons=3)
    assert len(done.parts) >= 6 and found["student_id"].tolist() == rows["student_id"].tolist()
    mine = found.set_index("student_id").loc[expected.frame["student_id"]]
    np.testing.assert_allclose(mine["risk"], expected.frame["risk"], rtol=0, atol=1e-12)
    assert mine["band"].tolist() == expected.frame["band"].tolist()
    assert mine["reason_1"].astype(object).fillna("").tolist() == [
        told[0].feature if told else "" for told in expected.reasons
    ]
    higher = [int((found["risk"] > risk).sum()) for risk in found["risk"]]
    assert found["rank"].tolist() == [1 + count for count in higher]
    assert pq.read_schema(tmp_path / "out/scores/part-00000.parquet").metadata[b"as_of"] == DAY.encode()
    meanings = pd.read_csv(tmp_path / "out/reasons.csv")
    assert set(found["reason_1"].dropna()) <= set(meanings["feature"]) and meanings["label_zh"].notna().all()


@pytest.mark.slow
def test_raw_tables_give_the_scores_of_the_county(bundle: Bundle, local: Engine, tmp_path: Path) -> None:
    write_tables(junior().as_read, tmp_path / "data")
    done = score_in_bulk(tmp_path / "data", bundle, tmp_path / "out", local, as_of=DAY)
    assert_whole(done, tmp_path / "out")
    expected = score(junior(), bundle)
    mine = answer_of(tmp_path / "out").set_index("student_id").loc[expected.frame["student_id"]]
    np.testing.assert_allclose(mine["risk"], expected.frame["risk"], rtol=0, atol=1e-12)
    assert done.rows_in == expected.rows_in and done.refused == len(expected.refused) > 0
    lost = refused_of(tmp_path / "out")
    assert sorted(lost["student_id"]) == sorted(expected.refused["student_id"])
    assert lost["refused"].str.match(r"enrolments.csv 第 \d+ 行：").all()


def parts_of(tables: Tables) -> dict[str, Tables]:
    """Return the tables of each county of several."""
    of_school = tables["schools"].set_index("school_id")["county_id"]
    county = tables["enrolments"].assign(county_id=tables["enrolments"]["school_id"].map(of_school))
    found = {}
    for name, own in county.groupby("county_id"):
        students, schools = set(own["student_id"]), set(own["school_id"])
        frames = {}
        for table, frame in tables.items():
            mine = frame
            if "student_id" in frame:
                mine = mine[mine["student_id"].isin(students)]
            if "school_id" in frame and table != "calendar":
                mine = mine[mine["school_id"].isin(schools)]
            frames[table] = mine.reset_index(drop=True)
        found[str(name)] = tables.replace(**frames)
    return found


@pytest.mark.slow
def test_folders_of_counties_are_partitions(local: Engine, tmp_path: Path) -> None:
    bundle = trained("two_counties").bundle
    assert bundle.model.kind_ == "boosted"
    for name, tables in parts_of(two_counties().as_read).items():
        write_tables(tables, tmp_path / "province" / name)
    day = str(newest_day(two_counties()).date())
    done = score_in_bulk(tmp_path / "province", bundle, tmp_path / "out", local, as_of=day)
    assert_whole(done, tmp_path / "out")
    assert len(done.parts) == 2
    expected = score(two_counties(), bundle)
    mine = answer_of(tmp_path / "out").set_index("student_id").loc[expected.frame["student_id"]]
    np.testing.assert_allclose(mine["risk"], expected.frame["risk"], rtol=0, atol=1e-12)


@pytest.mark.slow
def test_a_county_in_two_folders_is_refused_by_the_names_of_its_features(
    bundle: Bundle, local: Engine, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        write_tables(junior().as_read, tmp_path / "province" / name)
    with pytest.raises(ColumnsError, match=r"score_level.*school_leaving_rate.*in first and second"):
        score_in_bulk(tmp_path / "province", bundle, tmp_path / "out", local, as_of=DAY)
    assert not (tmp_path / "out/scores").exists()


def test_daily_records_give_the_attendance_of_the_county(
    rows: pd.DataFrame, bundle: Bundle, local: Engine, tmp_path: Path
) -> None:
    tables = junior().tables
    write_tables(tables.only("attendance", "calendar"), tmp_path / "data")
    terms = tables["terms"].sort_values("start").astype({"start": str, "end": str})
    now, before = terms["term"].eq("2020-2021-2"), terms["term"].eq("2020-2021-1")
    assert terms.loc[now, "end"].item() == DAY
    attendance = DailyAttendance(
        str(tmp_path / "data/attendance.parquet"),
        terms.loc[now, "start"].item(),
        str(tmp_path / "data/calendar.csv"),
        (terms.loc[before, "start"].item(), terms.loc[before, "end"].item()),
    )
    bare = rows.drop(columns=attendance.features)
    bare.assign(absence_rate=9.0).to_parquet(tmp_path / "bare.parquet", index=False, row_group_size=40)
    rows.to_parquet(tmp_path / "whole.parquet", index=False)
    done = score_in_bulk(tmp_path / "bare.parquet", bundle, tmp_path / "out", local, as_of=DAY, attendance=attendance)
    assert_whole(done, tmp_path / "out")
    score_in_bulk(tmp_path / "whole.parquet", bundle, tmp_path / "all", local)
    pd.testing.assert_frame_equal(answer_of(tmp_path / "out"), answer_of(tmp_path / "all"), check_exact=True)
    with pytest.raises(SettingsError, match="--as-of"):
        score_in_bulk(tmp_path / "bare.parquet", bundle, tmp_path / "no", local, attendance=attendance)


class Stopped(Exception):
    """The run is stopped from outside."""


class Stopping:
    """An engine that is stopped after some partitions; it counts how often each one runs."""

    name = "stopping"

    def __init__(self, after: int) -> None:
        self.after, self.ran = after, []

    def run(
        self,
        function: Callable[[pa.RecordBatch], pa.RecordBatch],
        partitions: Sequence[pa.RecordBatch],
        *,
        done: Callable[[int], None] | None = None,
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        for position, partition in enumerate(partitions):
            if len(self.ran) == self.after:
                raise Stopped
            self.ran.append((type(function).__name__, partition["position"][0].as_py()))
            yield position, function(partition)


def test_a_stopped_run_goes_on_where_it_was(features: Path, bundle: Bundle, local: Engine, tmp_path: Path) -> None:
    whole = score_in_bulk(features, bundle, tmp_path / "whole", local)
    ran: list[tuple[str, int]] = []
    for after in (3, 2, 4, 2, 3, 100):
        stopping = Stopping(after)
        try:
            done = score_in_bulk(features, bundle, tmp_path / "out", stopping)
        except Stopped:
            assert not (tmp_path / "out/manifest.json").exists()
        ran += stopping.ran
    assert len(ran) == len(set(ran)) == 2 * len(whole.parts)  # each step of each partition once
    assert_whole(done, tmp_path / "out")
    assert done.parts == whole.parts
    idle = Stopping(0)
    assert score_in_bulk(features, bundle, tmp_path / "out", idle).parts == whole.parts and not idle.ran


def test_half_written_partitions_are_done_again(features: Path, bundle: Bundle, local: Engine, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        score_in_bulk(features, bundle, tmp_path / "out", Stopping(2))
    work = tmp_path / "out/.work"
    (work / "scored-00001.json").unlink()
    os.truncate(work / "part-00001.arrow", 100)
    (work / ".part-00002.abcd.arrow").write_bytes(b"half")
    done = score_in_bulk(features, bundle, tmp_path / "out", local)
    assert_whole(done, tmp_path / "out")


def test_a_run_is_not_mixed_with_another(features: Path, bundle: Bundle, local: Engine, tmp_path: Path) -> None:
    score_in_bulk(features, bundle, tmp_path / "out", local, reasons=2)
    with pytest.raises(SettingsError, match="holds a run of other data, another model or other settings"):
        score_in_bulk(features, bundle, tmp_path / "out", local, reasons=3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep")
    with pytest.raises(SettingsError, match="is not empty"):
        score_in_bulk(features, bundle, tmp_path / "mine", local)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_rows_that_cannot_be_scored_are_listed(
    rows: pd.DataFrame, bundle: Bundle, local: Engine, tmp_path: Path
) -> None:
    spoilt = rows.copy()
    spoilt.loc[4, "student_id"] = None
    spoilt.loc[9, "student_id"] = spoilt.loc[8, "student_id"]
    spoilt.loc[20, "distance_km"] = -np.inf
    spoilt.to_parquet(tmp_path / "f.parquet", index=False)
    done = score_in_bulk(tmp_path / "f.parquet", bundle, tmp_path / "out", local, lang="en")
    assert_whole(done, tmp_path / "out")
    assert (done.rows_in, done.refused) == (len(rows), 4)
    lost = refused_of(tmp_path / "out")
    assert lost["refused"].str.split(";").str[0].tolist() == [
        "The student_id is empty", "This student_id stands more than once", "This student_id stands more than once",
        "distance_km is infinite",
    ]  # fmt: skip
    rest = answer_of(tmp_path / "out").set_index("student_id")
    score_in_bulk(_written(rows, tmp_path / "whole.parquet"), bundle, tmp_path / "all", local)
    untouched = answer_of(tmp_path / "all").set_index("student_id").loc[rest.index]
    pd.testing.assert_frame_equal(rest.drop(columns="rank"), untouched.drop(columns="rank"), check_exact=True)


def _written(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path, index=False)
    return path


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda path: path / "nothing", TableError, "no such file or folder"),
        (lambda path: path, TableError, "There is nothing to score"),
        (lambda path: _text(path / "f.parquet"), TableError, "is no Parquet file"),
        (lambda path: _written(pd.DataFrame({"a": [1]}), path / "f.parquet"), ColumnsError, "no column 'student_id'"),
        (
            lambda path: _written(pd.DataFrame({"student_id": ["a"]}), path / "f.parquet"),
            ColumnsError,
            "f.parquet: The table lacks columns",
        ),
    ],
)
def test_what_cannot_be_scored_is_told_before_anything_is_written(
    make: Callable[[Path], Path], error: type[Exception], words: str, bundle: Bundle, local: Engine, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(error, match=words):
        score_in_bulk(make(tmp_path / "in"), bundle, tmp_path / "out", local)
    assert not (tmp_path / "out/scores").exists()


def _text(path: Path) -> Path:
    path.write_text("no parquet")
    return path


def test_counties_need_a_day(bundle: Bundle, local: Engine, tmp_path: Path) -> None:
    write_tables(junior().as_read, tmp_path / "data")
    with pytest.raises(SettingsError, match="--as-of"):
        score_in_bulk(tmp_path / "data", bundle, tmp_path / "out", local)


RISKS = arrays.arrays(
    np.float64,
    st.integers(0, 12),
    elements=st.sampled_from([0.1, 0.2, np.nextafter(0.2, 1), 0.5, np.nan]) | st.floats(0, 1),
)


@given(st.lists(RISKS, max_size=4), st.integers(1, 8))
def test_ranks_against_counting(partitions: list[np.ndarray], at_a_time: int) -> None:
    risk = np.concatenate([np.empty(0), *partitions])
    expected = [0 if np.isnan(one) else 1 + int((risk > one).sum()) for one in risk]
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr("dropout_risk.bulk.ranking.RANKED_AT_A_TIME", at_a_time)
        for position, part in enumerate(partitions):
            batch = pa.record_batch({"risk": part})
            with pa.ipc.new_stream(str(Path(name) / f"part-{position:05d}.arrow"), batch.schema) as writer:
                writer.write_batch(batch)
        write_ranks(Path(name), range(len(partitions)))
        assert np.load(Path(name) / "ranks.npy").tolist() == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["local", "dask", "spark"])
def test_every_engine_gives_the_same_files(
    name: str, features: Path, bundle: Bundle, local: Engine, tmp_path: Path
) -> None:
    expected = score_in_bulk(features, bundle, tmp_path / "one", local)
    with engine(name, workers=2) as made:
        done = score_in_bulk(features, bundle, tmp_path / "two", made)
    assert_whole(done, tmp_path / "two")
    assert done.parts == expected.parts  # the digests of all files among them
