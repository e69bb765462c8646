"""What the server of tool_runner.py has, so that no tool need load it again."""

import gc

import mmdet.apis
import mmdet.datasets
import mmdet.engine
import mmdet.evaluation
import mmdet.models
import mmdet.visualization  # noqa: F401
import torch._dynamo  # an optimizer asks for it
import torch.onnx  # noqa: F401 (MMDetection's box coder asks it)
from mmdet_tools import read_each_metafile_once
from mmengine.hub import get_config

read_each_metafile_once()
get_config('mmdet::rpn/rpn_r50_fpn_1x_coco.py')
# each data set collects garbage: it need not look through all that was loaded here
gc.freeze()
