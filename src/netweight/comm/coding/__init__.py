"""How compressors write what they send: scales, levels, positions, and the random numbers that both sides draw."""
