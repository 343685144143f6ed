"""Event files for TensorBoard, on any backend. Imported only where the setting `tensorboard` asks for it."""

import keras
from torch.utils.tensorboard import SummaryWriter


class EventFiles(keras.callbacks.Callback):
    """Writes loss, accuracy and learning rate of every epoch to `folder`; a resumed run goes on in a file of its own."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.writer = None

    def on_epoch_end(self, epoch, logs):
        if self.writer is None:
            # What an earlier part of the run wrote for this epoch and later ones is void.
            self.writer = SummaryWriter(self.folder, purge_step=epoch)
        for name, value in logs.items():
            group, _, metric = name.partition("_") if name.startswith("val_") else ("train", "", name)
            self.writer.add_scalar(f"{metric}/{group}", float(value), epoch)
        self.writer.flush()

    def on_train_end(self, logs=None):
        if self.writer is not None:
            self.writer.close()
            self.writer = None
