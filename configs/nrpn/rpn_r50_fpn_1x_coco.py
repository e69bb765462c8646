_base_ = ['mmdet::rpn/rpn_r50_fpn_1x_coco.py']
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
val_evaluator = dict(_delete_=True, type='ProposalMetric')
test_evaluator = val_evaluator
