"""Decentralised averaging and training: each node talks to its neighbours alone.

topology.py     who talks to whom, with what weight
channel.py      a node's vector as one checked message
node.py         what an algorithm is: the code of one node, written as rounds of messages
tracking.py     difference coding: what all that hear a node know of it
averaging.py    D-PSGD, CHOCO, DeepSqueeze: mix, with and without memory of what was lost
primal_dual.py  NIDS and LEAD: exact in the limit, whatever each node's data
power.py        PowerGossip: the low-rank part of the difference across each edge; low_rank.py has its kernels
network.py      the rounds driven: every node in one process, counted as if sent
ranks.py        ... or one node a process, over torch.distributed
run.py          Gossip: a topology and an algorithm, run either way
optimizer.py    Gossip around a torch optimizer
"""
