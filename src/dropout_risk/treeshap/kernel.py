"""Evaluate the tables for a block of rows: codes, then one place per group of leaves, then additions."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dropout_risk.jit import compiled
from dropout_risk.treeshap.bins import COLUMN, ZERO
from dropout_risk.treeshap.build import Rules, Steps
from dropout_risk.treeshap.parse import Floats, Ints

Codes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.uint16]


class Layout(NamedTuple):
    """All tables of a model, flat; ``x_start[i]`` is where the part of `i` in the arrays of `x` begins."""

    cuts: Floats
    cut_start: Ints  # of each feature
    column_start: Ints  # of each feature
    group_step_start: Ints
    group_steps: Steps
    group_feature_start: Ints
    group_feature: npt.NDArray[np.uint32]
    entry_start: Ints  # of each group
    entries: Floats
    direct_value: Floats  # of each leaf outside the tables
    factor_start: Ints  # of each of these leaves
    factor_feature: Ints
    factor_share: Floats
    factor_first: Places
    factor_step_start: Ints
    factor_steps: Steps
    rules: Rules


@compiled
def explain(layout: Layout, rows: Floats) -> Floats:
    """Return the contributions to the score of each row, shape (n_features, n)."""
    n, n_features = rows.shape
    codes = encode(layout, rows)
    total = np.zeros((n_features, n))
    if n == 1:
        look_up_one(layout, codes[:, 0].copy(), total)
    else:
        look_up(layout, codes, total)
    for leaf in range(len(layout.direct_value)):
        work_out(layout, leaf, codes, total)
    return total


@compiled
def look_up(layout: Layout, codes: Codes, total: Floats) -> None:
    """Add the table entries of all groups, group by group."""
    place = np.empty(codes.shape[1], np.uint16)
    for g in range(len(layout.entry_start) - 1):
        place[:] = 0
        locate(place, codes, layout.group_steps, layout.group_step_start[g], layout.group_step_start[g + 1])
        first = layout.group_feature_start[g]
        for k in range(first, layout.group_feature_start[g + 1]):
            table = layout.entries[layout.entry_start[g] + k - first : layout.entry_start[g + 1]]
            add(total[layout.group_feature[k]], table, place)


@compiled
def look_up_one(layout: Layout, code: Codes, total: Floats) -> None:
    """Do what `look_up` does, in the same order, for one row; first all places, so that the look-ups overlap."""
    steps, entry = layout.group_steps, np.empty(len(layout.entry_start) - 1, np.int64)
    for g in range(len(entry)):
        own = slice(layout.group_step_start[g], layout.group_step_start[g + 1])
        column, cut, jump = steps.column[own], steps.cut[own], steps.jump[own]
        place = np.uint32(0)
        for k in range(len(cut)):
            place += np.uint32(jump[k]) * np.uint32(code[column[k]] > cut[k])
        entry[g] = layout.entry_start[g] + np.int64(place & 0xFFFF)
    for g in range(len(entry)):
        features = layout.group_feature[layout.group_feature_start[g] : layout.group_feature_start[g + 1]]
        values = layout.entries[entry[g] : entry[g] + len(features)]
        for k in range(len(features)):
            total[features[k], 0] += values[k]


@compiled
def encode(layout: Layout, rows: Floats) -> Codes:
    """Return the codes of the rows, shape (n_columns, n), by binary search among the cuts of each feature."""
    n, n_features = rows.shape
    codes = np.empty((layout.column_start[-1], n), np.uint8)
    value, code = np.empty(n), np.empty(n, np.int64)
    for f in range(n_features):
        cuts = layout.cuts[layout.cut_start[f] : layout.cut_start[f + 1]]
        left = len(cuts)
        if left == 0:
            continue
        for r in range(n):
            value[r] = 0.0 if abs(rows[r, f]) <= ZERO else rows[r, f]
            code[r] = 0
        while left > 1:
            half = left >> 1
            for r in range(n):
                code[r] += half if cuts[code[r] + half - 1] < value[r] else 0
            left -= half
        for r in range(n):
            code[r] = len(cuts) + 1 if np.isnan(value[r]) else code[r] + (cuts[code[r]] < value[r])
        for column in range(layout.column_start[f], layout.column_start[f + 1]):
            below = COLUMN * (column - layout.column_start[f])
            own = codes[column]
            for r in range(n):
                own[r] = min(max(code[r] - below, 0), COLUMN)
    return codes


@compiled
def locate(place: Places, codes: Codes, steps: Steps, first: int, last: int) -> None:
    """Add the jumps of the steps from `first` to `last` that the codes of each row pass."""
    for step in range(first, last):
        code, cut, jump = codes[steps.column[step]], steps.cut[step], steps.jump[step]
        for r in range(len(place)):
            place[r] += jump * np.uint16(code[r] > cut)


@compiled
def add(total: Floats, table: Floats, place: Places) -> None:
    """Add the entry at each row's place to the row's total."""
    for r in range(len(place)):
        total[r] += table[place[r]]


@compiled
def work_out(layout: Layout, leaf: int, codes: Codes, total: Floats) -> None:
    """Add the contributions of one leaf by quadrature (see `build.pattern_values`)."""
    n = codes.shape[1]
    first, last = layout.factor_start[leaf], layout.factor_start[leaf + 1]
    d = last - first
    satisfied = np.empty((d, n), np.uint16)
    for k in range(d):
        satisfied[k] = layout.factor_first[first + k]
        begin, end = layout.factor_step_start[first + k], layout.factor_step_start[first + k + 1]
        locate(satisfied[k], codes, layout.factor_steps, begin, end)
    n_points = (d + 1) // 2
    rule = n_points * (n_points - 1) // 2
    product = np.empty(n)
    for q in range(rule, rule + n_points):
        t = layout.rules.point[q]
        product[:] = layout.rules.weight[q] * layout.direct_value[leaf]
        for k in range(d):
            share = layout.factor_share[first + k]
            multiply(product, satisfied[k], t + (1 - t) * share, (1 - t) * share)
        for k in range(d):
            share = layout.factor_share[first + k]
            yes, no = (1 - share) / (t + (1 - t) * share), -1 / (1 - t)
            add_scaled(total[layout.factor_feature[first + k]], product, satisfied[k], yes, no)


@compiled
def multiply(product: Floats, satisfied: Places, yes: float, no: float) -> None:
    """Multiply each row's product by `yes` or `no`."""
    for r in range(len(product)):
        product[r] *= yes if satisfied[r] else no


