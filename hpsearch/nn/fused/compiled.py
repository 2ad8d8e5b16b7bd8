"""The compiled loops of the fused kernels.

All of them stand in this one file: numba asks only a function's own file whether the code in its
cache still holds, not the files of what it calls.

Every kernel walks member by member and treats a member by itself, in an order that its own shape
decides: its bits are those it would have alone. Without fastmath no sum is rearranged, and
not-a-number stays what it is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba.extending import overload

if TYPE_CHECKING:
    from collections.abc import Callable

# Numbers of a member that are penalised, updated and decayed before the next ones: they stay in
# the first-level cache meanwhile, so that memory is passed once.
_BLOCK = 1024


def _kernel(function: Callable[..., Any]) -> Any:
    """Compile on first use, and keep the code on the disk where a folder can be written."""
    try:
        return numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # there is no such folder
        return numba.njit(error_model="numpy")(function)


# Parts of kernels, compiled into those that call them.
_part = numba.njit(error_model="numpy")


# ------------------------------------------------------------------------ exponentials

# e^x = 2^n e^r with n whole and |r| <= ln(2) / 2. Adding 1.5 x 2^23 (2^52 for float64) rounds to a
# whole number, which then stands in the last bits of the sum. ln 2 comes in two parts, the first
# with few enough bits that n times it is exact (as in Cephes). e^r is its Taylor series up to the
# term that no longer counts. A loop over these is vectorised, one over math.exp is not: 0.4
# against 2.3 ns a number in float32.
_ROUND32, _ROUND64 = np.float32(1.5 * 2**23), 1.5 * 2**52
_BITS32, _BITS64 = int(_ROUND32.view(np.int32)), int(np.float64(_ROUND64).view(np.int64))
_PER_LN2_32, _PER_LN2_64 = np.float32(1 / math.log(2)), 1 / math.log(2)
_HIGH32, _HIGH64 = np.float32(0.693359375), 6.93145751953125e-1
_LOW32, _LOW64 = np.float32(-2.12194440e-4), 1.42860682030941723212e-6
_TAYLOR32 = tuple(np.float32(1 / math.factorial(n)) for n in range(7, 0, -1))
_TAYLOR64 = tuple(1 / math.factorial(n) for n in range(13, 0, -1))
# The least x whose 2^n is a normal number; below, e^x counts as 0: kept at its least it would make
# denormal gradients, which processors are slow at. No x above 87 comes from any function here.
_LEAST32, _LEAST64 = np.float32(-87), -708.0


def _exponential32(x: Any) -> Any:
    bounded = max(x, _LEAST32)
    rounded = np.float32(bounded * _PER_LN2_32 + _ROUND32)
    n = rounded - _ROUND32
    r = (bounded - n * _HIGH32) - n * _LOW32
    series = _TAYLOR32[0]
    for term in range(1, 7):
        series = series * r + _TAYLOR32[term]
    scale = np.int32((rounded.view(np.int32) - _BITS32 + 127) << 23).view(np.float32)
    return np.float32(0) if x < _LEAST32 else scale, series * r


def _exponential64(x: Any) -> Any:
    bounded = max(x, _LEAST64)
    rounded = np.float64(bounded * _PER_LN2_64 + _ROUND64)
    n = rounded - _ROUND64
    r = (bounded - n * _HIGH64) - n * _LOW64
    series = _TAYLOR64[0]
    for term in range(1, 13):
        series = series * r + _TAYLOR64[term]
    scale = np.int64((rounded.view(np.int64) - _BITS64 + 1023) << 52).view(np.float64)
    return 0.0 if x < _LEAST64 else scale, series * r


def _exponential(x: Any) -> Any:
    """(s, p) with e^x = s (1 + p), in the precision of x."""
    raise NotImplementedError  # compiled code only


@overload(_exponential)
def _of_precision(x: Any) -> Any:
    return _exponential32 if x == numba.float32 else _exponential64


@_part
def _exp(values: Any) -> None:
    """Replace values (n,) by e^values."""
    for i in range(values.size):
        scale, p = _exponential(values[i])
        values[i] = scale + scale * p


# ------------------------------------------------------------------------- activations


@_part
def _add_biases(values: Any, parameters: Any, start: int) -> None:
    """Add biases, which stand in parameters (P,) from `start`, to values (rows, width)."""
    rows, width = values.shape
    if start < 0:
        return
    biases = parameters[start : start + width]
    # Four rows at a time: short rows are over before a loop has paid for its start.
    whole = rows - rows % 4
    for r in range(0, whole, 4):
        a, b, c, d = values[r], values[r + 1], values[r + 2], values[r + 3]
        for i in range(width):
            a[i] += biases[i]
            b[i] += biases[i]
            c[i] += biases[i]
            d[i] += biases[i]
    for r in range(whole, rows):
        for i in range(width):
            values[r, i] += biases[i]


@_part
def _add_up(gradients: Any, sums: Any, start: int) -> None:
    """Write the sums over gradients' rows (rows, width) to sums (P,), from `start`."""
    rows, width = gradients.shape
    if start < 0:
        return
    total = sums[start : start + width]
    total[:] = 0
    whole = rows - rows % 4
    for r in range(0, whole, 4):
        a, b, c, d = gradients[r], gradients[r + 1], gradients[r + 2], gradients[r + 3]
        for i in range(width):
            total[i] += (a[i] + b[i]) + (c[i] + d[i])
    for r in range(whole, rows):
        for i in range(width):
            total[i] += gradients[r, i]


