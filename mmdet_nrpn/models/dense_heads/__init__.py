from .hard_negative_rpn_head import HardNegativeRPNHead
from .nrpn_head import NRPNHead

__all__ = ['HardNegativeRPNHead', 'NRPNHead']
