"""Moving averages of the weights, where the optimizer keeps them: what they are for once a training has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel
    from lstmcore.runtime.training import Training


def take_averages(model: BaseModel, training: Training) -> None:
    """With ``use_ema``, each trained weight becomes its average: what Keras' ``fit`` does last of all.

    Before the callbacks' ``on_train_end``, and after the last validation. Single steps (``train_on_batch``) and
    what an exception ends leave the weights as they are. The averages themselves stay, for the next ``fit``.
    """
    if training.optimizer.use_ema:
        weights = model.every_path()
        trained = {path: weights[path] for path in training.slots}
        model.replace_weights(training.optimizer.finalize(trained, training.slots))
