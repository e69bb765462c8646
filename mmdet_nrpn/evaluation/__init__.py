from .functional import match_proposals
from .metrics import ProposalMetric

__all__ = ['ProposalMetric', 'match_proposals']
