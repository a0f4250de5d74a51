"""Each example is run as a user would, and what it prints must be true."""

import ast
import itertools
import json
import re
import runpy
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from waiting import PATIENCE

import wyrm_py as wp

EXAMPLES = Path(__file__).parents[1] / "examples"
MAX_LINES = 120


def run(name: str, *arguments: object) -> str:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name)]
    command += map(str, arguments)
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=20 * PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def numbers(pattern: str, text: str) -> list[float]:
    return [float(found) for found in re.findall(pattern, text)]


def test_linear_regression_finds_the_line_three_times():
    printed = run("linear_regression.py")
    assert len(re.findall(r"y = 3\.000 x \+ 5\.000", printed)) == 3
    assert [line.split()[0] for line in printed.splitlines()[:3]] == [
        "by_hand",
        "compiled",
        "fitted",
    ]
    several = numbers(r"([\d.]+)(?= [abc+]|$)", printed.splitlines()[-1])
    assert several == pytest.approx([1, 2, 3, 5], abs=0.01)


def test_hogwild_workers_of_joblib_train_one_model():
    printed = run("hogwild_joblib.py")
    assert printed.count("a worker in another process") == 2
    slope, intercept = numbers(r"(\d+\.\d+)", printed.splitlines()[-1])
    assert slope == pytest.approx(3, abs=0.01)
    assert intercept == pytest.approx(5, abs=0.01)


def test_matrix_factorization_finds_the_planted_tastes():
    printed = run("matrix_factorization.py")
    before, after = numbers(r"AUC \w+ +([\d.]+)", printed)
    assert 0.4 < before < 0.6
    assert after > 0.8
    assert "with 2 workers" in printed


def test_factorization_ends_with_small_errors_in_every_mode():
    lines = run("factorization_modes.py").splitlines()
    before, *after = [numbers(r"error (\S+?),?(?= |$)", line)[0] for line in lines]
    assert before > 0.05
    ways = [line.split()[0] for line in lines[1:]]
    assert ways == ["single", "hogwild", "synchronous"]
    assert max(after) < 1e-6
    for line in (lines[1], lines[3]):
        assert line.endswith(", the same bits again")


def test_movielens_search_logs_its_trials_and_beats_popularity(tmp_path):
    log = tmp_path / "trials.json"
    first = run("movielens_search.py", "--trials", 2, "--log", log)
    logged = json.loads(log.read_text())
    assert [json.loads(line) for line in first.splitlines()[:-1]] == logged
    second = run("movielens_search.py", "--trials", 2, "--log", log)
    trials = json.loads(log.read_text())
    assert len(trials) == 4
    assert all(trial in trials for trial in logged)
    assert trials == sorted(trials, key=lambda trial: -trial["mrr"])
    found, popular = numbers(r"(?:MRR|popularity) ([\d.]+)", second)
    assert found > popular + 0.1


def test_dynamic_graph_has_exact_values_and_gradients():
    assert run("dynamic_graph.py").splitlines() == [
        "c     = 195300",
        "dc/da = 232420",
        "dc/db = 97650",
    ]


def test_mlp_learns_a_function_and_its_derivatives():
    printed = run("mlp_regression.py")
    before, after = numbers(r"error \w+ +([\d.]+)", printed)[:2]
    assert before > 1
    assert after < 0.01
    slopes = numbers(r"error of d/d\w = \w+ \w ([\d.]+)", printed)
    assert len(slopes) == 2
    assert max(slopes) < 0.05


def test_csv_with_words_is_learned_and_its_weights_come_back():
    printed = run("csv_quickstart.py")
    before, trained, another, restored = numbers(r"accuracy ([\d.]+)", printed)
    assert max(before, another) < 0.6
    assert trained == restored == 1
    assert printed.endswith("the outputs are the same: True\n")


def test_gan_generates_points_like_the_data():
    data, first, *_, last = run("gan.py").splitlines()
    wanted, before, after = (numbers(r" (-?\d\.\d+)", s) for s in (data, first, last))
    assert len(wanted) == 5
    assert before != pytest.approx(wanted, abs=0.5)
    assert after == pytest.approx(wanted, abs=0.15)


def test_own_op_trains_with_both_engines_and_has_the_right_gradient():
    printed = run("define_op.py")
    (error,) = numbers(r"right to (\S+)", printed)
    assert error < 1e-6
    numpy_error, native_error = numbers(r"error ([\d.]+)", printed)
    assert numpy_error < 0.5
    assert native_error < 0.1


def test_own_layer_tells_the_arms_of_a_spiral_apart():
    printed = run("own_layer.py")
    assert "change: Dense(activation='relu'): 272 parameters" in printed
    before, after = numbers(r"accuracy \w+ +([\d.]+)", printed)
    assert before < 0.4
    assert after > 0.95


def test_digits_of_pi_are_learned_by_an_lstm():
    printed = run("digits_of_pi.py")
    before, after = numbers(r"accuracy \w+ +([\d.]+)", printed)
    assert before < 0.3
    assert after > 0.75


