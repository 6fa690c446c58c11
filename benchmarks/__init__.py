"""memocache beside its peers, measured in one run: ``python -m benchmarks run`` (extra ``bench``).

One module is one suite: it defines ``SUITE`` (see `benchmarks._measure`) and is found by its presence here.
Contenders take turns in rounds (A B C A B C …), so that a slow minute of the machine falls on all of them; what is
reported is the median over rounds, the quartiles, and the median of the per-round ratios to the named base.
"""
