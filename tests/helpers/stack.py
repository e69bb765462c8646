"""What differs between OneDL's and OpenMMLab's packages."""

from mmengine.runner.loops import _InfiniteDataloaderIterator

# with so many workers, random steps of a data pipeline repeat when a training is resumed: see StepSeedHook
REPEATING_WORKERS = 0 if hasattr(_InfiniteDataloaderIterator, 'skip_iter') else 1
