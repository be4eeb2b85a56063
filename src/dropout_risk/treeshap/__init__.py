"""Exact contributions of LightGBM models (path-dependent SHAP values), cheaper than the prediction itself.

`compile_boosters` turns the text of one or several boosters into `TreeTables`, once; the tables then explain and
score rows. Tables are derived data: they are made from a model that was checked, and never saved.

1. All features are coded by the cuts that the model itself makes (`bins`); a row enters only through its codes.
2. Each tree is cut into groups of leaves. A group tells apart few combinations of codes, its cells, and the
   summed contributions of its leaves are worked out for each cell (`build`).
3. For a row and a group, the cell follows from comparisons of codes, and its entries are added (`kernel`).

Leaves with so many features that a table would not pay are worked out for each row, as exactly.

numba, which compiles the last two, is only imported when a model is compiled.
"""

from dropout_risk.treeshap.tables import TreeTables, compile_boosters

__all__ = ["TreeTables", "compile_boosters"]
