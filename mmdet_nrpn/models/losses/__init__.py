from .hard_negative_rank_loss import HardNegativeRankLoss
from .overlap_loss import OverlapLoss, OverlapTarget

__all__ = ['HardNegativeRankLoss', 'OverlapLoss', 'OverlapTarget']
