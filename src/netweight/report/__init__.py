"""From measured rows to what people read: text tables, plots and one self-contained page.

    numbers.py   how figures are written, in one place
    tables.py    rows as a `Table` of strings with keys to sort by
    layout.py    a `Table` as plain text
    texts.py     what weigh and inspect print
    lines.py     the one-line results of the other verbs
    story.py     the demo
    files.py     reports written to files
    page/        one self-contained HTML page
    plots.py     the same plots as a PNG (extra `report`)

Nothing here measures: `netweight.weights.ladder` and `netweight.weights.survey` do.
"""
