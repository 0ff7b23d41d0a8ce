"""How far the rows reach around their mean, relative to the mean itself."""

from __future__ import annotations

import math

import numpy as np

from collapsecheck.statistics.moments import Moments

# Machine epsilon by the name of the dtype in which the model computed.
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


def relative_spread(rows: Moments) -> float:
    """√(T / (T + ‖mean‖²)), in [0, 1]: root-mean-square deviation over root-mean-square length.

    1 for rows centred at the origin, 0 for equal rows (and for zero rows: 0/0 is defined as 0). Scale-free.
    Take it on raw *and* on unit rows: a spread of the norms alone hides collapsed directions from the raw
    value. On unit rows it is about √(1 − mean cosine).
    """
    if rows.n < 2:
        return float("nan")
    variance, offset = rows.total_variance, float(rows.mean @ rows.mean)
    return math.sqrt(variance / (variance + offset)) if variance + offset > 0 else 0.0


def std_ratio(unit: Moments) -> float:
    """√D × mean over dimensions of the standard deviation of unit rows, in [0, √(n/(n−1))]; isotropic 1.

    The collapse level of SimSiam (Chen & He 2021, 2011.10566), with unbiased deviations.
    """
    if unit.n < 2:
        return float("nan")
    return math.sqrt(len(unit.pivot)) * float(np.sqrt(unit.variances).mean())


def evenness(unit: Moments) -> float:
    """Mean over root-mean-square of the per-dimension deviations, in [1/√D, 1]; all dimensions alike give 1.

    A share p of equally live dimensions gives √p. NaN for equal rows.
    """
    if unit.n < 2:
        return float("nan")
    variances = unit.variances
    rms = math.sqrt(float(variances.mean()))
    return float(np.sqrt(variances).mean()) / rms if rms > 0 else float("nan")


def rounding_floor(dtype: str) -> float:
    """Relative spread that rounding alone gives to a constant vector in this dtype.

    A value rounds with an error uniform in ±eps/2 of its binade; averaged over a binade the relative
    deviation is about 0.72·eps/√12. Values that dither by one eps show up to three times as much.
    """
    return 0.72 * EPSILON[dtype] / math.sqrt(12)
