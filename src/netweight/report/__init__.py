"""From measured rows to what people read: text tables, plots and one self-contained page.

    numbers.py   how figures are written, in one place
    tables.py    rows as a `Table` of strings, rendered for a terminal
    lines.py     the one-line results of the verbs
    page/        one self-contained HTML page
    plots.py     the same plots as a PNG (extra `report`)

Nothing here measures: `netweight.weights.ladder` and `netweight.weights.survey` do.
"""
