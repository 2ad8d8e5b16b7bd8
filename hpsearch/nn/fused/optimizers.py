"""Update rules, fused: penalties, decay and update in one pass over a member's numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpsearch.nn.columns import column
from hpsearch.nn.fused import compiled
from hpsearch.nn.layers.layout import weight_count
from hpsearch.nn.optimizers.adadelta import AdaDelta
from hpsearch.nn.optimizers.adagrad import AdaGrad
from hpsearch.nn.optimizers.adam import Adam, AdamW
from hpsearch.nn.optimizers.momentum import Momentum, Nesterov
from hpsearch.nn.optimizers.rmsprop import RMSProp
from hpsearch.nn.optimizers.rule import Rule
from hpsearch.nn.optimizers.sgd import SGD
from hpsearch.nn.penalties import Penalties

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


class _Fused(Rule):
    """What the fused rules share: columns of one number a member, and regularisation in the kernel.

    linf needs a layer's largest weight before anything else: it is added ahead, by NumPy.
    """

    scratch_arrays = 0

    def _prepare_prices(self) -> None:
        self._weight_count = weight_count(self._spans)
        self._l2, self._l1 = self._column(self._values("l2")), self._column(self._values("l1"))
        self._shrink = self._scheduled(self._shrink_values())
        self._penalties = Penalties(self.specs, self._spans, self._scratch[0], only=("linf",))

    def _regularization(self) -> tuple[int, NDArray[Any], NDArray[Any], NDArray[Any]]:
        """What every kernel is told of penalties and decay in this step."""
        return self._weight_count, self._l2, self._l1, next(self._shrink)

    def _column(self, values: Sequence[float]) -> NDArray[Any]:
        return column(values, 1, self._dtype)

    def _scheduled(
        self,
        values: Sequence[float],
        rows: slice = slice(None),
        length: int | None = None,  # noqa: ARG002 - one number a member, however long its row
    ) -> Iterator[NDArray[Any]]:
        return super()._scheduled(values, rows, 1)


class FusedSGD(_Fused, SGD):
    """As `SGD`."""

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        compiled.sgd(parameters, gradients, *self._regularization(), next(self._lr))


class FusedMomentum(_Fused, Momentum):
    """As `Momentum`."""

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        compiled.momentum(
            parameters, gradients, *self._state, *self._regularization(), next(self._lr), self._a
        )


class FusedNesterov(_Fused, Nesterov):
    """As `Nesterov`."""

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        compiled.nesterov(
            parameters, gradients, *self._state, *self._regularization(), next(self._lr), self._a
        )


class FusedAdaGrad(_Fused, AdaGrad):
    """As `AdaGrad`."""

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        rates = next(self._lr), self._epsilon
        compiled.adagrad(parameters, gradients, *self._state, *self._regularization(), *rates)


class FusedRMSProp(_Fused, RMSProp):
    """As `RMSProp`."""

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        rates = next(self._lr), self._rho, self._epsilon
        compiled.rmsprop(parameters, gradients, *self._state, *self._regularization(), *rates)


class FusedAdaDelta(_Fused, AdaDelta):
    """As `AdaDelta`."""

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        rates = next(self._lr), self._rho, self._e
        compiled.adadelta(parameters, gradients, *self._state, *self._regularization(), *rates)


class FusedAdam(_Fused, Adam):
    """As `Adam`."""

    def _update(self, parameters: NDArray[Any], gradients: NDArray[Any]) -> None:
        rates = next(self._rates), next(self._epsilons), self._beta1, self._beta2
        compiled.adam(parameters, gradients, *self._state, *self._regularization(), *rates)


class FusedAdamW(FusedAdam, AdamW):
    """As `AdamW`."""


FUSED_OPTIMIZERS: dict[str, type[Rule]] = {
    "sgd": FusedSGD,
    "momentum": FusedMomentum,
    "nesterov": FusedNesterov,
    "adagrad": FusedAdaGrad,
    "rmsprop": FusedRMSProp,
    "adadelta": FusedAdaDelta,
    "adam": FusedAdam,
    "adamw": FusedAdamW,
}
