"""The first recurrent network of many a tutorial: a SimpleRNN reads handwritten digits row by row.

::

    python examples/tutorial_simple_rnn.py                              # downloads MNIST (11 MB)
    LSTMCORE_BACKEND=torch python examples/tutorial_simple_rnn.py

It is Keras code: with ``keras.`` for ``lstmcore.`` in the three lines of imports it runs in Keras.
"""

from lstmcore.datasets import mnist
from lstmcore.layers import Dense, SimpleRNN
from lstmcore.models import Sequential

(x_train, y_train), (x_test, y_test) = mnist.load_data()
x_train = x_train / 255.0
x_test = x_test / 255.0

model = Sequential()
model.add(SimpleRNN(32, input_shape=(28, 28), activation="relu"))
model.add(Dense(10, activation="softmax"))
model.summary()

model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x_train, y_train, batch_size=32, epochs=3, validation_data=(x_test, y_test))

loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"{accuracy:.2%} of {len(x_test)} test digits read")
