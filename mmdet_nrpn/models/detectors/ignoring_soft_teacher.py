import warnings
from typing import Tuple

from mmdet.models.detectors import SoftTeacher
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, SampleList
from mmdet.utils import ConfigType, InstanceList, OptConfigType
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...utils import bboxes_of, check_number
from ..dense_heads import HardNegativeRPNHead

INITIAL, FINAL = 'pseudo_label_initial_score_thr', 'rpn_pseudo_thr'


@MODELS.register_module()
class IgnoringSoftTeacher(SoftTeacher):
    """A ``SoftTeacher`` whose student's RPN ignores what the teacher is unsure of (not in the paper).

    On an unlabelled image, the RPN's objects are the teacher's boxes with a score above ``rpn_pseudo_thr``. The
    others, down to ``pseudo_label_initial_score_thr``, may be objects, too. ``SoftTeacher`` leaves them out, so they
    would be the RPN's hard negatives. Here they are ignored objects of the RPN, in the student's augmented image.
    Labelled images and the second stage are trained as by ``SoftTeacher``.

    What ignored means is the RPN's to say. :class:`~mmdet_nrpn.models.HardNegativeRPNHead` does not mine, rank or
    sample it as hard. With ``assigner.ignore_iof_thr`` above 0 it is no negative at all, also in the stock
    ``RPNHead``, which else takes no notice of it; but MMDetection's assigner takes none of that key on an image
    without an object.

    Args:
        detector (dict): Config of teacher and student.
        semi_train_cfg (dict): ``SoftTeacher``'s. Needs ``pseudo_label_initial_score_thr < rpn_pseudo_thr``.
        kwargs: ``SoftTeacher``'s others.

    Raises:
        ValueError: If a threshold is missing or not in [0, 1], no score is between the two, or the detector has no RPN.
    """

    def __init__(self, detector: ConfigType, semi_train_cfg: OptConfigType = None, **kwargs) -> None:
        _check_thresholds(semi_train_cfg or {})
        super().__init__(detector, semi_train_cfg=semi_train_cfg, **kwargs)
        _check_rpn(self.student)

    def rpn_loss_by_pseudo_instances(
        self, x: Tuple[Tensor], batch_data_samples: SampleList
    ) -> Tuple[dict, InstanceList]:
        """``SoftTeacher``'s losses of the student's RPN, with the teacher's unsure boxes ignored.

        Args:
            x (tuple[Tensor]): Features of the student, one (N, C, H, W) per level.
            batch_data_samples (list[DetDataSample]): The teacher's boxes with ``scores`` as ``gt_instances``, in
                pixels of the student's input. They are not changed.

        Returns:
            tuple[dict, list[InstanceData]]: Losses, and proposals of each image.
        """
        samples = [_with_unsure_ignored(sample, self.semi_train_cfg[FINAL]) for sample in batch_data_samples]
        return super().rpn_loss_by_pseudo_instances(x, samples)


def _check_thresholds(semi_train_cfg: ConfigType) -> None:
    for key in (INITIAL, FINAL):
        check_number('IgnoringSoftTeacher', f'semi_train_cfg.{key}', semi_train_cfg.get(key), 0, 1)
    if semi_train_cfg[INITIAL] >= semi_train_cfg[FINAL]:
        raise ValueError(
            f'IgnoringSoftTeacher: semi_train_cfg.{INITIAL}={semi_train_cfg[INITIAL]} must be below '
            f'{FINAL}={semi_train_cfg[FINAL]}, for the boxes with a score between the two are ignored; write, say, '
            f"{INITIAL}=0.5 and {FINAL}=0.9, or type='SoftTeacher' to ignore none"
        )


def _check_rpn(student: nn.Module) -> None:
    head = getattr(student, 'rpn_head', None)
    if head is None:
        raise ValueError(
            f'IgnoringSoftTeacher: detector.type={type(student).__name__!r} has no RPN to train; write a detector with '
            "one, such as detector.type='FasterRCNN'"
        )
    thr = getattr(getattr(head, 'assigner', None), 'ignore_iof_thr', -1)
    if thr <= 0 and not isinstance(head, HardNegativeRPNHead):
        warnings.warn(
            f'IgnoringSoftTeacher: {type(head).__name__} takes no notice of what is ignored with '
            f'detector.train_cfg.rpn.assigner.ignore_iof_thr={thr}; write 0.5 there, or '
            "detector.rpn_head.type='HardNegativeRPNHead'",
            stacklevel=2,
        )


def _with_unsure_ignored(sample: DetDataSample, score_thr: float) -> DetDataSample:
    """A copy that ignores the objects which SoftTeacher will leave out, whole, beside what is ignored already."""
    ignored = sample.gt_instances[sample.gt_instances.scores <= score_thr]
    bboxes = bboxes_of(sample.get('ignored_instances'), ignored.bboxes)
    if len(bboxes) > 0:
        before = sample.ignored_instances.to_tensor().to(bboxes.device)
        before.bboxes = bboxes
        shared = set(ignored.keys()) & set(before.keys())
        ignored = InstanceData.cat([InstanceData(**{key: part[key] for key in shared}) for part in (before, ignored)])
    sample = sample.clone()
    sample.ignored_instances = ignored
    return sample
