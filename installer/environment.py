"""The virtual environment in .venv: made once, checked at every start.

::

    no .venv, or one that is broken ──> make it ──> torch ──> the project and its other packages ──> stamp
    stamp fits ──> nothing to do

An installation that was interrupted has no stamp; the next start goes on where pip stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from console import ROOT, InstallError, call, say, succeeds
from system import apt_commands, can_install, install_packages

VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "installer" / "constraints.txt"
STAMP = VENV / "toposcope-installed.json"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CUDA_INDEX = "https://download.pytorch.org/whl/cu130"
NEEDED_GB = 2.0
TORCH_CHOICES = ("auto", "cpu", "cuda", "default")


def venv_python() -> Path:
    """Return the interpreter of the environment."""
    return VENV / "Scripts" / "python.exe" if os.name == "nt" else VENV / "bin" / "python"


def fingerprint() -> str:
    """Return a hash of everything that decides what is installed."""
    parts = [CONSTRAINTS.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), str(ROOT).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def read_stamp() -> dict[str, str]:
    """Return what was installed last, empty when nothing was, or not to its end."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def is_installed(extras: Sequence[str], torch: str) -> bool:
    """Whether the environment holds these extras already, in the versions asked for."""
    stamp = read_stamp()
    return (
        stamp.get("fingerprint") == fingerprint()
        and set(extras) <= set(stamp.get("extras", "").split())
        and torch in ("auto", stamp.get("torch"))
        and venv_python().exists()
    )


def ensure_environment(extras: Sequence[str], torch: str) -> None:
    """Make or complete the environment; take no time when it is complete."""
    if is_installed(extras, torch):
        return
    say(f"setting up {VENV} (once; a few minutes)")
    ensure_venv()
    check_disk()
    extras = sorted(set(extras) | set(read_stamp().get("extras", "").split()))
    STAMP.unlink(missing_ok=True)  # from here on the environment is in between two states
    say("[1/3] torch")
    install_torch(torch)
    say("[2/3] the other packages")
    # what builds the project is pinned too, hence no isolated build environment
    pip("install", "--constraint", str(CONSTRAINTS), "hatchling", "editables")
    project = str(ROOT) + (f"[{','.join(extras)}]" if extras else "")
    pip("install", "--constraint", str(CONSTRAINTS), "--no-build-isolation", "--editable", project)
    say("[3/3] checking that the packages fit together")
    pip("check")
    stamp = {"fingerprint": fingerprint(), "extras": " ".join(extras), "torch": torch}
    STAMP.write_text(json.dumps(stamp), encoding="utf-8")
    say("ready")


def ensure_venv() -> None:
    """Make the virtual environment, or make it anew when it is half made or belongs to no Python any more."""
    python = str(venv_python())
    probe = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    if venv_python().exists() and succeeds([python, "-c", probe]):
        return
    if VENV.exists():
        say(f"{VENV} is incomplete; making it anew")
        shutil.rmtree(VENV)
    if not succeeds([sys.executable, "-c", "import venv, ensurepip"]):
        install_venv_module()
    if call([sys.executable, "-m", "venv", str(VENV)]) != 0 or not succeeds([python, "-c", probe]):
        raise InstallError(f"the virtual environment {VENV} could not be made; the lines above say why.")


def install_venv_module() -> None:
    """Install Debian's package of the venv module, or say its line."""
    package = f"python3.{sys.version_info[1]}-venv"
    if can_install() and install_packages([package]):
        return
    if shutil.which("apt-get"):
        update, install = apt_commands([package])
        line = f"sudo {' '.join(update)} && sudo {' '.join(install)}"
        raise InstallError(f"this Python has no venv module. Type: {line}")
    raise InstallError("this Python has no venv module. Install the venv and pip modules of Python 3.11 or newer.")


def check_disk() -> None:
    """Refuse a disk that is too small before anything is downloaded."""
    free = shutil.disk_usage(VENV).free / 1e9
    if free < NEEDED_GB and not read_stamp():
        raise InstallError(f"{free:.1f} GB are free at {VENV}; the packages need {NEEDED_GB:g} GB. Free some space.")


def pip(*arguments: str) -> None:
    """Run pip inside the environment."""
    code = call([str(venv_python()), "-m", "pip", *arguments])
    if code != 0:
        raise InstallError(f"pip {arguments[0]} failed; the lines above say why. Start again: what is done is kept.")


def install_torch(choice: str) -> None:
    """Install the build of torch that fits the machine, before anything else can pull in another."""
    requirement, index = torch_source(choice, pinned_torch())
    extra = ["--extra-index-url", index] if index else []
    pip("install", "--constraint", str(CONSTRAINTS), *extra, requirement)


def torch_source(choice: str, pin: str) -> tuple[str, str | None]:
    """Return the requirement and the extra package index for a build of torch.

    The plain index holds CUDA builds for Linux (2.6 GB), CPU builds for Windows, and builds for
    Apple's own processors, which know MPS. PyTorch's indices hold all builds, marked ``+cpu``, ``+cu130``.
    """
    linux, windows = sys.platform.startswith("linux"), sys.platform == "win32"
    if choice == "cpu" or (choice == "auto" and linux and not has_nvidia()):
        if linux and is_reachable(CPU_INDEX + "/torch/"):
            return f"{pin}+cpu", CPU_INDEX
        if linux:
            say("PyTorch's CPU packages cannot be reached; taking torch from the usual index")
    elif choice == "cuda" and windows:
        return f"{pin}+{CUDA_INDEX.rsplit('/', 1)[1]}", CUDA_INDEX
    return pin, None


def pinned_torch() -> str:
    """Return the constraint on torch, such as ``torch==2.13.0``."""
    lines: list[str] = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("torch=="))


def has_nvidia() -> bool:
    """Whether a driver for NVIDIA cards runs here."""
    return Path("/proc/driver/nvidia/version").exists() or succeeds(["nvidia-smi", "--list-gpus"])


def is_reachable(address: str, seconds: float = 5) -> bool:
    """Whether a web page answers."""
    try:
        with urllib.request.urlopen(address, timeout=seconds) as answer:  # noqa: S310  constant https addresses
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False
