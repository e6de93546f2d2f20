"""`toposcope evaluate`, as a script meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tifffile

from adapted_files import delta
from command_runs import Run, sentence, write_stack
from scenes import Scene, tilted_plane
from toposcope import cli
from toposcope.core.evaluate.worker import Worker


@pytest.fixture(scope="module")
def scene() -> Scene:
    return tilted_plane(n=7, size=64)


@pytest.fixture
def folder(scene: Scene, tmp_path: Path) -> Path:
    folder = write_stack(scene, tmp_path / "plane")
    tifffile.imwrite(folder / "true_depth.tif", scene.depth)
    return folder


def test_table_and_files_say_the_same(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    choice = ("--methods", "default,sml", "--set", "sml.window=5", "--unit", "stack")
    done = run("evaluate", folder, *choice, "-o", out, "--errors", "--json", "-q")
    assert done.code == cli.DONE, done.err
    facts = done.facts
    assert [(row["method"], row["group"], row["stacks"]) for row in facts["table"]] == [
        ("default", "stacks", 1),
        ("sml", "stacks", 1),
    ]
    assert facts["unit_symbol"] == "µm"
    assert facts["set"] == {"sml": {"window": "5"}}
    assert facts["table"][0]["rmse"] == facts["stacks"][0]["rmse"] > 0
    assert facts["table"][0]["peak_bytes"] > 30e6
    stored = json.loads((out / "table.json").read_text("utf-8"))
    assert stored["table"] == facts["table"]
    assert {path.name for path in out.iterdir()} == {"table.csv", "table.md", "table.json", "stacks.csv", "errors"}
    assert {path.name for path in (out / "errors").iterdir()} == {"plane_default.png", "plane_sml.png"}


def test_a_method_can_have_other_names_settings_and_weights(run: Run, folder: Path, tmp_path: Path) -> None:
    weights = delta(tmp_path / "mine.safetensors")
    methods = ("--methods", "sml,narrow=sml,mine=light", "--set", "narrow.window=5", "--weights", f"mine={weights}")
    done = run("evaluate", folder, *methods, "--no-curves", "--json", "-q")
    assert done.code == cli.DONE, done.err
    assert [row["method"] for row in done.facts["table"]] == ["sml", "narrow", "mine"]
    assert done.facts["set"] == {"narrow": {"window": "5"}}
    assert done.facts["methods"][2]["weights"] == str(weights)


def test_maps_of_another_program(run: Run, folder: Path, scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    tifffile.imwrite(tmp_path / "theirs" / "plane.tif", scene.index)
    maps = ("--maps", f"theirs={tmp_path}/theirs/{{stack}}.tif", "--map-unit", "slices")
    done = run("evaluate", folder, "--methods", "sml", *maps, "-q", "--json")
    assert done.code == cli.DONE, done.err
    ours, theirs = done.facts["table"]
    assert theirs["method"] == "theirs"
    assert theirs["rmse"] < 1e-6 < ours["rmse"]
    assert theirs["unimodal"] is None
    wrong = run("evaluate", folder, "--maps", "theirs.tif", "-q")
    assert wrong.code == cli.USAGE
    assert "NAME=PATH" in wrong.err


def test_interrupted_the_same_command_goes_on(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("evaluate", folder, "--methods", "sml,rdf", "--no-curves", "-o", tmp_path / "out", "-q", "--json")
    answer = Worker.answer

    def stopped(worker: Worker, *arguments: Any) -> Any:
        if "rdf" in worker._process.name:
            raise KeyboardInterrupt
        return answer(worker, *arguments)

    monkeypatch.setattr(Worker, "answer", stopped)
    done = run(*command)
    assert done.code == cli.INTERRUPTED
    assert "1 of 2 answers are kept" in sentence(done)
    left = (tmp_path / "out" / "unfinished.jsonl").read_bytes()
    monkeypatch.undo()
    facts = run(*command).facts
    assert facts["kept"] == 1
    assert [row["method"] for row in facts["table"]] == ["sml", "rdf"]
    assert run(*command).facts["kept"] == 0  # one that was done is done anew
    (tmp_path / "out" / "unfinished.jsonl").write_bytes(left)
    tifffile.imwrite(folder / "true_depth.tif", tifffile.imread(folder / "true_depth.tif") + 1)
    assert run(*command).facts["kept"] == 0  # it is another truth


def test_a_broken_stack_is_named(run: Run, folder: Path, scene: Scene) -> None:
    broken = write_stack(scene, folder.parent / "broken")
    tifffile.imwrite(broken / "true_depth.tif", scene.depth)
    (broken / "frame3.png").write_bytes(b"no picture")
    done = run("evaluate", folder, broken, "--methods", "sml", "--no-curves", "-q")
    assert done.code == cli.SOME_FAILED
    assert sentence(done).startswith(f"{broken}: frame3.png")


def test_table_is_for_reading(run: Run, folder: Path) -> None:
    done = run("evaluate", folder, "--methods", "sml", "--no-curves", "--voids", "known", "--subset", "5", "-q")
    assert done.code == cli.DONE, done.err
    assert "stacks: 1 stack" in done.out
    assert "only pixels count that the method knows" in done.out
    assert "without focus curves" in done.out
    assert done.err == ""


def test_rendered_stacks_are_told_apart_by_kind(run: Run) -> None:
    done = run("evaluate", "--validation", 2, "--methods", "sml", "--all-measures", "-q")
    assert done.code == cli.DONE, done.err
    for group in ("validation: 2 stacks", "validation/macro: 1 stack", "validation/micro: 1 stack"):
        assert group in done.out
    assert "log RMSE" in done.out


def test_a_stack_without_truth_leaves_the_others_their_rows(run: Run, folder: Path, scene: Scene) -> None:
    bare = write_stack(scene, folder.parent / "bare")
    done = run("evaluate", folder, bare, "--methods", "sml", "-q", "--json")
    assert done.code == cli.SOME_FAILED
    assert "looked for true_depth.tif or gt_slice_index.tif in" in sentence(done)
    assert len(done.facts["table"]) == 1
    assert done.facts["failed"][0]["stack"] == str(bare)
    alone = run("evaluate", bare, "--methods", "sml", "-q")
    assert alone.code == cli.FAILED
    assert "--truth" in sentence(alone)


def test_truth_can_have_any_name_and_be_in_slices(run: Run, folder: Path, scene: Scene) -> None:
    (folder / "true_depth.tif").unlink()
    tifffile.imwrite(folder / "index.tif", scene.index)
    done = run("evaluate", folder, "--truth", "index.tif", "--truth-unit", "slices", "--methods", "sml", "-q", "--json")
    assert done.code == cli.DONE, done.err
    assert done.facts["table"][0]["rmse"] < 0.1


def test_stacks_of_the_same_name_are_told_apart(run: Run, folder: Path, scene: Scene) -> None:
    (folder.parent / "other").mkdir()
    other = write_stack(scene, folder.parent / "other" / "plane")
    tifffile.imwrite(other / "true_depth.tif", scene.depth)
    facts = run("evaluate", folder, other, "--methods", "sml", "--no-curves", "-q", "--json").facts
    assert [row["stack"] for row in facts["stacks"]] == [f"{folder.parent.name}/plane", "other/plane"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--methods", "sml"], "there is nothing to evaluate on"),
        (["STACK", "--methods", "magic"], "no method 'magic'"),
        (["STACK", "--methods", "sml", "--set", "rdf.window=5"], "for none of the methods sml"),
        (["STACK", "--methods", "sml", "--weights", "light=mine.safetensors"], "for none of the methods sml"),
        (["STACK", "--methods", "sml", "--weights", "sml=mine.safetensors"], "sml takes no other weights"),
        (["STACK", "--methods", "a=sml,a=rdf"], "two methods are called 'a'"),
        (["STACK", "--methods", "sml", "--set", "sml.windwo=5"], "no setting 'windwo'"),
        (["STACK", "--methods", ","], "at least one stack and one method"),
        (["STACK", "--methods", "sml", "--subset", "2"], "at least 3"),
        (["STACK", "--methods", "sml", "--errors"], "-o"),
        (["--dataset", "ddff12", "--methods", "sml"], "needs --root"),
        (["--dataset", "nothing", "--root", ".", "--methods", "sml"], "no data set 'nothing'"),
        (["--validation", "0", "--methods", "sml"], "give 1 or more"),
        (["STACK", "--methods", "sml", "--at-most", "3"], "name it by --dataset"),
        (["STACK", "--methods", "sml", "--truth-unit", "slices"], "name it by --truth"),
        (["STACK", "--methods", "sml", "--truth-unit", "mm"], "name it by --truth"),
    ],
)
def test_wrong_wishes_are_refused_before_the_work(run: Run, folder: Path, arguments: list[str], words: str) -> None:
    done = run("evaluate", *[folder if word == "STACK" else word for word in arguments], "-q")
    assert done.code == cli.USAGE
    assert words in sentence(done)


def test_settings_need_their_method(run: Run, folder: Path) -> None:
    done = run("evaluate", folder, "--set", "window=5")
    assert done.code == cli.USAGE
    assert "METHOD.NAME=VALUE" in done.err


def test_data_sets_are_listed(run: Run) -> None:
    done = run("evaluate", "--list-datasets")
    assert done.code == cli.DONE
    assert "ddff12: DDFF 12-Scene" in done.out
    assert "--root holds 000000_...All.tif" in done.out