@_kernel
def biases_forward(values: Any, parameters: Any, start: int) -> None:
    """Add biases to values (members, rows, width), in place; they stand from `start`."""
    for k in range(len(values)):
        _add_biases(values[k], parameters[k], start)


@_kernel
def biases_backward(outputs: Any, gradients: Any, sums: Any, start: int) -> None:  # noqa: ARG001
    """Write the biases' gradients."""
    for k in range(len(gradients)):
        _add_up(gradients[k], sums[k], start)


@_kernel
def relu_forward(values: Any, parameters: Any, start: int) -> None:
    """Add biases, then max(z, 0)."""
    zero = values.dtype.type(0)
    for k in range(len(values)):
        _add_biases(values[k], parameters[k], start)
        z = values[k].reshape(-1)
        for i in range(z.size):
            z[i] = max(z[i], zero)


@_kernel
def relu_backward(outputs: Any, gradients: Any, sums: Any, start: int) -> None:
    """Let gradients through where the output is positive, and add them up for the biases."""
    zero, one = gradients.dtype.type(0), gradients.dtype.type(1)
    for k in range(len(gradients)):
        y, g = outputs[k].reshape(-1), gradients[k].reshape(-1)
        for i in range(g.size):
            g[i] *= one if y[i] > zero else zero
        _add_up(gradients[k], sums[k], start)


@_kernel
def leaky_relu_forward(values: Any, parameters: Any, start: int) -> None:
    """Add biases, then z where z > 0, else 0.01 z."""
    zero, slope = values.dtype.type(0), values.dtype.type(0.01)
    for k in range(len(values)):
        _add_biases(values[k], parameters[k], start)
        z = values[k].reshape(-1)
        for i in range(z.size):
            z[i] = z[i] * slope if z[i] < zero else z[i]


@_kernel
def leaky_relu_backward(outputs: Any, gradients: Any, sums: Any, start: int) -> None:
    """Multiply gradients by 1 where the output is positive, else by 0.01; add them up."""
    zero, one = gradients.dtype.type(0), gradients.dtype.type(1)
    slope = gradients.dtype.type(0.01)
    for k in range(len(gradients)):
        y, g = outputs[k].reshape(-1), gradients[k].reshape(-1)
        for i in range(g.size):
            g[i] *= slope if y[i] <= zero else one
        _add_up(gradients[k], sums[k], start)


@_kernel
def sigmoid_forward(values: Any, parameters: Any, start: int) -> None:
    """Add biases, then 1 / (1 + e^-z), z being taken as at least -87."""
    one, lowest = values.dtype.type(1), values.dtype.type(-87)
    for k in range(len(values)):
        _add_biases(values[k], parameters[k], start)
        z = values[k].reshape(-1)
        for i in range(z.size):
            scale, p = _exponential(-(max(z[i], lowest)))
            z[i] = one / (one + (scale + scale * p))


