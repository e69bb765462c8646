from .hard_negatives import DrawnNegatives, draw_hard_negatives
from .look import Look, in_same_place, look

__all__ = ['DrawnNegatives', 'Look', 'draw_hard_negatives', 'in_same_place', 'look']
