"""Where the work of a long job is done: in this process, or by workers on a Ray cluster.

    unit.py    what a worker is given: a pure function, picklable, of 1 to 60 seconds
    bench.py   what a worker keeps from one unit to the next
    cutting.py how masks become units, no larger than a worker is fast
    spread.py  an evaluator whose passes happen on a cluster
    place.py   what hands units to workers
    on_ray.py  the same by Ray: workers come, hang, die and are replaced
    nodes.py   the machines of a Ray cluster, and which are not used
    joining.py how this process joins one
    where.py   what `--on` may say
    news.py    what is heard of workers while they work
    account.py who did how much, of what was heard

Results are put together by what they are of, never by when they arrive: any number of workers gives the
bytes of one.
"""
