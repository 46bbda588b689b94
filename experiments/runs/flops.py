"""The matrix products that a model cannot do without, counted from its equations.

A product of an [m, k] by a [k, n] matrix is 2·m·k·n operations. Per block and step, forward, of the paper's model:

    Eq. 1   2·(d + D)·4d for layer 1 and 2·(d + d)·4d for each layer above
    Eq. 4   2·d·K²
    Eq. 5   2·K²·D                      the expectation: a product of [1, K²] by [K², D]
    ŷ_t     2·d·d + 2·d·C
    Eq. 6   2·2·D·d for each layer      once a block, not once a step

Backward, every product has two more: one for the gradient of its weights and one for that of its input. Where the input
is data, as in Eqs. 5 and 6, there is only one. Nothing else counts: no pointwise operation, no mask, no optimiser.

Each function takes a `RunConfig` and the shapes of its features, anything that has `num_cells` K², `input_dim` D and
`num_classes` C. It returns None for options whose products it does not count.
"""

from dataclasses import dataclass, replace

import jax
from jax.extend.core import jaxprs_in_params


@dataclass(frozen=True)
class Products:
    """Operations of the forward pass of one block.

    Attributes:
      on_states: in products whose input has a gradient.
      on_data: in products whose input has none.
    """

    on_states: int
    on_data: int

    @property
    def forward(self) -> int:
        """Operations of one block's forward pass."""
        return self.on_states + self.on_data

    @property
    def training(self) -> int:
        """Operations of one block's forward and backward pass."""
        return 3 * self.on_states + 2 * self.on_data


def pooled(config, shapes) -> Products | None:
    """Counts a pooled baseline: the paper's model without Eqs. 4 and 5."""
    if config.model.init_layers > 1:
        return None
    d, D, layers, steps = config.model.hidden_dim, shapes.input_dim, config.model.num_layers, config.data.num_steps
    gates = 2 * (d + D) * 4 * d + (layers - 1) * 2 * (d + d) * 4 * d
    classifier = 2 * d * d + 2 * d * shapes.num_classes
    return Products(steps * (gates + classifier), layers * 2 * 2 * D * d)


def soft_attention(config, shapes) -> Products | None:
    """Counts the paper's model with soft attention."""
    if config.attention.attention != "soft":
        return None
    rest, per_frame = pooled(config, shapes), config.data.num_steps * 2 * shapes.num_cells
    return rest and Products(
        rest.on_states + per_frame * config.model.hidden_dim, rest.on_data + per_frame * shapes.input_dim
    )


def regression(config, shapes) -> Products:
    """Counts softmax regression, whose one product 2·K²·D·C is on data."""
    return Products(0, config.data.num_steps * 2 * shapes.num_cells * shapes.input_dim * shapes.num_classes)


def released(config, shapes) -> Products | None:
    """Counts the released model with its default options and dim_out = d: one layer, and every cell projected.

    Per block and step, forward: A(X) 2·K²·D·D, which is on data; W_d h 2·d·D; U on every cell 2·K²·D; the expectation
    2·K²·D, on data; the gates 2·(d + D)·4d; the classifier 2·d·d + 2·d·C. The first state once a block: 2·2·D·d.
    """
    options, d = config.released, config.model.hidden_dim
    same = {"temperature_inverse": options.temperature_inverse, "last_n": options.last_n}  # These change no product.
    if config.attention.attention != "soft":
        return None
    if config.model.init_layers > 1 or options != replace(type(options)(), dim_out=d, **same):
        return None
    D, K2, steps = shapes.input_dim, shapes.num_cells, config.data.num_steps
    on_states = 2 * d * D + 2 * K2 * D + 2 * (d + D) * 4 * d + 2 * d * d + 2 * d * shapes.num_classes
    return Products(steps * on_states, steps * (2 * K2 * D * D + 2 * K2 * D) + 2 * 2 * D * d)


def convolutions(function, *arguments) -> int:
    """Counts the operations of a function's convolutions, from its trace; nothing is computed.

    Args:
      function: of arrays, in JAX.
      arguments: arrays, or their shapes as `jax.ShapeDtypeStruct`.
    """

    def count(jaxpr) -> int:
        total = 0
        for equation in jaxpr.eqns:
            if equation.primitive.name == "conv_general_dilated":
                kernel, (out,) = equation.invars[1].aval, equation.outvars
                num_out = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
                total += 2 * out.aval.size * kernel.size // num_out
            total += sum(count(inner) for inner in jaxprs_in_params(equation.params))
        return total

    return count(jax.make_jaxpr(function)(*arguments).jaxpr)