def write_digits(folder, name, count, seed):
    """Write images of a bright bar, its height the digit, as the files of MNIST."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count).astype(np.uint8)
    images = rng.integers(0, 60, (count, 28, 28)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label + 4 : 2 * label + 6, 6:22] = 255
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        (folder / f"{name}-{kind}-ubyte").write_bytes(head + array.tobytes())


@pytest.mark.parametrize("network", ["dense", "convolutional"])
def test_mnist_networks_learn_and_come_back_from_their_files(network, tmp_path):
    write_digits(tmp_path, "train", 640, seed=0)
    write_digits(tmp_path, "t10k", 100, seed=1)
    settings = ["--network", network, "--epochs", 3, "--workers", 2]
    first, again = numbers(r"accuracy ([\d.]+)", run("mnist.py", tmp_path, *settings))
    assert first == again
    assert first > 0.9


def test_characters_are_read_and_written():
    printed = run("characters.py")
    perplexities = numbers(r"epoch \d: perplexity ([\d.]+)", printed)
    assert len(perplexities) == 4
    assert perplexities == sorted(perplexities, reverse=True)
    assert perplexities[-1] < 14
    assert numbers(r"new text: perplexity ([\d.]+)", printed)[0] < 16
    written = re.findall(r"^(?:temperature|beam).*: the (.*)$", printed, re.MULTILINE)
    assert len({*written}) == 4
    assert {len(ast.literal_eval(text)) for text in written} == {80}


@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
def test_writing_from_state_to_state_agrees_with_reading_the_whole(cell):
    example = runpy.run_path(str(EXAMPLES / "characters.py"))
    reader = example["Reader"](" eht", cell, [3, 8, 5])  # the letters of the prompt
    for node in reader.parameters():
        node.set_value(2 * node.value)
    texts = ["".join(letters) for letters in itertools.product(" eht", repeat=3)]
    chances = {}
    for text in texts:
        numbers = reader.symbols.encode(example["PROMPT"] + text)
        read = reader(wp.IndexInputNode(numbers[None, :-1])).log_softmax().value[0]
        chances[text] = sum(read[k, numbers[k + 1]] for k in (3, 4, 5))
    likeliest = max(chances, key=chances.get)
    assert example["Writer"](reader, 4**3).beam_search(3) == likeliest
    narrow = example["Writer"](reader, 3).beam_search(3)
    assert chances[narrow] > np.median(list(chances.values()))
    rng, count = np.random.default_rng(0), 100
    drawn = [example["Writer"](reader, 1).sample(3, rng) for _ in range(count)]
    logarithms = np.array(list(chances.values()))
    weights = np.exp(logarithms)
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    mean = weights @ logarithms
    error = np.sqrt(weights @ (logarithms - mean) ** 2 / count)
    assert abs(np.mean([chances[text] for text in drawn]) - mean) < 4 * error
    cold = {example["Writer"](reader, 1, 0.001).sample(3, rng) for _ in range(5)}
    assert cold == {example["Writer"](reader, 1).beam_search(3)}  # the likeliest each


def test_clicks_are_foreseen_from_what_words_say_together():
    printed = run("click_prediction.py")
    days = [
        [float(cell) for cell in line.split()]
        for line in printed.splitlines()
        if line.strip()[:1].isdigit()
    ]
    assert [day for day, *_ in days] == list(range(1, 12))
    for _, rate, line, machine in days:
        assert machine < line < rate
    assert days[-1][3] < days[0][3]
    (used,) = numbers(r"uses (\d+) of 65536", printed)
    assert 0 < used < 170  # of 164 words that there are, but for collisions


def test_online_learning_follows_a_change_and_answers_from_another_process():
    printed = run("online_learning.py")
    figures = [numbers(r"(0\.\d{3})", line) for line in printed.splitlines()[1:4]]
    for before, after, end in figures:
        assert min(before, end) > 0.9 > after
    adagrad, forgetting, constant = (after for _, after, _ in figures)
    assert min(forgetting, constant) > adagrad + 0.01
    last = printed.splitlines()[-1]
    assert last.endswith("3 3 3 3 3, then 4 4 4 4 4")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
def test_examples_are_short_and_start_from_a_question(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < MAX_LINES
    assert text.split("\n", 1)[0].endswith("?")
    assert path.name in Path(__file__).read_text(encoding="utf-8"), "has no test"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
def test_the_readme_lists_examples_with_their_questions(path):
    question = path.read_text(encoding="utf-8").splitlines()[0].removeprefix('"""')
    readme = EXAMPLES.parent.joinpath("README.md").read_text(encoding="utf-8")
    assert f"| `{path.name}` | {question} |" in readme


def test_word_vectors_find_words_of_one_company(tmp_path):
    printed = run("word_vectors.py")
    losses = numbers(r"(\d\.\d{3})", printed.splitlines()[1])
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.8 * losses[0]
    (left,) = (line for line in printed.splitlines() if line.startswith("left "))
    assert "right" in left.split()
    path = tmp_path / "text.txt"
    path.write_text("the cat sat\na dog ran\n" * 200, encoding="utf-8")
    assert "cat" in run("word_vectors.py", path, "the").splitlines()[-1]


def test_an_index_of_neighbours_finds_what_the_model_recommends():
    printed = run("neighbour_index.py", "--items", 1500, "--users", 500)
    shares = numbers(r"([\d.]+)% right", printed)
    assert len(shares) == 4
    assert shares[0] == 100
    assert min(shares) > 95
    by_index, by_model = printed.splitlines()[-2:]
    assert by_model == f"{by_index} by the model"


def test_a_killed_training_goes_on_and_stops_at_its_best(tmp_path):
    printed = run("killed_and_resumed.py", tmp_path / "report.html")
    assert "the same bits as uninterrupted: True" in printed
    done, after = numbers(r"after (\d+) epochs", printed)[:2]
    assert after == done + 3
    stopped, best, kept, last = numbers(r"([\d.]+)", printed.splitlines()[2])
    assert best == stopped - 3 and kept < last
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"best epoch: {best:.0f}" in page and "Ratings by inner products" in page
