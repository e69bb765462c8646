"""In yapf's place: MMEngine formats a training's config five times, a third of the time that two steps take."""

__version__ = '0.43.0'
