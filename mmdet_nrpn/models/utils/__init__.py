from .candidates import Candidates, decode_at, mine_candidates
from .draw import draw
from .false_positives import false_positives, on_ignored
from .levels import flatten_levels, in_float32, objectness_logits

__all__ = [
    'Candidates',
    'decode_at',
    'draw',
    'false_positives',
    'flatten_levels',
    'in_float32',
    'mine_candidates',
    'objectness_logits',
    'on_ignored',
]
