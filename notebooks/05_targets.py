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
# # Whom to help first, with the people there are
#
# A county has so many support workers, and each of them can look after so many children. This notebook cuts the list
# there, says what it is worth and what one more worker would add, and why a child is new on it or gone from it since
# last term. No child in it is real.

# %%
import matplotlib.pyplot as plt
import pandas as pd

import dropout_risk as dr

tables = dr.make_county(3000, counties=2, terms=5, seed=5)
county = dr.check_county(tables)
bundle = dr.train(county, peers={}, thorough=False).bundle

# %% [markdown]
# ## The capacity is the contract
# Six workers with twelve students each in every county, and at least two places for every school, so that no school is
# left out.

# %%
listing = dr.support_list(county, bundle, capacity=dr.Capacity(workers=6, per_worker=12), floor_per_school=2, lang="en")
listing.targets.frame[["list_place", "student_id", "school_id", "grade", "risk", "band", "by_floor", "reason_1"]].head(
    10
)

# %% [markdown]
# ## What is it worth?
# Of the students listed, about `expected` would leave without help. The interval rests on what the lists of past terms
# were worth, resampled by term and school, and on the chance of each child. `one_more` is what another worker would
# reach.

# %%
listing.targets.places[
    ["students", "listed", "expected", "low", "high", "missed", "one_more", "one_fewer", "ties"]
].round(1)

# %%
print(listing.targets.verdict["en"])

# %% [markdown]
# ## The same capacity under simpler rules
# How many of those listed by the rule are on our list too, and how many of 100 listed left in the terms behind us.

# %%
pd.DataFrame(
    {
        rule["en"]: {
            "also on our list": rule["shared"],
            "left, of 100 listed by the rule": rule["worth"].rule,
            "left, of 100 listed by the model": rule["worth"].model,
            "lower bound of the difference": rule["worth"].low,
        }
        for rule in listing.targets.rules
    }
).T.round(1)

# %% [markdown]
# ## How many workers?
# The list again for one, three, six and twelve workers a county.

# %%
worth = [
    dr.support_list(county, bundle, capacity=dr.Capacity(workers=n, per_worker=12), lang="en").targets.overall
    for n in (1, 3, 6, 12)
]
fig, ax = plt.subplots(figsize=(7, 4.5))
listed = [figures["listed"] for figures in worth]
ax.errorbar(
    listed,
    [figures["expected"] for figures in worth],
    yerr=[
        [figures["expected"] - figures["low"] for figures in worth],
        [figures["high"] - figures["expected"] for figures in worth],
    ],
    fmt="o-",
    color="black",
    capsize=3,
)
ax.set(xlabel="students listed", ylabel="of them would leave without help")
plt.show()

# %% [markdown]
# ## What has changed since last term
# Last term's list is the one that the same model gives as of the end of that term.

# %%
print(f"{listing.churn.kept} stay, {listing.churn.new} are new, {listing.churn.gone} are gone.")
for row in listing.churn.frame.groupby("cause").head(2).to_dict("records"):
    print(f"{row['change']:>4}  {row['student_id']}: {row['en']}")

# %% [markdown]
# ## Risk to the end of grade 9, and whose risk rises fastest
# The list is cut by the risk for the next term. Two more numbers help to plan: the chance of leaving before the end of
# grade 9, and the rise since last term in log-odds: a child that goes from 1 to 5 % is not on the list yet, but
# something has begun to happen.

# %%
columns = ["student_id", "grade", "risk", "risk_to_end", "terms_left", "evidence_terms"]
listing.targets.frame[columns].head(5).round(3)

# %%
listing.rising.head(5).round(3)

# %% [markdown]
# ## Ties are drawn, and the draw is kept
# Where several children have the same risk at the cut, a draw decides. Its record lets somebody ask later, honestly,
# whether the support has helped: the draw alone made the difference between them.

# %%
record = listing.targets.to_lottery_record()
record["method"], record["seed"], len(record["students"])
