"""What a loader yields and a task reads."""

from typing import NamedTuple

from torch import Tensor

IGNORE_INDEX = -100  # a target token that is not scored, as in torch's cross_entropy; among values it is NaN


class Batch(NamedTuple):
    """Inputs with targets that are already shifted.

    Language: token ids (B, T) and (B, T), targets of `IGNORE_INDEX` are not scored. Forecasting: windows (B, T, C) and
    next values (B, H, C), targets of NaN are not scored. Packed records: `document_ids` (B, T) numbers the record that
    each token belongs to; attention stays within a record and positions restart with it. Preference pairs: rows chosen,
    rejected, chosen, rejected … (2B, T).
    """

    inputs: Tensor
    targets: Tensor
    document_ids: Tensor | None = None
