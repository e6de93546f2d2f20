"""`toposcope finetune`: a file of weights, JSON lines, refusals, and a run that can be taken up again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import pytest

import scenes
from command_runs import Run, sentence
from dffnets import finetune as ft
from toposcope import cli

QUICK = ("--base", "light", "--steps", 2, "--crop", 64, "--align", "none", "--device", "cpu")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stacks") / "scan_07"
    folder.mkdir()
    made = scenes.tilted_plane(n=7, size=96, noise=0.02).stack
    for i in range(made.n):
        cv2.imwrite(str(folder / f"{i:02d}.png"), made.read(i))
    return folder


def test_finetune_belongs_to_the_command_line() -> None:
    assert cli.is_for_command_line(["finetune", "scan"])


@pytest.mark.usefixtures("any_gain")
def test_a_file_is_written_and_used(run: Run, stack: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine.safetensors"
    done = run("finetune", stack, *QUICK, "-o", output)
    assert done.code == cli.DONE, done.err
    assert "labels are sure for" in done.out
    assert f"--method light --weights {output}" in done.out
    assert output.exists()
    used = run("depth", stack, "--method", "light", "--weights", output, "-o", tmp_path / "out", "--align", "none")
    assert used.code == cli.DONE, used.err
    wrong = run("depth", stack, "--method", "fad", "--weights", output, "-o", tmp_path / "out", "--align", "none")
    assert wrong.code == cli.USAGE
    assert "holds weights of light" in sentence(wrong)


def test_a_long_name_does_not_run_into_what_is_said_of_it(run: Run, stack: Path, tmp_path: Path) -> None:
    named = shutil.copytree(stack, tmp_path / "metal_plates_z-0.2_0.1_1.3")
    done = run("finetune", named, *QUICK, "-o", tmp_path / "mine.safetensors")
    assert "metal_plates_z-0.2_0.1_1.3 labels are sure for" in done.out


def test_reblur_reaches_the_network(run: Run, stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    loss_of = ft.loss_of

    def spy(network, batch, config, within):  # type: ignore[no-untyped-def]
        asked.append((config.reblur, bool((batch[-1] > 0).all())))
        return loss_of(network, batch, config, within)

    monkeypatch.setattr(ft, "loss_of", spy)
    run("finetune", stack, *QUICK, "--reblur", 0.3, "-o", tmp_path / "mine.safetensors")
    assert asked == [(0.3, True)] * 2


def test_json_is_one_object_and_progress_is_json_lines(
    run: Run, stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ft, "LEAST_GAIN", 1.0)
    done = run("finetune", stack, *QUICK, "-o", tmp_path / "mine.safetensors", "--json")
    facts = json.loads(done.out)
    assert facts["improved"] is False
    assert facts["files"] == {}
    assert facts["labels"][0]["stack"] == "scan_07"
    assert done.code == cli.FAILED
    *lines, last = done.err.splitlines()
    told = [json.loads(line) for line in lines]
    assert told[0]["stage"] == "labels"
    assert [line["step"] for line in told if line["stage"] == "step" and "held_out" not in line] == [1, 2]
    assert "The base stays selected" in last


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--base", "magic"), "no network 'magic'"),
        (("--labels", "light"), "light cannot teach itself"),
        (("--variant", "all"), "variant is 'all'; choose one of bias, bias+head, full"),
        (("--steps", "many"), "steps is 'many'"),
        (("--reblur", "-1"), "reblur is -1; it must lie between"),
    ],
)
def test_wrong_usage_is_told_in_a_sentence(
    arguments: tuple[str, ...], words: str, run: Run, stack: Path, tmp_path: Path
) -> None:
    done = run("finetune", stack, *QUICK, *arguments, "-o", tmp_path / "mine.safetensors")
    assert done.code == cli.USAGE
    assert words in sentence(done)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_folders_is_a_stack_for_each(run: Run, stack: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(stack, tmp_path / "session" / name)
    (tmp_path / "session" / "notes.txt").write_text("50x")
    done = run("finetune", tmp_path / "session", *QUICK, "-o", tmp_path / "mine.safetensors", "--json")
    assert [one["stack"] for one in json.loads(done.out)["labels"]] == ["a", "b"]


def test_a_wrong_call_does_not_stand_in_the_way_of_the_right_one(run: Run, stack: Path, tmp_path: Path) -> None:
    wrong = run("finetune", tmp_path / "scan_70", *QUICK, "-o", tmp_path / "mine.safetensors")
    assert "scan_70 does not exist" in sentence(wrong)
    right = run("finetune", stack, *QUICK, "-o", tmp_path / "mine.safetensors")
    assert "unfinished work" not in right.err


def test_a_stack_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    done = run("finetune", tmp_path / "nowhere", *QUICK, "-o", tmp_path / "mine.safetensors")
    assert done.code == cli.FAILED
    assert "nowhere" in sentence(done)
