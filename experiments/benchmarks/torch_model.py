"""The paper's model in torch, as one would write it there: batched, one product a layer and step, autograd's backward.

torch.nn.LSTM cannot do it, as x_t depends on h_{t-1} of the top layer; so LSTM cells run in a loop over time.
"""

import torch
from torch import nn
from torch.nn import functional as F

from experiments.benchmarks.batch import random_batch, repeat
from experiments.benchmarks.settings import Settings


class SoftAttentionLSTM(nn.Module):
    """Eqs. 1 to 6; see `attention_ar.SoftAttentionLSTM` for what it computes."""

    def __init__(self, settings: Settings):
        super().__init__()
        d, D = settings.hidden_dim, settings.input_dim
        self.rate = settings.dropout
        self.M = nn.ModuleList(nn.Linear(d + (d if n else D), 4 * d) for n in range(settings.num_layers))
        self.W = nn.Linear(d, settings.num_cells, bias=False)
        self.f_init = nn.Linear(D, 2 * settings.num_layers * d)
        self.classifier_hidden = nn.Linear(d, d)
        self.classifier_output = nn.Linear(d, settings.num_classes)

    def forward(self, X):
        """Logits `<float>[B, T, C]` and attention `<float>[B, T, K²]` of features `<float>[B, T, K², D]`."""
        first = torch.tanh(self.f_init(X.mean(dim=(1, 2)))).chunk(2 * len(self.M), dim=1)  # Eq. 6
        c, h = list(first[::2]), list(first[1::2])
        tops, attention = [], []
        for t in range(X.shape[1]):
            l = torch.softmax(self.W(h[-1]), dim=1)  # Eq. 4
            x = torch.bmm(l[:, None], X[:, t])[:, 0]  # Eq. 5
            for n, M in enumerate(self.M):
                x = F.dropout(x, self.rate, self.training)
                i, f, o, g = M(torch.cat([h[n], x], dim=1)).chunk(4, dim=1)  # Eq. 1
                c[n] = torch.sigmoid(f) * c[n] + torch.sigmoid(i) * torch.tanh(g)  # Eq. 2
                h[n] = torch.sigmoid(o) * torch.tanh(c[n])  # Eq. 3
                x = h[n]
            tops.append(x)
            attention.append(l)
        top = F.dropout(torch.stack(tops, dim=1), self.rate, self.training)
        hidden = F.dropout(torch.tanh(self.classifier_hidden(top)), self.rate, self.training)
        return self.classifier_output(hidden), torch.stack(attention, dim=1)


def make_train_step(settings: Settings, batch_size: int, dtype: str, compiled: bool, device: str):
    """Returns a function of nothing that does one update with Adam on Eq. 7, λ = 0 and γ = 1e-5.

    Args:
      settings, batch_size: of the model and the batch.
      dtype: "float32", or "bfloat16": the features are in it, and `torch.autocast` chooses what else is.
      compiled: whether by `torch.compile`.
      device: "cpu" or "cuda".
    """
    torch.manual_seed(0)
    model = SoftAttentionLSTM(settings).to(device)
    batch = random_batch(settings, batch_size)
    features = repeat(torch.from_numpy(batch["features"]).to(device, getattr(torch, dtype)), batch_size)
    labels = torch.from_numpy(batch["labels"]).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

    def loss_of(features, labels):
        with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
            logits, _ = model(features)
        cross_entropy = -(labels[:, None] * F.log_softmax(logits.float(), dim=-1)).sum(dim=(1, 2)).mean()
        return cross_entropy + 1e-5 * sum((theta**2).sum() for theta in model.parameters())  # Eq. 7

    if compiled:
        loss_of = torch.compile(loss_of)

    def run():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(features, labels)
        loss.backward()
        optimizer.step()
        return loss.item()  # Which waits for a GPU.

    return run
