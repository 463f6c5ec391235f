"""Codes that keep weights within a stated error instead of bit for bit."""
