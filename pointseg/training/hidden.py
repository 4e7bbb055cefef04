"""A hidden layer on frozen features, fitted by gradient descent at the points: for what a linear head cannot tell."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pointseg.training.closed_form import Linear

UNITS, DROPOUT, INPUT_DROPOUT = 128, 0.5, 0.4
BATCH, RATE, DECAY = 512, 3e-3, 1e-2
MASKS = 1024  # of features left out; drawn beforehand, as to draw one for each point takes longer than the step


@dataclass(frozen=True)
class Hidden:
    """logits = relu(inner(features)) · outer."""

    inner: Linear
    outer: Linear

    def times(self, factor: float) -> "Hidden":
        return Hidden(self.inner, self.outer.times(factor))

    def __call__(self, features: Float[Tensor, "*n f"]) -> Float[Tensor, "*n k"]:
        return self.outer(self.inner(features).relu())


def fit_hidden(
    rows: Float[Tensor, "n r f"],
    labels: Int[Tensor, "n"],
    class_weights: Float[Tensor, "k"],
    seed: int,
) -> Hidden:
    """A layer of UNITS units, by AdamW over one cycle of the learning rate; each step sees BATCH points, each once.

    rows: the features of each point in r ways, one of which a step sees. Their order and the seed decide the result.
    """
    n, ways, features = rows.shape
    flat = rows.flatten(0, 1).float()
    mean, deviation = flat.mean(0), flat.std(0)
    scale = torch.where(deviation > 1e-6 * mean.abs().clamp(min=1e-6), 1 / deviation.clamp(min=1e-12), 0)
    flat = (flat - mean) * scale
    classes = len(class_weights)
    steps = 200 + n // 75
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(seed)
        first, last = nn.Linear(features, UNITS), nn.Linear(UNITS, classes)
        net = nn.Sequential(first, nn.ReLU(), nn.Dropout(DROPOUT), last)
        optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
        masks = (torch.rand(MASKS, features) >= INPUT_DROPOUT) / (1 - INPUT_DROPOUT)
        for _ in range(steps):
            chosen = torch.randint(n, (BATCH,))
            seen = flat[chosen * ways + torch.randint(ways, (BATCH,))]
            seen = seen * masks[torch.randint(MASKS, (BATCH,))]
            loss = F.cross_entropy(net(seen), labels[chosen], weight=class_weights)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    weight = first.weight.detach() * scale
    inner = Linear(weight, first.bias.detach() - weight @ mean)
    return Hidden(inner, Linear(last.weight.detach(), last.bias.detach()))
