"""Schedules against what their papers say; callbacks against the logs they see."""

import io

import keras
import numpy as np
import pytest
from processes import run_python
from sklearn.metrics import f1_score

from callbacks.early_stopping import BestEpoch
from callbacks.monitor import draw_training
from callbacks.progress import Progress
from callbacks.schedules import SCHEDULES, Plateau, TableSchedule, learning_rates
from foundation.grammar import duration
from foundation.style import whole
from lab.training.f1 import MacroF1


def test_the_resnet_schedule_is_that_of_the_paper():
    rates = learning_rates("resnet", 0.1, epochs=180, steps_per_epoch=10, warmup_epochs=0)
    assert len(rates) == 1800
    for epoch, rate in ((0, 0.01), (1, 0.1), (89, 0.1), (90, 0.01), (134, 0.01), (135, 0.001), (179, 0.001)):
        assert rates[10 * epoch : 10 * epoch + 10].tolist() == pytest.approx([rate] * 10)


def test_cosine_rises_linearly_then_falls_by_half_a_cosine():
    rates = learning_rates("cosine", 0.2, epochs=12, steps_per_epoch=100, warmup_epochs=2)
    assert rates[0] == 0 and rates[100] == pytest.approx(0.1) and rates[200] == pytest.approx(0.2)
    assert rates[700] == pytest.approx(0.1)
    assert rates[200 + 250] == pytest.approx(0.1 * (1 + np.cos(np.pi / 4)))
    assert rates[-1] < 1e-5 and np.all(np.diff(rates[200:]) <= 0)


def test_linear_rises_and_falls_in_straight_lines():
    rates = learning_rates("linear", 0.2, epochs=12, steps_per_epoch=100, warmup_epochs=2)
    assert np.interp([0, 100, 200, 700, 1199], np.arange(1200), rates) == pytest.approx([0, 0.1, 0.2, 0.1, 0.2 / 1000])
    assert np.abs(np.diff(rates, 2)[200:]).max() < 1e-7


def test_onecycle_peaks_once_and_ends_near_zero():
    rates = learning_rates("onecycle", 1.0, epochs=10, steps_per_epoch=100, warmup_epochs=0)
    assert rates[0] == pytest.approx(1 / 25) and rates.argmax() == 300 and rates.max() == pytest.approx(1.0)
    assert rates[-1] < 1e-3 and np.all(np.diff(rates[:300]) > 0) and np.all(np.diff(rates[300:]) < 0)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_every_schedule_gives_a_rate_for_every_step(schedule, epochs):
    rates = learning_rates(schedule, 0.1, epochs, 7, warmup_epochs=0.5)
    assert rates.shape == (7 * epochs,) and np.isfinite(rates).all()
    assert rates.min() >= 0 and rates.max() <= 0.1 + 1e-7 and rates.max() > 0


def test_the_optimizer_reads_the_table_and_keeps_to_its_last_rate():
    schedule = TableSchedule([0.3, 0.2, 0.1])
    assert [float(schedule(step)) for step in (0, 1, 2, 3, 99)] == pytest.approx([0.3, 0.2, 0.1, 0.1, 0.1])
    assert TableSchedule.from_config(schedule.get_config()).rates.tolist() == schedule.rates.tolist()


def test_macro_f1_of_an_epoch_is_that_of_all_its_images():
    random = np.random.default_rng(0)
    labels, logits = random.integers(0, 4, 60), random.normal(size=(60, 6))  # nobody is of class 4 or 5
    logits[:, 5] = -9.0  # nor taken for class 5
    metric = MacroF1(6)
    for part in np.split(np.arange(60), (7, 32)):
        metric.update_state(np.eye(6)[labels[part]], logits[part])
    expected = f1_score(labels, logits.argmax(1), average="macro", zero_division=0)
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)
    metric.reset_state()
    assert float(metric.result()) == 0


def test_plateau_lowers_the_rate_after_five_epochs_without_gain_and_remembers():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.5), loss="mse")
    plateau = Plateau(0.5)
    plateau.set_model(model)
    for epoch, loss in enumerate([1.0, 0.9, 0.95, 0.9, 0.9, 0.9]):
        plateau.on_epoch_end(epoch, {"val_loss": loss})
    assert float(model.optimizer.learning_rate) == pytest.approx(0.5)
    resumed = Plateau(0.5)
    resumed.set_model(model)
    resumed.set_state(plateau.get_state())
    resumed.on_epoch_end(6, {"val_loss": 0.9})
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)


def test_the_best_epoch_is_of_the_highest_accuracy_then_of_the_lowest_loss():
    best = BestEpoch(patience=2)
    best.set_model(keras.Sequential())
    best.model.stop_training = False
    for epoch, (accuracy, loss) in enumerate([(0.5, 1.0), (0.7, 0.9), (0.7, 0.8), (0.7, 0.85)]):
        best.on_epoch_end(epoch, {"val_accuracy": accuracy, "val_loss": loss})
    assert best.epoch == 2 and not best.model.stop_training
    best.on_epoch_end(4, {"val_accuracy": 0.6, "val_loss": 0.5})
    assert best.model.stop_training and best.is_over(5) and not best.is_over(4)


def test_without_patience_a_run_never_ends_early():
    best = BestEpoch(patience=0)
    best.set_state({"epoch": 0, "value": [1.0, 0.0]})
    assert not best.is_over(1000)


class FakeBatches:
    batch_size, first_step = 10, 0
    split = range(35)


