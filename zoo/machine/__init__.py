"""This machine: files, downloads, threads, cores, progress bars."""
