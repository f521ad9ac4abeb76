"""Kernel: the assignment of images to classes of given sizes of least total cost.

Images come one after another, each by the shortest augmenting path (as in Jonker and Volgenant,
Computing 38 (1987) 325) over the K classes, whose images are alike to it: from class k to class l
it is as far as the image of k that is cheapest to move there. So N images take some N K^2 steps,
and some N^2 / K to look for the next one to move, where a square assignment takes N^3.
"""

from typing import Any

import numpy as np

from medrobust.base.numba_jit import native


@native("void(float64[:,::1], int64[::1], int64[::1])")
def assign_classes(cost: Any, sizes: Any, class_of: Any) -> None:
    """Write the class that each image goes to.

    Args:
        cost: (N, K), finite.
        sizes: (K,), images that each class takes, summing to N.
        class_of: (N,), written.
    """
    count, classes = cost.shape
    ends = np.cumsum(sizes)
    starts = ends - sizes
    filled = np.zeros(classes, np.int64)
    members = np.empty(count, np.int64)  # of class k: from starts[k], filled[k] of them
    place = np.empty(count, np.int64)
    price = np.zeros(classes)
    ways = np.full((classes, classes), np.inf)  # cheapest move from class to class
    mover = np.full((classes, classes), -1)
    reach, before = np.empty(classes), np.empty(classes, np.int64)
    done = np.empty(classes, np.bool_)
    for image in range(count):
        least = np.inf
        for k in range(classes):
            reach[k], before[k], done[k] = cost[image, k] - price[k], -1, sizes[k] == 0
            if sizes[k] and reach[k] < least:
                least = reach[k]
        for k in range(classes):
            reach[k] -= least
        end, length = -1, 0.0
        while end < 0:
            near = -1
            for k in range(classes):
                if not done[k] and (near < 0 or reach[k] < reach[near]):
                    near = k
            done[near], length = True, reach[near]
            if filled[near] < sizes[near]:
                end = near
                break
            for k in range(classes):
                if not done[k]:
                    new = length + max(ways[near, k] + price[near] - price[k], 0.0)
                    if new < reach[k]:
                        reach[k], before[k] = new, near
        for k in range(classes):
            if done[k] and sizes[k]:
                price[k] += reach[k] - length
        target = end
        while True:
            source = before[target]
            moved = image if source < 0 else mover[source, target]
            if source >= 0:
                filled[source] -= 1
                last = members[starts[source] + filled[source]]
                members[place[moved]], place[last] = last, place[moved]
                for k in range(classes):
                    if mover[source, k] == moved:
                        best, who = np.inf, -1
                        for one in members[starts[source] : starts[source] + filled[source]]:
                            apart = cost[one, k] - cost[one, source]
                            if apart < best:
                                best, who = apart, one
                        ways[source, k], mover[source, k] = best, who
            place[moved] = starts[target] + filled[target]
            members[place[moved]] = moved
            filled[target] += 1
            class_of[moved] = target
            for k in range(classes):
                apart = cost[moved, k] - cost[moved, target]
                if k != target and apart < ways[target, k]:
                    ways[target, k], mover[target, k] = apart, moved
            if source < 0:
                break
            target = source
