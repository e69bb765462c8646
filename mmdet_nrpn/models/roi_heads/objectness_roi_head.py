from typing import Any, List, Optional, Tuple

import torch
from mmdet.models.layers import multiclass_nms
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.models.roi_heads.base_roi_head import BaseRoIHead
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.utils import InstanceList
from mmengine.structures import InstanceData
from torch import Tensor

from ...utils import check_number

WITHOUT = 'write model.test_cfg.rcnn.objectness_weight=0 to score detections without it'


def join_objectness(scores: Tensor, objectness: Tensor, weight: float) -> Tensor:
    r"""A detection's score: the odds of its class times the odds of an object to the power :math:`w`.

    Args:
        scores (Tensor): (n, C + 1), probabilities :math:`p` of n proposals. The last column is the background's, which
            ``multiclass_nms`` does not look at.
        objectness (Tensor): (n,), :math:`o` in [0, 1], of which up to 1 - 2^-12 counts: half precision, as an RPN's
            with AMP, rounds what is above to 1, whose odds are infinite.
        weight (float): :math:`w`, at least 0.

    Returns:
        Tensor: :math:`\sigma(\operatorname{logit} p + w \operatorname{logit} o)`, as ``scores``. Half precision is
        joined in float32.
    """
    dtype = torch.promote_types(scores.dtype, torch.float32)
    eps = torch.finfo(torch.float32).eps
    p = torch.logit(scores.to(dtype).clamp(max=1 - eps))  # no lower bound: objectness would lift it to a detection
    o = torch.logit(objectness.to(dtype).clamp(eps, 1 - 2**-12))
    return torch.sigmoid(p + weight * o[:, None]).to(scores.dtype)


class ObjectnessMixin(BaseRoIHead):
    r"""A RoI head whose detections are scored with the RPN's objectness as well (not in the nRPN paper).

    A two-stage detector throws a proposal's objectness :math:`o` away once the proposal is chosen. Here a detection
    with probability :math:`p` of its class has the score :math:`\sigma(\operatorname{logit} p + w \operatorname{logit}
    o)`, where :math:`w` is ``model.test_cfg.rcnn.objectness_weight``, at least 0, or 0.5 where it is absent. With 0,
    detections are the stock head's bit for bit. Losses and weights are always the stock head's, so a trained detector
    needs no training for it. An objectness of one half leaves a score as it is, a larger one raises it. ``score_thr``,
    NMS and ``max_per_img`` apply to the joined score.

    *Probabilistic two-stage detection* (CenterNet2; Zhou, Koltun, Krähenbühl, 2021, arXiv 2103.07461) scores by
    :math:`p\,o`, of a first stage that is trained to be the likelihood of an object; its code takes the root. Here it
    is any trained RPN, and odds measured better than the product.

    Written before a RoI head of your own (``class Mine(ObjectnessMixin, MyRoIHead)``), it needs that head's
    ``predict_bbox`` to return boxes and the scores of all classes, a row per proposal, if ``rcnn_test_cfg`` is None,
    and otherwise only to choose from them. ``StandardRoIHead`` and ``CascadeRoIHead`` do so; those of Grid R-CNN,
    Sparse R-CNN and CrowdDet do not.

    Raises:
        ValueError: When built, if the weight is no number of at least 0. In ``predict``, if proposals have no scores,
            scores outside of [0, 1], or were given (``LoadProposals``) with scores that are all 0.
    """

    objectness_weight = 0.5

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_number('model.test_cfg.rcnn', 'objectness_weight', self._weight(self.test_cfg), 0)

    def predict(
        self, x: Tuple[Tensor], rpn_results_list: InstanceList, batch_data_samples: SampleList, rescale: bool = False
    ) -> InstanceList:
        """The stock head's, of proposals that have an objectness."""
        if self._weight(self.test_cfg):
            _check_objectness(rpn_results_list, given='proposals' in batch_data_samples[0])
        return super().predict(x, rpn_results_list, batch_data_samples, rescale=rescale)

    def predict_bbox(
        self, x: Tuple[Tensor], batch_img_metas: List[dict], rpn_results_list: InstanceList, rcnn_test_cfg: Any,
        rescale: bool = False, **kwargs: Any,
    ) -> InstanceList:  # fmt: skip
        """The stock head's, with the joined ``scores`` (k,) of ``bboxes`` (k, 4) in pixels and ``labels`` (k,)."""
        weight = self._weight(rcnn_test_cfg)
        results = super().predict_bbox(
            x=x, batch_img_metas=batch_img_metas, rpn_results_list=rpn_results_list,
            rcnn_test_cfg=None if weight else rcnn_test_cfg, rescale=rescale, **kwargs,
        )  # fmt: skip
        if not weight:
            return results
        for number, (result, proposals) in enumerate(zip(results, rpn_results_list)):
            scores, cfg = join_objectness(result.scores, proposals.scores, weight), rcnn_test_cfg
            dets, labels = multiclass_nms(result.bboxes, scores, cfg.score_thr, cfg.nms, cfg.max_per_img)
            results[number] = InstanceData(bboxes=dets[:, :-1], scores=dets[:, -1], labels=labels)
        return results

    def _weight(self, test_cfg: Optional[dict]) -> float:
        """None asks for the stock head's results before NMS."""
        return test_cfg.get('objectness_weight', self.objectness_weight) if test_cfg else 0


def _check_objectness(proposals: InstanceList, given: bool) -> None:
    if not all('scores' in of_image for of_image in proposals):
        raise ValueError(f'proposals have no scores, which would be their objectness; give some, or {WITHOUT}')
    objectness = torch.cat([of_image.scores for of_image in proposals])
    if not len(objectness):
        return
    low, high = torch.stack(objectness.aminmax()).tolist()  # at once: a GPU is waited for
    if low < 0 or high > 1 or (given and high == 0):
        raise ValueError(
            "proposals' scores must be an objectness in [0, 1], and those given may not all be 0, as LoadProposals "
            f'makes them where the file has none; got {low:g} to {high:g}; {WITHOUT}'
        )


@MODELS.register_module()
class ObjectnessRoIHead(ObjectnessMixin, StandardRoIHead):
    """``StandardRoIHead`` (Faster and Mask R-CNN) with :class:`ObjectnessMixin`.

    Example:
        >>> roi_head = dict(type='ObjectnessRoIHead')
        >>> model = dict(roi_head=roi_head, test_cfg=dict(rcnn=dict(objectness_weight=0.25)))
    """


@MODELS.register_module()
class ObjectnessCascadeRoIHead(ObjectnessMixin, CascadeRoIHead):
    """``CascadeRoIHead`` (Cascade R-CNN) with :class:`ObjectnessMixin`; refined proposals keep their objectness."""
