from .samplers import NRPNSampler

__all__ = ['NRPNSampler']
