"""The peer for tiny Shakespeare: nanoGPT's documented CPU recipe, reimplemented in PyTorch.

A GPT with 4 layers, 4 heads and 128 channels on blocks of 64 characters, batch 12, 2,000 steps of
AdamW: rate 1e-3 after 100 warm-up steps, cosine decay to a tenth, betas 0.9 and 0.99, weight decay
0.1 for matrices, clip 1, no dropout and no biases.
"""

import math
import time
from multiprocessing.connection import Connection

import numpy as np

from worker.ml.vocabulary import Ids

LAYERS, HEADS, CHANNELS, BLOCK, BATCH = 4, 4, 128, 64, 12
STEPS = 2000
RATE, WARM_UP, FINAL_SHARE, DECAY = 1e-3, 100, 0.1, 0.1
SEED = 1


def run(pipe: Connection, train: Ids, tail: Ids, vocabulary_size: int, steps: int) -> None:
    """Train for `steps` of the 2,000; send the seconds and the loss of the tail in nats."""
    import torch
    from torch import nn

    class Block(nn.Module):  # type: ignore[misc]  # PyTorch may not be installed
        def __init__(self) -> None:
            super().__init__()
            self.before = nn.LayerNorm(CHANNELS, bias=False)
            self.attention = nn.Linear(CHANNELS, 3 * CHANNELS, bias=False)
            self.mix = nn.Linear(CHANNELS, CHANNELS, bias=False)
            self.between = nn.LayerNorm(CHANNELS, bias=False)
            self.widen = nn.Linear(CHANNELS, 4 * CHANNELS, bias=False)
            self.narrow = nn.Linear(4 * CHANNELS, CHANNELS, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            parts = self.attention(self.before(x)).chunk(3, dim=-1)
            q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in parts)
            attended = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.mix(attended.transpose(1, 2).flatten(2))
            return x + self.narrow(nn.functional.gelu(self.widen(self.between(x))))

    class Network(nn.Module):  # type: ignore[misc]  # PyTorch may not be installed
        def __init__(self) -> None:
            super().__init__()
            self.characters = nn.Embedding(vocabulary_size, CHANNELS)
            self.places = nn.Embedding(BLOCK, CHANNELS)
            self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
            self.after = nn.LayerNorm(CHANNELS, bias=False)
            self.head = nn.Linear(CHANNELS, vocabulary_size, bias=False)
            self.head.weight = self.characters.weight
            for name, weight in self.named_parameters():
                if weight.ndim > 1:
                    deep = name.endswith(("mix.weight", "narrow.weight"))
                    nn.init.normal_(weight, std=0.02 / math.sqrt(2 * LAYERS) if deep else 0.02)

        def forward(self, windows: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
            x = self.characters(windows[:, :-1]) + self.places.weight
            scores = self.head(self.after(self.blocks(x)))
            return nn.functional.cross_entropy(
                scores.flatten(0, 1), windows[:, 1:].flatten(), reduction=reduction
            )

    torch.manual_seed(SEED)
    text, validation = (torch.from_numpy(ids.astype(np.int64)) for ids in (train, tail))
    network, places = Network(), torch.arange(BLOCK + 1)
    groups = [
        {"params": [w for w in network.parameters() if w.ndim > 1], "weight_decay": DECAY},
        {"params": [w for w in network.parameters() if w.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99))
    started = time.perf_counter()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        loss = network(text[torch.randint(len(text) - BLOCK, (BATCH, 1)) + places])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    seconds = time.perf_counter() - started
    with torch.no_grad():
        windows = validation[torch.arange(0, len(validation) - BLOCK, BLOCK)[:, None] + places]
        total = sum(float(network(part, "sum")) for part in windows.split(BATCH))
    pipe.send((seconds, total / (len(windows) * BLOCK)))


def learning_rate(step: int) -> float:
    """Return the learning rate of a step, counted from 0."""
    if step < WARM_UP:
        return RATE * (step + 1) / (WARM_UP + 1)
    cosine = 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / (STEPS - WARM_UP)))
    return RATE * (FINAL_SHARE + (1 - FINAL_SHARE) * cosine)
