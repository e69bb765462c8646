# A trial: the nRPN also chooses the negatives that the embedding learns from.
_base_ = ['./nrpn-rank_qdtrack_faster-rcnn_r18-w16_fpn_demo_shape-sequences.py']
custom_imports = dict(imports=['mmdet_nrpn', 'mmdet_nrpn.models.task_modules.samplers.nrpn_track_sampler'])
model = dict(
    type='NRPNTrackSamplerQDTrack',
    track_head=dict(train_cfg=dict(sampler=dict(neg_sampler=dict(type='NRPNTrackSampler')))),
)
