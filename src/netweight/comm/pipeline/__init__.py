"""Activations and their gradients across the boundary of two stages of a model, as compressed bytes.

direction.py  rows to one message and back, with memory: one way across one boundary
link.py       PipelineLink: both ways, inside one process or between two ranks
ranks.py      send and receive as steps of autograd
"""
