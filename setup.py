"""The packages: every room of xray_tf, and the shipped models as if they lay inside it.

Everything else is in setup.cfg, whose `find:` cannot add a folder from elsewhere.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["xray_tf", "xray_tf.*"]), "xray_tf._saved_models"],
    package_dir={"xray_tf._saved_models": "saved_models"},
)
