"""Scorecards of several models side by side, against one reference."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from edviz.errors import ArgumentError, GridMismatchError

if TYPE_CHECKING:
    from edviz.analysis.scorecard import Scorecard

__all__ = ["COMPARED", "Comparison", "compare"]

#: Columns of each model.
COMPARED = ("value", "ratio", "verdict")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Models side by side.

    Attributes
    ----------
    cards
        Name -> `Scorecard`, all of one reference.
    """

    cards: Mapping[str, Scorecard]

    def to_dataframe(self) -> pd.DataFrame:
        """Index `metric`; columns (model, value), (model, ratio), (model, verdict) of each model in turn.

        The ratio (value / floor) is what is fair to compare: the value of a longer rollout can be lower by its length
        alone. For levels (step, lognormal_*) the better model is the one whose ratio is nearer to one.
        """
        tables = {name: card.to_dataframe()[list(COMPARED)] for name, card in self.cards.items()}
        return pd.concat(tables, axis=1, names=["model", "column"])

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """All of it as one self-contained page, curves of all models in one figure; written to `path` if given.

        Raises
        ------
        WriteError
            If the file cannot be written.
        """
        from edviz.plotting.comparison import comparison_page
        from edviz.plotting.page import write_page

        page = comparison_page(self)
        if path is not None:
            write_page(path, page)
        return page

    def __repr__(self) -> str:
        table = self.to_dataframe().to_string(float_format=lambda x: f"{x:.4g}")
        return f"<Comparison of {', '.join(self.cards)}>\n{table}"

    def _repr_html_(self) -> str:
        from edviz.plotting.comparison import comparison_table

        return comparison_table(self, inline=True)


def compare(cards: Sequence[Scorecard], names: Sequence[str] | None = None) -> Comparison:
    """Put scorecards side by side.

    Parameters
    ----------
    cards
        Two or more, of the same reference.
    names
        One for each; by default "model 1", "model 2", ...

    Raises
    ------
    GridMismatchError
        If the cards have different references: their floors and bins mean different things.
    ArgumentError
        If there are fewer than two cards, or the names are too few, too many, not distinct, or "AIMD".
    """
    names = list(names) if names is not None else [f"model {i}" for i in range(1, len(cards) + 1)]
    if len(cards) < 2:
        raise ArgumentError("comparing takes two scorecards or more: card.compare(other)")
    if len(names) != len(cards) or len(set(names)) != len(names):
        raise ArgumentError(f"{len(cards)} scorecards need as many distinct names; got {names}")
    if "AIMD" in names:
        raise ArgumentError("'AIMD' is the name of the reference: call the model something else")
    first = cards[0].evidence
    for name, card in zip(names[1:], cards[1:], strict=True):
        other = card.evidence
        same = (
            first.plan.log_bins == other.plan.log_bins
            and first.plan.value_bins == other.plan.value_bins
            and first.reference.grid.matches(other.reference.grid)
            and len(first.reference) == len(other.reference)
            and abs(first.interval - other.interval) <= 1e-3 * first.interval
        )
        if not same:
            raise GridMismatchError(
                f"'{name}' was scored against another reference than '{names[0]}': evaluate both with the same "
                "reference= and training="
            )
    return Comparison(dict(zip(names, cards, strict=True)))
