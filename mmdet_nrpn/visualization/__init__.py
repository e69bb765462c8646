from .hard_negatives import plot_hard_negatives
from .recall_curves import plot_recall

__all__ = ['plot_hard_negatives', 'plot_recall']
