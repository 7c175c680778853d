"""Explains in plain words what each figure means, by its short name such as `image_auroc`."""

from __future__ import annotations

_PLAIN = {
    # Figures of parts and products, 0 to 1.
    "image_auroc": "AUROC of parts: how often a defective part scores higher than a good one",
    "image_f1_max": "highest F1 of parts, by the threshold that would suit these very parts best",
    "pixel_auroc": "AUROC of pixels: how often a pixel of a defect has a higher value than a good one",
    "pixel_ap": "average precision of pixels: how much of the anomaly map lies on defects",
    "aupro30": "AUPRO: share of each defect that is found while up to 30 % of good pixels count as defective",
    "aupro05": "AUPRO: share of each defect that is found while up to 5 % of good pixels count as defective",
    "auroc": "AUROC: how often another product is farther from the drawings than the product itself",
    "escape": "escapes: share of defective parts that pass",
    "overkill": "overkill: share of good parts that are rejected",
    # Figures of boxes, in per cent.
    "ap_pooled": "average precision of boxes, all kinds of defect together, in %",
    "ap_pooled_at_cut": "average precision of the boxes from the cut on, all kinds together, in %",
    "f": "F: precision and recall in one, their harmonic mean, in %",
    "precision": "precision: boxes from the cut on that are true defects, in %",
    "recall": "recall: true defects that have a box from the cut on, in %",
    "map33": "average precision of boxes that overlap by a third, mean of all kinds, in %",
    "map50": "average precision of boxes that overlap by half, mean of all kinds, in %",
    "cut": "cut: score from which a box counts",
    # Figures of trainings.
    "loss": "loss in training; lower is better",
    "parts": "good parts that were trained with",
    "common": "share of the common covariance in that of each place; lower with more pictures",
    "unlike": "difference of student and teacher on good parts kept from training; lower is better",
    "score": "mean score of good parts kept from training",
    "deviation": "how much the codes vary; not near 0",
    "slope": "slope of the decoder at the centre of the codes; not near 0",
    "spread": "spread of the scores of good parts kept from training; lower is better",
    "error": "equal error rate, of all products kept from training, in %",
    "error_alike": "equal error rate, of products that look alike, in %",
}
_WITH_END = {
    "ap33_": "average precision of boxes that overlap by a third, kind {}, in %",
    "unexplained_": "variance left unexplained, features at stride {}; lower is better",
}


def plain_name(name: str) -> str:
    """Return in words what the figure `name` means. Return an empty text if there is no such figure."""
    for begin, said in _WITH_END.items():
        if name.startswith(begin):
            return said.format(name.removeprefix(begin))
    return _PLAIN.get(name, "")
