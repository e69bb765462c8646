import inspect
import traceback
from typing import Optional

from mmengine.runner import BaseLoop


def running_loop(attribute: str) -> Optional[BaseLoop]:
    """The MMEngine loop that calls, at whatever depth, looked up in the call stack.

    MMEngine hands samplers and metrics neither their loop nor their runner, and what it calls the current instance (of
    a message hub, of a logger) is the one created last, which may be that of another runner.

    Args:
        attribute (str): What the loop has: 'max_iters' if it trains, 'evaluator' if it validates or tests.

    Returns:
        BaseLoop, optional: The innermost such loop; None outside of one.
    """
    for frame, _ in traceback.walk_stack(inspect.currentframe()):
        loop = frame.f_locals.get('self')
        if isinstance(loop, BaseLoop) and hasattr(loop, attribute):
            return loop
    return None
