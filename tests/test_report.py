"""Reports: whole pages that need nothing else, with the numbers of the run."""

import math
from html.parser import HTMLParser

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py.report import report_html, write_report

VOID = {"meta", "rect", "br"}


class Page(HTMLParser):
    """Reads a page: its text, its elements; fails on what is left open."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.tags, self.attributes = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)


def trained(name="weights", **given):
    rng = np.random.default_rng(0)
    w = wp.ParameterNode(rng.normal(size=(3, 1)), name=name)
    x, y = wp.InputNode(np.zeros((1, 3)), name="x"), wp.InputNode(np.zeros((1, 1)))
    loss = (x.dot(w) - y).square()
    inputs = {x: rng.normal(size=(40, 3)), y: rng.normal(size=40)}
    history = wp.fit(
        loss,
        wp.SGD(wp.schedules.Exponential(0.01, 0.5)),
        inputs,
        epochs=4,
        engine="numpy",
        random_state=5,
        progress=False,
        **given,
    )
    return loss, inputs, history


def test_a_page_has_the_numbers_of_the_run(tmp_path):
    def recall(history):
        return [0.111, 0.222, 0.333, 0.312][len(history.losses) - 1]

    stop = wp.EarlyStopping(metric="recall")
    _, _, history = trained(validation=recall, stop=stop)
    history.report(tmp_path / "run.html", "My model")
    page = Page((tmp_path / "run.html").read_text(encoding="utf-8"))
    for shown in (
        "My model",
        "4 epochs",
        "1 worker",
        f"{history.losses[-1]:.4g}",
        f"{history.losses[0]:.4g}",
        f"{history.samples_per_second:,.0f}",
        "best epoch: 3",
        "recall, epoch 2: 0.222",
        "0.312",
        "weights",
        "3 x 1",
        "SGD(learning_rate=Exponential(start=0.01, gamma=0.5))",
        "0.00125",  # the learning rate of the last epoch
        "numpy",
        "processor",
        history.machine["processor"],
        "160",  # examples of the one worker
        "square",  # an op of the graph
    ):
        assert shown in page.text, shown
    assert page.tags.count("svg") == 4 + 1 + 1  # charts, a worker's bar, the graph


def test_a_page_needs_nothing_else():
    _, _, history = trained()
    text = report_html(history)
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(page.tags)
    loads = {"src", "href", "action", "background", "data", "xlink:href"}
    assert not [pair for pair in page.attributes if pair[0] in loads]
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "@import" not in text and "prefers-color-scheme: dark" in text
    beyond = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http" not in beyond and "url(" not in beyond.replace("url(#wyrm-arrow)", "")


HOSTILE = "</title><script>alert('x')</script><b onload=\"y\">&"


def test_hostile_names_are_text():
    def metric(history):
        return {HOSTILE: 1.0}

    _, _, history = trained(HOSTILE, validation=metric)
    history.settings[HOSTILE] = {HOSTILE: HOSTILE}
    history.machine[HOSTILE] = history.started = HOSTILE
    page = Page(report_html(history, HOSTILE))
    assert "script" not in page.tags and "b" in page.tags  # `b` of the tiles
    assert not [name for name, _ in page.attributes if name == "onload"]
    assert page.text.count(HOSTILE) >= 6


def test_empty_and_foreign_histories_make_whole_pages():
    Page(report_html(wp.History()))
    odd = wp.History(
        [1.0],
        validation_losses=[math.nan],
        metrics=[{"a": math.inf}],
        settings={"parameters": {"w": "wide", "v": [2, "3"], "u": [2, 3]}},
        worker_examples=[1.0, 2.0],
        worker_seconds=[0.0],
        best_epoch=7,
    )
    assert "2 x 3" in Page(report_html(odd)).text


def test_a_report_can_be_made_from_a_file_later(tmp_path):
    loss, _, history = trained()
    wp.save(tmp_path / "file", loss.parameters(), history=history)
    saved = wp.read_manifest(tmp_path / "file")["metadata"]["history"]
    write_report(tmp_path / "later.html", wp.History.from_dict(saved))
    now = report_html(history)
    assert (tmp_path / "later.html").read_text(encoding="utf-8") == now


def test_a_folder_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        wp.History([1.0]).report(tmp_path / "missing" / "run.html")
