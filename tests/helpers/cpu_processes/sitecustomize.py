"""Several processes without a GPU: MMEngine's launcher names a CUDA device to each, which torch's CPU build refuses."""

import os

if 'LOCAL_RANK' in os.environ:
    import torch

    torch.cuda.set_device = lambda device: None
