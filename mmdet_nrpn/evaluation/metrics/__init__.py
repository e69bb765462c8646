from .froc_metric import FROCMetric
from .proposal_metric import ProposalMetric

__all__ = ['FROCMetric', 'ProposalMetric']
