"""Training from settings to a trained network: data, model, optimizer, callbacks, `model.fit`."""

from dataclasses import fields

import keras

import dispatcher
from callbacks.averaging import EvaluateAverage
from callbacks.checkpoint import Checkpoint
from callbacks.early_stopping import BestEpoch
from callbacks.faults import ExplosionNote, Faults
from callbacks.film import Film
from callbacks.gradient_flow import GradientFlow
from callbacks.monitor import TrainingMonitor, labels_of_train
from callbacks.progress import Progress
from callbacks.schedules import LearningRateLog, Plateau, TableSchedule, learning_rates
from datasets.augment import Augmentation
from datasets.batches import TrainingBatches
from foundation import backend, replicas
from foundation.errors import UserError, first_line
from lab.optimizers.optimizer import EARLIER_FIRST_STEPS, make_optimizer
from lab.runs.checkpoints import (
    checkpoint_name,
    discard,
    list_checkpoints,
    newest_whole,
    partial_metrics,
    read_state,
    restore_training,
    write_checkpoint,
)
from lab.runs.environment import record_environment
from lab.runs.naming import ORIGIN
from lab.runs.predictions import discard_evaluations, discard_result
from lab.training.chosen import choose, values_of
from lab.training.classifier import Classifier
from lab.training.evaluation import share_of_batches
from lab.training.precision import use_precision
from lab.training.transfer import freeze
from models.initialize import initialize
from models.norms import synchronize


def origin_of(dataset):
    """Return what a run must share with its checkpoints besides its settings: a value for each of ORIGIN."""
    return {"data": dataset.fingerprint, "backend": backend.name()}


def _network(config, image_shape, classes):
    """Return the network of a config, with arbitrary weights. Raises UserError if it can't be built."""
    with replicas.on_all_devices():
        return dispatcher.build_model(config.model, image_shape, classes, **dispatcher.architecture_options(config))


def check_images(config, dataset):
    """Raise a UserError if images are too small for augmentation, or images of `start_size` are too small for the network."""
    augmentation_of(config).check(dataset.image_shape)
    if config.start_size:
        _network(config, (config.start_size, config.start_size, dataset.image_shape[-1]), dataset.classes)


def augmentation_of(config) -> Augmentation:
    """Return the Augmentation of a config's settings."""
    return Augmentation(**{field.name: getattr(config, field.name) for field in fields(Augmentation)})


def build(config, dataset) -> Classifier:
    """Return the network of a config whose precision is settled; its initial weights are a function of the seed."""
    use_precision(config.precision)
    model = _network(config, dataset.image_shape, dataset.classes)
    initialize(model, config.seed)
    if config.sync_norm and replicas.NUM_SHARDS > 1:
        synchronize(model)
    freeze(model, config.freeze)
    return Classifier.of(model, config.execution)


def fit(config, run, dataset, model):
    """Train the model of a config to the run's end, from its newest checkpoint if there is one.

    Raises Interrupted if a signal or a time limit ended it early; everything is written by then.
    """
    trainer = Trainer(config, run, dataset, model)
    trainer.resume()
    try:
        with trainer.checkpoint:
            trainer.fit()
    finally:
        trainer.monitor.publish()  # also if a signal or a fault ended it


