"""Settings with which a study trains unless it sets others: those that Reslab is shipped with, whatever config.py says."""

from dataclasses import asdict

from settings import Config

# Settings that a study gives its runs itself, and settings that change how a run is kept, not what it computes.
NOT_ITS = {"preset", "seed", "run", "output_dir", "weights_dir", "data_dir", "resume", "start_epoch", "find_lr"}
NOT_ITS |= {"checkpoint_minutes", "max_minutes", "keep_checkpoints", "tensorboard"}

# A study names its learning rate: a rate that is chosen by the number of images would differ between its scales.
PROTOCOL = {name: value for name, value in asdict(Config()).items() if name not in NOT_ITS} | {"init_lr": 0.1}
