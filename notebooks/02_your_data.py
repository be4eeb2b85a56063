# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own table
#
# One row per student, any columns, a 0/1 column that says who left: that is enough. This notebook uses the PROGRESA
# file (rural Mexico, 1997 to 1998) when it is there: set `DROPOUT_RISK_DATA` to the folder that holds
# `progresa.parquet`. Otherwise it makes a flat table from the synthetic county.

# %%
import os
from pathlib import Path

import pandas as pd

import dropout_risk as dr

path = Path(os.environ.get("DROPOUT_RISK_DATA", "../../shared/data")) / "progresa.parquet"
if path.is_file():
    frame, roles = pd.read_parquet(path), {"label": "y", "group": "group", "fold": "fold", "baseline": "rule"}
else:
    X, y, groups, term = dr.cohorts(dr.make_county(1500, terms=4))
    frame = X.reset_index(drop=True).assign(y=y, village=groups, rule=X["absence_rate"].to_numpy())
    roles = {"label": "y", "group": "village", "baseline": "rule"}
frame.shape, roles

# %% [markdown]
# ## Divide the table by role
# `group` is the unit that must never be on both sides of a split: children of one village are alike. `baseline` is the
# score of the rule in use today; it is compared with, never learned from.

# %%
table = dr.FlatTable.of(frame, **roles)
print(table.validation["en"])
table.X.head()

# %% [markdown]
# ## Train and judge
# The first lines say what matters: at the same capacity, how many of the students who left does each list hold?

# %%
training = dr.train_flat(table)
print(dr.evaluation_text(training.evaluation))

# %% [markdown]
# ## Why
# Columns that the package does not know get a plain sentence: the value and the median.

# %%
explanation = dr.explain(training.bundle.model, table.X.head(200))
highest = int(explanation.risk.argmax())
for reason in explanation.reasons(k=5, lang="en")[highest]:
    print(f"{reason.contribution:+.2f}  {reason.text}")

# %%
import matplotlib.pyplot as plt
import shap

shap.plots.beeswarm(explanation.to_shap(), max_display=12, show=False)
plt.show()

# %% [markdown]
# ## Keep the model
# A bundle is a folder of text files with a digest for each; nothing in it is executed when it is loaded.

# %%
import tempfile

with tempfile.TemporaryDirectory() as folder:
    dr.save_bundle(training.bundle, Path(folder) / "bundle")
    again = dr.load_bundle(Path(folder) / "bundle")
(again.model.predict_proba(table.X) == training.bundle.model.predict_proba(table.X)).all()
