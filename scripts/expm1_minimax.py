#!/usr/bin/env python3
"""The float coefficients of `expm1_reduced` in csrc/cells/numeric.h, and their error.

expm1(r) = r + r^2 q(r) for |r| <= ln(2) / 2, where q, of degree 4, makes the largest relative error
smallest: Lawson's algorithm, least squares whose weights grow where the error is large.
"""

import numpy as np

DEGREE = 4
LIMIT = 1.0001 * np.log(2) / 2  # a rounding beyond where r can lie


def main() -> None:
    r = LIMIT * np.cos(np.linspace(0, np.pi, 4001))
    r = r[np.abs(r) > 1e-3]  # nearer to zero the quotient is rounding, and the error none
    wide = r.astype(np.longdouble)
    target = ((np.expm1(wide) - wide) / wide**2).astype(float)
    relative = (wide**2 / np.abs(np.expm1(wide))).astype(float)
    powers = np.vander(r, DEGREE + 1, increasing=True)

    weight = np.full_like(r, 1 / r.size)
    for _ in range(3000):
        root = np.sqrt(weight) * relative
        coefficients = np.linalg.lstsq(powers * root[:, None], target * root, rcond=None)[0]
        error = np.abs(powers @ coefficients - target) * relative
        weight *= error / error.max() + 1e-6
        weight /= weight.sum()

    rounded = coefficients.astype(np.float32)
    error = np.abs(powers @ rounded.astype(float) - target) * relative
    print(*(f"{c:.10e}f" for c in rounded[::-1]), sep="\n")
    print(f"relative error 2^{np.log2(error.max()):.1f}")


if __name__ == "__main__":
    main()
