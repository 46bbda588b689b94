"""What a user can choose about the benchmarks; every field is a flag of the same name."""

import dataclasses
from dataclasses import dataclass

from attention_ar.errors import InputError
from experiments.runs.config import RunConfig, as_flags, with_flags
from experiments.runs.flags import option
from experiments.runs.flops import Products
from experiments.runs.models import MODELS


@dataclass(frozen=True)
class Settings:
    """Sizes are the paper's by default."""

    model: str = option("soft_attention", "Whose training step and evaluation.", choices=list(MODELS))
    batch_sizes: str = option("", "Blocks in a batch, by commas; by default 64, and 128,512,2048 on an accelerator.")
    compute_dtypes: str = option("", "float32 or bfloat16, by commas; by default float32, and both on an accelerator.")
    num_steps: int = option(30, "T, the frames of a block.", minimum=1)
    num_cells: int = option(49, "K², the cells of a frame.", minimum=1)
    input_dim: int = option(1024, "D, the channels of the features.", minimum=1)
    hidden_dim: int = option(512, "d, of the LSTM's state.", minimum=1)
    num_layers: int = option(3, "LSTM layers.", minimum=1)
    num_classes: int = option(11, "C.", minimum=1)
    dropout: float = option(0.5, "Dropout rate.", minimum=0, maximum=0.99)
    time_loop: str = option("auto", "The loop over the T steps, as in training.", choices=["auto", "plain", "fast"])
    product_size: int = option(0, "n of the n³ matrix product; by default 2048, and 8192 on an accelerator.", minimum=0)
    torch: bool = option(True, "Whether the contenders in torch run, where it is installed.")
    clips: str = option("", "Folder of clips for the extraction; by default synthetic ones.")
    frame_batch: int = option(32, "Frames per call of the network in the extraction.", minimum=1)
    num_videos: int = option(300, "Videos of random features to load.", minimum=1)
    run: str = option("", "Folder of a trained run with attention, for the gradient variance.")
    rounds: int = option(5, "Rounds: how often every contender runs in turn.", minimum=1)
    seconds: float = option(2.0, "About how long a contender runs in one round.", minimum=0)
    # What the contenders of benchmarks/attention.py set.
    attention: str = "soft"
    num_samples: int = 4
    soft_probability: float = 0.5
    # What `network_flags.given` returns.
    network: str = "googlenet"
    network_options: dict[str, str] = dataclasses.field(default_factory=dict)

    def run_config(self, dtype: str = "float32") -> RunConfig:
        """Returns the configuration of a run of this size, with a compute type."""
        own = {name: value for name, value in vars(self).items() if name in as_flags(RunConfig())}
        return with_flags(RunConfig(), **own, compute_dtype=dtype, dim_out=self.hidden_dim)

    def products(self) -> Products | None:
        """Returns the products of the model, see `experiments.runs.flops`; None where they are not counted."""
        return MODELS[self.model].products(self.run_config(), self)

    def sizes(self, platform: str) -> list[int]:
        """Returns the batch sizes for "cpu", "gpu" or "tpu"."""
        text = self.batch_sizes or ("64" if platform == "cpu" else "128,512,2048")
        if not all(part.isdigit() and int(part) for part in text.split(",")):
            raise InputError(f"batch_sizes={text}: must be numbers of blocks, by commas, such as 128,512")
        return [int(part) for part in text.split(",")]

    def dtypes(self, platform: str) -> list[str]:
        """Returns the names of the compute types for "cpu", "gpu" or "tpu"."""
        names = (self.compute_dtypes or ("float32" if platform == "cpu" else "float32,bfloat16")).split(",")
        for name in names:
            if name not in ("float32", "bfloat16"):
                raise InputError(f"compute_dtypes={name}: must be float32 or bfloat16, or both by a comma")
        return names
