from __future__ import annotations

import pytest

from edviz import errors


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_can_be_caught_as_an_edviz_error_and_says_what_it_is(name):
    error = getattr(errors, name)
    assert issubclass(error, errors.EdvizError)
    assert error.__doc__


def test_errors_are_also_what_python_programs_expect():
    assert issubclass(errors.UnknownSampleError, LookupError)
    assert issubclass(errors.WriteError, OSError)
    assert issubclass(errors.NonFiniteError, ValueError)
    assert issubclass(errors.MissingDependencyError, ImportError)
    assert issubclass(errors.TruncatedFileError, errors.FileFormatError)
    assert issubclass(errors.UnitsError, errors.SchemaError)


def test_all_is_complete():
    found = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert found == set(errors.__all__)
