"""Where a run is, from its files alone: while it runs, when it ended, when it was killed, and as a picture."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from nnbox.cli import main
from nnbox.console import show_status
from nnbox.records.codec import write_record
from nnbox.records.events import Event
from nnbox.stages import presence
from nnbox.stages.run_files import read_run
from nnbox.stages.standing import standing
from nnbox.stages.status import Follower, UnitState, follow, read_status
from nnbox.stages.train import train
from nnbox.stages.workspace import Workspace


def now():
    """The moment of the call: a run is believed dead after a minute, and the tests before may take longer."""
    return datetime.now().astimezone()


class _Log:
    """A run's folder whose log a test writes, event by event."""

    def __init__(self, folder):
        self.workspace = Workspace(folder)
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, event, sentence="", run=None, **facts):
        line = Event(time=now(), event=event, sentence=sentence or event, facts=facts, run=run).line()
        with self.workspace.log.open("a") as stream:
            stream.write(line + "\n")

    def start(self, epochs=10):
        device = {"name": "cuda:0", "description": "a card", "memory_bytes": 80_000_000_000}
        self.add("start", root="/data/Task07_X", device=device)
        self.add("stage_begins", stage="preprocess")
        units = [["2d", 0], ["2d", 1], ["3d_fullres", 0], ["3d_fullres", 1]]
        operations = {"2d": 1.0, "3d_fullres": 4.0}
        self.add("units", units=units, epochs=epochs, operations=operations, cases={"prepared": 4, "predicted": 6})

    def epoch(self, name, fold, epoch, seconds=2.0):
        self.add(
            "epoch",
            configuration=name,
            fold=fold,
            epoch=epoch,
            training_loss=0.5,
            validation_loss=0.4,
            dice=[0.8, None],
            seconds=seconds,
            memory_bytes=3_000_000_000,
            card_bytes=10_000_000_000,
        )

    def done(self, name, fold):
        path = self.workspace.fold_result(name, fold)
        path.parent.mkdir(parents=True)
        path.write_text("{}")

    def alive(self, *, beat=None, ended=None, run="", seat=1):
        record = presence.Presence(
            host="h",
            process=1,
            began=now().isoformat(),
            beat=(beat or now()).isoformat(),
            doing="",
            memory_bytes=None,
            memory_limit_bytes=None,
            ended=ended,
            run=run,
        )
        write_record(presence.presence_path(self.workspace.root, seat), record)


@pytest.fixture
def log(tmp_path):
    return _Log(tmp_path / "run")


def test_a_run_that_trains_is_told_unit_by_unit(log):
    log.start()
    log.alive()
    log.add("stage_begins", stage="train")
    log.epoch("2d", 0, 10)
    log.done("2d", 0)
    log.add("validated", configuration="2d", fold=0, cases=2, seconds=1.0)
    log.epoch("2d", 1, 3)
    status = read_status(log.workspace)
    assert (status.task, status.state, status.stage) == ("Task07_X", "running", "train")
    assert [unit.state for unit in status.units] == [
        UnitState.DONE,
        UnitState.TRAINING,
        UnitState.WAITING,
        UnitState.WAITING,
    ]
    assert (status.units[1].epoch, status.maximum_epochs, status.units[1].dice) == (3, 10, (0.8, None))
    assert (status.card_bytes, status.card_total_bytes) == (10_000_000_000, 80_000_000_000)


def test_what_is_left_counts_epochs_validation_and_test_images(log):
    log.start()
    log.alive()
    log.add("stage_begins", stage="train")
    log.epoch("2d", 0, 10, seconds=2.0)
    log.done("2d", 0)
    log.add("validated", configuration="2d", fold=0, cases=2, seconds=1.0)
    # 10 epochs of 2d at 2 s, 20 of 3d_fullres at four times that; then per case 0.5 s for 2 + 2 + 2 validation cases;
    # and 6 test images by 4 networks.
    training, validation, prediction = 10 * 2 + 20 * 8, 6 * 0.5, 6 * 4 * 0.5
    assert read_status(log.workspace).remaining_seconds == pytest.approx(training + validation + prediction)
    log.epoch("3d_fullres", 0, 1, seconds=5.0)
    training = 10 * 2 + 19 * 5
    assert read_status(log.workspace).remaining_seconds == pytest.approx(training + validation + prediction)


def test_before_the_first_epoch_the_projection_counts_and_before_that_nothing(log):
    log.start()
    log.alive()
    assert read_status(log.workspace).remaining_seconds is None
    log.add("projection", hours=2.0)
    assert read_status(log.workspace).remaining_seconds == pytest.approx(7200)


