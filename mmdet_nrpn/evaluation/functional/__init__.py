from .proposal_errors import ProposalErrors, SampledNegatives, find_proposal_errors
from .proposal_recall import match_proposals

__all__ = ['ProposalErrors', 'SampledNegatives', 'find_proposal_errors', 'match_proposals']
