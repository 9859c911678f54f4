"""The book's VAE (Hands-On Machine Learning, ch. 17) in Keras 3: functional model, `add_loss`, `fit`.

    KERAS_BACKEND=tensorflow python keras_vae.py --data FILE.npz --epochs 5        (or KERAS_BACKEND=jax)

Prints one JSON object an epoch, and a last one with the process's peak memory.
`--plain` leaves `compile` at Keras' defaults.
"""

import argparse
import json
import os
import resource
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from keras import layers, ops

PEER = f"keras-{keras.backend.backend()}"
# Chosen on two CPU cores that were not idle. TensorFlow: 10 steps beat 1, jit_compile made no clear difference
# (tried True/False with 1, 10, 86). JAX: 1 step beat 10; jit_compile=False and 86 were not tried.
FASTEST = {
    "tensorflow": {"jit_compile": False, "steps_per_execution": 10},
    "jax": {"jit_compile": True, "steps_per_execution": 1},
}


class Sampling(layers.Layer):
    """z = μ + exp(γ/2) ⊙ ε; adds the KL divergence (Eq. 17-4, nats per example) to the model's loss."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, inputs):
        mu, gamma = inputs
        kl = -0.5 * ops.sum(1 + gamma - ops.exp(gamma) - ops.square(mu), axis=-1)
        self.add_loss(ops.mean(kl))
        return mu + ops.exp(gamma / 2) * keras.random.normal(ops.shape(mu), seed=self.seed_generator)


class PrintEpoch(keras.callbacks.Callback):
    """One JSON object an epoch; the loss that Keras hands over is the example-weighted running mean."""

    def __init__(self, examples):
        super().__init__()
        self.examples = examples

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self.start
        row = {"peer": PEER, "epoch": epoch + 1, "seconds": seconds}
        row |= {"examples_per_second": self.examples / seconds, "train_loss": float(logs["loss"])}
        print(json.dumps(row), flush=True)


def reconstruction(images, logits):
    """-log p(x|z) of a Bernoulli, nats per example: Keras' function is a mean over the 784 pixels."""
    return images.shape[-1] * keras.losses.binary_crossentropy(images, logits, from_logits=True)


def build(latents):
    images = keras.Input([784])
    h = layers.Dense(150, activation="selu")(images)
    h = layers.Dense(100, activation="selu")(h)
    z = Sampling()([layers.Dense(latents)(h), layers.Dense(latents)(h)])
    h = layers.Dense(100, activation="selu")(z)
    h = layers.Dense(150, activation="selu")(h)
    return keras.Model(images, layers.Dense(784)(h))  # Dense: glorot-uniform kernels, zero biases


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--latents", type=int, default=10)
    parser.add_argument("--plain", action="store_true", help="Keras' defaults, as the book has it, not the tuned ones")
    args = parser.parse_args()
    with np.load(args.data) as arrays:
        train = arrays["train"].reshape(-1, 784).astype(np.float32) / 255
    model = build(args.latents)
    model.compile(
        loss=reconstruction,
        optimizer=keras.optimizers.RMSprop(1e-3, rho=0.9, epsilon=1e-7),
        **({} if args.plain else FASTEST[keras.backend.backend()]),
    )
    model.fit(train, train, batch_size=128, epochs=args.epochs, verbose=0, callbacks=[PrintEpoch(len(train))])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"peer": PEER, "peak_memory_bytes": peak, "versions": {"keras": keras.__version__}}))


if __name__ == "__main__":
    main()
