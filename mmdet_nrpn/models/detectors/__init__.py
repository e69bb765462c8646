from .ignoring_soft_teacher import IgnoringSoftTeacher

__all__ = ['IgnoringSoftTeacher']
