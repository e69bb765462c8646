from .overlap_loss import OverlapLoss, OverlapTarget

__all__ = ['OverlapLoss', 'OverlapTarget']
