"""From one tree to tables: which rows its leaves tell apart, how to cut it into groups, and what they hold.

For one leaf only two things about a row matter: for each feature on its path, whether the row's value satisfies
all conditions of the path on that feature. If `o` says so (0 or 1) and `z` is the product of the cover ratios
of those splits, feature `j` gets

    value * (o[j] - z[j]) * integral over t from 0 to 1 of prod over k != j of (t * o[k] + (1 - t) * z[k]),

which Gauss-Legendre quadrature with half as many points as features gives exactly.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dropout_risk.jit import compiled
from dropout_risk.treeshap.bins import COLUMN, ZERO
from dropout_risk.treeshap.parse import (
    CATEGORICAL,
    DEFAULT_LEFT,
    MISSING_NAN,
    MISSING_SHIFT,
    MISSING_ZERO,
    Floats,
    Ints,
    Tree,
)

Flags = npt.NDArray[np.bool_]

LARGEST_TABLE = 65_535
"""Entries of one table: the place of a cell has 16 bits."""

LONGEST_PATTERN = 14
"""Features of a leaf in a table; all their patterns are worked out."""

GROUP_COST, DIRECT_COST = 0.5, 0.4
"""Time per row of a group of leaves, and of one factor of a leaf outside the tables, where adding one
table entry counts 1 (measured on x86-64 with AVX2)."""


class Shape(NamedTuple):
    """What one tree tells apart.

    The codes of a feature that take the same side at every split of the tree are one class. Leaves are in the
    order of a drawing of the tree, so that neighbours share most of their paths.
    """

    features: Ints  # (n_used,) ascending
    code_start: Ints  # (n_used + 1,) where the codes of each feature begin in code_class
    code_class: Ints  # class of each code
    class_start: Ints  # (n_used + 1,) where the classes of each feature begin
    allowed: Flags  # (n_leaves, n_classes): satisfies the conditions of the leaf's path on the feature
    on_path: Flags  # (n_leaves, n_used)
    share: Floats  # (n_leaves, n_used): product of the cover ratios of the feature's splits
    value: Floats  # (n_leaves,)


class Rules(NamedTuple):
    """Gauss-Legendre points and weights on [0, 1]; the rule of n points begins at n * (n - 1) / 2."""

    point: Floats
    weight: Floats


class Steps(NamedTuple):
    """How places follow from codes: where the code in `column` is above `cut`, add `jump` (modulo 2 ** 16)."""

    column: npt.NDArray[np.uint32]
    cut: npt.NDArray[np.uint8]
    jump: npt.NDArray[np.uint16]


class Groups(NamedTuple):
    """Tables of the groups of one tree."""

    size: Ints  # (n_groups, 3): steps, features, entries
    feature: Ints
    entries: Floats
    steps: Steps


class Factors(NamedTuple):
    """Leaves of one tree that are worked out for each row: arrays over leaves, then over their features."""

    size: Ints  # (n_leaves,): features
    value: Floats
    feature: Ints
    share: Floats
    first: npt.NDArray[np.uint16]  # whether code 0 satisfies the path
    n_steps: Ints
    steps: Steps


@compiled
def goes_left(tree: Tree, split: int, value: float) -> bool:
    """Return the side LightGBM takes (Tree::NumericalDecision and Tree::CategoricalDecision)."""
    decision = tree.decision[split]
    if decision & CATEGORICAL:
        if not -1.0 < value < 2147483648.0:
            return False
        category = int(value)
        word = tree.first_word[split] + (category >> 5)
        return bool(word < tree.last_word[split] and (int(tree.words[word]) >> (category & 31)) & 1)
    missing = (decision >> MISSING_SHIFT) & 3
    if np.isnan(value) and missing != MISSING_NAN:
        value = 0.0
    if (missing == MISSING_ZERO and abs(value) <= ZERO) or np.isnan(value):
        return bool(decision & DEFAULT_LEFT)
    return bool(value <= tree.threshold[split])


@compiled
def refine(part: Ints, flag: Flags, n_parts: int) -> int:
    """Part `part` further by `flag`, numbered by first appearance; return the number of parts."""
    number = np.full(2 * n_parts, -1, np.int64)
    found = 0
    for k in range(len(part)):
        key = 2 * part[k] + flag[k]
        if number[key] < 0:
            number[key] = found
            found += 1
        part[k] = number[key]
    return found


@compiled
def drawing(tree: Tree) -> tuple[Ints, Ints]:
    """Return the number of leaves under each split, and the place of the first of them in the drawing."""
    n_splits = len(tree.feature)
    under, first = np.zeros(n_splits, np.int64), np.zeros(n_splits, np.int64)
    for split in range(n_splits - 1, -1, -1):  # children come after their parents
        for child in (tree.left[split], tree.right[split]):
            under[split] += under[child] if child >= 0 else 1
    for split in range(n_splits):
        left, right = tree.left[split], tree.right[split]
        if left >= 0:
            first[left] = first[split]
        if right >= 0:
            first[right] = first[split] + (under[left] if left >= 0 else 1)
    return under, first


@compiled
def describe(tree: Tree, features: Ints, slot: Ints, cuts: Floats, cut_start: Ints) -> Shape:
    """Return what `tree` tells apart among the codes that `cuts` make.

    `features` are those of its splits, ascending; `slot` is the place of each split's feature among them.
    """
    code_start = np.zeros(len(features) + 1, np.int64)
    for u, feature in enumerate(features):
        code_start[u + 1] = code_start[u] + cut_start[feature + 1] - cut_start[feature] + 2
    sample = np.empty(code_start[-1])  # a value that has the code
    for u, feature in enumerate(features):
        for k in range(cut_start[feature], cut_start[feature + 1]):
            sample[code_start[u] + k - cut_start[feature]] = cuts[k]
        sample[code_start[u + 1] - 2], sample[code_start[u + 1] - 1] = np.inf, np.nan
    code_class, left = np.zeros(len(sample), np.int64), np.empty(len(sample), np.bool_)
    count = np.ones(len(features), np.int64)
    for split, u in enumerate(slot):
        own = slice(code_start[u], code_start[u + 1])
        for k in range(code_start[u], code_start[u + 1]):
            left[k] = goes_left(tree, split, sample[k])
        count[u] = refine(code_class[own], left[own], count[u])
    class_start = np.zeros(len(count) + 1, np.int64)
    for u in range(len(count)):
        class_start[u + 1] = class_start[u] + count[u]
    class_sample = np.empty(class_start[-1])
    for u in range(len(count)):
        for k in range(code_start[u], code_start[u + 1]):
            class_sample[class_start[u] + code_class[k]] = sample[k]
    allowed, on_path, share, value = follow_paths(tree, slot, class_start, class_sample)
    return Shape(features, code_start, code_class, class_start, allowed, on_path, share, value)


@compiled
def follow_paths(
    tree: Tree, slot: Ints, class_start: Ints, class_sample: Floats
) -> tuple[Flags, Flags, Floats, Floats]:
    """Return `allowed`, `on_path`, `share` and `value` of the tree's `Shape`."""
    n_splits, n_leaves, n_used = len(tree.feature), len(tree.leaf_value), len(class_start) - 1
    under, first = drawing(tree)
    allowed = np.ones((n_splits + n_leaves, len(class_sample)), np.bool_)  # splits, then leaves as drawn
    on_path = np.zeros((n_splits + n_leaves, n_used), np.bool_)
    share = np.ones((n_splits + n_leaves, n_used))
    value = np.empty(n_leaves)
    for split in range(n_splits):
        u = slot[split]
        for is_left in (True, False):
            child = tree.left[split] if is_left else tree.right[split]
            if child >= 0:
                row, cover = child, tree.cover[child]
            else:
                leaf = first[split] if is_left else first[split] + under[split] - 1
                row, cover = n_splits + leaf, tree.leaf_cover[~child]
                value[leaf] = tree.leaf_value[~child]
            for c in range(len(class_sample)):
                allowed[row, c] = allowed[split, c]
            for k in range(n_used):
                on_path[row, k], share[row, k] = on_path[split, k], share[split, k]
            on_path[row, u] = True
            share[row, u] *= cover / tree.cover[split] if tree.cover[split] > 0 else 0.5  # never seen: no opinion
            for c in range(class_start[u], class_start[u + 1]):
                if goes_left(tree, split, class_sample[c]) != is_left:
                    allowed[row, c] = False
    return allowed[n_splits:], on_path[n_splits:], share[n_splits:], value


