"""Sets that grow together (union-find): a forest in an array, every node with its parent, roots with themselves."""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True)
def root_of(parent, node):  # type: ignore[no-untyped-def]
    """Root of a node's tree; paths are halved on the way."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node
