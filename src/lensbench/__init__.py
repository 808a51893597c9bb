"""Classify strong gravitational lenses by their substructure, and compare classifiers honestly.

The functions here are the verbs of the command line: `simulate` (and its `preview`), `verify`,
`run`, `compare`, `report`, `evaluate`, `ensemble`, `time`, `plots`, `explain`, `export` and
`predict`; `list_models` searches names.
Nothing heavy happens at import.
"""

from lensbench.api import (
    EnsembleResult,
    Interrupted,
    SweepResult,
    compare,
    ensemble,
    evaluate,
    explain,
    export,
    plots,
    predict,
    preview,
    report,
    run,
    simulate,
    time,
    verify,
)
from lensbench.choices import choose_recipe
from lensbench.config import DATASET_URL, DataSpec, JudgeSpec, MachineSpec, Recipe, SplitSpec
from lensbench.errors import LensbenchError
from lensbench.evaluation.estimate import Estimate
from lensbench.outcome import Predictions
from lensbench.recipes import RECIPES
from lensbench.runs.layout import contract_layout
from lensbench.runs.record import RunRecord
from lensbench.version import __version__
from lensbench.zoo.names import CONTRACT_MODELS, ContractModel, list_models

__all__ = [
    "CONTRACT_MODELS",
    "DATASET_URL",
    "RECIPES",
    "ContractModel",
    "DataSpec",
    "EnsembleResult",
    "Estimate",
    "Interrupted",
    "JudgeSpec",
    "LensbenchError",
    "MachineSpec",
    "Predictions",
    "Recipe",
    "RunRecord",
    "SplitSpec",
    "SweepResult",
    "__version__",
    "choose_recipe",
    "compare",
    "contract_layout",
    "ensemble",
    "evaluate",
    "explain",
    "export",
    "list_models",
    "plots",
    "predict",
    "preview",
    "report",
    "run",
    "simulate",
    "time",
    "verify",
]
