"""Compressors of vectors, one family a file."""
