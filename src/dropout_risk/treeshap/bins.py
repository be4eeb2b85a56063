"""Where the values of each feature must be told apart: one list of cuts for all trees.

Two values between neighbouring cuts take the same side at every split, so a row enters the model only through
the places of its values between the cuts: its codes. Code `c` stands for the values above cut `c - 1` and up to
cut `c`, the code after the last of them for NaN. Categories need nothing of their own: LightGBM cuts the
fraction off a code, so category 3 is the interval from 3 up to just below 4.
"""

import numpy as np

from dropout_risk.treeshap.parse import CATEGORICAL, MISSING_SHIFT, MISSING_ZERO, Floats, Forest, Ints, Tree

ZERO = float(np.float32(1e-35))
"""LightGBM reads every value from -ZERO to ZERO as 0 (kZeroThreshold in its meta.h)."""

COLUMN = 255
"""Cuts that one column of codes (one byte) can tell apart; a feature with more of them has several columns."""


def find_cuts(forest: Forest) -> tuple[Floats, Ints]:
    """Return the cuts of all features, each feature's ascending, and where each feature's begin.

    Parameters
    ----------
    forest : Forest

    Returns
    -------
    cuts : float64 array
    start : int64 array of shape (n_features + 1,)
    """
    features, values = [np.empty(0, np.int64)], [np.empty(0)]
    for tree in forest.trees:
        for feature, cut in (_number_cuts(tree), _zero_cuts(tree), _category_cuts(tree)):
            features.append(feature)
            values.append(cut)
    feature, cut = np.concatenate(features), np.concatenate(values)
    order = np.lexsort((cut, feature))
    feature, cut = feature[order], cut[order]
    new = np.ones(len(cut), bool)
    new[1:] = (np.diff(feature) != 0) | (cut[1:] != cut[:-1])
    start = np.searchsorted(feature[new], np.arange(forest.n_features + 1))
    return cut[new], start.astype(np.int64)


def _number_cuts(tree: Tree) -> tuple[Ints, Floats]:
    is_number = (tree.decision & CATEGORICAL) == 0
    return tree.feature[is_number], tree.threshold[is_number]


def _zero_cuts(tree: Tree) -> tuple[Ints, Floats]:
    """Return the cuts that set 0 apart from its neighbours, where 0 counts as missing."""
    feature = tree.feature[(tree.decision & CATEGORICAL == 0) & (tree.decision >> MISSING_SHIFT == MISSING_ZERO)]
    return np.tile(feature, 2), np.repeat([np.nextafter(-ZERO, -np.inf), ZERO], len(feature))


def _category_cuts(tree: Tree) -> tuple[Ints, Floats]:
    """Return the cuts below and above each category that goes left somewhere; category 0 begins above -1."""
    features, cuts = [np.empty(0, np.int64)], [np.empty(0)]
    for split in np.flatnonzero(tree.decision & CATEGORICAL):
        words = tree.words[tree.first_word[split] : tree.last_word[split]]
        category = np.flatnonzero(np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little")).astype(float)
        below = np.where(category == 0, -1.0, np.nextafter(category, -np.inf))
        cuts += [below, np.nextafter(category + 1, -np.inf)]
        features.append(np.full(2 * len(category), tree.feature[split]))
    return np.concatenate(features), np.concatenate(cuts)
