"""Compressed averages between the ranks of torch.distributed. Needs the extra `torch`.

wire.py       what was put on the wire, counted where it is handed to a collective
exchange.py   collectives of messages: all to all ranks, each to one rank, sums
session.py    what a state needs of torch: names, ranks, the handshake
bundle.py     one rank's message of one bucket
averaging.py  the mean over ranks of what their messages say
lane.py       communication beside backward
ddp.py        the hook of DistributedDataParallel
summing.py    means of what may be summed
powersgd.py   PowerSGD: sums of linear sketches
parts.py      means whose parts are made by one rank each
fsdp.py       the reduce-scatter of FSDP2
"""