@_kernel
def sigmoid_backward(outputs: Any, gradients: Any, sums: Any, start: int) -> None:
    """Multiply gradients by y (1 - y), and add them up."""
    one = gradients.dtype.type(1)
    for k in range(len(gradients)):
        y, g = outputs[k].reshape(-1), gradients[k].reshape(-1)
        for i in range(g.size):
            g[i] *= y[i] * (one - y[i])
        _add_up(gradients[k], sums[k], start)


@_kernel
def tanh_forward(values: Any, parameters: Any, start: int) -> None:
    """Add biases, then tanh(z) = d / (d + 2) with d = e^(2 |z|) - 1 and the sign of z.

    d = s p + (s - 1) keeps its digits where z is small. tanh(20) is 1 in float64 too.
    """
    one, two, most = values.dtype.type(1), values.dtype.type(2), values.dtype.type(20)
    for k in range(len(values)):
        _add_biases(values[k], parameters[k], start)
        z = values[k].reshape(-1)
        for i in range(z.size):
            size = abs(z[i])
            scale, p = _exponential(two * (min(size, most)))
            d = scale * p + (scale - one)
            z[i] = math.copysign(d / (d + two), z[i])


@_kernel
def tanh_backward(outputs: Any, gradients: Any, sums: Any, start: int) -> None:
    """Multiply gradients by 1 - y^2, and add them up."""
    one = gradients.dtype.type(1)
    for k in range(len(gradients)):
        y, g = outputs[k].reshape(-1), gradients[k].reshape(-1)
        for i in range(g.size):
            g[i] *= one - y[i] * y[i]
        _add_up(gradients[k], sums[k], start)


# ------------------------------------------------------------------------------ losses


@_part
def _largest(z: Any) -> int:
    """Place of the largest number of a row, the first of equals; of the first not-a-number."""
    place = 0
    for j in range(z.size):
        if z[j] != z[j]:
            return j
        if z[j] > z[place]:
            place = j
    return place


@_kernel
def softmax_forward(
    logits: Any, targets: Any, predictions: Any, totals: Any, shifted: Any, sums: Any, start: int
) -> None:
    """Turn logits (members, rows, classes) into e^(z - max z), and note what the losses need.

    predictions, totals (members, rows) receive the largest logit's class and the sum of the row;
    shifted and sums (members, most rows), from column `start`, z_t - max z and the sum again.
    """
    members, rows, classes = logits.shape
    for k in range(members):
        z = logits[k]
        for r in range(rows):
            predictions[k, r] = _largest(z[r])
            largest = z[r, predictions[k, r]]
            for j in range(classes):
                z[r, j] -= largest
            shifted[k, start + r] = z[r, targets[k, r]]
        _exp(z.reshape(-1))
        for r in range(rows):
            total = z[r, 0]
            for j in range(1, classes):
                total += z[r, j]
            totals[k, r] = sums[k, start + r] = total


@_kernel
def softmax_backward(logits: Any, targets: Any, totals: Any) -> None:
    """Turn what the forward pass left into (softmax(z) - onehot(t)) / rows, in place."""
    members, rows, classes = logits.shape
    one = logits.dtype.type(1)
    share = one / logits.dtype.type(rows)
    for k in range(members):
        for r in range(rows):
            factor = share / totals[k, r]
            for j in range(classes):
                logits[k, r, j] *= factor
            logits[k, r, targets[k, r]] -= share


@_kernel
def sigmoid_loss_forward(
    logits: Any, targets: Any, predictions: Any, totals: Any, shifted: Any, sums: Any, start: int
) -> None:
    """Turn logits (members, rows, 1) into e^-|z|, and note what the losses need.

    As `softmax_forward`, with t z - max(z, 0) and 1 + e^-|z|.
    """
    members, rows, _ = logits.shape
    zero, one = logits.dtype.type(0), logits.dtype.type(1)
    for k in range(members):
        z = logits[k].reshape(-1)
        for r in range(rows):
            predictions[k, r] = z[r] > zero
            positive = max(z[r], zero)
            # A product, not a choice: 0 times an infinite z is not a number, as in NumPy's text.
            shifted[k, start + r] = (one if targets[k, r] else zero) * z[r] - positive
            z[r] = -abs(z[r])
        _exp(z)
        for r in range(rows):
            totals[k, r] = sums[k, start + r] = one + z[r]