@compiled
def plan(shape: Shape, price: float, longest: int) -> tuple[Ints, int]:
    """Return the group of each leaf (-1: worked out for each row), and the entries of all tables.

    Groups are runs of leaves in the order of the drawing; the cheapest way to cut the row of leaves into
    runs of at most `longest` is found exactly (dynamic programming). `price` is what each cell adds to the cost
    of a table entry: large tables do not stay in the cache.
    """
    n_leaves, n_used = shape.on_path.shape
    group = np.full(n_leaves, -1, np.int64)
    in_table = np.flatnonzero(np.array([fits_table(shape, leaf, price) for leaf in range(n_leaves)]))
    n = len(in_table)
    best, origin = np.full(n + 1, np.inf), np.zeros(n + 1, np.int64)
    size = np.zeros(n + 1, np.int64)
    best[0] = 0.0
    for first in range(n):
        part, count, used = no_classes(shape)
        for last in range(first, min(first + longest, n)):
            add_leaf(shape, in_table[last], part, count, used)
            cells, features = cells_of(count), np.sum(used)
            if cells * features > LARGEST_TABLE:
                break
            cost = best[first] + GROUP_COST + features * (1 + price * cells)
            if cost < best[last + 1]:
                best[last + 1], origin[last + 1], size[last + 1] = cost, first, cells * features
    entries, stop, number = 0, n, 0
    while stop > 0:
        group[in_table[origin[stop] : stop]] = number
        entries += size[stop]
        stop = origin[stop]
        number += 1
    return group, entries


