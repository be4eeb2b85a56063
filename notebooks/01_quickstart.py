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
# # Quickstart: from a county's raw tables to a list of students to support
#
# No child in this notebook is real: the county in `data/synthetic` was made by `dropout-risk synth`, and it knows
# each student's true risk, so we can look behind the curtain at the end.
#
# A risk is a reason to help, never a verdict.

# %%
from pathlib import Path

import dropout_risk as dr

root = next(p for p in [Path.cwd(), *Path.cwd().parents] if (p / "data" / "synthetic").is_dir())
tables = dr.read_tables(root / "data" / "synthetic")
tables

# %% [markdown]
# ## Check first
# One report holds every problem: file, row, column, what is allowed, what to do next.

# %%
print(dr.validate(tables))

# %% [markdown]
# ## Cohorts: what was known then, and what became of each student
# Each end of term is an as-of date. Only facts recorded by that day reach the features; the outcome is what happened
# in the term after. Outcomes that are not known yet are counted, not guessed.

# %%
learned = dr.cohorts(tables)
X, y, groups, term = learned
learned.outcomes

# %%
X.describe().T[["count", "mean", "min", "50%", "max"]].round(3)

# %% [markdown]
# ## Judge the model on terms that it has not seen
# `TermSplit` trains on the past and tests on the next term. The simple rules beside the model rank the same students:
# by absence, by how many have left the school so far, by poverty status.

# %%
model = dr.DropoutRiskClassifier()
splits = list(dr.TermSplit(2).split(X, term=term))
risk = dr.cross_scores(model, X, y, splits, groups=groups, term=term)
evaluation = dr.evaluate(y, risk, groups=groups, term=term, rules=dr.rule_scores(X), n_boot=200)
print(dr.evaluation_text(evaluation))

# %% [markdown]
# ## Score the newest term, with reasons
# `train` does the above in one call and gives back a bundle: model, reference values, figures, in text files with
# digests. `score` uses it on the newest term.

# %%
county = dr.check_county(tables)
bundle = dr.train(county).bundle
scores = dr.score(county, bundle, lang="en")
scores.frame.head(10)

# %%
for student, reasons in zip(scores.frame["student_id"].head(3), scores.reasons, strict=False):
    print(student)
    for reason in reasons:
        print(f"   {reason.contribution:+.2f}  {reason.text}  ->  {reason.measure}")

# %% [markdown]
# The contributions sum exactly to the log-odds of the risk shown. SHAP's own plots draw them:

# %%
import matplotlib.pyplot as plt
import shap

features = dr.build_features(tables, scores.as_of)
explanation = dr.explain(bundle.model, features)
first = features.index.get_loc(scores.frame["student_id"].iloc[0])
shap.plots.waterfall(explanation.to_shap()[first], show=False)
plt.show()

# %%
shap.plots.beeswarm(explanation.to_shap(), max_display=12, show=False)
plt.show()

# %% [markdown]
# ## The list that fits the people there
# The county has support workers for 30 students. How many true cases should the list hold?

# %%
chosen = dr.target_list(scores.frame, capacity=30)
chosen.places

# %% [markdown]
# ## Behind the curtain
# Only a synthetic county knows its true risks. A good model comes near them and can never rank better than they do; if
# it ever seems to, something has leaked.

# %%
county_again = dr.make_county()
truth = county_again.oracle.set_index(["term", "student_id"])["risk"]
truth = truth.reindex(X.index)
known = ~(truth.isna().to_numpy() | (risk != risk))
beside = dr.evaluate(y[known], risk[known], groups=groups[known], rules={"oracle": truth[known].to_numpy()}, n_boot=200)
print("model ", beside.metrics["auc"])
print("oracle", beside.rules["oracle"]["auc"])
