from .froc import FROCCurve, froc_curve, match_detections
from .proposal_errors import ProposalErrors, SampledNegatives, find_proposal_errors
from .proposal_recall import match_proposals

__all__ = [
    'FROCCurve', 'ProposalErrors', 'SampledNegatives', 'find_proposal_errors', 'froc_curve', 'match_detections',
    'match_proposals',
]  # fmt: skip
