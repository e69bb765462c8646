from .hooks import HardNegativeVisualizationHook, StepSeedHook

__all__ = ['HardNegativeVisualizationHook', 'StepSeedHook']
