from .hard_negative_rpn_head import HardNegativeRPNHead
from .nrpn_head import NRPNHead
from .paper_nrpn_head import PaperNRPNHead

__all__ = ['HardNegativeRPNHead', 'NRPNHead', 'PaperNRPNHead']
