"""The book's VAE as Flax's own NNX examples train: `nnx.jit` around a step of `nnx.value_and_grad` and `nnx.Optimizer`.

    python flax_vae.py --data FILE.npz --epochs 5

One call of the compiled step for every batch, the loss fetched once an epoch. Prints one JSON object an epoch, and a
last one with the process's peak memory.
"""

import argparse
import json
import resource
import time

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

LATENTS = 10
BATCH = 128
GLOROT = jax.nn.initializers.glorot_uniform()


def dense(inputs, outputs, rngs):
    return nnx.Linear(inputs, outputs, kernel_init=GLOROT, rngs=rngs)


class VAE(nnx.Module):
    """784 - 150 - 100 - (μ, γ), decoder mirrored; noise from the module's own stream."""

    def __init__(self, rngs):
        self.hidden_1, self.hidden_2 = dense(784, 150, rngs), dense(150, 100, rngs)
        self.mu, self.gamma = dense(100, LATENTS, rngs), dense(100, LATENTS, rngs)
        self.hidden_3, self.hidden_4 = dense(LATENTS, 100, rngs), dense(100, 150, rngs)
        self.outputs = dense(150, 784, rngs)
        self.rngs = rngs

    def __call__(self, images):
        h = nnx.selu(self.hidden_2(nnx.selu(self.hidden_1(images))))
        mu, gamma = self.mu(h), self.gamma(h)
        z = mu + jnp.exp(gamma / 2) * jax.random.normal(self.rngs.noise(), mu.shape)
        return self.outputs(nnx.selu(self.hidden_4(nnx.selu(self.hidden_3(z))))), mu, gamma


def loss_of(model, images):
    """Nats per example, mean of the batch."""
    logits, mu, gamma = model(images)
    kl = -0.5 * jnp.sum(1 + gamma - jnp.exp(gamma) - mu**2, axis=-1)
    reconstruction = jnp.sum(optax.sigmoid_binary_cross_entropy(logits, images), axis=-1)
    return jnp.mean(reconstruction + kl)


@nnx.jit
def train_step(model, optimizer, images):
    loss, gradients = nnx.value_and_grad(loss_of)(model, images)
    optimizer.update(model, gradients)
    return loss


def epoch(model, optimizer, train, order):
    """One pass; returns the example-weighted running mean of the loss."""
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    losses = [train_step(model, optimizer, train[rows]) for rows in batches]
    return float(np.dot(jax.device_get(losses), [len(rows) for rows in batches]) / len(order))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args()
    with np.load(args.data) as arrays:
        train = arrays["train"].reshape(-1, 784).astype(np.float32) / 255
    model = VAE(nnx.Rngs(0, noise=1))
    rmsprop = optax.rmsprop(1e-3, decay=0.9, eps=1e-7, eps_in_sqrt=False)
    optimizer = nnx.Optimizer(model, rmsprop, wrt=nnx.Param)
    generator = np.random.default_rng(0)
    for number in range(1, args.epochs + 1):
        start = time.perf_counter()
        loss = epoch(model, optimizer, train, generator.permutation(len(train)))
        seconds = time.perf_counter() - start
        row = {"peer": "flax", "epoch": number, "seconds": seconds}
        print(json.dumps(row | {"examples_per_second": len(train) / seconds, "train_loss": loss}), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    versions = {"flax": flax.__version__, "jax": jax.__version__}
    print(json.dumps({"peer": "flax", "peak_memory_bytes": peak, "versions": versions}))


if __name__ == "__main__":
    main()
