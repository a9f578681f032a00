"""TrainingConfig: every choice of a training run, documented, validated and written beside its results."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edviz.errors import TrainingError

__all__ = ["PRESETS", "TrainingConfig"]


def _number(default: float | None, low: float, high: float, unit: str, meaning: str) -> Any:
    """A float field with range, unit and meaning."""
    return field(default=default, metadata={"low": low, "high": high, "unit": unit, "meaning": meaning})


def _text(default: str | None, meaning: str) -> Any:
    """A text field with its meaning."""
    return field(default=default, metadata={"meaning": meaning})


def _integer(default: int, low: int, high: int, unit: str, meaning: str) -> Any:
    """An int field with range, unit and meaning."""
    return field(default=default, metadata={"low": low, "high": high, "unit": unit, "meaning": meaning})


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Choices of a run: an autoencoder stage, a latent diffusion stage, then the decoder once more.

    A stage ends at its step budget (or epochs, where given) or its wall-time budget, whichever comes first, or when
    validation has not improved for `patience` looks; the learning rate falls to zero (half a cosine) on the way.
    Every field's unit, range and meaning is in `TrainingConfig.describe()`.

    Raises
    ------
    edviz.errors.TrainingError
        On an unknown name (with the nearest known one), a wrong type or a value out of range.
    """

    seed: int = _integer(0, 0, 2**31 - 1, "", "seed of every random draw: weights, batches, augmentation, noise")
    frame_interval: float | None = _number(
        None, 1e-3, 1e4, "fs", "time between frames the model steps by; none = the trajectory's own"
    )
    start_from: str | None = _text(
        None, "weights to start from: a bundled emulator's name, an emulator's folder or another run's folder"
    )
    # autoencoder
    latent_channels: int = _integer(4, 1, 64, "", "channels of the latent grid (4 compress 16-fold)")
    fine_channels: int = _integer(32, 4, 512, "", "autoencoder width at half resolution")
    coarse_channels: int = _integer(96, 4, 1024, "", "autoencoder width at a quarter resolution")
    logarithmic: bool = field(
        default=False, metadata={"meaning": "work on log density (for densities that span decades)"}
    )
    autoencoder_steps: int = _integer(
        1000, 0, 10**8, "steps", "optimiser steps of the autoencoder stage; 0 = keep the one that start_from names"
    )
    autoencoder_epochs: float | None = _number(
        None, 1e-3, 1e6, "epochs", "passes over the training frames, instead of autoencoder_steps"
    )
    autoencoder_minutes: float | None = _number(None, 0.01, 1e6, "min", "wall time of the autoencoder stage")
    autoencoder_batch: int = _integer(4, 1, 4096, "frames", "frames a step")
    autoencoder_learning_rate: float = _number(2e-3, 1e-7, 1.0, "", "peak learning rate (AdamW)")
    spectral_weight: float = _number(0.03, 0.0, 1e3, "", "weight of the shell-whitened Fourier error")
    spectral_cutoff: float = _number(7.5, 0.1, 1e3, "1/A", "largest wave number of that error")
    smoothness_weight: float = _number(
        0.0,
        0.0,
        1e3,
        "",
        "weight of the latents' acceleration from frame to frame, in units of their variance: what moves smoothly is "
        "easier to predict",
    )
    autoencoder_jsd_weight: float = _number(1e-4, 0.0, 1e3, "", "weight of the scaled Jensen-Shannon term")
    # decoder, once more, after the diffusion
    decoder_steps: int = _integer(
        600, 0, 10**8, "steps", "optimiser steps of the decoder stage, which sets the lowest densities right; 0 = none"
    )
    decoder_epochs: float | None = _number(
        None, 1e-3, 1e6, "epochs", "passes over the training frames, instead of decoder_steps"
    )
    decoder_minutes: float | None = _number(None, 0.01, 1e6, "min", "wall time of the decoder stage")
    decoder_batch: int = _integer(4, 1, 4096, "frames", "frames a step")
    decoder_learning_rate: float = _number(2e-3, 1e-7, 1.0, "", "peak learning rate (AdamW)")
    relative_weight: float = _number(0.3, 0.0, 1e3, "", "weight of the relative error, root mean square of d log(rho)")
    gradient_weight: float = _number(0.5, 0.0, 1e3, "", "weight of the error of grad(rho), relative to grad(rho)")
    # latent diffusion
    n_context: int = _integer(3, 1, 8, "frames", "past frames the next one is conditioned on")
    diffusion_channels: int = _integer(64, 8, 1024, "", "width of the denoiser")
    diffusion_blocks: int = _integer(3, 1, 16, "", "half the number of residual blocks of the denoiser")
    max_context_noise: float = _number(
        0.4,
        0.0,
        2.0,
        "latent standard deviations",
        "largest noise on the context in training: what keeps rollouts stable",
    )
    context_dropout: float = _number(
        0.1, 0.0, 0.9, "", "share of windows whose context is cut: what lets a rollout start from few frames; 0 = none"
    )
    least_context: int = _integer(
        0, 0, 7, "frames", "fewest frames that a cut leaves; 0 lets a rollout start from nothing"
    )
    augmented_copies: int = _integer(
        8, 1, 4096, "", "symmetry-transformed copies of the training block encoded for the diffusion stage"
    )
    diffusion_steps: int = _integer(
        3000, 0, 10**8, "steps", "optimiser steps of the diffusion stage; 0 = keep the one that start_from names"
    )
    diffusion_epochs: float | None = _number(
        None, 1e-3, 1e6, "epochs", "passes over the training frames, instead of diffusion_steps"
    )
    diffusion_minutes: float | None = _number(None, 0.01, 1e6, "min", "wall time of the diffusion stage")
    diffusion_batch: int = _integer(16, 1, 4096, "windows", "windows a step")
    diffusion_learning_rate: float = _number(1e-3, 1e-7, 1.0, "", "peak learning rate (AdamW)")
    diffusion_jsd_weight: float = _number(1e-3, 0.0, 1e3, "", "weight of the scaled Jensen-Shannon term")
    diffusion_jsd_every: int = _integer(8, 1, 10**6, "steps", "apply that term once in so many steps")
    diffusion_jsd_batch: int = _integer(
        4, 1, 1024, "frames", "frames decoded for that term: the lowest noise of the batch"
    )
    # sampling defaults stored with the emulator
    sampling_steps: int = _integer(4, 1, 256, "", "denoiser calls a generated frame")
    context_noise: float = _number(
        0.03, 0.0, 2.0, "latent standard deviations", "noise level of the context in rollouts, told to the network"
    )
    noise_gain: float = _number(
        2.2,
        0.0,
        10.0,
        "",
        "noise really put on the context over that level: makes up for what few sampling steps lose",
    )
    variance_relaxation: float = _number(
        0.15, 0.0, 1.0, "1/frame", "rate at which the power of a rollout's latent is pulled to the training data's"
    )
    thermostat_frames: int = _integer(
        200,
        0,
        10**6,
        "frames",
        "frames of four rollouts after training, by which what that power is pulled to is corrected; 0 = not corrected",
    )
    # both stages
    weight_decay: float = _number(1e-3, 0.0, 1.0, "", "AdamW weight decay")
    average_decay: float = _number(0.995, 0.0, 0.99999, "", "decay a step of the averaged weights that are used")
    gradient_clip: float = _number(1.0, 1e-4, 1e4, "", "largest gradient norm")
    checkpoint_seconds: float = _number(30.0, 0.05, 1e6, "s", "time between checkpoints")
    validate_every: int = _integer(
        50, 1, 10**8, "steps", "steps between looks at the validation frames; the best weights so far are kept"
    )
    patience: int = _integer(
        0, 0, 10**6, "looks", "end a stage after so many looks without improvement, with its best weights; 0 = never"
    )
    precision: str = _text("auto", '"auto" (bf16 where the device computes in it, else float32), "32" or "bf16"')

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if "low" in spec.metadata:
                self._check_number(spec, value)
            elif value is None and spec.default is None:
                continue
            elif not isinstance(value, bool if spec.name == "logarithmic" else str):
                raise TrainingError(f"TrainingConfig.{spec.name} = {value!r} has the wrong type.")
        if self.precision not in ("auto", "32", "bf16"):
            raise TrainingError(f'TrainingConfig.precision = {self.precision!r}: choose "auto", "32" or "bf16".')
        if self.least_context >= self.n_context:
            raise TrainingError(
                f"TrainingConfig.least_context = {self.least_context} must be below n_context = {self.n_context}."
            )
        if self.context_noise > self.max_context_noise:
            raise TrainingError(
                f"TrainingConfig.context_noise = {self.context_noise} is beyond max_context_noise = "
                f"{self.max_context_noise}: the network never saw such noise. Lower the first or raise the second."
            )

    @staticmethod
    def _check_number(spec: dataclasses.Field[Any], value: object) -> None:
        low, high, unit = (spec.metadata[k] for k in ("low", "high", "unit"))
        if value is None and spec.default is None:
            return
        whole = isinstance(spec.default, int)
        allowed = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, allowed) or not math.isfinite(value):  # type: ignore[arg-type]
            kind = "a whole number" if whole else "a number"
            raise TrainingError(f"TrainingConfig.{spec.name} = {value!r} must be {kind} ({spec.metadata['meaning']}).")
        if not low <= value <= high:  # type: ignore[operator]
            raise TrainingError(
                f"TrainingConfig.{spec.name} = {value} is outside {low} to {high} {unit} ({spec.metadata['meaning']})."
            )

    @classmethod
    def preset(cls, name: str, **changes: Any) -> TrainingConfig:
        """A named starting point, with any field changed.

        Parameters
        ----------
        name : {"tiny", "small", "paper"}
            "tiny": minutes on two CPU cores, for a tutorial; "small": about an hour on two cores;
            "paper": a GPU.
        **changes
            Fields to override.
        """
        if name not in PRESETS:
            raise TrainingError(f"No preset {name!r}. Presets: {', '.join(PRESETS)}.")
        return cls.from_dict({**PRESETS[name], **changes})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingConfig:
        """Build from a mapping; an unknown name is an error that suggests the nearest known one."""
        known = [spec.name for spec in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(known)}."
                raise TrainingError(f"TrainingConfig has no field {name!r}.{hint}")
        return cls(**values)

    def stage_steps(self, stage: str, frames: int) -> int:
        """Step budget of a stage on so many training frames, by its epochs where they are given."""
        epochs = getattr(self, f"{stage}_epochs")
        if epochs is None:
            return int(getattr(self, f"{stage}_steps"))
        return max(1, math.ceil(epochs * frames / getattr(self, f"{stage}_batch")))

    def to_dict(self) -> dict[str, Any]:
        """Plain mapping of all fields."""
        return dataclasses.asdict(self)

    @classmethod
    def read(cls, path: str | Path) -> TrainingConfig:
        """Read a JSON file written by `write` (or by hand)."""
        try:
            values = json.loads(Path(path).read_text())
        except json.JSONDecodeError as error:
            raise TrainingError(f"{path}: not valid JSON ({error}).") from error
        if not isinstance(values, dict):
            raise TrainingError(f"{path}: must hold one JSON object of TrainingConfig fields.")
        return cls.from_dict(values)

    @classmethod
    def describe(cls) -> str:
        """One line a field: name, default, unit, range, meaning."""
        lines = []
        for spec in dataclasses.fields(cls):
            meta = spec.metadata
            limits = f" [{meta['low']} to {meta['high']} {meta['unit']}".rstrip() + "]" if "low" in meta else ""
            lines.append(f"{spec.name} = {spec.default!r}{limits}: {meta['meaning']}")
        return "\n".join(lines)


PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "autoencoder_minutes": 2.0,
        "diffusion_minutes": 2.5,
        "decoder_minutes": 0.5,
        "augmented_copies": 2,
        "diffusion_blocks": 2,
        "thermostat_frames": 40,
    },
    "small": {"autoencoder_steps": 2500, "diffusion_steps": 3000},
    "paper": {
        "autoencoder_steps": 20000,
        "autoencoder_batch": 16,
        "decoder_steps": 5000,
        "decoder_batch": 16,
        "fine_channels": 64,
        "coarse_channels": 192,
        "diffusion_steps": 100000,
        "diffusion_batch": 64,
        "diffusion_channels": 192,
        "diffusion_blocks": 6,
        "augmented_copies": 48,
        "average_decay": 0.9995,
        "validate_every": 500,
    },
}
"""Named starting points; see `TrainingConfig.preset`."""
