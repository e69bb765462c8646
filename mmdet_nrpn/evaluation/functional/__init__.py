from .proposal_recall import match_proposals

__all__ = ['match_proposals']
