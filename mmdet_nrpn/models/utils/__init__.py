from .checks import check_number
from .levels import flatten_levels, in_float32, objectness_logits
from .mining import Candidates, clip_bboxes, false_positives, max_ious, mine_candidates, on_ignored, sample_from

__all__ = [
    'Candidates',
    'check_number',
    'clip_bboxes',
    'false_positives',
    'flatten_levels',
    'in_float32',
    'max_ious',
    'mine_candidates',
    'objectness_logits',
    'on_ignored',
    'sample_from',
]
