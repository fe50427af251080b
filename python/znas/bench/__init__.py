"""The latency suite: what a masked pass, a start and a whole search cost, beside what people use instead.

    plan        which rows a run measures, with which masks
    contenders  who takes part; eager: the supernets as NAS code bases write them
    worker      one contender in a process of its own; process: the suite's end of it
    passes, start, search, instant, peak   the measurements; suite: all of them in order, resumable
    statistics  medians, intervals, ratios of the raw samples; tables: the same as text

A row is timed only after its logits have passed the check against the torch reference, unless its contender
is `forgiven`. Every file of this package enters the `version` of a result: results of different versions are
never compared.
"""
