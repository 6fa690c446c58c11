"""How memocache talks to a cluster: slots, nodes, and plans that carry an operation to the nodes it concerns."""
