"""Which channels belong together: labels of a traced network's axes, the groups that follow, and their removal.

atoms.py    labels, what ties them, and the groups that are left
roles.py    which axis of which tensor of a layer is what
values.py   what is said of each tensor of a node's value
labels.py   a walk over the graph that labels every value
narrow.py   the same graph and layers without some groups
"""
