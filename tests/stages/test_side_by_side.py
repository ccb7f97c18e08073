"""Networks trained side by side by processes of their own: the same files, and no process left behind."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnbox.errors import DataError, LostClaimError, ResourceError, Severity, TrainingError, UsageError
from nnbox.files import digest_file
from nnbox.network.device import choose_devices, no_device
from nnbox.stages.options import Until, parse_parallel
from nnbox.stages.order import Alive, Failed, Measured, Refused, Said, failure, news_line, read_news
from nnbox.stages.side_by_side import LEAST_GAIN, SideBySide
from nnbox.stages.train import train
from nnbox.supervision import VARIABLE


def try_out(room, seconds_per_step):
    """Let a device whose step takes so long beside so many others be tried out."""
    for _ in range(100):
        if room.settled:
            return room.wanted
        count = room.wanted
        room.measure(seconds_per_step(count), count, None, None)
    raise AssertionError("nothing was settled")


def test_networks_that_do_not_disturb_each_other_are_doubled_up_to_the_most():
    assert try_out(SideBySide(most=16), lambda count: 1.0) == 16
    assert try_out(SideBySide(most=5), lambda count: 1.0) == 4


def test_a_device_that_is_busy_with_one_takes_one():
    assert try_out(SideBySide(most=16), float) == 1


@given(st.lists(st.floats(min_value=0.01, max_value=10), min_size=5, max_size=5), st.integers(1, 16))
def test_every_number_that_is_kept_was_better_by_a_tenth_than_half_of_it(seconds, most):
    times = dict(zip((1, 2, 4, 8, 16), seconds, strict=True))
    room = SideBySide(most=most)
    kept = try_out(room, times.__getitem__)
    assert 1 <= kept <= most
    assert all(room.rates[2 * n] >= LEAST_GAIN * room.rates[n] for n in room.rates if 2 * n <= kept)
    assert f"{kept} side by side" in room.sentence()


def test_what_the_memory_does_not_hold_is_not_tried():
    room = SideBySide(most=16)
    room.measure(1.0, 1, 8_000_000_000, 24_000_000_000)
    assert room.most == 2
    room = SideBySide(most=16)
    room.measure(1.0, 1, 20_000_000_000, 24_000_000_000)
    assert (room.wanted, room.settled) == (1, True)


def test_a_time_taken_beside_other_work_tells_nothing():
    room = SideBySide(most=16)
    room.measure(1.0, 3, None, None)
    assert room.rates == {}
    fixed = SideBySide.fixed(3)
    fixed.measure(1.0, 3, None, None)
    assert (fixed.wanted, fixed.rates) == (3, {})


@pytest.mark.parametrize(
    "news",
    [
        Said(severity=Severity.WARNING, sentence="ä\nb"),
        Alive(),
        Measured(seconds_per_step=0.5, peak_bytes=None),
        Failed(exit_code=6, message="m"),
        Refused(number=28, reason="No space left on device", file="/f"),
    ],
)
def test_news_pass_a_pipe_as_one_line(news):
    line = news_line(news)
    assert line.count("\n") == 1
    assert read_news(line) == news


def test_what_is_no_news_is_no_news_and_errors_keep_their_kind():
    for line in ("", "a library's greeting", "[]", '{"said": 1}', '{"other": {}}'):
        assert read_news(line) is None
    assert isinstance(failure(Failed(exit_code=6, message="m")), TrainingError)
    for kind in (DataError, ResourceError):  # others have the same code
        assert type(failure(Failed(exit_code=kind.exit_code, message="m"))) is kind
    assert failure(Refused(number=28, reason="No space left on device", file="/f")).errno == 28


def test_words_that_name_no_devices_or_numbers_are_refused():
    for words in ("cpu,cpu", "cuda:0,cpu", "cuda:0,cuda:0", "tpu"):
        with pytest.raises(UsageError):
            choose_devices(words)
    assert [device.name for device in choose_devices("cpu")] == ["cpu"]
    assert no_device("cuda:0,cuda:1").name == "none"
    assert (parse_parallel("auto"), parse_parallel("3")) == (None, 3)
    for word in ("0", "many", "-1"):
        with pytest.raises(UsageError, match="--parallel"):
            parse_parallel(word)


def weights(folder):
    """Digest of each network and out-of-fold prediction."""
    paths = [*folder.glob("training/**/*.safetensors"), *folder.glob("validation/**/*.npz")]
    return {path.relative_to(folder).as_posix(): digest_file(path) for path in paths}


def test_side_by_side_gives_the_bytes_of_one_after_the_other(tiny_options, tmp_path, listener):
    options = dataclasses.replace(tiny_options, folds=(0, 1, 2), until=Until.TRAIN)
    one = dataclasses.replace(options, output=tmp_path / "one")
    train(one, listener)
    listener.said.clear()
    train(dataclasses.replace(options, parallel=2), listener)
    assert weights(options.output) == weights(one.output)
    assert len(weights(one.output)) == 3 + 3
    assert {sentence.split(":")[0] for sentence in listener.said if ": trained" in sentence} == {
        f"3d_fullres fold {fold}" for fold in range(3)
    }
    assert "projected training time" in listener.text
    listener.said.clear()
    train(dataclasses.replace(options, parallel=2), listener)
    assert listener.text.count("is trained already") == 3


@pytest.fixture
def tried_out(tiny_options, monkeypatch):
    """Options of two networks that share a CPU as those of a card do whose room is tried out; one of them is killed."""
    monkeypatch.setattr(
        SideBySide, "fixed", staticmethod(lambda count: SideBySide(most=count, wanted=count, settled=True))
    )
    monkeypatch.setenv("NNBOX_FAULT_POINT", "training step@3d_fullres/fold_1:1:alone")
    return dataclasses.replace(tiny_options, folds=(0, 1), parallel=2, until=Until.TRAIN)


def test_a_network_that_is_killed_beside_others_is_trained_again_with_fewer_at_once(tried_out, listener, monkeypatch):
    def hear(severity, sentence):
        listener(severity, sentence)
        if "at most 1 of 3d_fullres at once" in sentence:
            monkeypatch.delenv("NNBOX_FAULT_POINT")

    train(tried_out, hear)
    assert "3d_fullres fold 1 was killed by SIGKILL" in listener.text
    assert {f"fold_{fold}" for fold in range(2)} == {
        path.parent.name for path in tried_out.output.glob("training/*/*/weights.safetensors")
    }


def test_a_network_that_is_killed_alone_too_ends_the_run(tried_out, listener):
    with pytest.raises(ResourceError, match="3d_fullres fold 1 was killed by SIGKILL"):
        train(tried_out, listener)
    assert 1 <= listener.text.count("at most 1 of 3d_fullres at once") <= 2


@pytest.fixture
def hanging(tiny_options, monkeypatch):
    """Options of two networks side by side, one of whose processes is halted at a step and never heard of again."""
    monkeypatch.setenv("NNBOX_FAULT_POINT", "training step@3d_fullres/fold_1:2:stop")
    monkeypatch.setenv(VARIABLE, "6")
    return dataclasses.replace(tiny_options, folds=(0, 1), parallel=2, until=Until.TRAIN)


def test_a_network_whose_process_hangs_is_begun_anew_and_ends_with_the_same_bytes(hanging, listener, monkeypatch):
    def hear(severity, sentence):
        listener(severity, sentence)
        if "counts as hung" in sentence:
            assert severity is Severity.WARNING
            monkeypatch.delenv("NNBOX_FAULT_POINT")

    train(hanging, hear)
    told = next(sentence for sentence in listener.said if "hung" in sentence)
    assert re.match(r"nothing was heard of the process that trains 3d_fullres fold 1 for \d+ s \(NNBOX_WORKER", told)
    assert told.endswith("counts as hung and is killed; it is begun anew from its last checkpoint")
    alone = dataclasses.replace(hanging, output=hanging.output.with_name("alone"), folds=(1,))
    train(alone, listener)
    assert len(weights(hanging.output)) == 2 + 2
    assert len(weights(alone.output)) == 1 + 1
    assert weights(alone.output).items() <= weights(hanging.output).items()


def test_a_network_whose_process_hangs_twice_ends_the_run_with_5(hanging, listener):
    with pytest.raises(ResourceError, match="3d_fullres fold 1 hung, and so did the one before it") as info:
        train(hanging, listener)
    assert info.value.exit_code == 5
    assert [
        ("begun anew" in said, "the one before hung, too" in said) for said in listener.said if "as hung" in said
    ] == [
        (True, False),
        (False, True),
    ]


def test_half_of_those_that_were_too_many_is_the_last_word():
    room = SideBySide(most=16, wanted=8)
    room.halve(6)
    assert (room.wanted, room.settled) == (3, True)
    room.halve(1)
    assert room.wanted == 1


def test_what_a_network_cannot_write_ends_the_run_with_the_reason(tiny_options, listener):
    folder = tiny_options.output / "training" / "3d_fullres"
    folder.mkdir(parents=True)
    (folder / "fold_1").write_text("a file where a folder should be")
    with pytest.raises(OSError, match="fold_1"):
        train(dataclasses.replace(tiny_options, folds=(0, 1), parallel=2, until=Until.TRAIN), listener)


class Endless:
    """A run of two networks side by side that trains until it is stopped, both of them being at it."""

    def __init__(self, options, output):
        words = ["--input", str(options.input), "--output", str(output), "--configurations", "3d_fullres"]
        words += ["--folds", "0,1", "--epochs", "1", "--iterations", "1000000", "--planning-memory", "0.003"]
        words += ["--device", "cpu", "--workers", "0", "--parallel", "2"]
        self.output = output
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nnbox", "train", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 900
        while self._events().count("step_time") < 2:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, "the networks did not begin"
            time.sleep(0.2)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.hands = [int(child) for child in children if "unit_worker" in self._words(child)]
        assert len(self.hands) == 2

    def wait(self):
        """Return exit code and standard error, once every process is gone."""
        _, errors = self.process.communicate(timeout=600)
        deadline = time.monotonic() + 300
        while any("unit_worker" in self._words(child) for child in self.hands):
            assert time.monotonic() < deadline, "a process was left behind"
            time.sleep(0.1)
        return self.process.returncode, errors

    def saved(self):
        """Name the folds whose state was saved."""
        return sorted(path.parent.name for path in self.output.glob("training/*/*/checkpoint.json"))

    def _events(self):
        log = self.output / "log.jsonl"
        return [json.loads(line)["event"] for line in log.read_text().splitlines()] if log.exists() else []

    @staticmethod
    def _words(process):
        try:
            return Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return ""


@pytest.fixture
def endless(tiny_options):
    run = Endless(tiny_options, tiny_options.output)
    yield run
    if run.process.poll() is None:
        run.process.kill()
        run.wait()


def test_a_run_told_to_end_saves_every_network_it_trains(endless):
    endless.process.terminate()
    code, errors = endless.wait()
    assert code == 143, errors
    assert "the same command continues" in errors
    assert "Traceback" not in errors
    assert endless.saved() == ["fold_0", "fold_1"]


def test_no_process_outlives_a_killed_run(endless):
    endless.process.kill()
    assert endless.wait()[0] == -signal.SIGKILL


def test_a_network_that_another_run_took_over_is_not_saved_and_the_others_are(endless):
    record = endless.output / "claims" / "training" / "3d_fullres" / "fold_0.json"
    taker = record.read_text().replace(json.loads(record.read_text())["token"], "0123456789abcdef")
    record.write_text(taker)
    code, errors = endless.wait()
    assert code == LostClaimError.exit_code == 5, errors
    assert "fold_0 was taken over by another run" in errors
    assert endless.saved() == ["fold_1"]
    assert record.read_text() == taker


def test_a_killed_network_ends_the_run_and_the_others_save_where_they_stand(endless):
    os.kill(endless.hands[0], signal.SIGKILL)
    code, errors = endless.wait()
    assert code == ResourceError.exit_code, errors
    assert "was killed by SIGKILL" in errors
    assert "--parallel" in errors
    assert endless.saved()
