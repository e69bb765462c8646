from .proposal_recall import box_ious, match_proposals

__all__ = ['box_ious', 'match_proposals']
