from .hard_negative_visualization_hook import HardNegativeVisualizationHook
from .step_seed_hook import StepSeedHook

__all__ = ['HardNegativeVisualizationHook', 'StepSeedHook']
