"""Weights that are known only so well: coded at the price of what is known, not of a point.

A posterior N(mean, width^2) a weight under a prior N(0, sigma^2) costs KL(posterior || prior) bits, if the receiver can work
out the posterior and so give back the bits that chose the sample (gaussians.py, joint.py), or if the choice is made from
shared random numbers (relative.py, dither.py). fixed_step.py is the plain code that they are measured against.
"""
