from .nrpn_sampler import NRPNSampler

__all__ = ['NRPNSampler']