def test_test_images_are_counted_while_they_are_predicted(log):
    log.start()
    log.alive()
    log.add("stage_begins", stage="predict")
    log.add("predicted", case="a", seconds=3.0)
    log.add("skipped", case="b")
    status = read_status(log.workspace)
    assert (status.done, status.total) == (2, 6)


@pytest.mark.parametrize(
    ("ending", "state"), [("finished", "finished"), ("failed", "failed"), ("interrupted", "unfinished")]
)
def test_a_run_that_ended_says_how(log, ending, state):
    log.start()
    log.alive(ended="so")
    log.add(ending, "the words")
    status = read_status(log.workspace)
    assert status.state == state == standing(read_run(log.workspace)).state
    assert status.remark == (None if ending == "finished" else "the words")


def two_runs(log):
    """Two runs that share a log, each with a fold, both training."""
    for seat, run in enumerate(("one", "two"), start=1):
        log.alive(run=run, seat=seat)
        log.add("start", run=run, root="/data/Task07_X")
    for fold, run in enumerate(("one", "two")):
        log.add("units", run=run, units=[["2d", fold]], epochs=10)
        log.add("stage_begins", run=run, stage="train")
        log.add("unit_begins", run=run, configuration="2d", fold=fold)


def test_runs_that_share_a_log_are_shown_together(log):
    two_runs(log)
    status = read_status(log.workspace)
    assert [(unit.fold, unit.state) for unit in status.units] == [(0, UnitState.TRAINING), (1, UnitState.TRAINING)]
    assert status.state == "running"


@pytest.mark.parametrize("ending", ["part_finished", "failed", "interrupted"])
def test_a_run_goes_on_while_one_of_its_processes_does_and_the_last_one_says_how_it_ended(log, ending):
    two_runs(log)
    log.add(ending, run="one")
    log.alive(run="one", ended="so")
    status = read_status(log.workspace)
    assert status.state == "running" == standing(read_run(log.workspace)).state
    assert [(unit.fold, unit.state) for unit in status.units] == [(1, UnitState.TRAINING)]
    log.add("finished", run="two")
    log.alive(run="two", seat=2, ended="finished")
    assert read_status(log.workspace).state == "finished"
    assert standing(read_run(log.workspace)).state == "finished"


def test_a_part_that_is_done_does_not_make_the_whole_finished(log):
    two_runs(log)
    log.add("part_finished", "two still trains", run="one")
    for seat, run in enumerate(("one", "two"), start=1):
        log.alive(run=run, seat=seat, beat=now() - timedelta(minutes=5))
    assert read_status(log.workspace).state == "unfinished"
    assert standing(read_run(log.workspace)).state == "unfinished"


def test_a_run_that_is_silent_for_a_minute_was_killed(log):
    log.start()
    log.alive(beat=now() - timedelta(minutes=5))
    assert read_status(log.workspace).state == "unfinished"
    assert standing(read_run(log.workspace)).state == "unfinished"


def test_a_command_that_was_refused_leaves_a_finished_run_finished(log):
    log.start()
    log.add("finished")
    for _ in range(2):
        log.add("start", root="/data/Task07_X")
        log.add("failed", "options changed")
    log.alive(ended="exit code 5")
    assert read_status(log.workspace).state == "finished"
    assert standing(read_run(log.workspace)).state == "finished"


def test_a_first_run_that_was_refused_failed(log):
    log.add("start", root="/data/Task07_X")
    log.add("failed", "the data set is wrong")
    assert read_status(log.workspace).state == "failed"
    assert standing(read_run(log.workspace)).remark == "the data set is wrong"


def test_following_sees_what_is_added_and_a_log_that_was_moved_away(log):
    log.start()
    log.alive()
    follower = Follower(log.workspace)
    assert follower.read().stage == "preprocess"
    with log.workspace.log.open("a") as stream:
        stream.write('{"time": "2026-01-01T00:00:00+00:00", "event": "stage_beg')
        stream.flush()
        assert follower.read().stage == "preprocess"
        stream.write('ins", "sentence": "s", "facts": {"stage": "train"}}\n')
    assert follower.read().stage == "train"
    log.workspace.log.rename(log.workspace.root / "old")
    log.add("start", root="/data/Task07_X")
    again = follower.read()
    assert (again.stage, again.units) == (None, ())


def test_every_task_below_a_folder_is_followed(tmp_path, log):
    one, two = _Log(tmp_path / "out" / "Task01"), _Log(tmp_path / "out" / "Task02")
    read = follow(tmp_path / "out")
    assert read() == ()
    one.start()
    assert len(read()) == 1
    two.start()
    assert len(read()) == 2