@_kernel
def sigmoid_loss_backward(logits: Any, targets: Any, predictions: Any, totals: Any) -> None:
    """Turn what the forward pass left into (sigmoid(z) - t) / rows, in place."""
    members, rows, _ = logits.shape
    zero, one = logits.dtype.type(0), logits.dtype.type(1)
    share = one / logits.dtype.type(rows)
    for k in range(members):
        z = logits[k].reshape(-1)
        for r in range(rows):
            probability = (one if predictions[k, r] else z[r]) / totals[k, r]
            z[r] = (probability - (one if targets[k, r] else zero)) * share


# ------------------------------------------------------------------------ update rules


@_part
def _of(column: Any, k: int) -> Any:
    """Member k's number in a column (members, 1), or (1, 1) where all share it."""
    return column[min(k, len(column) - 1), 0]


@_part
def _penalize(w: Any, g: Any, weights: int, l2: Any, l1: Any) -> None:
    """Add the gradients of l2 and l1 to g, for the first `weights` numbers alone."""
    count = min(weights, w.size)
    if l2 != 0:
        for i in range(count):
            g[i] += l2 * w[i]
    if l1 != 0:
        zero = w.dtype.type(0)
        for i in range(count):
            g[i] += l1 if w[i] > zero else (-l1 if w[i] < zero else w[i])


@_part
def _apply(w: Any, u: Any, weights: int, shrink: Any) -> None:
    """W <- W - (u + shrink W) for the first `weights` numbers, W <- W - u for the others.

    W is rounded once for both: W - shrink W alone is W again where shrink is below 3e-8 in float32.
    """
    if shrink != 0:
        for i in range(min(weights, w.size)):
            u[i] += shrink * w[i]
    for i in range(w.size):
        w[i] -= u[i]


@_kernel
def sgd(
    parameters: Any, gradients: Any, weights: int, l2: Any, l1: Any, shrink: Any, rates: Any
) -> None:
    """W <- W - lr g."""
    for k in range(len(parameters)):
        rate = _of(rates, k)
        for start in range(0, parameters.shape[1], _BLOCK):
            w, g = parameters[k, start : start + _BLOCK], gradients[k, start : start + _BLOCK]
            _penalize(w, g, weights - start, _of(l2, k), _of(l1, k))
            for i in range(w.size):
                g[i] = rate * g[i]
            _apply(w, g, weights - start, _of(shrink, k))


@_kernel
def momentum(
    parameters: Any,
    gradients: Any,
    velocity: Any,
    weights: int,
    l2: Any,
    l1: Any,
    shrink: Any,
    rates: Any,
    momenta: Any,
) -> None:
    """W <- W + v with v <- a v - lr g."""
    for k in range(len(parameters)):
        rate, a = _of(rates, k), _of(momenta, k)
        for start in range(0, parameters.shape[1], _BLOCK):
            w, g = parameters[k, start : start + _BLOCK], gradients[k, start : start + _BLOCK]
            v = velocity[k, start : start + _BLOCK]
            _penalize(w, g, weights - start, _of(l2, k), _of(l1, k))
            for i in range(w.size):
                moved = a * v[i] - rate * g[i]
                v[i] = moved
                g[i] = -moved
            _apply(w, g, weights - start, _of(shrink, k))


@_kernel
def nesterov(
    parameters: Any,
    gradients: Any,
    velocity: Any,
    weights: int,
    l2: Any,
    l1: Any,
    shrink: Any,
    rates: Any,
    momenta: Any,
) -> None:
    """U <- a (u - lr g), then W <- W - (lr g - u)."""
    for k in range(len(parameters)):
        rate, a = _of(rates, k), _of(momenta, k)
        for start in range(0, parameters.shape[1], _BLOCK):
            w, g = parameters[k, start : start + _BLOCK], gradients[k, start : start + _BLOCK]
            u = velocity[k, start : start + _BLOCK]
            _penalize(w, g, weights - start, _of(l2, k), _of(l1, k))
            for i in range(w.size):
                step = rate * g[i]
                moved = a * (u[i] - step)
                u[i] = moved
                g[i] = step - moved
            _apply(w, g, weights - start, _of(shrink, k))


