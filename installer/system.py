"""The few libraries of the system that Qt and OpenGL need on Linux."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys

from console import clean_environment, say

# (shared object that is loaded at run time, the Debian and Ubuntu package it is in)
QT = (
    ("libGL.so.1", "libgl1"),
    ("libEGL.so.1", "libegl1"),
    ("libxkbcommon.so.0", "libxkbcommon0"),
    ("libdbus-1.so.3", "libdbus-1-3"),
    ("libfontconfig.so.1", "libfontconfig1"),
    ("libglib-2.0.so.0", "libglib2.0-0"),
)
X11 = (
    ("libxcb-cursor.so.0", "libxcb-cursor0"),
    ("libxkbcommon-x11.so.0", "libxkbcommon-x11-0"),
    ("libxcb-icccm.so.4", "libxcb-icccm4"),
    ("libxcb-keysyms.so.1", "libxcb-keysyms1"),
    ("libxcb-shape.so.0", "libxcb-shape0"),
)


def is_loadable(library: str) -> bool:
    """Whether the loader finds a shared library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing_packages(with_xvfb: bool) -> list[str]:
    """Return the Debian packages whose libraries are missing; none outside Linux."""
    if not sys.platform.startswith("linux"):
        return []
    missing = [package for library, package in QT + X11 if not is_loadable(library)]
    if with_xvfb and shutil.which("Xvfb") is None:
        missing.append("xvfb")
    return missing


def apt_commands(packages: list[str]) -> tuple[list[str], list[str]]:
    """Return the two commands that install packages on Debian and Ubuntu."""
    return ["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *packages]


def can_install() -> bool:
    """Whether this user may install packages here."""
    return shutil.which("apt-get") is not None and hasattr(os, "geteuid") and os.geteuid() == 0


def install_packages(packages: list[str]) -> bool:
    """Install packages with apt-get; return whether that went well."""
    environment = {**clean_environment(), "DEBIAN_FRONTEND": "noninteractive"}
    # a package source that cannot be reached fails `update`, yet the others may hold all we need
    return [subprocess.run(command, env=environment).returncode for command in apt_commands(packages)][-1] == 0


def ensure_libraries(with_xvfb: bool) -> bool:
    """Install what is missing where we may; otherwise print the line to type. Return whether all is there."""
    packages = missing_packages(with_xvfb)
    if not packages:
        return True
    if can_install():
        say(f"installing system packages: {' '.join(packages)}")
        install_packages(packages)
        packages = missing_packages(with_xvfb)
        if not packages:
            return True
    if shutil.which("apt-get"):
        update, install = apt_commands(packages)
        say("some system packages are missing. To install them, type:")
        print(f"    sudo {' '.join(update)} && sudo {' '.join(install)}", flush=True)
    else:
        names = [library for library, package in QT + X11 if package in packages]
        names += ["the program Xvfb"] if "xvfb" in packages else []
        say(f"some system libraries are missing: {', '.join(names)}. Install them with your package manager.")
    return False
