"""Training losses of heads: each a scalar, over float32 rows of length 1."""

import torch
from torch import Tensor
from torch.nn import functional


def info_nce(left: Tensor, right: Tensor, temperature: float, against: Tensor | None = None) -> Tensor:
    """Return the InfoNCE loss of pairs: each row is to find its partner among all, in both directions.

    Van den Oord et al. (2018); the mean of both directions as in Chen et al. (2020).

    Args:
        left: (B, dim) unit rows.
        right: (B, dim) unit rows, the partners.
        temperature: Divisor of the cosines.
        against: (B,) cosines of each row of `left` with one more negative; -inf for none.
    """
    logits = left @ right.T / temperature
    partner = torch.arange(len(left), device=left.device)
    forward = logits if against is None else torch.cat([logits, against[:, None] / temperature], dim=1)
    return (functional.cross_entropy(forward, partner) + functional.cross_entropy(logits.T, partner)) / 2


def co_watch_loss(
    left: Tensor,
    right: Tensor,
    rows: tuple[Tensor, Tensor],
    *,
    temperature: float,
    log_q: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Return the InfoNCE loss of videos watched by the same shoppers, against the videos of other pairs.

    It is the mean of both directions. Popular videos appear as negatives more often, and without the
    correction by `log_q` they are pushed away from all others for being popular (Yi et al. 2019). A partner
    that appears again in the batch stays among the negatives: the correction relies on it.

    Args:
        left: (B, dim) unit rows of the left videos.
        right: (B, dim) unit rows of the right videos.
        rows: (B,) rows of the left and the right videos; a video is never a negative of itself.
        temperature: Divisor of the cosines.
        log_q: (B,) log probabilities that the left and the right videos appear in a batch; None for no
            correction.
    """
    logits = left @ right.T / temperature
    partner = torch.arange(len(left), device=left.device)
    own = torch.eye(len(left), dtype=torch.bool, device=left.device)
    forward, backward = logits, logits.T
    if log_q is not None:
        forward, backward = forward - log_q[1][None, :], backward - log_q[0][None, :]
    same = (rows[0][:, None] == rows[1][None, :]) & ~own
    forward, backward = forward.masked_fill(same, -torch.inf), backward.masked_fill(same.T, -torch.inf)
    return (functional.cross_entropy(forward, partner) + functional.cross_entropy(backward, partner)) / 2


def cosine_distillation_loss(predicted: Tensor, targets: Tensor) -> Tensor:
    """Return 1 minus the mean cosine of (B, k) predictions and (B, k) collaborative vectors."""
    return 1 - functional.cosine_similarity(predicted, targets, dim=1).mean()


def similarity_distillation_loss(vectors: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared difference of the pairwise cosines of (B, dim) unit rows and (B, k) targets.

    Matches relations, not positions (Park et al. 2019), so lengths of vectors and targets may differ.
    """
    unit_targets = functional.normalize(targets, dim=1)
    own = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    difference = (vectors @ vectors.T - unit_targets @ unit_targets.T).masked_fill(own, 0.0)
    return (difference**2).sum() / (len(vectors) * (len(vectors) - 1))
