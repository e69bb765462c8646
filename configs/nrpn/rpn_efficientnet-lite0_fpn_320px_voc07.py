# Real images on a CPU: EfficientNet-Lite0 at 320 pixels, trained end to end for 1500 steps of 8.
_base_ = ['./_base_/models/rpn_efficientnet-lite0_fpn.py', './_base_/schedules/voc07_320px.py']
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
