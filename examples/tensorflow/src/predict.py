"""Says what is on the pictures A to B-1 of the 10,000 that the network has not seen: number, truth, finding, how sure."""

import sys

import tensorflow as tf

import clothes

clothes.settle()
begin, end = (int(number) for number in sys.argv[1].split(".."))
model = tf.keras.models.load_model("/in/model.keras", compile=False)
chances = model(clothes.pictures("t10k")[begin:end], training=False).numpy()
for number, (truth, chance) in enumerate(zip(clothes.labels("t10k")[begin:end], chances), begin):
    found = chance.argmax()
    print(number, clothes.KINDS[truth], clothes.KINDS[found], f"{chance[found]:.3f}", sep=",")
