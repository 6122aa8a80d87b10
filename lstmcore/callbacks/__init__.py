"""What `fit` tells of its progress, and who may act on it: Keras' callbacks, by their names, arguments and behaviour.

A callback of your own is a subclass of `Callback`.
"""

from lstmcore.callbacks.base import Callback
from lstmcore.callbacks.csv_logger import CSVLogger
from lstmcore.callbacks.early_stopping import EarlyStopping
from lstmcore.callbacks.functions import LambdaCallback
from lstmcore.callbacks.group import CallbackList
from lstmcore.callbacks.history import History
from lstmcore.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
from lstmcore.callbacks.model_checkpoint import ModelCheckpoint
from lstmcore.callbacks.progress import ProgbarLogger
from lstmcore.callbacks.tensorboard import TensorBoard
from lstmcore.callbacks.terminate_on_nan import TerminateOnNaN

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
]
