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
# # Is the list any good? Evaluation that a county can defend
#
# A model that ranks students by their risk of leaving school is worth something only if the list that people can work
# through holds more of the children who would leave than a simple rule would put there. This notebook asks that
# question in the way a sceptical reviewer would: out of time, at the capacity that there is, beside the rules, with
# intervals, for every group of children. No child in it is real.

# %%
import matplotlib.pyplot as plt

import dropout_risk as dr

tables = dr.make_county(4000, counties=2, terms=5, seed=11)
county = dr.check_county(tables)

# %% [markdown]
# ## One call that learns and judges
# `train` scores each of the last terms with models that knew only the terms before, and keeps every figure in
# `training.assessment`. `thorough=False` judges unseen places in the newest term only, which is quicker.

# %%
training = dr.train(county, peers={}, thorough=False)
evaluation = training.evaluation
print(dr.evaluation_text(evaluation))

# %% [markdown]
# The first line is the verdict: at the middle capacity, does the model find more of the students who left than *every*
# simple rule, by the lower bound of the paired interval? If it does not, the line says so.
#
# ## How many does a list of this length find?
# The interval comes from resampling whole schools: children of one school share what happens to it.

# %%
curve = evaluation.yield_curve
fig, ax = plt.subplots(figsize=(7, 4.5))
for name, style in {"model": "-", "absence_rule": "--", "school_mean": "-.", "random": ":"}.items():
    line = curve[curve["name"] == name]
    ax.plot(100 * line["share"], 100 * line["recall"], style, label=dr.RULE_LABELS[name]["en"], color="black")
    if name == "model":
        ax.fill_between(100 * line["share"], 100 * line["recall_low"], 100 * line["recall_high"], alpha=0.2)
ax.set(xlabel="length of the list (% of the students)", ylabel="of the students who left, % found")
ax.legend()
plt.show()

# %% [markdown]
# ## Can the risks be believed?
# Of the students to whom the model gave about 10 %, about one in ten should have left.

# %%
overall = evaluation.calibration.query("column == 'all'")
fig, ax = plt.subplots(figsize=(5, 5))
top = 1.1 * max(overall["high"].max(), overall["mean_risk"].max())
ax.plot([0, top], [0, top], ":", color="grey")
ax.errorbar(
    overall["mean_risk"],
    overall["observed"],
    yerr=[overall["observed"] - overall["low"], overall["high"] - overall["observed"]],
    fmt="o-",
    color="black",
    capsize=3,
)
ax.set(xlabel="mean risk", ylabel="share who left", xlim=(0, top), ylim=(0, top))
plt.show()

# %% [markdown]
# ## Whom does the list miss?
# One list for all, cut at the same capacity: which part of the children who left did it hold, group by group? Groups
# with fewer than 10 students or 5 who left are not shown; they would say little and could point at a child.

# %%
groups = evaluation.per_group.query("not suppressed and column in ['poverty', 'sex', 'left_behind', 'distance']")
fig, ax = plt.subplots(figsize=(7, 5))
labels = groups["column"] + ": " + groups["level"] + " (n = " + groups["rows"].astype(int).astype(str) + ")"
ax.errorbar(
    100 * groups["recall"],
    labels,
    xerr=[100 * (groups["recall"] - groups["recall_low"]), 100 * (groups["recall_high"] - groups["recall"])],
    fmt="s",
    color="black",
    capsize=3,
)
ax.axvline(100 * evaluation.metrics["recall_at_10"].value, linestyle=":", color="grey")
ax.set_xlabel("of the students of the group who left, % on the list (dotted: all students)")
ax.invert_yaxis()
plt.tight_layout()
plt.show()

# %% [markdown]
# ## What the rest of the assessment holds
# Places that no model has seen, the same model without the inputs about the family's means, and how much of the list
# stays when the model is fitted again or one attendance file comes late.

# %%
figures = training.assessment.to_dict()
figures["held_out"]["evaluation"]["verdict"]["en"] if figures["held_out"] else "not judged"

# %%
figures["sensitive"]["differences"]["recall_at_10"], figures["stability"]

# %% [markdown]
# ## The release gate
# `dropout-risk promote` lets a model into service only if these conditions hold. A figure that is too good is refused
# as well: it usually means that something recorded after the date has slipped in.

# %%
print(dr.check_release(figures).to_text("en"))

# %% [markdown]
# ## A report for people who do not open notebooks
# One HTML file in each language, without scripts or network, that prints on A4.

# %%
import tempfile
from pathlib import Path

written = dr.write_report(figures, Path(tempfile.mkdtemp()))
[path.name for path in written]
