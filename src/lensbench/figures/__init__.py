"""Numbers -> matplotlib: compute first, then `draw_x(data, ax=None)`; never touches pyplot."""

from lensbench.figures.against import draw_recall_against
from lensbench.figures.confusion import draw_confusion_matrix
from lensbench.figures.history import draw_history, draw_losses, draw_validation_auc
from lensbench.figures.pairwise import draw_pairwise
from lensbench.figures.ranking import draw_accuracy_ranking, draw_auc_ranking
from lensbench.figures.reliability import draw_reliability
from lensbench.figures.risk_coverage import draw_risk_coverage
from lensbench.figures.roc import draw_roc_curves
from lensbench.figures.save import save_figure
from lensbench.figures.times import draw_training_times
from lensbench.figures.trade_off import draw_auc_vs_cost, draw_auc_vs_time

__all__ = [
    "draw_accuracy_ranking",
    "draw_auc_ranking",
    "draw_auc_vs_cost",
    "draw_auc_vs_time",
    "draw_confusion_matrix",
    "draw_history",
    "draw_losses",
    "draw_pairwise",
    "draw_recall_against",
    "draw_reliability",
    "draw_risk_coverage",
    "draw_roc_curves",
    "draw_training_times",
    "draw_validation_auc",
    "save_figure",
]