class Trainer:
    """Parts of one run, connected: what `fit` needs and what a checkpoint must store."""

    def __init__(self, config, run, dataset, model, rates=None):
        """Make the parts. `rates` of all steps replace those of the config's schedule."""
        self.config, self.run, self.dataset, self.model = config, run, dataset, model
        self.origin = origin_of(dataset)
        chosen = choose(config, len(dataset.train))
        self.batches = TrainingBatches(
            dataset, chosen.batch_size, config.seed, augmentation_of(config), config.label_smoothing, config.class_weights
        )
        self.val = share_of_batches(dataset, dataset.val)
        plateau = Plateau(chosen.init_lr) if config.schedule == "plateau" and rates is None else None
        if rates is None:
            steps = self.batches.steps_per_epoch
            rates = learning_rates(config.schedule, chosen.init_lr, config.epochs, steps, chosen.warmup_epochs)
        with replicas.on_all_devices():
            model.compile(make_optimizer(config, chosen.init_lr if plateau else TableSchedule(rates)), config.track_f1)
        parts = self._parts(LearningRateLog(rates, self.batches, plateau), plateau)
        self.callbacks = list(parts.values())
        self.remembered = {name: part for name, part in parts.items() if hasattr(part, "get_state")}
        self.start = (0, 0)

    def _parts(self, rate_log, plateau):
        """Return {name in a checkpoint: callback} in the order in which Keras calls them."""
        config, run, dataset = self.config, self.run, self.dataset
        self.epoch_start = _EpochStart(self.batches)
        self.faults = Faults(self.batches, rate_log.rate)
        self.best = BestEpoch(config.early_stopping_patience, config.monitor)
        self.progress = Progress(self.batches, config.epochs)
        title = f"{config.model} on {dataset.name}, seed {config.seed}"
        self.monitor = TrainingMonitor(run, self.best, self.progress, title, labels_of_train(config))
        self.checkpoint = Checkpoint(self.save, self.batches, config.checkpoint_minutes, config.max_minutes)
        # The order matters: a diverged run must not be saved, the others read the rate in the logs, and the checkpoint, which
        # comes last, stores the states of the others under these names.
        parts = {
            "epoch_start": self.epoch_start,
            "faults": self.faults,
            "average": EvaluateAverage() if config.ema_decay else None,
            "rate_log": rate_log,
            "explosion": ExplosionNote(dataset.classes, self.monitor),
            "plateau": plateau,
            "best": self.best,
            "progress": self.progress,
            "monitor": self.monitor,
            "flow": GradientFlow(run, self.batches) if config.track_gradients else None,
            "film": Film(run, self.batches, dataset, self.progress) if config.film and not replicas.RANK else None,
            "events": self._event_files(),
            "checkpoint": self.checkpoint,
        }
        return {name: part for name, part in parts.items() if part}

    def _event_files(self):
        if not self.config.tensorboard or replicas.RANK:
            return None
        from callbacks.tensorboard import EventFiles

        return EventFiles(self.run.folder("tensorboard"))

    def resume(self):
        """Resume from the newest undamaged checkpoint (or that of `start_epoch`, if it is set), if there is one."""
        wanted = self.config.start_epoch
        with replicas.local_rank_zero_first():
            found = newest_whole(self.run.weights, wanted, sets_aside=True)
        if wanted and (not found or found[0].name != checkpoint_name(wanted, 0)):
            kept = ", ".join(path.name for path in list_checkpoints(self.run.weights)) or "none"
            where = f"{self.run.weights} (kept: {kept}; --keep-checkpoints keeps more)"
            raise UserError(f"no checkpoint of start_epoch {wanted} in {where}")
        if found:
            self._take_up(*found)
        # only now: a checkpoint of other data was refused above, and the record of its own data must stay
        record_environment(self.run, self.config, self.dataset.fingerprint, is_resumed=bool(found))
        self.run.write_json("classes.json", _classes(self.dataset))
        self.run.write_json("preprocessing.json", _preprocessing(self.dataset))
        self.run.write_json("overlap.json", self.dataset.overlap.record())
        self.run.write_json("chosen.json", values_of(self.config, len(self.dataset.train)))
        if wanted is not None and not replicas.RANK:
            later = [path for path in list_checkpoints(self.run.weights) if path.name > checkpoint_name(wanted, 0)]
            discard_result(self.run)
            if later:
                print(f"start_epoch {wanted} discards {', '.join(path.name for path in later)}", flush=True)
            discard(later)

    def _take_up(self, path, files):
        state = read_state(files)
        self.run.check_owns(path, state)
        for what, wanted in self.origin.items():
            if state.get(what) != wanted:
                raise UserError(
                    f"{path} was computed with another {ORIGIN[what]} ({state.get(what)}, now {wanted}): "
                    "restore it to resume, or name a new run with --run"
                )
        try:
            restore_training(self.model, files)
            first_steps = float(state.get("first_steps", EARLIER_FIRST_STEPS))
            if not 1.0 <= first_steps <= 1e3:
                raise ValueError(f"first_steps {first_steps}")
            begun_with = [state.get(name, False) for name in ("early_statistics", "averaged_statistics")]
            self.model.go_on_as_begun(first_steps, *begun_with)
            if state["epoch"] > self.config.epochs or state["step"] >= self.batches.steps_per_epoch:
                raise ValueError(f"epoch {state['epoch']}, step {state['step']}")
            self._take_up_parts(path, state)
            self.start = (state["epoch"], state["step"])
            if state["step"]:
                self.epoch_start.metrics = partial_metrics(files)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} is no checkpoint of this version of the program: {error!r}") from error
        self.monitor.publish()
        print(f"resuming run '{self.run.name}' from {path.name}", flush=True)

    def _take_up_parts(self, path, state):
        """Restore the states of callbacks. A callback whose state an earlier version did not record starts fresh, unless its
        `needs_state` says why that would change the run's result. Raises UserError if it would."""
        for name, callback in self.remembered.items():
            if name in state:
                callback.set_state(state[name])
            elif callback.needs_state:
                raise UserError(
                    f"{path} is of an earlier version, which did not record '{name}': {callback.needs_state}, so the run "
                    "can't go on as it began; name a new run with --run"
                )
            else:
                print(f"note: {path.name} has no record of '{name}', which changes no result: it starts fresh", flush=True)

    def save(self, epoch, step):
        self.faults.check()
        if replicas.RANK:
            return
        state = {"epoch": epoch, "step": step, "run": self.run.id}
        state |= self.origin | {"first_steps": self.model.optimizer.first_steps}
        statistics = self.model.moving_statistics
        state |= {"early_statistics": statistics.is_scaled, "averaged_statistics": statistics.is_averaged}
        state |= {name: callback.get_state() for name, callback in self.remembered.items()}
        write_checkpoint(self.run.weights, self.model, state)
        whole = [path for path in list_checkpoints(self.run.weights) if path.name <= checkpoint_name(epoch, step)]
        best = None if self.best.epoch is None else checkpoint_name(self.best.epoch + 1, 0)
        old = [path for path in whole[: -self.config.keep_checkpoints] if path.name != best]
        discard(old)

    def fit(self):
        """Call `model.fit` up to the last epoch. A run that was stopped within an epoch finishes that epoch first."""
        epoch, step = self.start
        if step:
            self.batches.first_step = step
            self.fit_epochs(epoch, epoch + 1)
            self.batches.first_step = 0
            epoch += 1
        for first, last in self.batches.spans_of_one_size(epoch, self.config.epochs):
            if not self.best.is_over(first):
                self.fit_epochs(first, last)

    def fit_epochs(self, first, last):
        """Call `model.fit` from epoch `first` to before `last`, counted from 0."""
        if not replicas.RANK:
            discard_evaluations(self.run)
        self.batches.epoch = first  # on tensorflow, fit looks at a batch before the epoch begins
        self.model.fit(
            self.batches,
            validation_data=self.val,
            initial_epoch=first,
            epochs=last,
            callbacks=self.callbacks,
            shuffle=False,  # the batches shuffle their images themselves
            verbose=0,
        )


