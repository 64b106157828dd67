"""Verdicts on a fit in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dataprops.laws.fitting.laws import Law
    from dataprops.laws.fitting.resampling import Intervals

BASELINES = {"mean": "the mean", "log_n": "log N alone"}


def verdict_of(
    law: Law, form: str, errors: dict[str, float], compared: dict[str, tuple[float, Intervals]]
) -> dict[str, Any]:
    """Whether a law beats the baselines on held-out datasets: {form, beats, clearly, sentence}.

    Parameters
    ----------
    law : Law
    form : str
        "free" or "fixed", the form with the smaller error.
    errors : dict
        Form -> leave-one-out error.
    compared : dict
        Baseline -> (leave-one-out error, excess of its mean squared error over the law's).
    """
    name = law.title.split(":")[0].capitalize()
    how = law.title.partition(": ")[2]
    slopes = "" if law.theory is None else f", slopes {form}"
    if form not in errors or not compared:
        return {
            "form": form,
            "beats": None,
            "clearly": None,
            "sentence": f"{name} ({how}): not evaluated, since there are too few datasets for leave-one-out.",
        }
    beaten = [b for b, (rmse, _) in compared.items() if errors[form] < rmse]
    lost = [b for b in compared if b not in beaten]
    clearly = all(np.isfinite(more.low[0]) and more.low[0] > 0 for _, more in compared.values())
    against = " and ".join(f"{rmse:.3g} for {BASELINES[b]}" for b, (rmse, _) in compared.items())
    start = f"{name} ({how}{slopes}): leave-one-out error {errors[form]:.3g} {law.unit}, {against}"
    if lost:
        end = f"the law does not beat {' and '.join(BASELINES[b] for b in lost)}, so it adds nothing here"
        if len(lost) > 1:
            end = "the law beats neither, so it has no predictive value here"
    elif clearly:
        end = f"the law beats {'both' if len(beaten) > 1 else 'it'}"
    else:
        end = f"the law is ahead of {'both' if len(beaten) > 1 else 'it'}, but within dataset-sampling error"
    if "log_n" not in compared:
        end += " (log N alone could not be compared: no N that varies)"
    return {"form": form, "beats": not lost, "clearly": not lost and clearly, "sentence": f"{start}: {end}."}
