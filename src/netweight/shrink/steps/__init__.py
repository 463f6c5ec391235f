"""The steps: each makes a network smaller in one way, behind the protocol of protocol.py."""
