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
# # Why this risk? Reasons that are true of the number
#
# A risk without reasons helps nobody: the teacher who visits a family needs to know where to ask first. Here each
# student's risk is taken apart into contributions that add up to it exactly. A reason is an association, not a cause,
# and never a verdict. No child in this notebook is real.

# %%
import matplotlib.pyplot as plt
import numpy as np
import shap

import dropout_risk as dr

tables = dr.make_county(3000, terms=5, seed=3)
X, y, groups, term = dr.cohorts(tables)
model = dr.DropoutRiskClassifier().fit(X, y, groups=groups, term=term)

# %% [markdown]
# ## Contributions add up
# `values` are in log-odds of the calibrated risk, the number that is shown. Their sum and the base value give the risk
# back to the last digit.

# %%
newest = X[term == term.max()]
explanation = dr.explain(model, newest)
rebuilt = 1 / (1 + np.exp(-(explanation.values.sum(axis=1) + explanation.base_value)))
float(np.abs(rebuilt - model.predict_proba(newest)[:, 1]).max())

# %% [markdown]
# ## Reasons for one student, in both languages
# Features of one kind are added up into groups: absence, learning, the way to school and so on. `changeable` says
# whether school or county can do something about it, `measure` points into the support menu.

# %%
highest = int(explanation.risk.argmax())
for reason in explanation.reasons(k=4, lang="en")[highest]:
    print(f"{reason.contribution:+.2f}  {reason.label}: {reason.text}\n       -> {reason.measure}")

# %%
for reason in explanation.reasons(k=4, lang="zh")[highest]:
    print(f"{reason.contribution:+.2f}  {reason.label}：{reason.text}\n       → {reason.measure}")

# %% [markdown]
# ## What moves the risks of all students
# A dot is a student; its place along the line is what the feature adds to the log-odds of leaving, its colour the value
# of the feature.

# %%
shap.plots.beeswarm(explanation.to_shap(), max_display=12, show=False)
plt.show()

# %% [markdown]
# ## One student's risk, step by step
# From the average student at the bottom to this student at the top.

# %%
shap.plots.waterfall(explanation.to_shap()[highest], max_display=10, show=False)
plt.show()

# %% [markdown]
# ## How a value acts
# Days absent and the risk: more absence never lowers the risk, because the model is held to that direction. Where the
# dots spread, other features decide how much the same absence means.

# %%
shap.plots.scatter(explanation.to_shap()[:, dr.FEATURES["absence_rate"].en], show=False)
plt.show()

# %% [markdown]
# ## Would another fit give the same reasons?
# The same rows, another seed. If the strongest reason of a listed student changed with the seed, it would be worth
# little.

# %%
other = dr.DropoutRiskClassifier(random_state=1).fit(X, y, groups=groups, term=term)
listed = np.argsort(-explanation.risk)[:100]
first = [own[0].group if own else "" for own in dr.explain(model, newest.iloc[listed]).reasons(1, "en")]
again = [own[0].group if own else "" for own in dr.explain(other, newest.iloc[listed]).reasons(1, "en")]
print(f"{np.mean(np.array(first) == np.array(again)):.0%} of the 100 highest risks keep their strongest reason.")
