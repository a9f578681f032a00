"""How smoothly latents move from frame to frame: their acceleration, in units of their variance.

Reconstruction does not care how a latent moves, and what it finds for lithium's valence density moves more roughly than
the atoms do. A penalty on the acceleration makes the autoencoder choose, among the codes that decode about as well, one
that moves smoothly. Relative to the variance, so that shrinking the latent gains nothing. The idea is that of slow
feature analysis (Wiskott and Sejnowski, Neural Comput. 14, 715 (2002)), with the second difference in the place of the
first: what moves uniformly is not slowed down.
"""

from __future__ import annotations

from torch import Tensor, stack

__all__ = ["motion_moments", "relative_acceleration"]


def motion_moments(latents: Tensor) -> Tensor:
    """What `relative_acceleration` needs to know of a batch; a mean over rows, so that batches can be put together.

    Parameters
    ----------
    latents : Tensor
        Three consecutive latents of each row, (B, 3, C, a, b, c).

    Returns
    -------
    Tensor
        (3, C): per channel the mean square of z[t+1] - 2 z[t] + z[t-1], the mean of z, the mean of its square.
    """
    latents = latents.float()
    acceleration = latents[:, 2] - 2 * latents[:, 1] + latents[:, 0]
    return stack(
        (
            acceleration.square().mean((0, 2, 3, 4)),
            latents.mean((0, 1, 3, 4, 5)),
            latents.square().mean((0, 1, 3, 4, 5)),
        )
    )


def relative_acceleration(moments: Tensor) -> Tensor:
    """Mean over channels of the mean square acceleration over the variance: a scalar, 6 for white noise in time.

    Parameters
    ----------
    moments : Tensor
        (3, C), from `motion_moments`.
    """
    acceleration, mean, square = moments
    return (acceleration / (square - mean.square()).clamp_min(1e-12)).mean()
