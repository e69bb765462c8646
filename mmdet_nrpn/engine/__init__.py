from .hooks import StepSeedHook

__all__ = ['StepSeedHook']
