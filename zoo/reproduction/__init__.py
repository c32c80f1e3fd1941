"""The paper's tables computed again: what it reports, the trainings behind a cell, and a report beside its numbers.

This part alone sees all others: it trains, exports, runs and scores.
"""
