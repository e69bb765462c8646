from .proposal_metric import ProposalMetric

__all__ = ['ProposalMetric']
