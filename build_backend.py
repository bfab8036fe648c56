"""PEP 517 backend: setuptools, compiling against the torch that is already installed.

An isolated build sees only its own requirements, so a plain `torch` among them would compile
against the newest torch instead of the one that will load the extension. This backend appends the
site-packages of the installing interpreter to sys.path (last, so that the isolated requirements
win), and asks for a torch of its own only where that folder has no usable one.
"""

import importlib.metadata
import re
import site
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from setuptools import build_meta as setuptools_backend

MINIMUM_TORCH = (2, 11)

Settings = Mapping[str, Any] | None


def folders() -> list[str]:
    """Where the installing interpreter finds packages: its own, the user's, and its base's."""
    found = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    configuration = Path(sys.prefix, "pyvenv.cfg")
    if not configuration.exists() or re.search(
        r"include-system-site-packages\s*=\s*true", configuration.read_text(), re.IGNORECASE
    ):
        found += [*site.getsitepackages([sys.base_prefix]), site.getusersitepackages()]
    return list(dict.fromkeys(found))


def installed_torch() -> str | None:
    """The folder of a usable torch that the installing interpreter can import, or None."""
    for folder in folders():
        for distribution in importlib.metadata.distributions(name="torch", path=[folder]):
            number = re.match(r"(\d+)\.(\d+)", distribution.version)
            if number and (int(number[1]), int(number[2])) >= MINIMUM_TORCH:
                return folder
    return None


def torch_requirement() -> list[str]:
    """What the build has to install so that setup.py can import torch."""
    return [] if installed_torch() else ["torch>=" + ".".join(map(str, MINIMUM_TORCH))]


def expose_installed_torch() -> None:
    """Lets setup.py import the installed torch, and what that torch itself imports."""
    folder = installed_torch()
    if folder is not None and folder not in sys.path:
        sys.path.append(folder)


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    return torch_requirement()


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    return torch_requirement()


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    return torch_requirement()


def prepare_metadata_for_build_wheel(folder: str, config_settings: Settings = None) -> str:
    expose_installed_torch()
    return setuptools_backend.prepare_metadata_for_build_wheel(folder, config_settings)


def prepare_metadata_for_build_editable(folder: str, config_settings: Settings = None) -> str:
    expose_installed_torch()
    return setuptools_backend.prepare_metadata_for_build_editable(folder, config_settings)


def build_wheel(
    folder: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    expose_installed_torch()
    return setuptools_backend.build_wheel(folder, config_settings, metadata_directory)


def build_editable(
    folder: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    expose_installed_torch()
    return setuptools_backend.build_editable(folder, config_settings, metadata_directory)


def build_sdist(folder: str, config_settings: Settings = None) -> str:
    expose_installed_torch()
    return setuptools_backend.build_sdist(folder, config_settings)
