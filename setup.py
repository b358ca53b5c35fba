"""Adds configs/SYSTEM to the wheel as SYSTEM.configs; pyproject.toml has the rest."""

from setuptools import find_packages, setup

SYSTEMS = ("mtl", "structured", "l3spot")
CONFIGS = {f"{system}.configs": f"configs/{system}" for system in SYSTEMS}

setup(
    packages=[
        *find_packages(include=[*SYSTEMS, *(f"{system}.*" for system in SYSTEMS)]),
        *CONFIGS,
    ],
    package_dir=CONFIGS,
)
