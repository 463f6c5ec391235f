"""Every compressor against what it claims and against the limit: bias, error, real bits.

inputs.py       vectors that claims are tried on
statistics.py   intervals and the test of bias
measure.py      one compressor on one kind of vector
suite.py        which compressors, and those of users
"""
