"""An interpretation of a network as a code: a small program, and what it leaves unexplained.

A finite domain of inputs is known to both sides. The sender says what the network answers on all of it: a program's text,
and corrections where program and network differ. The fewer bits, the better the network is understood; and the program
with no more than the count of corrections proves a bound on the network's accuracy (Gross et al. 2024, "Compact proofs
of model performance via mechanistic interpretability", where length is a verifier's work; here it is bits).
"""
