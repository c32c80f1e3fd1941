"""The commands of ``igan-zoo``, a file for each group. They import what they need when they run."""
