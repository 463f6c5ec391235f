"""What a network knows, priced by what it saves: the length of the labels given the inputs.

Three codes of the same labels, each a file that a fresh process decodes from the inputs: prequential (predict, then learn),
two-part (a network, then the labels), and variational (a network as vague as the data leaves it: bits-back).
"""