@_kernel
def adagrad(
    parameters: Any,
    gradients: Any,
    squares: Any,
    weights: int,
    l2: Any,
    l1: Any,
    shrink: Any,
    rates: Any,
    epsilons: Any,
) -> None:
    """W <- W - lr g / (sqrt(h) + epsilon) with h <- h + g^2."""
    for k in range(len(parameters)):
        rate, epsilon = _of(rates, k), _of(epsilons, k)
        for start in range(0, parameters.shape[1], _BLOCK):
            w, g = parameters[k, start : start + _BLOCK], gradients[k, start : start + _BLOCK]
            h = squares[k, start : start + _BLOCK]
            _penalize(w, g, weights - start, _of(l2, k), _of(l1, k))
            for i in range(w.size):
                square = h[i] + g[i] * g[i]
                h[i] = square
                g[i] = rate * (g[i] / (math.sqrt(square) + epsilon))
            _apply(w, g, weights - start, _of(shrink, k))


@_kernel
def rmsprop(
    parameters: Any,
    gradients: Any,
    squares: Any,
    weights: int,
    l2: Any,
    l1: Any,
    shrink: Any,
    rates: Any,
    rhos: Any,
    epsilons: Any,
) -> None:
    """W <- W - lr g / (sqrt(V) + epsilon) with V <- rho V + g^2."""
    for k in range(len(parameters)):
        rate, rho, epsilon = _of(rates, k), _of(rhos, k), _of(epsilons, k)
        for start in range(0, parameters.shape[1], _BLOCK):
            w, g = parameters[k, start : start + _BLOCK], gradients[k, start : start + _BLOCK]
            v = squares[k, start : start + _BLOCK]
            _penalize(w, g, weights - start, _of(l2, k), _of(l1, k))
            for i in range(w.size):
                square = rho * v[i] + g[i] * g[i]
                v[i] = square
                g[i] = rate * (g[i] / (math.sqrt(square) + epsilon))
            _apply(w, g, weights - start, _of(shrink, k))


@_kernel
def adadelta(
    parameters: Any,
    gradients: Any,
    squares: Any,
    steps: Any,
    weights: int,
    l2: Any,
    l1: Any,
    shrink: Any,
    rates: Any,
    rhos: Any,
    epsilons: Any,
) -> None:
    """W <- W - lr D with D = sqrt((X + e) / (G + e)) g, X as it was before."""
    for k in range(len(parameters)):
        rate, rho, e = _of(rates, k), _of(rhos, k), _of(epsilons, k)
        for start in range(0, parameters.shape[1], _BLOCK):
            w, g = parameters[k, start : start + _BLOCK], gradients[k, start : start + _BLOCK]
            s, x = squares[k, start : start + _BLOCK], steps[k, start : start + _BLOCK]
            _penalize(w, g, weights - start, _of(l2, k), _of(l1, k))
            for i in range(w.size):
                square = rho * s[i] + g[i] * g[i]
                d = math.sqrt((x[i] + e) / (square + e)) * g[i]
                s[i], x[i] = square, rho * x[i] + d * d
                g[i] = rate * d
            _apply(w, g, weights - start, _of(shrink, k))


@_kernel
def adam(
    parameters: Any,
    gradients: Any,
    first: Any,
    second: Any,
    weights: int,
    l2: Any,
    l1: Any,
    shrink: Any,
    rates: Any,
    epsilons: Any,
    beta1s: Any,
    beta2s: Any,
) -> None:
    """W <- W - rate M / (sqrt(V) + epsilon) with M <- b1 M + g and V <- b2 V + g^2."""
    for k in range(len(parameters)):
        rate, epsilon, b1, b2 = _of(rates, k), _of(epsilons, k), _of(beta1s, k), _of(beta2s, k)
        for start in range(0, parameters.shape[1], _BLOCK):
            w, g = parameters[k, start : start + _BLOCK], gradients[k, start : start + _BLOCK]
            m, v = first[k, start : start + _BLOCK], second[k, start : start + _BLOCK]
            _penalize(w, g, weights - start, _of(l2, k), _of(l1, k))
            for i in range(w.size):
                mean, square = b1 * m[i] + g[i], b2 * v[i] + g[i] * g[i]
                m[i], v[i] = mean, square
                g[i] = rate * (mean / (math.sqrt(square) + epsilon))
            _apply(w, g, weights - start, _of(shrink, k))