class _EpochStart(keras.callbacks.Callback):
    """Tells the batches which epoch begins. In a resumed epoch it restores the sums of the metrics."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches
        self.metrics = []

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.epoch = epoch
        if self.metrics:
            variables = self.model.metrics_variables
            if len(self.metrics) == len(variables) + len(variables[2:]):  # earlier versions kept all but the loss twice
                self.metrics = self.metrics[: len(variables)]
            try:
                for variable, value in zip(variables, self.metrics, strict=True):
                    variable.assign(value)
            except ValueError as error:
                raise UserError(f"a checkpoint holds the metrics of another run: {first_line(error)}") from error
        self.metrics = []


def _classes(dataset):
    """Return what each label means: its number, its name, and its id in the data's source."""
    ids = dataset.class_ids or dataset.class_names
    return [{"label": i, "name": name, "id": ids[i]} for i, name in enumerate(dataset.class_names)]


def _preprocessing(dataset):
    """Return how an image becomes the network's input: samples of more than 8 bits are scaled by their range, the image is
    stretched to this size, then `(pixel / 255 - mean) / std` per channel."""
    ranges = {kind: list(ends) for kind, ends in dataset.ranges.items()}
    mean, std = dataset.mean.tolist(), dataset.std.tolist()
    return {"image_size": dataset.image_shape[0], "mean": mean, "std": std, "sample_ranges": ranges}
