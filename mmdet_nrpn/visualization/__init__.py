from .proposal_errors import ProposalErrors, SampledNegatives, find_proposal_errors

__all__ = ['ProposalErrors', 'SampledNegatives', 'find_proposal_errors']