@compiled
def fits_table(shape: Shape, leaf: int, price: float) -> bool:
    """Return whether a table of its own is possible for a leaf, and cheaper than working the leaf out."""
    part, count, used = no_classes(shape)
    add_leaf(shape, leaf, part, count, used)
    cells, features = cells_of(count), np.sum(used)
    if features > LONGEST_PATTERN or cells * features > LARGEST_TABLE:
        return False
    direct = DIRECT_COST * features * (1 + features)
    return bool(GROUP_COST + features * (1 + price * cells) < direct + 2 * GROUP_COST)


@compiled
def no_classes(shape: Shape) -> tuple[Ints, Ints, Flags]:
    """Return the state that `add_leaf` extends: nothing is told apart yet, no feature is used."""
    n_used = len(shape.features)
    return np.zeros(shape.class_start[-1], np.int64), np.ones(n_used, np.int64), np.zeros(n_used, np.bool_)


@compiled
def add_leaf(shape: Shape, leaf: int, part: Ints, count: Ints, used: Flags) -> None:
    """Tell apart what `leaf` tells apart, too: parts of the classes, their number per feature, features."""
    for u in range(len(count)):
        if shape.on_path[leaf, u]:
            own = slice(shape.class_start[u], shape.class_start[u + 1])
            used[u] = True
            count[u] = refine(part[own], shape.allowed[leaf, own], count[u])


@compiled
def cells_of(count: Ints) -> int:
    """Return the product, but no more than is needed to see that it is too large."""
    cells = 1
    for n in count:
        cells = min(cells * n, LARGEST_TABLE + 1)
    return cells


@compiled
def pattern_values(value: float, share: Floats, rules: Rules) -> Floats:
    """Return the contributions of one leaf, shape (2 ** d, d), for each pattern of satisfied features.

    Bit `k` of the pattern says that feature `k` satisfies its conditions.
    """
    d = len(share)
    n = (d + 1) // 2
    rule = n * (n - 1) // 2
    values = np.zeros((1 << d, d))
    for q in range(rule, rule + n):
        t = rules.point[q]
        for pattern in range(1 << d):
            product = rules.weight[q] * value
            for k in range(d):
                product *= (t if (pattern >> k) & 1 else 0.0) + (1 - t) * share[k]
            for k in range(d):
                if (pattern >> k) & 1:
                    values[pattern, k] += product * (1 - share[k]) / (t + (1 - t) * share[k])
                else:
                    values[pattern, k] -= product / (1 - t)  # share / ((1 - t) * share), also where it is 0
    return values


@compiled
def fill_table(shape: Shape, leaves: Ints, rules: Rules, part: Ints, count: Ints, slots: Ints, table: Floats) -> None:
    """Write the table of a group, shape (cells, features): the sums of its leaves' contributions.

    Cell numbers have mixed radix: the first feature of `slots` counts fastest.
    """
    cells = len(table)
    table[:] = 0.0
    pattern = np.empty(cells, np.int64)
    place = np.empty(len(slots), np.int64)
    for leaf in leaves:
        mine = np.flatnonzero(shape.on_path[leaf])
        values = pattern_values(shape.value[leaf], shape.share[leaf][mine], rules)
        size, bit = 1, 0
        pattern[0] = 0
        for u in slots:
            satisfied = np.zeros(count[u], np.int64)
            if shape.on_path[leaf, u]:
                for c in range(shape.class_start[u], shape.class_start[u + 1]):
                    satisfied[part[c]] = shape.allowed[leaf, c]
            for p in range(count[u] - 1, -1, -1):
                for cell in range(size):
                    pattern[p * size + cell] = pattern[cell] | (satisfied[p] << bit)
            size *= count[u]
            bit += shape.on_path[leaf, u]
        at = 0
        for k, u in enumerate(slots):
            if shape.on_path[leaf, u]:
                place[at] = k
                at += 1
        for cell in range(cells):
            for k in range(at):
                table[cell, place[k]] += values[pattern[cell], k]


