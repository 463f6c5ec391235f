"""Codes that see structure: what a list of weights hides, priced in the same bytes as the plain code.

    block.py      a block as structure + residual, and back; the plain code beside it
    model.py      the matrix that is looked at, the tolerance, and what a detector returns
    numbers.py    arrays of numbers at a step; message.py: a few of them, without overhead; cores.py: or losslessly
    one_of.py     the cheapest by real bytes
    explain.py    every tensor of a file, told in plain words

One file for each code; kinds.py lists them. A code is a module of three things:

    NAME                                what people call it
    detect(matrix, tolerance)           Found, or None where it sees nothing or it can't pay; cheap
    restore(source, layout)             float32 [rows, columns] of the parameters that Found.code wrote

A structure pays for its parameters and for the residual at the tolerance, so it can't cheat.
"""
