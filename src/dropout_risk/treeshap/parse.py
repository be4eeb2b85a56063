"""Read LightGBM's text models into flat arrays, and refuse what is not a sum of plain trees."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dropout_risk.errors import BundleError, SettingsError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]

CATEGORICAL, DEFAULT_LEFT, MISSING_SHIFT = 1, 2, 2
"""Bits of LightGBM's ``decision_type``; the two bits from MISSING_SHIFT on say what counts as missing."""

MISSING_ZERO, MISSING_NAN = 1, 2
"""Values of those two bits; 0 means that nothing counts as missing and NaN is read as 0."""


class Tree(NamedTuple):
    """One tree: arrays over its splits, then arrays over its leaves.

    A child of 0 or more is a split, one below 0 is the leaf with the number ``~child``. The categories that
    go left at split `i` are the bits of ``words[first_word[i]:last_word[i]]``, lowest bit first.
    """

    feature: Ints
    threshold: Floats
    decision: Ints
    left: Ints
    right: Ints
    cover: Floats
    first_word: Ints
    last_word: Ints
    words: Words
    leaf_value: Floats
    leaf_cover: Floats


class Forest(NamedTuple):
    """The trees of all boosters, their leaves already scaled, and the sum of the trees without a split."""

    n_features: int
    constant: float
    trees: list[Tree]


def read_boosters(texts: Sequence[str], scales: Sequence[float]) -> Forest:
    """Return the trees of `texts`, the leaves of each text multiplied by its scale.

    Parameters
    ----------
    texts : sequence of str
        What ``Booster.model_to_string()`` gives; all for the same features.
    scales : sequence of float
        One factor for each text.

    Returns
    -------
    Forest

    Raises
    ------
    SettingsError
        When a booster is of a kind that cannot be compiled, or when their features differ.
    BundleError
        When a text is damaged.
    """
    headers = [_fields(text.partition("\nTree=")[0]) for text in texts]
    problems = [problem for k, text in enumerate(texts) for problem in _problems(f"Booster {k}", text, headers[k])]
    if len({header.get("feature_names") for header in headers}) > 1:
        problems.append("The boosters have different features; give the boosters of one model.")
    if problems:
        raise SettingsError(" ".join(problems))
    n_features = len(headers[0].get("feature_names", "").split())
    damaged, constant, trees = [], 0.0, []
    for k, (text, scale) in enumerate(zip(texts, scales, strict=True)):
        chunks = list(_chunks(text))
        promised = len(headers[k].get("tree_sizes", "").split()) or len(chunks)
        if not n_features or len(chunks) != promised or "\nend of trees" not in text:
            damaged.append(f"booster {k} is not whole")
            continue
        for number, fields in enumerate(chunks):
            tree = _tree(fields, scale, n_features)
            if tree is None:
                damaged.append(f"tree {number} of booster {k} does not hold together")
            elif len(tree.leaf_value) == 1:
                constant += float(tree.leaf_value[0])
            else:
                trees.append(tree)
    if damaged:
        shown = "; ".join(damaged[:5]) + ("; and more" if len(damaged) > 5 else "")
        raise BundleError(f"The model is damaged: {shown}. Copy it again from where it was saved.")
    return Forest(n_features, constant, trees)


def _problems(name: str, text: str, header: Mapping[str, str]) -> Iterator[str]:
    if header.get("num_tree_per_iteration", "1") != "1":
        yield f"{name} is a multiclass model; only models with one score can be explained here."
    if "average_output" in header:
        yield f"{name} is a random forest (boosting=rf); train it with boosting=gbdt, dart or goss."
    if "\nis_linear=1" in text:
        yield f"{name} has linear trees, which have no exact contributions; train it with linear_tree=false."


def _chunks(text: str) -> Iterator[dict[str, str]]:
    for chunk in text.partition("\nend of trees")[0].split("\nTree=")[1:]:
        yield _fields(chunk)


def _fields(text: str) -> dict[str, str]:
    return {key: value for key, _, value in (line.partition("=") for line in text.split("\n"))}


def _tree(fields: Mapping[str, str], scale: float, n_features: int) -> Tree | None:
    """Return the tree, or None when its parts do not fit together."""
    try:
        n_leaves = int(fields["num_leaves"])
        value = _numbers(fields, "leaf_value", n_leaves) * scale
        if n_leaves == 1:
            none, nothing = np.empty(0, np.int64), np.empty(0)
            no_words = np.empty(0, np.uint32)
            return Tree(none, nothing, none, none, none, nothing, none, none, no_words, value, nothing)
        n_splits = n_leaves - 1
        threshold = _numbers(fields, "threshold", n_splits)
        decision = _integers(fields, "decision_type", n_splits)
        first, last, words = _categories(fields, threshold, (decision & CATEGORICAL) > 0)
        tree = Tree(
            feature=_integers(fields, "split_feature", n_splits),
            threshold=threshold,
            decision=decision,
            left=_integers(fields, "left_child", n_splits),
            right=_integers(fields, "right_child", n_splits),
            cover=_numbers(fields, "internal_count", n_splits),
            first_word=first,
            last_word=last,
            words=words,
            leaf_value=value,
            leaf_cover=_numbers(fields, "leaf_count", n_leaves),
        )
    except (KeyError, ValueError, IndexError, OverflowError):
        return None
    return tree if _is_sound(tree, n_features) else None


def _numbers(fields: Mapping[str, str], key: str, count: int) -> Floats:
    found = np.array(fields[key].split(), dtype=np.float64)
    if len(found) != count or np.isnan(found).any():
        raise ValueError(key)
    return found


def _integers(fields: Mapping[str, str], key: str, count: int) -> Ints:
    found = np.array(fields[key].split(), dtype=np.int64)
    if len(found) != count:
        raise ValueError(key)
    return found


def _categories(
    fields: Mapping[str, str], threshold: Floats, is_category: npt.NDArray[np.bool_]
) -> tuple[Ints, Ints, Words]:
    """Return where the bits of each split begin and end, and the bits of all splits."""
    first, last = np.zeros((2, len(threshold)), np.int64)
    if not is_category.any():
        return first, last, np.empty(0, np.uint32)
    bounds = np.array(fields["cat_boundaries"].split(), dtype=np.int64)
    words = np.array(fields["cat_threshold"].split(), dtype=np.uint32)
    place = threshold[is_category].astype(np.int64)  # a categorical split keeps the number of its bit set here
    if place.min() < 0 or bounds[0] < 0 or (np.diff(bounds) < 0).any() or bounds[-1] > len(words):
        raise ValueError("cat_boundaries")
    first[is_category], last[is_category] = bounds[place], bounds[place + 1]
    return first, last, words


def _is_sound(tree: Tree, n_features: int) -> bool:
    """Return whether every split and leaf hangs on exactly one earlier split, and all figures can be used."""
    n_splits = len(tree.feature)
    own = np.arange(n_splits)
    children = np.concatenate([tree.left, tree.right])
    is_split = children >= 0
    return bool(
        np.array_equal(np.sort(children), np.r_[-1 - np.arange(n_splits, -1, -1), own[1:]])
        and (children[is_split] > np.tile(own, 2)[is_split]).all()
        and tree.feature.min() >= 0
        and tree.feature.max() < n_features
        and np.isfinite(tree.leaf_value).all()
        and min(tree.cover.min(), tree.leaf_cover.min()) >= 0
        and np.isfinite(tree.cover).all()
        and np.isfinite(tree.leaf_cover).all()
    )
