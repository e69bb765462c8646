import inspect
import traceback
from typing import Optional

from mmengine.runner import BaseLoop


def running_loop(attribute: str) -> Optional[BaseLoop]:
    """The innermost MMEngine loop in the call stack that has ``attribute``; None outside of one.

    'max_iters' is of one that trains, 'evaluator' of one that validates or tests. MMEngine hands samplers and metrics
    neither loop nor runner, and its current instance (of a message hub, a logger) is the one that was created last.
    """
    for frame, _ in traceback.walk_stack(inspect.currentframe()):
        loop = frame.f_locals.get('self')
        if isinstance(loop, BaseLoop) and hasattr(loop, attribute):
            return loop
    return None
