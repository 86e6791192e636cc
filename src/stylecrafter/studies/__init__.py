"""The paper's experiments, one module each; `stylecrafter study NAME` carries one out.

A study gives tables, plots and the numbers behind them (`result.StudyResult`). What they mean is written by hand, under
docs/results.
"""
