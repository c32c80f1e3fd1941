"""The metrics as functions of arrays, each with its source."""
