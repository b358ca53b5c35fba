"""System 3: spotting the third lumbar vertebra in CT scans; uses `mtl`."""
