"""TensorFlow traces a step once for each shape of images, compiles it only on a GPU, and is imported only where it serves."""

from conftest import run_python

PROGRAM = """
import numpy as np
from dispatcher import build_model
from foundation.settings import Config
from lab.optimizers.optimizer import make_optimizer
from lab.training.classifier import Classifier
from lab.benchmarks.contestants import SameBatch

class Counting(Classifier):
    traces = 0

    def train_step(self, *arguments):
        Counting.traces += 1
        return super().train_step(*arguments)

model = Counting.of(build_model("resnet6n2", (8, 8, 3), 3, blocks=1))
model.compile(make_optimizer(Config(), 0.01))
random = np.random.default_rng(0)
traces, losses = [], []
for size in (8, 8, 12, 8, 12):
    batches = SameBatch(random.standard_normal((4, size, size, 3), "float32"), np.eye(3, dtype="float32")[[0, 1, 2, 0]])
    losses += model.fit(batches, shuffle=False, verbose=0).history["loss"]
    traces.append(Counting.traces)
assert np.isfinite(losses).all()
print(model.jit_compile, *traces)
"""


def test_a_shape_of_images_is_traced_once():
    process = run_python("-c", PROGRAM, backend="tensorflow")
    assert process.returncode == 0, process.stderr
    compiled, *traces = process.stdout.split()
    first, second, third, *rest = map(int, traces)
    assert compiled == "False"
    assert first == second < third and set(rest) == {third}


def test_training_on_torch_imports_no_tensorflow():
    program = "import sys, lab.training.experiment, lab.studies.study; print('tensorflow' in sys.modules)"
    process = run_python("-c", program, is_new=True)
    assert process.stdout.split() == ["False"], process.stderr