def test_the_progress_line_tells_speed_and_time_left():
    stream = io.StringIO()
    progress = Progress(FakeBatches(), epochs=3, stream=stream)
    progress.on_epoch_begin(0)
    for step in range(4):
        progress.on_train_batch_end(step, {"loss": 1.0, "accuracy": 0.5})
    logs = {"loss": 1.0, "accuracy": 0.5, "val_loss": 2.0, "val_accuracy": 0.25, "learning_rate": 0.1}
    progress.on_epoch_end(0, logs)
    line = stream.getvalue()
    for part in ("epoch 1/3", "train loss 1.0000 acc 50.00%", "val loss 2.0000 acc 25.00%", "images/s", "left"):
        assert part in line
    assert progress.get_state()["images"] == 35
    assert progress.get_state()["speed"]["epoch"] == [1] and progress.get_state()["speed"]["images_per_second"][0] > 0


def test_the_time_of_an_interrupted_part_of_an_epoch_is_kept(monkeypatch):
    clock = iter(range(0, 1000, 10))  # every look at it is ten seconds after the one before
    monkeypatch.setattr("callbacks.progress.time.perf_counter", lambda: next(clock))
    stopped = Progress(FakeBatches(), epochs=1, stream=io.StringIO())
    stopped.on_epoch_begin(0)
    stopped.on_train_batch_end(0, {})
    stopped.on_train_batch_end(1, {})
    state = stopped.get_state()  # 30 s and 20 images after the beginning
    batches = FakeBatches()
    batches.first_step = 2
    resumed = Progress(batches, epochs=1, stream=io.StringIO())
    resumed.set_state(state)
    resumed.on_epoch_begin(0)
    resumed.on_train_batch_end(0, {})
    resumed.on_train_batch_end(1, {})  # 20 s later
    resumed.on_epoch_end(0, {"learning_rate": 0.1})
    found = resumed.get_state()
    assert (found["seconds"], found["images"]) == (50, 35)
    assert found["speed"] == {"epoch": [1], "images_per_second": [35 / 50], "seconds": [60]}
    assert found["interrupted_after"] == 0


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (59.6, "1m00s"), (185, "3m05s"), (7627, "2h07m")])
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


def test_the_plot_shows_both_splits_the_rate_and_the_best_epoch():
    history = {
        "epoch": [1, 2, 3],
        "loss": [2.0, 1.0, 0.5],
        "val_loss": [2.1, 1.2, 1.3],
        "accuracy": [0.3, 0.6, 0.8],
        "val_accuracy": [0.3, 0.7, 0.6],
        "learning_rate": [0.1, 0.05, 0.0],
    }
    figure = draw_training(history, best_epoch=1, title="a run")
    loss, _, rate = figure.axes
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch"] * 3
    assert loss.lines[0].get_ydata().tolist() == [2.0, 1.0, 0.5]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["train (augmented)", "val", "chosen epoch 2: val 70.00 %"]
    assert rate.lines[0].get_ydata().tolist() == [0.1, 0.05, 0.0]
    assert loss.get_yscale() == "linear"


def test_an_exploded_loss_is_drawn_on_a_log_axis_and_no_legend_lies_on_data():
    history = {"epoch": [1, 2, 3], "loss": [2.0, 1.0, 0.5], "val_loss": [2.1, 58_569.0, 1.3], "accuracy": [0.1, 0.6, 0.8]}
    history |= {"val_accuracy": [0.1, 0.1, 0.6], "learning_rate": [0.1, 0.05, 0.0]}
    figure = draw_training(history, best_epoch=2, title="a run")
    assert figure.axes[0].get_yscale() == "log" and figure.axes[1].get_yscale() == "linear"
    assert all(axes.get_legend() is None for axes in figure.axes)
    whole(figure).draw_without_rendering()
    lowest = min(axes.get_tightbbox().y0 for axes in figure.axes)
    assert figure.legends[0].get_window_extent().y1 <= lowest


# Keras calls callbacks that are `async_safe` in another thread: here, after the last step of training, only when the first of
# evaluation has begun, to which jax gives the memory of the weights.
LATE = """
import threading
from types import SimpleNamespace
import keras, numpy as np
from callbacks.progress import Progress

evaluates, told = threading.Event(), threading.Event()

class Meeting(keras.callbacks.Callback):
    async_safe = True
    def __init__(self, meet):
        super().__init__()
        self.on_train_batch_end = lambda batch, logs=None: meet()

class Network(keras.Sequential):
    def make_test_function(self, force=False):
        super().make_test_function(force)
        step = self.test_function
        def late(state, iterator):
            evaluates.set()
            told.wait(60)
            return step(state, iterator)
        self.test_function = late

model = Network([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
progress = Progress(SimpleNamespace(first_step=0, batch_size=4, split=range(4)), epochs=1)
progress.on_epoch_end = lambda epoch, logs: None
callbacks = [Meeting(lambda: evaluates.wait(60)), progress, Meeting(told.set)]
zeros = np.zeros((4, 2)), np.zeros((4, 1))
model.fit(*zeros, validation_data=zeros, epochs=1, callbacks=callbacks, verbose=0)
print([weight.shape for weight in model.get_weights()], told.is_set(), progress.trained_images)
"""


def test_the_line_of_progress_takes_no_weights_out_of_a_step_of_jax():
    process = run_python("-c", LATE, backend="jax")
    assert process.stdout.strip() == "[(2, 1), (1,)] True 4", process.stderr
