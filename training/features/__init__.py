"""Learning a classifier from the features of a frozen network, a few labels and many photos without one."""
