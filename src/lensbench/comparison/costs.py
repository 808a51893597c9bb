"""What the models of a ranking cost: as measured, or as far as their records tell."""

from __future__ import annotations

from collections.abc import Sequence

from lensbench.comparison.compare import Entry
from lensbench.cost import Cost, MeasuredCost
from lensbench.runs.cost import Costs


def known_costs(entries: Sequence[Entry], costs: Costs | None) -> dict[str, Cost | MeasuredCost]:
    """Return what each model costs, by its name; those are missing of which nothing is known.

    Args:
        entries: The models.
        costs: What `lensbench time` has measured. A measurement of another model that had the same
            name is left out.
    """
    known = {entry.name: _cost(entry, costs) for entry in entries}
    return {name: cost for name, cost in known.items() if cost is not None}


def _cost(entry: Entry, costs: Costs | None) -> Cost | None:
    recorded = entry.record.lensbench.cost if entry.record.lensbench else None
    measured = costs.runs.get(entry.name) if costs else None
    if measured and recorded and measured.model != recorded.model:
        return recorded  # of another model that has the same name
    return measured or recorded
