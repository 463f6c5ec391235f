"""What a network's symmetries are worth: hidden units may stand in any order, be negated or rescaled.

A declared architecture (architecture.py) says which axes move together; canonical.py picks one network of all that compute
the same; orbit.py codes it on a stack so that the choice costs nothing; weigh.py measures the refund in bytes.
"""
