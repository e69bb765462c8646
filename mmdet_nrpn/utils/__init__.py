from .checkpoints import NRPN_PREFIX, fresh_nrpn_if_other, is_of_nrpn, read_checkpoint, without_nrpn
from .checks import can_become_file, check_number
from .detectors import load_weights, rpn_of
from .levels import flatten_levels, in_float32, objectness_logits
from .loops import running_loop
from .mining import Candidates, bboxes_of, clip_bboxes, false_positives, max_ious, mine_candidates, on_ignored

__all__ = [
    'NRPN_PREFIX', 'Candidates', 'bboxes_of', 'can_become_file', 'check_number', 'clip_bboxes', 'false_positives',
    'flatten_levels', 'fresh_nrpn_if_other', 'in_float32', 'is_of_nrpn', 'load_weights', 'max_ious', 'mine_candidates',
    'objectness_logits', 'on_ignored', 'read_checkpoint', 'rpn_of', 'running_loop', 'without_nrpn',
]  # fmt: skip
