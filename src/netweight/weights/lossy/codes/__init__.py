"""Other people's ways of quantising, each as a code at a stated error.

    rtn.py        round to nearest with a scale a row or a group
    uniform.py    one step for all, entropy coded
    kmeans.py     scalar codebooks: k-means, and entropy-constrained; indices by our coder, as PNG, gzip, xz, ...
    product.py    sub-vectors of 2, 4 or 8 weights as one of many centroids
    residual.py   stages, each of which quantises what the one before left over
    pruned.py     small weights to zero, positions coded, the others quantised

and what they share: indices.py (symbols to bytes by a coder of choice), books.py (codebooks on the wire), cells.py and
levels.py (scalar codebooks designed exactly), vectors.py (k-means of vectors).
"""