def test_status_in_the_middle_of_a_real_run(tiny_options, listener):
    """Each time the run says something, another reader sees the same run."""
    seen = []

    def hear(severity, sentence):
        if Workspace(tiny_options.output).log.exists():
            seen.append(read_status(Workspace(tiny_options.output)))

    train(tiny_options, hear)
    stages = list(dict.fromkeys(status.stage for status in seen))
    assert [stage for stage in stages if stage] == [
        *("intake", "preprocess", "train", "select", "package", "predict"),
    ]
    assert {status.state for status in seen[1:-1]} <= {"running", "finished"}
    training = [status for status in seen if status.stage == "train" and status.units]
    done = [sum(unit.state is UnitState.DONE for unit in status.units) for status in training]
    assert done == sorted(done)
    assert done[-1] == 5
    left = [status.remaining_seconds for status in training if status.remaining_seconds is not None]
    assert len(left) >= 5
    assert min(left) >= 0
    assert read_status(Workspace(tiny_options.output)).state == "finished"


def test_the_verb_prints_json_for_scripts(finished, capsys):
    out, _, _, _ = finished
    assert main(["status", "--output", str(out), "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert (document["record"], document["version"], document["state"]) == ("status", 1, "finished")
    assert len(document["units"]) == 20
    assert all(unit["state"] == "done" and unit["epoch"] == 1 for unit in document["units"])


def test_the_verb_prints_a_grid_for_people(finished, capsys):
    out, _, _, _ = finished
    assert main(["status", "--output", str(out)]) == 0
    found = capsys.readouterr()
    assert found.err == ""
    lines = found.out.splitlines()
    assert re.match(r"\S+  finished, stage predict", lines[0])
    assert sum("1 done" in line for line in lines) == 4


def test_a_folder_without_a_run_and_no_folder_at_all_are_told(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("NNBOX_OUTPUT", raising=False)
    monkeypatch.delenv("NNBOX_INPUT", raising=False)
    assert main(["status", "--output", str(tmp_path)]) == 2
    assert main(["status"]) == 2
    err = capsys.readouterr().err
    assert "holds no run" in err
    assert "--output" in err


def test_the_picture_of_a_running_run_names_what_counts(log, capsys):
    log.start()
    log.alive()
    log.add("stage_begins", stage="train")
    log.epoch("2d", 0, 7)
    show_status([read_status(log.workspace)])
    said = " ".join(capsys.readouterr().out.split())
    for words in ("7/10", "loss 0.5000", "Dice 0.800, -", "2.0 s per epoch", "to go", "card memory 10.0 of 80.0 GB"):
        assert words in said


def test_status_imports_neither_torch_nor_figures():
    code = (
        "import sys; from nnbox.cli import main; main(['status', '--output', '/']); "
        "print(sorted({'torch', 'matplotlib', 'SimpleITK'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def _in_terminal(words):
    """Run a command in a terminal of 100 columns and return what it wrote."""
    chunks = []
    pid, descriptor = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="100", LINES="40")
        os.execv(words[0], words)
    try:
        while True:
            chunks.append(os.read(descriptor, 65536))
    except OSError:
        _, code = os.waitpid(pid, 0)
    os.close(descriptor)
    return os.waitstatus_to_exitcode(code), b"".join(chunks).decode()


def test_in_a_terminal_training_is_shown_live_and_without_one_in_plain_lines(tiny, tmp_path, capsys):
    words = ["train", "--input", str(tiny), "--device", "cpu", "--workers", "0", "--folds", "0"]
    words += ["--configurations", "3d_fullres", "--epochs", "2", "--iterations", "40", "--planning-memory", "0.003"]
    command = [sys.executable, "-m", "nnbox", *words, "--output", str(tmp_path / "live")]
    code, shown = _in_terminal(command)
    assert code == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(r"3d_fullres\s+(-|\d/2|2 done)", text)
    # Steps are in the live picture's last line at most, never in the news that stays.
    assert [line for line in text.splitlines() if re.match(r"3d_fullres fold \d epoch \d of 2: ", line)] == []
    assert shown.count("\x1b[?25h") == shown.count("\x1b[?25l"), "the cursor comes back"
    assert main([*words, "--output", str(tmp_path / "plain")]) == 0
    plain = capsys.readouterr()
    assert "\x1b" not in plain.out
    assert len(re.findall(r"^3d_fullres fold 0 epoch \d of 2: ", plain.out, re.MULTILINE)) == 2
    assert all(line.startswith("warning:") for line in plain.err.splitlines())
