from .functional import ProposalErrors, SampledNegatives, find_proposal_errors, match_proposals
from .ground_truth import GroundTruth
from .metrics import FROCMetric, ProposalMetric

__all__ = [
    'FROCMetric', 'GroundTruth', 'ProposalErrors', 'ProposalMetric', 'SampledNegatives', 'find_proposal_errors',
    'match_proposals',
]  # fmt: skip
