"""Terms that keep embeddings from collapsing: SIGReg, VICReg, Barlow Twins.

SIGReg: Balestriero and LeCun, 2025 (arXiv 2511.08544), in the form of its package. VICReg: Bardes et al.,
2022 (arXiv 2105.04906). Barlow Twins: Zbontar et al., 2021 (arXiv 2103.03230).
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def sigreg_slices(z: Tensor, directions: Tensor, knots: int = 17, upper: float = 3.0) -> Tensor:
    """z [N, D], directions [D, M] with unit columns -> the Epps-Pulley statistic of each slice, [M].

    S_m = N sum_j w_j phi_j [(mean cos(t_j u) - phi_j)^2 + (mean sin(t_j u))^2], u = z A, phi = exp(-t^2/2),
    t = linspace(0, upper, knots), w = 2 dt and dt at both ends.
    """
    t = torch.linspace(0, upper, knots, dtype=z.dtype, device=z.device)
    dt = upper / (knots - 1)
    weight = torch.full_like(t, 2 * dt)
    weight[0] = weight[-1] = dt
    phi = (-t.square() / 2).exp()
    angle = (z @ directions)[..., None] * t
    error = (angle.cos().mean(0) - phi).square() + angle.sin().mean(0).square()
    return z.shape[0] * (error @ (weight * phi))


def sigreg(z: Tensor, directions: Tensor) -> Tensor:
    return sigreg_slices(z, directions).mean()


def random_directions(dim: int, slices: int, step: int) -> Tensor:
    directions = torch.randn(dim, slices, generator=torch.Generator().manual_seed(step))
    return F.normalize(directions, dim=0)


def off_diagonal(square: Tensor) -> Tensor:
    return square - torch.diag(square.diagonal())


def vicreg_terms(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """a, b [B, D] -> invariance, variance, covariance, before their weights 25, 25, 1."""

    def variance(z: Tensor) -> Tensor:
        return F.relu(1 - (z.var(dim=0) + 1e-4).sqrt()).mean() / 2

    def covariance(z: Tensor) -> Tensor:
        z = z - z.mean(dim=0)
        c = z.T @ z / (z.shape[0] - 1)
        return off_diagonal(c).square().sum() / z.shape[1]

    return F.mse_loss(a, b), variance(a) + variance(b), covariance(a) + covariance(b)


def vicreg(a: Tensor, b: Tensor) -> Tensor:
    invariance, variance, covariance = vicreg_terms(a, b)
    return 25 * invariance + 25 * variance + covariance


def barlow(a: Tensor, b: Tensor, off_diagonal_weight: float = 0.0051) -> Tensor:
    """C = BN(a)^T BN(b) / B with a batch norm that has no affine (biased variance, eps 1e-5)."""
    a, b = (F.batch_norm(z, None, None, training=True, eps=1e-5) for z in (a, b))
    c = a.T @ b / a.shape[0]
    return (c.diagonal() - 1).square().sum() + off_diagonal_weight * off_diagonal(c).square().sum()
