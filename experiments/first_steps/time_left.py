"""The time that is left of a job of several steps: guessed at first, and corrected by the steps that are done."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One step of a job.

    Attributes:
      name: what is done, for the user.
      kind: steps of one kind take times in proportion to their guesses.
      seconds: the guess.
    """

    name: str
    kind: str
    seconds: float


class TimeLeft:
    """Tells at the beginning of each step how much time is left.

    Args:
      steps: in the order in which they are done.
      say: prints a line.
      clock: returns seconds.
    """

    def __init__(self, steps: list[Step], say: Callable[[str], None], clock: Callable[[], float] = time.monotonic):
        self._steps, self._say, self._clock = steps, say, clock
        self._number, self._begun = -1, 0.0
        self._factor: dict[str, float] = {}

    def begin(self) -> Step:
        """Ends the step before, begins the next one, and prints its name and the time that is left."""
        self._end()
        self._number += 1
        self._begun = self._clock()
        step = self._steps[self._number]
        self._say(f"[{self._number + 1}/{len(self._steps)}] {step.name}; about {in_words(self.seconds())} left")
        return step

    def seconds(self) -> float:
        """Returns the seconds that the current step and all later ones take."""
        return sum(self._factor.get(step.kind, 1.0) * step.seconds for step in self._steps[max(self._number, 0) :])

    def _end(self):
        if self._number < 0:
            return
        step, taken = self._steps[self._number], self._clock() - self._begun
        if taken > 0.1 * step.seconds:  # Otherwise an earlier call had done it.
            self._factor[step.kind] = taken / step.seconds


def in_words(seconds: float) -> str:
    """Returns for example "40 seconds", "3 minutes", "1.5 hours"."""
    if seconds < 90:
        return f"{max(round(seconds, -1), 10):.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
