"""Training runs: configuration, batches, the two stages, the loop, and the process that runs them."""

from edviz.training.config import TrainingConfig
from edviz.training.run import TrainingRun, train

__all__ = ["TrainingConfig", "TrainingRun", "train"]