@compiled
def fill_groups(shape: Shape, group: Ints, n_entries: int, column_start: Ints, rules: Rules) -> Groups:
    """Return the tables of the groups that `plan` made."""
    n_groups = group.max() + 1
    size = np.zeros((n_groups, 3), np.int64)
    feature, n_features = np.empty(n_groups * len(shape.features), np.int64), 0
    entries, n_filled = np.empty(n_entries), 0
    steps, n_steps = room_for_steps(n_groups * len(shape.code_class)), 0
    for g in range(n_groups):
        leaves = np.flatnonzero(group == g)
        part, count, used = no_classes(shape)
        for leaf in leaves:
            add_leaf(shape, int(leaf), part, count, used)
        slots, cells = np.flatnonzero(used), cells_of(count)
        table = entries[n_filled : n_filled + cells * len(slots)].reshape((cells, len(slots)))
        fill_table(shape, leaves, rules, part, count, slots, table)
        n_filled += table.size
        before, stride = n_steps, len(slots)
        for u in slots:
            level = part[shape.class_start[u] : shape.class_start[u + 1]] * stride
            n_steps = write_steps(shape, int(u), level, column_start, steps, n_steps)
            stride *= count[u]
            feature[n_features] = shape.features[u]
            n_features += 1
        size[g, 0], size[g, 1], size[g, 2] = n_steps - before, len(slots), table.size
    return Groups(size, feature[:n_features].copy(), entries, first_steps(steps, n_steps))


@compiled
def list_factors(shape: Shape, group: Ints, column_start: Ints) -> Factors:
    """Return what is needed to work out the leaves that `plan` put into no group."""
    leaves = np.flatnonzero(group < 0)
    most = len(leaves) * len(shape.features)
    size, feature, n_steps = np.zeros(len(leaves), np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    share, first = np.empty(most), np.empty(most, np.uint16)
    steps, n_factors, at = room_for_steps(len(leaves) * len(shape.code_class)), 0, 0
    for k, leaf in enumerate(leaves):
        for u in np.flatnonzero(shape.on_path[leaf]):
            level = shape.allowed[leaf, shape.class_start[u] : shape.class_start[u + 1]] * 1
            before = at
            at = write_steps(shape, int(u), level, column_start, steps, at)
            feature[n_factors], share[n_factors] = shape.features[u], shape.share[leaf, u]
            first[n_factors], n_steps[n_factors] = level[0], at - before
            size[k] += 1
            n_factors += 1
    return Factors(
        size,
        shape.value[leaves],
        feature[:n_factors].copy(),
        share[:n_factors].copy(),
        first[:n_factors].copy(),
        n_steps[:n_factors].copy(),
        first_steps(steps, at),
    )


@compiled
def room_for_steps(n: int) -> Steps:
    """Return `n` steps to be written."""
    return Steps(np.empty(n, np.uint32), np.empty(n, np.uint8), np.empty(n, np.uint16))


@compiled
def first_steps(steps: Steps, n: int) -> Steps:
    """Return a copy of the first `n` steps."""
    return Steps(steps.column[:n].copy(), steps.cut[:n].copy(), steps.jump[:n].copy())


@compiled
def write_steps(shape: Shape, u: int, level: Ints, column_start: Ints, steps: Steps, at: int) -> int:
    """Write the steps from code to code of one feature, whose classes have these levels; return the next place."""
    start = shape.code_start[u]
    for k in range(shape.code_start[u + 1] - start - 1):
        rise = level[shape.code_class[start + k + 1]] - level[shape.code_class[start + k]]
        if rise != 0:
            steps.column[at] = column_start[shape.features[u]] + k // COLUMN
            steps.cut[at] = k % COLUMN
            steps.jump[at] = rise & 0xFFFF
            at += 1
    return at
