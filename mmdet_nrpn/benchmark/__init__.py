from .report import report
from .runs import Run

__all__ = ['Run', 'report']
