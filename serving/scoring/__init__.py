"""Scores as pure functions of small statistics that merge exactly (contract 4)."""
