"""`python3 installer`: what it decides, without installing anything."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "installer"
NAMES = ("console", "system", "environment")


@pytest.fixture(scope="module")
def installer() -> Iterator[dict[str, ModuleType]]:
    """The installer's modules; `python3 installer` finds them beside its __main__."""
    sys.path.insert(0, str(FOLDER))
    try:
        modules = {name: importlib.import_module(name) for name in NAMES}
        spec = importlib.util.spec_from_file_location("installer_main", FOLDER / "__main__.py")
        assert spec is not None
        assert spec.loader is not None
        main = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(main)
        yield {**modules, "main": main}
    finally:
        sys.path.remove(str(FOLDER))
        for name in NAMES:
            sys.modules.pop(name, None)


def pins() -> dict[str, str]:
    lines = (FOLDER / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def test_every_dependency_is_pinned_to_a_version_that_the_project_accepts() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pins()[requirement.name.lower()]), requirement


def test_pins_name_no_place_and_no_local_build() -> None:
    text = (FOLDER / "constraints.txt").read_text(encoding="utf-8")
    assert "+" not in text
    assert "@" not in text
    assert "-e " not in text


def test_help_names_both_commands_and_needs_nothing_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(FOLDER), "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "run" in done.stdout
    assert "test" in done.stdout


@pytest.mark.parametrize(
    ("choice", "platform", "nvidia", "reachable", "expected"),
    [
        ("auto", "linux", False, True, ("torch==2.13.0+cpu", "https://download.pytorch.org/whl/cpu")),
        ("auto", "linux", False, False, ("torch==2.13.0", None)),
        ("auto", "linux", True, True, ("torch==2.13.0", None)),
        ("cpu", "linux", True, True, ("torch==2.13.0+cpu", "https://download.pytorch.org/whl/cpu")),
        ("cuda", "linux", False, True, ("torch==2.13.0", None)),
        ("default", "linux", False, True, ("torch==2.13.0", None)),
        ("auto", "darwin", False, True, ("torch==2.13.0", None)),
        ("auto", "win32", True, True, ("torch==2.13.0", None)),
        ("cuda", "win32", True, True, ("torch==2.13.0+cu130", "https://download.pytorch.org/whl/cu130")),
    ],
)
def test_build_of_torch_fits_the_machine(
    installer: dict[str, ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    choice: str,
    platform: str,
    nvidia: bool,
    reachable: bool,
    expected: tuple[str, str | None],
) -> None:
    environment = installer["environment"]
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(environment, "has_nvidia", lambda: nvidia)
    monkeypatch.setattr(environment, "is_reachable", lambda address: reachable)
    assert environment.torch_source(choice, "torch==2.13.0") == expected


def test_page_that_nobody_serves_is_not_reachable(installer: dict[str, ModuleType]) -> None:
    assert not installer["environment"].is_reachable("http://127.0.0.1:9/", seconds=2)


@pytest.fixture
def ready(installer: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The environment module with a finished installation in a folder of the test."""
    environment = installer["environment"]
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(environment, "STAMP", tmp_path / ".venv" / "stamp.json")
    environment.venv_python().parent.mkdir(parents=True)
    environment.venv_python().write_text("")
    stamp = f'{{"fingerprint": "{environment.fingerprint()}", "extras": "test", "torch": "cpu"}}'
    environment.STAMP.write_text(stamp)
    return environment


def test_complete_environment_is_left_alone(ready: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "pip", lambda *arguments: pytest.fail("nothing was to be installed"))
    ready.ensure_environment(["test"], "auto")
    ready.ensure_environment([], "cpu")


def test_changed_pins_missing_extras_and_another_torch_are_noticed(
    ready: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not ready.is_installed(["docs"], "auto")
    assert not ready.is_installed([], "cuda")
    changed = tmp_path / "constraints.txt"
    changed.write_text("torch==99\n")
    monkeypatch.setattr(ready, "CONSTRAINTS", changed)
    assert not ready.is_installed([], "auto")


def test_torn_stamp_counts_as_none(ready: ModuleType) -> None:
    ready.STAMP.write_text('{"fingerprint": ')
    assert not ready.is_installed([], "auto")


def test_interrupted_installation_goes_on_at_the_next_start(
    ready: ModuleType, installer: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []

    def pip(*arguments: str) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise installer["console"].InstallError("the network has gone")

    monkeypatch.setattr(ready, "pip", pip)
    monkeypatch.setattr(ready, "ensure_venv", lambda: None)
    monkeypatch.setattr(ready, "torch_source", lambda choice, pin: (pin, None))
    ready.STAMP.unlink()
    with pytest.raises(installer["console"].InstallError):
        ready.ensure_environment([], "auto")
    assert not ready.STAMP.exists()
    ready.ensure_environment([], "auto")
    assert ready.is_installed([], "auto")
    assert "torch" in calls[0][-1]


@pytest.mark.slow
def test_half_made_environment_is_made_anew(
    installer: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = installer["environment"]
    monkeypatch.setattr(environment, "VENV", tmp_path / "half way" / ".venv")
    environment.venv_python().parent.mkdir(parents=True)
    environment.venv_python().symlink_to(tmp_path / "a python that was removed")
    environment.ensure_venv()
    assert subprocess.run([environment.venv_python(), "-c", "import pip"], check=False).returncode == 0


def test_missing_libraries_are_named_by_their_package(
    installer: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    system = installer["system"]
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(system, "is_loadable", lambda library: library != "libxcb-cursor.so.0")
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "Xvfb" else f"/usr/bin/{name}")
    assert system.missing_packages(with_xvfb=False) == ["libxcb-cursor0"]
    assert system.missing_packages(with_xvfb=True) == ["libxcb-cursor0", "xvfb"]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert system.missing_packages(with_xvfb=True) == []


def test_without_root_the_line_to_type_is_printed(
    installer: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    system = installer["system"]
    monkeypatch.setattr(system, "missing_packages", lambda with_xvfb: ["libxcb-cursor0", "xvfb"])
    monkeypatch.setattr(system, "can_install", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert not system.ensure_libraries(with_xvfb=True)
    line = "sudo apt-get update && sudo apt-get install -y --no-install-recommends libxcb-cursor0 xvfb"
    assert line in capsys.readouterr().out


def test_other_linux_gets_the_names_of_the_libraries(
    installer: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    system = installer["system"]
    monkeypatch.setattr(system, "missing_packages", lambda with_xvfb: ["libxcb-cursor0", "xvfb"])
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not system.ensure_libraries(with_xvfb=True)
    printed = capsys.readouterr().out
    assert "libxcb-cursor.so.0" in printed
    assert "Xvfb" in printed


def test_loader_finds_what_is_there(installer: dict[str, ModuleType]) -> None:
    assert not installer["system"].is_loadable("libnobody-wrote-this.so.7")


def test_everything_after_the_command_that_is_not_ours_is_passed_on(installer: dict[str, ModuleType]) -> None:
    options, rest = installer["main"].parse(["test", "--torch", "cpu", "-k", "align", "tests/core", "-x"])
    assert (options.command, options.torch) == ("test", "cpu")
    assert rest == ["-k", "align", "tests/core", "-x"]


def test_optional_parts_are_installed_when_asked_for(
    installer: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    main = installer["main"]
    asked: list[list[str]] = []
    monkeypatch.setattr(main, "ensure_environment", lambda extras, torch: asked.append(extras))
    monkeypatch.setattr(main, "call", recorder([], 0))
    assert main.main(["run", "--extra", "microscopy", "info", "scan.czi"]) == 0
    assert asked == [["microscopy"]]
    project = tomllib.loads((installer["console"].ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(main.EXTRAS) == set(project["optional-dependencies"]) - {"test"}


def recorder(called: list[list[str]], code: int) -> Callable[[list[str]], int]:
    def call(command: list[str]) -> int:
        called.append(command)
        return code

    return call


def test_run_hands_arguments_to_the_program(installer: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    main = installer["main"]
    called: list[list[str]] = []
    monkeypatch.setattr(main, "ensure_environment", lambda extras, torch: None)
    monkeypatch.setattr(main, "call", recorder(called, 7))
    assert main.main(["run", "info", "scan 07", "--json"]) == 7
    assert called[0][1:] == ["-m", "toposcope", "info", "scan 07", "--json"]


@pytest.mark.parametrize(("screen", "last"), [(True, "--sample"), (False, "demo")])
def test_run_opens_the_window_where_there_is_a_screen(
    installer: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, screen: bool, last: str
) -> None:
    main = installer["main"]
    called: list[list[str]] = []
    monkeypatch.setattr(main, "ensure_environment", lambda extras, torch: None)
    monkeypatch.setattr(main, "can_open_window", lambda: screen)
    monkeypatch.setattr(main, "call", recorder(called, 0))
    assert main.main(["run"]) == 0
    assert called[0][-1] == last


def test_environment_that_leads_python_astray_is_not_handed_on(
    installer: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    monkeypatch.setenv("PIP_TARGET", "/somewhere/else")
    assert not {"PYTHONPATH", "PIP_TARGET"} & set(installer["console"].clean_environment())


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb is not installed")
def test_virtual_display_is_there_for_as_long_as_it_is_needed(installer: dict[str, ModuleType]) -> None:
    main = installer["main"]
    with main.virtual_display(shutil.which("Xvfb")) as display:
        socket = Path(f"/tmp/.X11-unix/X{display.lstrip(':')}")
        assert socket.exists()
    assert not socket.exists()


@pytest.mark.skipif(os.name == "nt", reason="needs /bin/false")
def test_server_that_opens_no_display_is_reported(installer: dict[str, ModuleType]) -> None:
    main = installer["main"]
    with pytest.raises(installer["console"].InstallError, match="no display"), main.virtual_display("/bin/false"):
        pytest.fail("there is no display")
