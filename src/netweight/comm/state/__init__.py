"""What a sender and a receiver remember so that nothing lost by compression is lost for good.

base.py        what all states share: a policy, memories by name, steps that happen as a whole, checkpoints
memoryless.py  no memory: for unbiased compressors
feedback.py    error feedback
difference.py  EF21, differences with a rate (DIANA), and one memory an example (AQ-SGD)
"""
