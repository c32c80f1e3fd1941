"""What the answers of a classifier to labeled images say: errors by class, confusion, wrong files, calibration."""
