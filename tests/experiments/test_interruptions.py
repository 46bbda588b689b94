"""What a run loses when it is broken off: nothing but the work since the last save."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from attention_ar import checkpoints as checkpoints_module
from attention_ar.errors import InputError
from attention_ar.checkpoints import Checkpoints, last_whole
from experiments import trained
from experiments.config import read_config
from experiments.epoch import Position
from experiments.run_log import read_metrics
from experiments.saving import Saving, Stopped
from experiments.training import train
from tests_common import tiny_config
