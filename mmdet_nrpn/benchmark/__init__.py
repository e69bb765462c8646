from .check import check
from .plan import Plan
from .report import report
from .runs import Run

__all__ = ['Plan', 'Run', 'check', 'report']
