"""TermSplit against its definition, written out the slow way."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import cross_validate

from dropout_risk.errors import SettingsError
from dropout_risk.split import TermSplit


def by_definition(terms, groups, *, n_splits, gap, min_train_terms, horizon, hold_out_groups):
    """For each test term ask every row: is its outcome known when the test term ends?"""
    splits = []
    for tested in sorted(set(terms)):
        known = [i for i in range(len(terms)) if terms[i] + horizon + gap <= tested]
        if len({terms[i] for i in known}) < min_train_terms:
            continue
        test = [i for i in range(len(terms)) if terms[i] == tested]
        taken = {groups[i] for i in test} if hold_out_groups else set()
        splits.append(([i for i in known if groups[i] not in taken], test))
    return splits if n_splits == "auto" else splits[-n_splits:]


@given(
    rows=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5)), min_size=1, max_size=30),
    n_splits=st.sampled_from(["auto", 1, 2, 3]),
    gap=st.integers(0, 2),
    min_train_terms=st.integers(1, 3),
    horizon=st.integers(1, 3),
    hold_out_groups=st.booleans(),
)
def test_equals_the_definition(rows, n_splits, **settings):
    terms, groups = map(list, zip(*rows, strict=True))
    expected = by_definition(terms, groups, n_splits=n_splits, **settings)
    calendar = pd.Categorical(terms, categories=range(7), ordered=True)
    splitter = TermSplit(n_splits, **settings)
    possible = len(expected) >= (1 if n_splits == "auto" else n_splits)
    if not possible or not all(train for train, _ in expected):
        with pytest.raises(SettingsError):
            list(splitter.split(rows, None, groups, term=calendar))
        return
    found = list(splitter.split(rows, None, groups, term=calendar))
    assert [(train.tolist(), test.tolist()) for train, test in found] == expected
    assert splitter.get_n_splits(term=calendar) == len(expected)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30).filter(lambda t: len(set(t)) > 1))
def test_labels_without_a_calendar_count_by_rank(terms):
    rank = {term: place for place, term in enumerate(sorted(set(terms)))}
    expected = by_definition(
        [rank[t] for t in terms], terms, n_splits="auto", gap=0, min_train_terms=1, horizon=1,
        hold_out_groups=False,
    )  # fmt: skip
    for labels in (terms, pd.Series([f"2020-{t}" for t in terms]), np.array(terms, dtype="datetime64[D]")):
        found = [(train.tolist(), test.tolist()) for train, test in TermSplit().split(terms, term=labels)]
        assert found == expected


def test_a_term_without_rows_still_takes_up_time():
    calendar = pd.Categorical(["a", "c"], categories=["a", "b", "c"], ordered=True)
    assert len(list(TermSplit(horizon=2).split(term=calendar))) == 1
    with pytest.raises(SettingsError, match="2 terms"):
        list(TermSplit(horizon=2).split(term=["a", "c"]))


def test_the_index_of_a_series_is_not_a_position():
    term = pd.Series([1, 2, 3], index=[30, 10, 20])
    groups = pd.Series(["a", "b", "a"], index=[9, 8, 7])
    (train, test) = next(TermSplit(1, hold_out_groups=True).split(term, None, groups, term=term))
    assert (train.tolist(), test.tolist()) == ([1], [2])


@pytest.mark.parametrize(
    ("settings", "arguments", "sentence"),
    [
        ({}, {}, "needs the term of each row"),
        ({}, {"term": [1, 1, 1]}, "cover 1 terms, which gives 0 test terms"),
        ({"n_splits": 5}, {"term": [1, 2, 3]}, "gives 2 test terms, but 5 are asked for"),
        ({}, {"term": [1.0, np.nan, np.nan]}, r"2 rows have no term \(first: row 1"),
        ({}, {"term": [1, "two", 3]}, "mix numbers and text"),
        ({}, {"term": [1, 2], "X": [0, 0, 0]}, "X has 3 rows but term has 2"),
        ({"hold_out_groups": True}, {"term": [1, 2]}, "none were passed"),
        ({"hold_out_groups": True}, {"term": [1, 2], "groups": ["a"]}, "1 were passed for 2 rows"),
        ({"hold_out_groups": True}, {"term": [1, 2], "groups": ["a", None]}, r"1 rows have no group \(first"),
        ({"hold_out_groups": True}, {"term": [1, 2], "groups": ["a", "a"]}, "no row is left to learn from"),
        ({"gap": -1, "horizon": 0}, {"term": [1, 2]}, "gap=-1 .*horizon=0"),
        ({"n_splits": True}, {"term": [1, 2]}, "n_splits=True has to be a whole number"),
    ],
)
def test_what_cannot_be_split_is_refused_with_a_sentence(settings, arguments, sentence):
    with pytest.raises(SettingsError, match=sentence):
        list(TermSplit(**settings).split(**arguments))


def test_terms_reach_the_splitter_through_scikit_learn():
    term = np.repeat([1, 2, 3], 4)
    X, y = np.zeros((12, 1)), np.tile([0, 1], 6)
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_validate(DummyClassifier(), X, y, cv=TermSplit(), params={"term": term})
    assert len(scores["test_score"]) == 2


def test_splitters_show_their_settings():
    assert "horizon=2" in repr(TermSplit(horizon=2))
