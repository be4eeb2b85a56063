"""What the list at hand is worth: how many of its students would leave without help, and how many it misses."""

from collections.abc import Sequence

from dropout_risk.report.figures import Estimate, Figures
from dropout_risk.report.page import Block, Bullets, Heading, Table, Text
from dropout_risk.report.words import Words

MAX_PLACES = 40
"""Longer tables of places end in a line that points to the JSON file."""


def listing_blocks(listing: Figures, words: Words) -> list[Block]:
    """Return what stands below the verdict when a list is at hand.

    Parameters
    ----------
    listing : mapping
        The part `listing` of `report_figures`; any part of it may be missing.
    words : Words

    Returns
    -------
    list of blocks
    """
    blocks: list[Block] = [Heading(words("listing"))]
    if verdict := words.pick(listing.get("verdict")):
        blocks.append(Text(verdict, "lead"))
    blocks.append(Bullets(_sentences(listing, words)))
    if listing.get("basis") == "risks alone":
        blocks.append(Text(words("listing_basis"), "missing"))
    if rules := listing.get("rules"):
        blocks.append(_rules(rules, words))
    if places := listing.get("places"):
        blocks.append(_places(places[:MAX_PLACES], words))
        if len(places) > MAX_PLACES:
            blocks.append(Text(words("more_rows", n=len(places) - MAX_PLACES)))
    if notes := listing.get("notes"):
        blocks.append(Bullets([words.pick(note) for note in notes]))
    return blocks


def _sentences(listing: Figures, words: Words) -> list[str]:
    overall: Figures = listing.get("overall") or {}
    confidence = listing.get("confidence")
    told = []
    if overall.get("listed") is not None:
        counts = {name: words.count(overall.get(name)) for name in ("listed", "students")}
        told.append(words("listing_counts", **counts))
    for key, figure in (("listing_expected", _expected(overall)), ("listing_missed", Estimate.of(overall, "missed"))):
        if figure:
            ends = words.interval(figure, words.about, confidence)
            told.append(words(key, n=words.about(figure.value), range=ends))
    if found := Estimate.of(overall, "found"):
        ends = words.interval(found, words.percent, confidence)
        told.append(words("listing_found", share=words.percent(found.value), range=ends))
    for name in ("one_more", "one_fewer"):
        if figure := Estimate.of(overall, name):
            ends = words.interval(figure, words.about, confidence)
            place = overall.get(f"{name}_place") or "—"
            told.append(words(f"listing_{name}", n=words.about(figure.value), place=place, range=ends))
    if overall.get("ties"):
        told.append(words("listing_ties", n=words.count(overall["ties"]), seed=listing.get("seed")))
    if previous := listing.get("previous"):
        told.append(words("listing_previous", **{name: words.count(previous.get(name)) for name in ("kept", "gone")}))
    return told


def _expected(record: Figures) -> Estimate | None:
    """Return the expected cases: their bounds are called `low` and `high` alone."""
    return Estimate.of({**record, "value": record.get("expected")})


def _rules(rules: Sequence[Figures], words: Words) -> Table:
    rows = []
    for rule in rules:
        worth: Figures = rule.get("worth") or {}
        difference = Estimate.of({**worth, "value": worth.get("difference")})
        rows.append(
            [
                words.ranking(str(rule.get("name"))),
                words.count(rule.get("shared")),
                words.with_range(Estimate.of(worth, "rule"), words.about),
                words.with_range(Estimate.of(worth, "model"), words.about),
                words.with_range(difference, words.signed_cases),
            ]
        )
    columns = ("rule", "same_students", "cases_rule", "cases_model", "cases_difference")
    return Table([words(name) for name in columns], rows, caption=words("listing_rules"))


def _places(places: Sequence[Figures], words: Words) -> Table:
    rows = [
        [
            str(place.get("place")),
            *(words.count(place.get(name)) for name in ("students", "capacity", "listed")),
            words.with_range(_expected(place), words.about),
            words.with_range(Estimate.of(place, "missed"), words.about),
            words.about(place.get("one_more")),
            words.about(place.get("one_fewer")),
        ]
        for place in places
    ]
    columns = ("place", "rows", "room", "listed", "expected", "missed", "one_more", "one_fewer")
    return Table([words(name) for name in columns], rows, caption=words("listing_places"))
