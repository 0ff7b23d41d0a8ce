"""Numbers from arrays and from mergeable sums: pure functions, float64, named as in the literature.

Nothing here knows models, data sets or thresholds. Everything is defined on zeros, on one row, on equal rows
and on fewer rows than dimensions; a number that has no meaning there is NaN, never a plausible value.
"""
