"""The book's VAE (Hands-On Machine Learning, ch. 17) in PyTorch: the data are one tensor, no DataLoader.

    python torch_vae.py --data FILE.npz --epochs 5 [--compile | --graph] [--device cuda]

Prints one JSON object an epoch, and a last one with the process's peak memory.
"""

import argparse
import json
import resource
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

LATENTS = 10
BATCH = 128


class VAE(nn.Module):
    """784 - 150 - 100 - (μ, γ), decoder mirrored; `forward` is the loss, nats per example, mean of the batch."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, 150), nn.SELU(), nn.Linear(150, 100), nn.SELU())
        self.mu = nn.Linear(100, LATENTS)
        self.gamma = nn.Linear(100, LATENTS)
        self.decoder = nn.Sequential(
            nn.Linear(LATENTS, 100), nn.SELU(), nn.Linear(100, 150), nn.SELU(), nn.Linear(150, 784)
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, images):
        h = self.encoder(images)
        mu, gamma = self.mu(h), self.gamma(h)
        z = mu + torch.exp(gamma / 2) * torch.randn_like(mu)
        kl = -0.5 * torch.sum(1 + gamma - torch.exp(gamma) - mu**2)
        reconstruction = functional.binary_cross_entropy_with_logits(self.decoder(z), images, reduction="sum")
        return (reconstruction + kl) / len(images)


def epoch(loss_of, optimizer, train):
    """One pass in a fresh order; returns the example-weighted running mean of the loss."""
    total = torch.zeros((), device=train.device)
    for rows in torch.randperm(len(train), device=train.device).split(BATCH):
        loss = loss_of(train[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(rows)
    return total.item() / len(train)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="torch.compile the loss and the update")
    parser.add_argument("--graph", action="store_true", help="the same, a CUDA graph for each (mode reduce-overhead)")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    peer = "torch-graph" if args.graph else "torch-compile" if args.compile else "torch-eager"
    with np.load(args.data) as arrays:
        train = torch.from_numpy(arrays["train"]).reshape(-1, 784).to(args.device).float() / 255
    model = VAE().to(args.device)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.9, eps=1e-7)
    loss_of = model
    if args.compile or args.graph:
        mode = "reduce-overhead" if args.graph else None
        loss_of = torch.compile(model, dynamic=False, mode=mode)  # two shapes: the full batch and the last one
        optimizer.step = torch.compile(optimizer.step, mode=mode)
    for number in range(1, args.epochs + 1):
        start = time.perf_counter()
        loss = epoch(loss_of, optimizer, train)
        seconds = time.perf_counter() - start
        row = {"peer": peer, "epoch": number, "seconds": seconds}
        print(json.dumps(row | {"examples_per_second": len(train) / seconds, "train_loss": loss}), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"peer": peer, "peak_memory_bytes": peak, "versions": {"torch": torch.__version__}}))


if __name__ == "__main__":
    main()
