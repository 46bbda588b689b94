"""The matrix products that the paper's model cannot do without, counted from its equations.

A product of an [m, k] by a [k, n] matrix is 2·m·k·n operations. Per block and step, forward:

    Eq. 1   2·(d + D)·4d for layer 1 and 2·(d + d)·4d for each layer above
    Eq. 4   2·d·K²
    Eq. 5   2·K²·D                      the expectation: a product of [1, K²] by [K², D]
    ŷ_t     2·d·d + 2·d·C
    Eq. 6   2·2·D·d for each layer      once a block, not once a step

Backward, every product has two more: one for the gradient of its weights and one for that of its input. Where the input
is data, as in Eqs. 5 and 6, there is only one. Nothing else counts: no pointwise operation, no mask, no optimiser.
"""

from experiments.benchmarks.settings import Settings


def _forward(s: Settings) -> tuple[int, int]:
    """Operations of one block's forward pass: those on weights and states, and those on data (Eqs. 5 and 6)."""
    d, D = s.hidden_dim, s.input_dim
    gates = 2 * (d + D) * 4 * d + (s.num_layers - 1) * 2 * (d + d) * 4 * d
    classifier = 2 * d * d + 2 * d * s.num_classes
    on_states = s.num_steps * (gates + 2 * d * s.num_cells + classifier)
    on_data = s.num_steps * 2 * s.num_cells * D + s.num_layers * 2 * 2 * D * d
    return on_states, on_data


def forward(settings: Settings) -> int:
    """Returns the operations of one block's forward pass."""
    return sum(_forward(settings))


def training(settings: Settings) -> int:
    """Returns the operations of one block's forward and backward pass."""
    on_states, on_data = _forward(settings)
    return 3 * on_states + 2 * on_data


def released_training(s: Settings) -> int:
    """Returns the same for the released model with its default options: one layer, and every cell projected.

    Per block and step, forward: A(X) 2·K²·D·D, which is on data; W_d h 2·d·D; U on every cell 2·K²·D; the expectation
    2·K²·D, on data; the gates 2·(d + D)·4d; the classifier 2·d·d + 2·d·C. The first state once a block: 2·2·D·d.
    """
    d, D, K2 = s.hidden_dim, s.input_dim, s.num_cells
    on_states = 2 * d * D + 2 * K2 * D + 2 * (d + D) * 4 * d + 2 * d * d + 2 * d * s.num_classes
    on_data = 2 * K2 * D * D + 2 * K2 * D
    return s.num_steps * (3 * on_states + 2 * on_data) + 2 * 2 * 2 * D * d


def pooled_training(s: Settings) -> int:
    """Returns the same for the pooled baselines: the paper's model without Eqs. 4 and 5."""
    attention = 2 * s.hidden_dim * s.num_cells * 3 + 2 * s.num_cells * s.input_dim * 2
    return training(s) - s.num_steps * attention


def regression_training(s: Settings) -> int:
    """Returns the same for softmax regression, whose one product 2·K²·D·C is on data."""
    return s.num_steps * 2 * (2 * s.num_cells * s.input_dim * s.num_classes)
