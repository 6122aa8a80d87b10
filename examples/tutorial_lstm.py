"""Two LSTMs, one on the other, read handwritten digits row by row: the tutorial after the first.

::

    python examples/tutorial_lstm.py                              # downloads MNIST (11 MB)
    LSTMCORE_BACKEND=torch python examples/tutorial_lstm.py

It is Keras code: with ``keras.`` for ``lstmcore.`` in the four lines of imports it runs in Keras.
"""

from lstmcore.datasets import mnist
from lstmcore.layers import LSTM, Dense, Dropout
from lstmcore.models import Sequential
from lstmcore.optimizers import Adam

(x_train, y_train), (x_test, y_test) = mnist.load_data()
x_train = x_train / 255.0
x_test = x_test / 255.0

model = Sequential()
model.add(LSTM(128, input_shape=x_train.shape[1:], activation="relu", return_sequences=True))
model.add(Dropout(0.2))
model.add(LSTM(128, activation="relu"))
model.add(Dropout(0.1))
model.add(Dense(32, activation="relu"))
model.add(Dropout(0.2))
model.add(Dense(10, activation="softmax"))
model.summary()

model.compile(loss="sparse_categorical_crossentropy", optimizer=Adam(learning_rate=0.001), metrics=["accuracy"])
history = model.fit(x_train, y_train, epochs=3, validation_data=(x_test, y_test))

loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"{accuracy:.2%} of {len(x_test)} test digits read")
