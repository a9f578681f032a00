"""The exceptions a user can catch.

Every one says what is wrong, where (file, variable, frame) and what to do about it. All derive from
`EdvizError`, so ``except edviz.errors.EdvizError`` catches whatever edviz raises on purpose.
"""

from __future__ import annotations

__all__ = [
    "ArgumentError",
    "EdvizError",
    "EngineError",
    "FileFormatError",
    "FrameIndexError",
    "GenerationError",
    "GridMismatchError",
    "MissingDataError",
    "MissingDependencyError",
    "ModelFileError",
    "NonFiniteError",
    "RenderingError",
    "SchemaError",
    "TrainingError",
    "TruncatedFileError",
    "UnitsError",
    "UnknownSampleError",
    "WriteError",
]


class EdvizError(Exception):
    """Base of all edviz exceptions."""


class SchemaError(EdvizError, ValueError):
    """A dataset or an array does not satisfy edviz.schema (missing variable, wrong dims, shape or value)."""


class UnitsError(SchemaError):
    """A variable carries a unit other than the schema's, or values that only another unit explains."""


class NonFiniteError(SchemaError):
    """A NaN or an infinity where a number must be."""


class GridMismatchError(EdvizError, ValueError):
    """Two things that must share cell, grid, density kind or frame interval do not."""


class FileFormatError(EdvizError, ValueError):
    """A file is not in a format edviz reads, or breaks its own format."""


class TruncatedFileError(FileFormatError):
    """A file ends before its content does."""


class WriteError(EdvizError, OSError):
    """A file could not be written whole; what was there before is untouched."""


class UnknownSampleError(EdvizError, LookupError):
    """No bundled trajectory or emulator has this name."""


class MissingDataError(EdvizError, ValueError):
    """The trajectory lacks what the call needs (positions, the split times, enough frames)."""


class ModelFileError(EdvizError, ValueError):
    """A saved emulator is incomplete, damaged or of a newer format."""


class GenerationError(EdvizError, RuntimeError):
    """A rollout cannot go on in a way that makes sense; what it had is kept."""


class TrainingError(EdvizError, RuntimeError):
    """A training run cannot start or cannot go on."""


class EngineError(EdvizError, RuntimeError):
    """A density-functional engine failed, did not converge or died; the message quotes its own words."""


class MissingDependencyError(EdvizError, ImportError):
    """An optional package is not installed; the message holds the pip line to type."""


class ArgumentError(EdvizError, ValueError):
    """An argument has a value that the data at hand do not allow; the message says which ones they do."""


class FrameIndexError(EdvizError, IndexError):
    """A frame, sample or plane number is outside what there is."""


class RenderingError(EdvizError, RuntimeError):
    """A picture cannot be rendered here."""
