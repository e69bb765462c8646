from .functional import match_proposals
from .ground_truth import GroundTruth
from .metrics import ProposalMetric

__all__ = ['GroundTruth', 'ProposalMetric', 'match_proposals']
