"""The run report: every number is that of the files, whatever the run got to and whatever its names are."""

from __future__ import annotations

import csv
import json
import re
import shutil
import statistics
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from nnbox.cli import main
from nnbox.errors import TrainingError, UsageError
from nnbox.files import digest_file
from nnbox.records.events import read_events
from nnbox.report.statistics import mean_interval
from nnbox.stages import refresh
from nnbox.stages import report as report_module
from nnbox.stages.journal import Journal
from nnbox.stages.refresh import Refresher
from nnbox.stages.report import write_report
from nnbox.stages.run_files import workspaces
from nnbox.stages.train import train
from nnbox.stages.workspace import Workspace

_VOID = {"meta", "link", "img", "br"}


class _Page(HTMLParser):
    """Collects what tests ask about: numbers, headings, pictures, names, links, and that every element is closed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.numbers, self.headings, self.alts, self.ids, self.links, self.open = [], [], [], [], [], []
        self.tags, self.words = set(), []
        self._number = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.add(tag)
        if tag not in _VOID:
            self.open.append(tag)
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a":
            self.links.append(found["href"])
        if tag == "img" or found.get("role") == "img":
            self.alts.append(found.get("alt") or found.get("aria-label"))
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "data":
            self._number = [found, ""]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "data":
            self.numbers.append(tuple(self._number))
            self._number = None

    def handle_data(self, data):
        self.words.append(data)
        if self._number is not None:
            self._number[1] += data


def _page(out):
    return _Page((out / "report.html").read_text())


def _walk(value, steps):
    """Return all values at a place, as `nnbox.report.numbers` describes places."""
    if not steps:
        return [value]
    head, *rest = steps
    entries = list(value.values()) if isinstance(value, dict) else value
    if head == "*":
        return [item for entry in entries for item in _walk(entry, rest)]
    if head == "@":
        found = [item for entry in entries for item in _walk(entry, rest) if item is not None]
        return [sum(found) / len(found) if found else None]
    if isinstance(value, dict):
        return _walk(value[head.replace("~1", "/").replace("~0", "~")], rest)
    return [item for place in head.split(",") for item in _walk(value[int(place)], rest)]


def _documents(out, file):
    if file.endswith(".csv"):
        for path in sorted(out.glob(file)):
            with path.open() as stream:
                rows = csv.DictReader(stream)
                yield [{name: float(cell) if cell else None for name, cell in row.items()} for row in rows]
    else:
        for path in sorted(out.glob(file)):
            yield json.loads(path.read_text())


def _values(out, source):
    file, _, place = source.partition("#")
    if file != "log.jsonl":
        return [item for document in _documents(out, file) for item in _walk(document, place.split("/")[1:])]
    events = [json.loads(line) for line in (out / file).read_text().splitlines()]
    kind, *steps = place.split("/")
    if kind:
        name, _, wanted = kind.partition("[")
        key, _, value = wanted.removesuffix("]").partition("=")
        events = [e for e in events if e["event"] == name and (not key or str(e["facts"].get(key)) == value)]
        steps = ["*", *steps]
    return _walk(events, steps)


def _recomputed(out, found):
    values = _values(out, found["data-from"])
    if "data-minus" in found:
        pairs = zip(values, _values(out, found["data-minus"]), strict=True)
        values = [None if a is None or b is None else a - b for a, b in pairs]
    statistic = found["data-statistic"]
    if statistic == "value":
        return values[-1]
    values = [value for value in values if value is not None]
    if statistic.startswith("interval"):
        return mean_interval(values)[statistic == "interval-high"]
    return {
        "count": len,
        "distinct": lambda items: len(set(items)),
        "sum": sum,
        "mean": lambda items: sum(items) / len(items) if items else None,
        "median": lambda items: statistics.median(items) if items else None,
        "min": min,
        "max": lambda items: max(items, default=None),
        "positive": lambda items: sum(item > 0 for item in items),
        "negative": lambda items: sum(item < 0 for item in items),
    }[statistic](values)


_UNITS = {"s": 1, "min": 60, "h": 3600, "days": 86400, "MB": 1e6, "GB": 1e9}


def _is_rounding(shown, value):
    """Whether what is shown is the value, rounded to the digits that are shown."""
    number, _, unit = shown.partition(" ")
    text = number.replace("\N{MINUS SIGN}", "-").replace("\N{NARROW NO-BREAK SPACE}", "").lstrip("+")
    digits = len(text.partition("e")[0].partition(".")[2])
    mantissa, _, exponent = text.partition("e")
    step = 10.0 ** (int(exponent or 0) - digits) * _UNITS.get(unit, 1)
    trailing = len(mantissa) - len(mantissa.rstrip("0")) if digits == 0 else 0
    return abs(float(text) * _UNITS.get(unit, 1) - value) <= 0.5 * step * 10**trailing * (1 + 1e-9)


@pytest.fixture(scope="module")
def page(finished):
    """The report that the finished run left, read."""
    return _page(finished[0])


def test_every_number_equals_the_file_it_came_from(finished, page):
    out, _, _, _ = finished
    checked = 0
    files = set()
    for found, shown in page.numbers:
        assert "data-from" in found, f"{shown} names no file"
        expected = _recomputed(out, found)
        if found["value"] == "":
            assert expected is None
            assert shown == "–"
        else:
            value = float(found["value"])
            assert value == pytest.approx(expected, rel=1e-12, abs=1e-12), found
            assert _is_rounding(shown, value), (shown, value)
        checked += 1
        files.add(found["data-from"].partition("#")[0].partition("/")[0])
    assert checked > 700
    assert files >= {"crossvalidation.json", "selection.json", "plan.json", "fingerprint.json", "log.jsonl", "training"}


@pytest.mark.parametrize(
    ("shown", "value", "holds"), [("0.12", 0.1249, True), ("0.12", 0.13, False), ("12 MB", 1e7, 0)]
)
def test_the_check_of_roundings_can_fail(shown, value, holds):
    assert _is_rounding(shown, value) == bool(holds)


def test_the_page_needs_nothing_but_itself(finished, page):
    text = (finished[0] / "report.html").read_text()
    assert not page.tags & {"script", "iframe", "object", "embed", "form", "base"}
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    outside = re.findall(r'(?:src|href|action)="(?!data:|#)([^"]*)"|url\((?!#)([^)]*)\)|@import', text)
    assert not outside
    assert "default-src 'none'" in text
    assert page.open == []


def test_names_are_unique_and_headings_in_order(page):
    assert len(page.ids) == len(set(page.ids))
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip(page.headings, page.headings[1:], strict=False))


def test_every_picture_and_drawing_is_told_in_words(page):
    assert len(page.alts) > 20
    assert all(alt and len(alt) > 15 for alt in page.alts)


def test_the_page_has_every_part(page):
    assert set(page.ids) >= {
        *("glance", "data", "plan", "training", "evidence", "selection", "cases", "tests", "run", "methods")
    }
    text = " ".join(page.words)
    for words in ("2d+3d_fullres", "@misc{isensee2018nnunet", "SHA-256", "The worst case", "The best case", "finished"):
        assert words in text


def test_every_decision_of_the_plan_is_there_with_rule_and_source(finished, page):
    text = " ".join(" ".join(page.words).split())
    for decision in json.loads((finished[0] / "plan.json").read_text())["decisions"]:
        assert decision["subject"] in text
        assert " ".join(decision["sentence"].split()) in text
        assert decision["rule"] in text


def _copied(finished, tmp_path):
    target = tmp_path / "run"
    shutil.copytree(finished[0], target)
    return target


def test_the_report_is_made_again_from_the_files_alone(finished, tmp_path, capsys):
    out = _copied(finished, tmp_path)
    before = (out / "report.html").read_text()
    (out / "report.html").unlink()
    shutil.rmtree(out / "prepared")
    assert main(["report", "--output", str(out)]) == 0
    assert str(out / "report.html") in capsys.readouterr().out

    def without_time(text):
        return re.sub(r'<p class="quiet">\d{4}-.*?</p>|log.jsonl[^>]*>[^<]*', "", text)

    assert len(without_time((out / "report.html").read_text())) == len(without_time(before))


_STEPS = ["selection.json", "crossvalidation.json", "training", "folds.json", "plan.json", "fingerprint.json"]


@pytest.mark.parametrize("count", range(1, len(_STEPS) + 1))
def test_an_unfinished_run_has_a_report_of_what_there_is(finished, tmp_path, count):
    out = _copied(finished, tmp_path)
    lines = (out / "log.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["event"] not in {"finished", "submission", "predicted"}]
    (out / "log.jsonl").write_text("".join(kept))
    for name in _STEPS[:count]:
        shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()
    write_report(Workspace(out))
    page = _page(out)
    assert "unfinished" in page.words
    assert ("evidence" in page.ids) == (count < 2)
    assert ("training" in page.ids) == (count < 3)
    assert ("plan" in page.ids) == (count < 5)
    assert page.open == []
    for found, shown in page.numbers:
        if found["value"] != "":
            assert float(found["value"]) == pytest.approx(_recomputed(out, found)), (found, shown)


def test_where_the_images_are_gone_the_report_says_so(finished, tmp_path, capsys):
    out = _copied(finished, tmp_path)
    log = out / "log.jsonl"
    log.write_text(log.read_text().replace('"root": "', '"root": "/gone'))
    assert main(["report", "--output", str(out)]) == 0
    text = " ".join(_page(out).words)
    assert "There are no pictures: the data set is not at /gone" in text
    assert "img" not in _page(out).tags
    assert main(["report", "--output", str(out), "--input", str(finished[1].input)]) == 0
    assert "img" in _page(out).tags


def test_a_run_of_another_folder_is_asked_for(tmp_path, capsys):
    assert main(["report", "--output", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
    with pytest.raises(UsageError):
        workspaces(tmp_path / "absent")


def test_a_report_that_cannot_be_written_is_a_warning_and_not_the_runs_failure(tiny_options, listener, monkeypatch):
    def broken(*_):
        raise RuntimeError("no figures today")

    monkeypatch.setattr(report_module, "render", broken)
    outcomes = train(tiny_options, listener)
    assert outcomes[0].predictions is not None
    assert "the report could not be written (RuntimeError: no figures today)" in listener.text
    assert not (tiny_options.output / "report.html").exists()


def test_a_run_that_fails_leaves_a_report_that_says_why(tiny_options, listener, monkeypatch):
    from nnbox.stages import training as train_module

    def broken(*_):
        raise TrainingError("the loss became nan")

    monkeypatch.setattr(train_module, "train_units", broken)
    with pytest.raises(TrainingError):
        train(tiny_options, listener)
    words = " ".join(_page(tiny_options.output).words)
    assert "failed" in words
    assert "the loss became nan" in words


def test_names_with_markup_are_shown_and_not_obeyed(tiny, tmp_path, listener, tiny_options):
    """What a data set calls its labels and channels is text, never markup."""
    description = json.loads((tiny / "dataset.json").read_text())
    description["labels"]["1"] = "<script>alert(1)</script>"
    description["modality"]["0"] = "M&R <b>"
    (tiny / "dataset.json").write_text(json.dumps(description))
    train(tiny_options, listener)
    text = (tiny_options.output / "report.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<b>" not in text
    assert _page(tiny_options.output).open == []


def test_a_report_changes_nothing_else(finished, tmp_path):
    out = _copied(finished, tmp_path)
    before = {path: digest_file(path) for path in out.rglob("*") if path.is_file() and path.name != "report.html"}
    write_report(Workspace(out))
    after = {path: digest_file(path) for path in out.rglob("*") if path.is_file() and path.name != "report.html"}
    assert after == before


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(refresh.time, "monotonic", lambda: now[0])
    return now


def _refreshed(out, root, listener):
    return Refresher(Workspace(out), root, Journal(out / "log.jsonl", listener))


def test_the_report_is_refreshed_by_another_process_now_and_then(finished, tmp_path, listener, clock):
    out = _copied(finished, tmp_path)
    (out / "report.html").unlink()
    refresher = _refreshed(out, finished[1].input, listener)
    assert not refresher.refresh()
    clock[0] += 61
    assert not refresher.refresh()
    assert refresher.refresh(stage_ended=True)
    assert not refresher.refresh(stage_ended=True), "one at a time"
    refresher._process.wait(600)
    refresher.finish()
    assert (out / "report.html").exists()
    cost = read_events(out / "log.jsonl")[-1].facts["seconds"]
    assert cost > 0
    clock[0] += max(600, cost / 0.02) + 1
    assert refresher.refresh()
    refresher._process.wait(600)
    refresher.finish()
    assert listener.said == []


def test_a_refresh_that_fails_is_a_warning(finished, tmp_path, listener, clock):
    out = _copied(finished, tmp_path)
    (out / "plan.json").write_text("{")
    refresher = _refreshed(out, finished[1].input, listener)
    clock[0] += 601
    assert refresher.refresh()
    refresher._process.wait(600)
    refresher.finish()
    assert "could not be refreshed" in listener.text
    assert "plan.json" in listener.text


def test_training_imports_no_figures():
    """The libraries of the report are slow to import; a run needs them at its end, and workers never."""
    code = "import sys, nnbox.stages.train; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_damaged_prediction_costs_the_pictures_alone(finished, tmp_path):
    out = _copied(finished, tmp_path)
    for path in (out / "validation").rglob("*.npz"):
        path.write_bytes(b"x")
    write_report(Workspace(out))
    assert "There are no pictures" in " ".join(_page(out).words)


def test_the_methods_say_what_this_run_did_differently(page):
    text = " ".join(" ".join(page.words).split())
    assert "Instead of the schedule above, trainings had 1 epochs and 2 steps per epoch." in text
    assert "2d in folds 0, 1, 2, 3, 4" in text
