from .false_positives import false_positives, on_ignored
from .objectness import objectness_logits

__all__ = ['false_positives', 'objectness_logits', 'on_ignored']
