"""Training under compressed gradients, measured: real processes, bytes on the wire, accuracy, time.

data.py     handwritten digits
methods.py  what is compared
tally.py    bytes, counted at torch.distributed's collectives whoever calls them
worker.py   what each rank does
launch.py   start the ranks, or be one that torchrun started
"""
