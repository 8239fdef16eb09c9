"""Measures every line of the standard input: numbers of a curve, of which mean, spread and dominant frequency are found."""

import sys

import numpy as np

for line in sys.stdin:
    name, seed = line.split()
    curve = np.random.default_rng(int(seed)).normal(size=256) + 3 * np.sin(np.arange(256) * (1 + int(seed) % 7) / 10)
    spectrum = np.abs(np.fft.rfft(curve))
    print(name, f"{curve.mean():.6f}", f"{curve.std():.6f}", int(spectrum[1:].argmax()) + 1, sep="\t")