@compiled
def add_scaled(total: Floats, product: Floats, satisfied: Places, yes: float, no: float) -> None:
    """Add to each row's total its product times `yes` or `no`."""
    for r in range(len(product)):
        total[r] += product[r] * (yes if satisfied[r] else no)


@compiled
def strongest(total: Floats, owner: Ints, n_owners: int, index: Places, value: Floats) -> None:
    """Write the largest sums of each row, largest first, and the feature that adds most to each.

    `total` has shape (n_features, n), `index` and `value` (n, k); `owner` says to which sum each feature
    belongs. Of equal sums and features the first one counts.
    """
    n_features, n = total.shape
    k = index.shape[1]
    sums, lead, highest = np.empty(n_owners), np.empty(n_owners, np.int64), np.empty(n_owners)
    for r in range(n):
        sums[:] = 0.0
        lead[:] = -1
        for f in range(n_features):
            own = owner[f]
            sums[own] += total[f, r]
            if lead[own] < 0 or total[f, r] > highest[own]:
                lead[own], highest[own] = f, total[f, r]
        for own in range(n_owners):
            rank = min(own, k)  # so many are in the list, largest first
            while rank > 0 and sums[own] > value[r, rank - 1]:
                if rank < k:
                    index[r, rank], value[r, rank] = index[r, rank - 1], value[r, rank - 1]
                rank -= 1
            if rank < k:
                index[r, rank], value[r, rank] = lead[own], sums[own]
