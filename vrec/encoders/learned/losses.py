"""What heads are trained by: each a scalar, over float32 rows of length 1."""

import torch
from torch import Tensor
from torch.nn import functional


def info_nce(left: Tensor, right: Tensor, temperature: float, against: Tensor | None = None) -> Tensor:
    """The InfoNCE loss of (B, dim) pairs: each row must find its partner among all, both ways, averaged.

    `against` are (B,) cosines of each row of `left` with something more that it must not take for its
    partner, -inf for nothing. Van den Oord et al. (2018); both ways as in Chen et al. (2020).
    """
    logits = left @ right.T / temperature
    partner = torch.arange(len(left), device=left.device)
    forth = logits if against is None else torch.cat([logits, against[:, None] / temperature], dim=1)
    return (functional.cross_entropy(forth, partner) + functional.cross_entropy(logits.T, partner)) / 2


def co_watch_loss(
    left: Tensor,
    right: Tensor,
    rows: tuple[Tensor, Tensor],
    *,
    temperature: float,
    log_q: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """The InfoNCE loss of (B, dim) videos that the same shoppers watched, among the other pairs' videos.

    It goes both ways and is their mean. `rows`, (B,) of the left and the right videos, tell videos apart: no
    video is sought among others that include itself. `log_q` are the log chances (B,) with which the left and
    the right videos come up in a batch. Popular ones come up as negatives more often, and unless that is
    taken off they are pushed away from all others for being popular (Yi et al. 2019). A partner that comes up
    again stays among the negatives: the correction counts on it.
    """
    logits = left @ right.T / temperature
    partner = torch.arange(len(left), device=left.device)
    own = torch.eye(len(left), dtype=torch.bool, device=left.device)
    forth, back = logits, logits.T
    if log_q is not None:
        forth, back = forth - log_q[1][None, :], back - log_q[0][None, :]
    itself = (rows[0][:, None] == rows[1][None, :]) & ~own
    forth, back = forth.masked_fill(itself, -torch.inf), back.masked_fill(itself.T, -torch.inf)
    return (functional.cross_entropy(forth, partner) + functional.cross_entropy(back, partner)) / 2


def cosine_distillation_loss(predicted: Tensor, targets: Tensor) -> Tensor:
    """1 less the mean cosine of (B, k) predictions and the collaborative vectors they should be."""
    return 1 - functional.cosine_similarity(predicted, targets, dim=1).mean()


def similarity_distillation_loss(vectors: Tensor, targets: Tensor) -> Tensor:
    """The mean squared difference of the pairwise cosines of (B, dim) vectors and of (B, k) targets.

    Keeps relations and not places (Park et al. 2019), so the vectors need not be of the targets' length.
    """
    wanted = functional.normalize(targets, dim=1)
    own = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    difference = (vectors @ vectors.T - wanted @ wanted.T).masked_fill(own, 0.0)
    return (difference**2).sum() / (len(vectors) * (len(vectors) - 1))
