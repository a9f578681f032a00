"""environment.yml and constraints.txt agree with pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(*extras):
    return PROJECT["dependencies"] + [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]


def test_environment_yml_names_the_dependencies_and_versions_of_pyproject():
    text = (ROOT / "environment.yml").read_text()
    listed = set(re.findall(r'^ {6}- "(.+)"$', text, re.MULTILINE))
    assert listed == set(requirements("lab"))
    assert f"python{PROJECT['requires-python']}" in text


@pytest.mark.parametrize("line", requirements("lab", "test"))
def test_constraints_pin_every_dependency_within_its_range(line):
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    requirement = Requirement(line)
    assert requirement.name.lower() in pins
    assert requirement.specifier.contains(Version(pins[requirement.name.lower()]))
