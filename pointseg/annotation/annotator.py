"""Where the points of a run come from: the one protocol that every kind of annotation follows.

drawn      from the masks, by a sampler (`drawn.Drawn`)
given      by a person, in files of points (`given.Given`)
kept       from a run's folder of points (`kept.Kept`)
suggested  by the network of an earlier run, and labelled by the masks (`suggestions.annotator.Suggested`)
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from pointseg.types import Dataset, Points, Scene


@runtime_checkable
class Annotator(Protocol):
    """Labels points in the scenes of a dataset."""

    def annotate(self, dataset: Dataset, scenes: Sequence[Scene]) -> Iterable[Points]:
        """The points of these training and validation scenes of the dataset, one after the other."""
        ...
