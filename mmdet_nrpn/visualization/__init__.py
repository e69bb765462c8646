from .look import DrawnNegatives, Look, look

__all__ = ['DrawnNegatives', 'Look', 'look']
