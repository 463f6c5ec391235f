"""Checkpoints: find their tensors, code them, keep them in one archive."""
