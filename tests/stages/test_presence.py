"""A run that was killed is explained by the next; one that said how it ended is not."""

import os
import signal
import subprocess
import sys

import pytest

from nnbox.errors import ResourceError, Severity
from nnbox.stages.presence import NAME, Presence, how_it_was_killed, last_presence, present

_KILLED = """
import os, signal, sys
from pathlib import Path
from nnbox.stages.presence import present
with present(Path(sys.argv[1]), lambda severity, sentence: None) as listener:
    listener(None, "preprocess: 12 cases")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def heard(folder, error=None):
    told = []
    with present(folder, lambda severity, sentence: told.append((severity, sentence))) as listener:
        listener(None, "news")
        if error is not None:
            raise error
    return told


def test_a_killed_run_is_explained_by_the_next(tmp_path):
    done = subprocess.run([sys.executable, "-c", _KILLED, tmp_path], check=False, timeout=600)
    assert done.returncode == -signal.SIGKILL
    (severity, sentence), news = heard(tmp_path)
    assert severity is Severity.WARNING
    assert "was killed" in sentence
    assert "137" in sentence
    assert news == (None, "news")
    assert heard(tmp_path) == [(None, "news")]  # said once


@pytest.mark.parametrize("error", [None, SystemExit(143), KeyboardInterrupt(), ResourceError("no room"), ValueError()])
def test_a_run_that_said_how_it_ended_needs_no_explanation(tmp_path, error):
    if error is None:
        heard(tmp_path)
    else:
        with pytest.raises(type(error)):
            heard(tmp_path, error)
    assert last_presence(tmp_path / NAME).ended is not None
    assert heard(tmp_path) == [(None, "news")]


def presence(used, limit):
    return Presence(
        host="host",
        process=1,
        began="2026-01-01T00:00:00+00:00",
        beat="2026-01-01T00:00:05+00:00",
        doing="3d_fullres fold 0 epoch 3",
        memory_bytes=used,
        memory_limit_bytes=limit,
        ended=None,
    )


def test_memory_near_its_limit_is_named_with_its_numbers_and_the_remedy():
    sentence = how_it_was_killed(presence(7_900_000_000, 8_000_000_000))
    assert "7.9 GB of the 8.0 GB" in sentence
    assert "docker run --memory" in sentence
    assert "--workers" in sentence


def test_memory_far_from_its_limit_is_not_blamed():
    sentence = how_it_was_killed(presence(1_000_000_000, 8_000_000_000))
    assert "1.0 GB of 8.0 GB allowed" in sentence
    assert "power cut" in sentence
    assert "allow more" not in sentence
    assert "The most memory" not in how_it_was_killed(presence(None, None))


def test_a_damaged_word_is_no_word(tmp_path):
    (tmp_path / NAME).write_text("{")
    assert last_presence(tmp_path / NAME) is None
    assert heard(tmp_path) == [(None, "news")]


def test_the_record_tells_what_the_run_does(tmp_path):
    with present(tmp_path, lambda severity, sentence: None):
        found = last_presence(tmp_path / NAME)
    assert found.process == os.getpid()
    assert found.ended is None
