"""Repeated pictures, and what they do to a measurement: pictures of val and test that the network knows already."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from datasets.groups import numbered, shared_groups
from lab.auditing.near import Pairs, near_duplicates
from lab.auditing.pictures import Pictures

TOO_LATE = {1: (0,), 2: (0, 1)}  # a picture of val should be new to train; one of test, to train and val


@dataclass(frozen=True)
class Repeats:
    """Repetitions among Pictures: `equal` pairs have the same pixels, `near` ones show the same."""

    pictures: Pictures
    equal: Pairs
    near: Pairs

    @cached_property
    def together(self):
        """Number of the cluster of each picture, `(N,)`: pictures that repeat one another, directly or by others."""
        return _clusters(len(self.pictures), self._links())

    @cached_property
    def families(self):
        """Number of the family of each picture, `(N,)`: its cluster, joined with all of its group."""
        links = self._links()
        if self.pictures.groups is not None:
            _, first, inverse = np.unique(numbered(self.pictures.groups), return_index=True, return_inverse=True)
            links.append((np.arange(len(self.pictures)), first[inverse]))
        return _clusters(len(self.pictures), links)

    def _links(self):
        return [(pairs.first, pairs.second) for pairs in (self.equal, self.near)]

    def count(self, pairs):
        """Return {"train": pairs within train, "train and test": pairs between the two, ...}."""
        names, found = self.pictures.splits, {}
        one, other = self.pictures.split[pairs.first], self.pictures.split[pairs.second]
        for i, name in enumerate(names):
            found[name] = int(((one == i) & (other == i)).sum())
            for j in range(i + 1, len(names)):
                found[f"{name} and {names[j]}"] = int(((one == i) & (other == j)).sum())
        return found

    def is_leaked(self, by_group=True):
        """Return `(N,)`: True for pictures of val and test that repeat one of an earlier split, or are of its group."""
        kinds = self.families if by_group else self.together
        leaked = np.zeros(len(kinds), bool)
        for split, earlier in TOO_LATE.items():
            known = kinds[np.isin(self.pictures.split, earlier)]
            leaked |= (self.pictures.split == split) & np.isin(kinds, known)
        return leaked

    def other_label(self):
        """Return the places in `equal` of pairs of different classes, then those in `near`."""
        labels = self.pictures.labels
        return [np.flatnonzero(labels[pairs.first] != labels[pairs.second]) for pairs in (self.equal, self.near)]

    def shared_groups(self):
        """Return {"train and test": groups in both, ...}; nothing where pictures have no groups."""
        if self.pictures.groups is None:
            return {}
        names, groups = self.pictures.splits, np.array(self.pictures.groups, object)
        own = [groups[self.pictures.split == i].tolist() for i in range(len(names))]
        pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
        return {f"{names[i]} and {names[j]}": shared_groups(own[i], own[j]) for i, j in pairs}


def find_repeats(pictures) -> Repeats:
    """Return the Repeats of Pictures. A pair of equal pixels is in `equal` alone, linked to the first of them."""
    _, first, inverse = np.unique(pictures.identity, return_index=True, return_inverse=True)
    earlier = first[inverse]
    later = np.flatnonzero(earlier != np.arange(len(pictures)))
    equal = Pairs(earlier[later], later, np.ones(len(later), "float32"), np.zeros(len(later), bool))
    # one picture stands for all of its pixels
    found = near_duplicates(pictures.small[first])
    ends = np.sort(np.stack([first[found.first], first[found.second]]), axis=0)
    return Repeats(pictures, equal, Pairs(*ends, likeness=found.likeness, is_mirrored=found.is_mirrored))


def _clusters(count, links):
    first, second = (np.concatenate(ends) for ends in zip(*links, strict=True))
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1]
