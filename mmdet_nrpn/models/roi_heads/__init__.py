from .objectness_roi_head import ObjectnessCascadeRoIHead, ObjectnessMixin, ObjectnessRoIHead

__all__ = ['ObjectnessCascadeRoIHead', 'ObjectnessMixin', 'ObjectnessRoIHead']
