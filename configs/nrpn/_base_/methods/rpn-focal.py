# Focal loss on all anchors, as in RetinaNet. For `model = _base_.method`: no two bases may set the model itself.
# Losses are divided by the positives, stock's by all sampled anchors. With these weights their first gradients are 2 to
# 4 times stock's; with weights of 1, SGD at stock's rate ends in NaN.
method = dict(
    rpn_head=dict(
        loss_cls=dict(_delete_=True, type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=0.1),
        loss_bbox=dict(loss_weight=0.1),
        # objectness of 0.01 at the start
        init_cfg=dict(
            type='Normal',
            layer='Conv2d',
            std=0.01,
            override=dict(type='Normal', name='rpn_cls', std=0.01, bias_prob=0.01),
        ),
    ),
    train_cfg=dict(rpn=dict(sampler=dict(_delete_=True, type='PseudoSampler'))),
)
