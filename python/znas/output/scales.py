"""Axes that show what is to be seen: an outlier does not squash the rest, and ticks are plain numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: A value is an outlier if it lies further beyond the middle half of the values than so many times its width,
#: and if with it the axis would be more than so many times as long as without any.
FENCE, GAIN = 3.0, 2.0
#: Room at both ends, of the length of an axis.
MARGIN = 0.04


def focus(
    values: Iterable[float],
    *,
    keep: Iterable[float] = (),
    least: float | None = None,
    most: float | None = None,
    gain: float = GAIN,
) -> tuple[float, float]:
    """Limits of an axis for `values`, without outliers that would squash the rest: `beyond` draws them.

    keep: values that are shown whatever they are. least, most: where what is drawn has bounds, as percents
    have. gain: how much longer outliers must make the axis to be left out.
    """
    known, always = (_finite(each) for each in (values, keep))
    shown = np.concatenate([_near(known, gain), always])
    if not len(shown):
        shown = np.zeros(1)
    low, high = float(shown.min()), float(shown.max())
    room = MARGIN * (high - low) if high > low else max(0.05 * abs(low), 0.5)
    low, high = low - room, high + room
    return low if least is None else max(low, least), high if most is None else min(high, most)


def _finite(values: Iterable[float]) -> Floats:
    found: Floats = np.array(list(values), np.float64)
    return found[np.isfinite(found)]


def _near(known: Floats, gain: float) -> Floats:
    """Without outliers; where more than half are equal, there is nothing that an outlier could squash."""
    if not len(known):
        return known
    first, third = np.quantile(known, (0.25, 0.75))
    reach = FENCE * (third - first)
    near = (known >= first - reach) & (known <= third + reach)
    length = gain * np.ptp(known[near])
    if reach == 0:
        return known
    for i in np.argsort(np.abs(known - np.median(known))):
        if not near[i]:
            both = np.append(known[near], known[i])
            near[i] = np.ptp(both) <= length
    kept: Floats = known[near]
    return kept


def decades(values: Iterable[float], least: float) -> tuple[float, float]:
    """Limits of a logarithmic axis, half a decade at least; values below `least`, a positive number, are
    shown there."""
    known = np.array([max(value, least) for value in values if np.isfinite(value)] or [least])
    low, high = float(known.min()), float(known.max())
    room = max((high / low) ** MARGIN, 1.8 if high < 3.2 * low else 1.1)
    return low / room, high * room


def plain_logarithmic(axes: Any, which: str, low: float, high: float) -> None:
    """A logarithmic axis with numbers as they are read: 0.5, 20, 1,000. which: x | y."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}lim")(low, high)
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 150 * low else (1.0,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: in_digits(value)))


def in_digits(value: float) -> str:
    """As short as it is exact, to twelve digits."""
    return f"{value:.12g}" if abs(value) < 1000 or abs(value) >= 1e12 else f"{value:,.0f}"


def beyond(value: float, low: float, high: float) -> tuple[float, str]:
    """(where on the axis a value is drawn, its marker): itself and "", or the end that it lies behind."""
    if value < low:
        return low, "<"
    return (high, ">") if value > high else (value, "")
